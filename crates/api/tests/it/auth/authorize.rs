//! The authorization endpoint: the login form, codes, PKCE and the implicit flow.

use personium_testkit::{
    PASSWORD, TestResponse, TestUnit, cell_url, encode_form, refused, text_member,
};
use personium_token::jwt::JwkSet;
use personium_token::local::{LocalKind, TokenCookie};
use personium_types::SystemRandom;

use super::{oauth_error, unit_with_accounts};

pub(super) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(super) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

pub(super) fn authorization_request(kind: &'static str) -> Vec<(&'static str, String)> {
    vec![
        ("response_type", kind.to_owned()),
        ("client_id", cell_url("appcell")),
        ("redirect_uri", cell_url("appcell") + "__/back"),
        ("state", "s t&a=te".to_owned()),
    ]
}

pub(super) fn encode(fields: &[(&str, String)]) -> String {
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (*n, v.as_str())).collect();
    encode_form(&fields)
}

pub(super) async fn post(unit: &TestUnit, fields: &[(&str, String)]) -> TestResponse {
    unit.request("POST", "c/__authz")
        .body(encode(fields))
        .send()
        .await
}

pub(super) async fn get(unit: &TestUnit, fields: &[(&str, String)]) -> TestResponse {
    let path = format!("c/__authz?{}", encode(fields));
    unit.request("GET", &path).send().await
}

pub(super) fn with_login(mut fields: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    fields.push(("username", "me".to_owned()));
    fields.push(("password", PASSWORD.to_owned()));
    fields
}

fn location(response: &TestResponse) -> &str {
    assert_eq!(response.status, 303, "{}", response.text());
    response.header("location").unwrap()
}

/// Returns a parameter of the URL in `Location`.
pub(super) fn location_parameter(response: &TestResponse, name: &str) -> Option<String> {
    let url = location(response);
    let parameters = url.split_once(['?', '#'])?.1;
    url::form_urlencoded::parse(parameters.as_bytes())
        .find(|(n, _)| n == name)
        .map(|(_, v)| v.into_owned())
}

pub(super) fn client_secret(unit: &TestUnit) -> String {
    unit.assertion(|t| {
        t.issuer = cell_url("appcell");
        t.subject = cell_url("appcell") + "#me";
    })
}

pub(super) async fn redeem(unit: &TestUnit, code: &str, more: &[(&str, &str)]) -> TestResponse {
    let (app, secret) = (cell_url("appcell"), client_secret(unit));
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", app.as_str()),
        ("client_secret", secret.as_str()),
    ];
    fields.extend(more);
    unit.request_token("c", &fields).await
}

#[tokio::test]
async fn login_form_has_security_headers_and_escapes_parameters() {
    let unit = unit_with_accounts(|_| {}).await;
    let mut fields = authorization_request("code");
    fields.push(("error_description", "<script>alert(1)</script>".to_owned()));
    fields.push(("code", "PS-AU-0004".to_owned()));
    fields[3].1 = "\"><script>alert(2)</script>".to_owned();
    let response = get(&unit, &fields).await;
    assert_eq!(response.status, 200);
    assert_eq!(
        response.header("content-type"),
        Some("text/html;charset=UTF-8")
    );
    let policy = response.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(
        !policy.contains("unsafe") && !policy.contains("script-src"),
        "{policy}"
    );
    assert_eq!(response.header("x-frame-options"), Some("DENY"));
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let page = response.text();
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("role=\"alert\""));
    let escaped = "value=\"&#34;&#62;&#60;script&#62;alert(2)&#60;/script&#62;\"";
    assert!(page.contains(escaped), "{page}");
    for label in ["username", "password"] {
        assert!(page.contains(&format!("<label for=\"{label}\">")), "{page}");
    }
    let path = format!("c/__authz?{}", encode(&authorization_request("code")));
    let japanese = unit
        .request("GET", &path)
        .header("accept-language", "fr, ja;q=0.9, en;q=0.8");
    assert!(japanese.send().await.text().contains("<html lang=\"ja\">"));
}

#[tokio::test]
async fn authorization_code_is_returned_with_state_and_redeemed_for_an_id_token() {
    let unit = unit_with_accounts(|_| {}).await;
    let mut fields = with_login(authorization_request("code"));
    fields.push(("scope", "openid".to_owned()));
    fields.push(("nonce", "n1".to_owned()));
    let response = post(&unit, &fields).await;
    assert!(location(&response).starts_with(&(cell_url("appcell") + "__/back?")));
    assert_eq!(
        location_parameter(&response, "state").as_deref(),
        Some("s t&a=te")
    );
    assert_eq!(
        location_parameter(&response, "last_authenticated").as_deref(),
        Some("null")
    );
    let code = location_parameter(&response, "code").unwrap();
    assert!(code.starts_with("GC~"));
    let tokens = redeem(&unit, &code, &[]).await;
    assert_eq!(tokens.status, 200, "{}", tokens.text());
    let certs = unit.request("GET", "c/__certs").send().await.text();
    let id_token = text_member(&tokens.json(), "id_token");
    let claims = JwkSet::from_json(&certs)
        .unwrap()
        .verify(&id_token)
        .unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    for (name, value) in [
        ("iss", cell_url("c")),
        ("sub", "me".to_owned()),
        ("aud", cell_url("appcell")),
        ("nonce", "n1".to_owned()),
    ] {
        assert_eq!(text_member(&claims, name), value);
    }
    let other = unit.request("GET", "d/__certs").send().await.text();
    assert!(
        JwkSet::from_json(&other)
            .unwrap()
            .verify(&id_token)
            .is_err()
    );
}

#[tokio::test]
async fn authorization_code_is_bound_to_app_cell_redirect_uri_and_lifetime() {
    let unit = unit_with_accounts(|_| {}).await;
    let code = location_parameter(
        &post(&unit, &with_login(authorization_request("code"))).await,
        "code",
    )
    .unwrap();
    assert_eq!(
        unit.outcome_with_token("GET", "c/__ctl/Role", &code).await,
        refused(401, "AU-0006")
    );
    let bare = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
    ];
    assert_eq!(
        oauth_error(&unit.request_token("c", &bare).await),
        "invalid_client AN-0021"
    );
    assert_eq!(
        oauth_error(&unit.request_token("d", &bare).await),
        "invalid_grant AN-0019"
    );
    let (other_id, other) = (cell_url("d"), unit.assertion(|_| {}));
    let mut fields = bare.to_vec();
    fields.extend([("client_id", other_id.as_str()), ("client_secret", &other)]);
    assert_eq!(
        oauth_error(&unit.request_token("c", &fields).await),
        "invalid_client AN-0020"
    );
    for bad in ["", "GC~", "x"] {
        assert_eq!(
            oauth_error(&redeem(&unit, bad, &[]).await),
            "invalid_grant AN-0019"
        );
    }
    let uri = cell_url("appcell") + "__/other";
    let elsewhere = redeem(&unit, &code, &[("redirect_uri", &uri)]).await;
    assert_eq!(oauth_error(&elsewhere), "invalid_grant AN-0025");
    let uri = cell_url("appcell") + "__/back";
    assert_eq!(
        redeem(&unit, &code, &[("redirect_uri", &uri)]).await.status,
        200
    );
    let later = location_parameter(
        &post(&unit, &with_login(authorization_request("code"))).await,
        "code",
    )
    .unwrap();
    unit.advance_clock(600_001);
    assert_eq!(
        oauth_error(&redeem(&unit, &later, &[]).await),
        "invalid_grant AN-0010"
    );
}

#[tokio::test]
async fn pkce_challenge_binds_the_code_to_its_verifier() {
    let unit = unit_with_accounts(|_| {}).await;
    let mut fields = with_login(authorization_request("code"));
    fields.push(("code_challenge", CHALLENGE.to_owned()));
    fields.push(("code_challenge_method", "S256".to_owned()));
    let code = location_parameter(&post(&unit, &fields).await, "code").unwrap();
    for more in [
        &[][..],
        &[("code_verifier", CHALLENGE)],
        &[("code_verifier", "x")],
    ] {
        assert_eq!(
            oauth_error(&redeem(&unit, &code, more).await),
            "invalid_grant AN-0024"
        );
    }
    let good = redeem(&unit, &code, &[("code_verifier", VERIFIER)]).await;
    assert_eq!(good.status, 200, "{}", good.text());
    // A verifier for a code without challenge: an attacker removed the challenge from the request.
    let plain = location_parameter(
        &post(&unit, &with_login(authorization_request("code"))).await,
        "code",
    )
    .unwrap();
    let stripped = redeem(&unit, &plain, &[("code_verifier", VERIFIER)]).await;
    assert_eq!(oauth_error(&stripped), "invalid_grant AN-0024");
}

#[tokio::test]
async fn redirect_uri_outside_the_app_cell_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    let evil = "http://evil.example/".to_owned();
    for (field, value, code) in [
        (1, evil.clone(), "PR400-AZ-0003"),
        (1, cell_url("c"), "PR400-AZ-0002"),
        (1, "x".to_owned(), "PR400-AZ-0002"),
        (2, evil, "PR400-AZ-0003"),
        (2, cell_url("appcell") + "../d/", "PR400-AZ-0003"),
        (2, cell_url("d"), "PR400-AZ-0003"),
    ] {
        let mut fields = with_login(authorization_request("code"));
        fields[field].1 = value;
        let page = format!("{}__html/error?code={code}", cell_url("c"));
        assert_eq!(location(&post(&unit, &fields).await), page);
        assert_eq!(location(&get(&unit, &fields).await), page);
    }
}

#[tokio::test]
async fn failed_form_logins_redirect_to_the_form_with_the_same_code() {
    let unit = unit_with_accounts(|_| {}).await;
    let attempt = async |name: &str, password: &str| {
        let mut fields = authorization_request("code");
        fields.push(("username", name.to_owned()));
        fields.push(("password", password.to_owned()));
        let response = post(&unit, &fields).await;
        location(&response).to_owned()
    };
    let unknown = attempt("nobody", PASSWORD).await;
    assert!(unknown.starts_with(&(cell_url("c") + "__authz?response_type=code&")));
    assert!(unknown.ends_with("&code=PS-AU-0004"), "{unknown}");
    assert_eq!(attempt("me", "wrong1").await, unknown);
    assert!(attempt("me", "").await.ends_with("&code=PS-AU-0003"));
    assert!(attempt("", "").await.ends_with("&code=PS-AU-0003"));
}

#[tokio::test]
async fn form_after_a_wrong_password_asks_for_the_same_scopes() {
    let unit = unit_with_accounts(|_| {}).await;
    let mut fields = authorization_request("code");
    fields.push(("scope", "root openid".to_owned()));
    fields.push(("username", "me".to_owned()));
    fields.push(("password", "wrong1".to_owned()));
    let response = post(&unit, &fields).await;
    let scope = location_parameter(&response, "scope");
    assert_eq!(scope.as_deref(), Some("root openid"));
    let form = location(&response).to_owned();
    let path = form.split_once("/c/").unwrap().1;
    let shown = unit.request("GET", &format!("c/{path}")).send().await;
    let text = shown.text();
    assert!(
        text.contains(r#"name="scope" value="root openid""#),
        "{text}"
    );
}

#[tokio::test]
async fn form_login_with_a_foreign_origin_header_is_refused() {
    let unit = unit_with_accounts(|_| {}).await;
    let send = async |origin: &str| {
        let request = unit.request("POST", "c/__authz").header("origin", origin);
        let response = request
            .body(encode(&with_login(authorization_request("code"))))
            .send()
            .await;
        location_parameter(&response, "code").unwrap()
    };
    for bad in [
        "http://evil.example",
        "null",
        "https://unit.example",
        "http://unit.example:81",
    ] {
        assert_eq!(send(bad).await, "PS-AU-0002", "{bad}");
    }
    assert!(send("http://unit.example").await.starts_with("GC~"));
}

#[tokio::test]
async fn cookie_login_needs_an_access_token_of_this_cell_in_the_cookie() {
    let unit = unit_with_accounts(|_| {}).await;
    let login = unit.login("c", &[]).await;
    let local = &unit.model.keys().local_tokens;
    let sealed = |host: &str, token: &str| {
        let cookie = TokenCookie {
            peer: "p".to_owned(),
            token: token.to_owned(),
        };
        local
            .seal_cookie(host, &cookie, &SystemRandom::new())
            .unwrap()
    };
    let send = async |value: &str| {
        let request = unit.request("POST", "c/__authz");
        let request = request.header("cookie", &format!("a=b; p_cookie={value}"));
        let response = request
            .body(encode(&authorization_request("code")))
            .send()
            .await;
        location_parameter(&response, "code").unwrap()
    };
    let access = text_member(&login, "access_token");
    assert!(
        send(&sealed("unit.example", &access))
            .await
            .starts_with("GC~")
    );
    let other = unit.access_token("d").await;
    for bad in [
        "x",
        &access,
        &sealed("evil.example", &access),
        &sealed("unit.example", &other),
        &sealed("unit.example", &text_member(&login, "refresh_token")),
        &sealed("unit.example", &unit.trans_cell_token("c", "d").await),
        &sealed("unit.example", "master"),
    ] {
        assert_eq!(send(bad).await, "PS-AU-0002");
    }
    let good = sealed("unit.example", &access);
    let path = format!("c/__authz?{}", encode(&authorization_request("token")));
    let request = unit
        .request("GET", &path)
        .header("cookie", &format!("p_cookie={good}"));
    let response = request.send().await;
    assert!(
        location_parameter(&response, "access_token")
            .unwrap()
            .starts_with("AR~")
    );
    unit.advance_clock(3_600_001);
    assert_eq!(send(&good).await, "PS-AU-0005");
    let request = unit
        .request("GET", &path)
        .header("cookie", &format!("p_cookie={good}"));
    assert_eq!(request.send().await.status, 200, "the form again");
}

#[tokio::test]
async fn required_password_change_is_done_in_the_authorization_form() {
    let unit = unit_with_accounts(|_| {}).await;
    let body = r#"{"Name":"new","Status":"passwordChangeRequired"}"#;
    unit.create_account("c", body).await;
    let mut fields = authorization_request("token");
    fields.push(("username", "new".to_owned()));
    fields.push(("password", PASSWORD.to_owned()));
    let response = post(&unit, &fields).await;
    assert_eq!(
        location_parameter(&response, "code").as_deref(),
        Some("PS-AU-0006")
    );
    let token = location_parameter(&response, "access_token").unwrap();
    let form_page = location(&response)
        .strip_prefix(personium_testkit::UNIT_URL)
        .unwrap()
        .to_owned();
    let page = unit.request("GET", &form_page).send().await.text();
    assert!(page.contains("autocomplete=\"new-password\""), "{page}");
    let change = async |token: &str, password: &str| {
        let mut fields = authorization_request("token");
        fields.push(("access_token", token.to_owned()));
        fields.push(("password", password.to_owned()));
        post(&unit, &fields).await
    };
    for (token, password, code) in [
        (token.as_str(), "", "PS-AU-0007"),
        (&token, "short", "PS-AU-0008"),
        ("AP~x", "password2", "PS-AU-0002"),
        (&unit.access_token("c").await, "password2", "PS-AU-0002"),
    ] {
        let response = change(token, password).await;
        assert_eq!(location_parameter(&response, "code").as_deref(), Some(code));
    }
    let response = change(&token, "password2").await;
    let access = location_parameter(&response, "access_token").unwrap();
    assert_eq!(LocalKind::of(&access), Some(LocalKind::ResidentAccess));
}

#[tokio::test]
async fn implicit_flow_token_has_no_cell_level_scope() {
    let unit = unit_with_accounts(|_| {}).await;
    let response = post(&unit, &with_login(authorization_request("token"))).await;
    assert!(location(&response).contains('#'));
    let token = location_parameter(&response, "access_token").unwrap();
    unit.grant_to_everybody("c", &["p:auth-read"]).await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/__ctl/Role", &token).await,
        refused(403, "AU-0007")
    );
}

#[tokio::test]
async fn authorization_errors_are_returned_to_the_redirect_uri() {
    let unit = unit_with_accounts(|_| {}).await;
    for (name, value, error, code) in [
        ("response_type", "", "invalid_request", "PR400-AZ-0004"),
        (
            "response_type",
            "x",
            "unsupported_response_type",
            "PR400-AZ-0001",
        ),
        (
            "response_type",
            "id_token",
            "unsupported_response_type",
            "PR400-AZ-0001",
        ),
        ("expires_in", "0", "invalid_request", "PR400-AZ-0008"),
        ("expires_in", "x", "invalid_request", "PR400-AZ-0008"),
        ("cancel_flg", "true", "unauthorized_client", "PR401-AZ-0001"),
        ("code_challenge", "x", "invalid_request", "PR400-AZ-0009"),
    ] {
        let mut fields = with_login(authorization_request("code"));
        fields.retain(|(n, _)| *n != name);
        fields.push((name, value.to_owned()));
        let response = post(&unit, &fields).await;
        assert_eq!(
            location_parameter(&response, "error").as_deref(),
            Some(error),
            "{name}={value}"
        );
        assert_eq!(
            location_parameter(&response, "code").as_deref(),
            Some(code),
            "{name}={value}"
        );
        assert_eq!(
            location_parameter(&response, "state").as_deref(),
            Some("s t&a=te")
        );
    }
}

#[tokio::test]
async fn discovery_and_certificates_are_public_and_signing_needs_the_privilege() {
    let unit = unit_with_accounts(|_| {}).await;
    let response = unit
        .request("GET", "c/.well-known/openid-configuration")
        .send()
        .await;
    assert_eq!(text_member(&response.json(), "issuer"), cell_url("c"));
    assert_eq!(
        text_member(&response.json(), "jwks_uri"),
        cell_url("c") + "__certs"
    );
    let signed = unit
        .admin_request("POST", "c/__sign")
        .body("payload")
        .send()
        .await;
    let certs = unit.request("GET", "c/__certs").send().await.text();
    let payload = JwkSet::from_json(&certs)
        .unwrap()
        .verify(&signed.text())
        .unwrap();
    assert_eq!(payload, b"payload");
    let token = unit.access_token("c").await;
    assert_eq!(
        unit.outcome_with_token("POST", "c/__sign", &token).await,
        refused(403, "AU-0002")
    );
    assert_eq!(
        unit.request("POST", "c/__sign").send().await.outcome(),
        refused(401, "AU-0001")
    );
    unit.grant_to_everybody("c", &["p:sign"]).await;
    let request = unit.request("POST", "c/__sign").bearer(&token);
    assert_eq!(
        request
            .header("accept", "application/json")
            .send()
            .await
            .status,
        406
    );
    assert_eq!(
        unit.outcome_with_token("POST", "c/__sign", &token).await.0,
        200
    );
}
