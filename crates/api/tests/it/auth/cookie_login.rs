//! Authorization requests of browsers that already have a cookie of the cell.

use personium_testkit::{PASSWORD, TestResponse, TestUnit, cell_url, text_member};

use super::authorize::{
    authorization_request, encode, location_parameter, post, redeem, with_login,
};
use super::unit_with_accounts;

/// Returns the cookie that a response of the token endpoint sets.
fn cookie_of(response: &TestResponse) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    let set = response.header("set-cookie").unwrap();
    set.split(';').next().unwrap().to_owned()
}

/// Returns the cookie of a login of `me` without an application.
async fn login_cookie(unit: &TestUnit, more: &[(&str, &str)]) -> String {
    let mut fields = vec![
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
        ("p_cookie", "true"),
    ];
    fields.extend(more);
    cookie_of(&unit.request_token("c", &fields).await)
}

/// Sends an authorization request with a cookie.
async fn authorize_with_cookie(
    unit: &TestUnit,
    method: &str,
    fields: &[(&'static str, String)],
    cookie: &str,
) -> TestResponse {
    let query = encode(fields);
    let (path, body) = match method {
        "GET" => (format!("c/__authz?{query}"), String::new()),
        _ => ("c/__authz".to_owned(), query),
    };
    let request = unit.request(method, &path).header("cookie", cookie);
    request.body(&body).send().await
}

/// An authorization request of an application that has no box in the cell.
fn request_by_unknown_app(kind: &'static str) -> Vec<(&'static str, String)> {
    let mut fields = authorization_request(kind);
    fields[1].1 = cell_url("d");
    fields[2].1 = cell_url("d") + "__/back";
    fields
}

#[tokio::test]
async fn cookie_with_a_token_of_an_app_does_not_log_in() {
    let unit = unit_with_accounts(|_| {}).await;
    let mut fields = with_login(authorization_request("code"));
    fields.push(("scope", "message-read".to_owned()));
    let code = location_parameter(&post(&unit, &fields).await, "code").unwrap();
    let with_cookie = [("p_cookie", "true")];
    let first = redeem(&unit, &code, &with_cookie).await;
    let (app, secret) = (cell_url("appcell"), super::authorize::client_secret(&unit));
    let refresh = text_member(&first.json(), "refresh_token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
        ("client_id", app.as_str()),
        ("client_secret", secret.as_str()),
        ("p_cookie", "true"),
    ];
    let second = unit.request_token("c", &fields).await;
    for narrow in [cookie_of(&first), cookie_of(&second)] {
        for request in [
            authorization_request("code"),
            authorization_request("token"),
            request_by_unknown_app("token"),
        ] {
            let response = authorize_with_cookie(&unit, "GET", &request, &narrow).await;
            assert_eq!(response.status, 200, "the form: {}", response.text());
            let response = authorize_with_cookie(&unit, "POST", &request, &narrow).await;
            assert_eq!(
                location_parameter(&response, "code").as_deref(),
                Some("PS-AU-0002")
            );
            assert_eq!(location_parameter(&response, "access_token"), None);
        }
    }
    let own = login_cookie(&unit, &[]).await;
    let response = authorize_with_cookie(&unit, "GET", &authorization_request("token"), &own).await;
    assert!(
        location_parameter(&response, "access_token")
            .unwrap()
            .starts_with("AR~")
    );
}

#[tokio::test]
async fn cookie_login_grants_at_most_the_scope_of_the_cookie() {
    let unit = unit_with_accounts(|_| {}).await;
    let narrow = login_cookie(&unit, &[("scope", "message-read")]).await;
    let wide = login_cookie(&unit, &[]).await;
    for (cookie, wanted, granted) in [
        (&narrow, "", None),
        (&narrow, "root", None),
        (
            &narrow,
            "openid message-read auth",
            Some("openid message-read"),
        ),
        (&wide, "", Some("root")),
        (&wide, "auth-read", Some("auth-read")),
    ] {
        for method in ["GET", "POST"] {
            let mut fields = authorization_request("code");
            fields.push(("scope", wanted.to_owned()));
            let code = location_parameter(
                &authorize_with_cookie(&unit, method, &fields, cookie).await,
                "code",
            )
            .unwrap();
            let body = redeem(&unit, &code, &[]).await.json();
            assert_eq!(body["scope"].as_str(), granted, "{wanted}");
        }
    }
}

#[tokio::test]
async fn cookie_login_by_link_for_an_unknown_app_shows_the_form() {
    let unit = unit_with_accounts(|_| {}).await;
    let cookie = login_cookie(&unit, &[]).await;
    for kind in ["token", "code"] {
        let response =
            authorize_with_cookie(&unit, "GET", &request_by_unknown_app(kind), &cookie).await;
        assert_eq!(response.status, 200, "the form: {:?}", response.headers);
        assert!(response.text().contains("<form"), "{}", response.text());
        // The login succeeds from the form, and for an application that is installed.
        for response in [
            authorize_with_cookie(&unit, "POST", &request_by_unknown_app(kind), &cookie).await,
            authorize_with_cookie(&unit, "GET", &authorization_request(kind), &cookie).await,
        ] {
            assert!(
                location_parameter(&response, "access_token")
                    .or(location_parameter(&response, "code"))
                    .is_some_and(|it| it.contains('~'))
            );
        }
    }
}

#[tokio::test]
async fn unknown_role_scope_is_reported_only_after_login() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.create("c/__ctl/Role", r#"{"Name":"known"}"#).await;
    for (role, logged_in) in [("known", 303), ("none", 400)] {
        let mut fields = authorization_request("code");
        let url = format!("{}__role/__/{role}", cell_url("c"));
        fields.push(("scope", url));
        let form = super::authorize::get(&unit, &fields).await;
        assert_eq!(form.status, 200, "{}", form.text());
        let mut wrong = fields.clone();
        wrong.push(("username", "me".to_owned()));
        wrong.push(("password", "wrong1".to_owned()));
        let again = post(&unit, &wrong).await;
        assert_eq!(
            location_parameter(&again, "code").as_deref(),
            Some("PS-AU-0004")
        );
        let response = post(&unit, &with_login(fields)).await;
        assert_eq!(response.status, logged_in, "{}", response.text());
    }
}
