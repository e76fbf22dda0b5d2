//! Endpoints that authenticate requests by themselves. The tests of `auth` cover every failure; these cover who is
//! accepted, and that a refused request changes no record.

use personium_testkit::{PASSWORD, TestResponse, cell_url, encode_form, refused, success};
use personium_types::Privilege as P;

use super::callers::{Fixture, role_ace};

async fn post(
    fixture: &Fixture,
    path: &str,
    authorization: &str,
    fields: &[(&str, &str)],
) -> TestResponse {
    let mut request = fixture.unit.request("POST", path);
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    request.body(encode_form(fields)).send().await
}

#[tokio::test]
async fn token_endpoint_accepts_a_password_but_not_an_access_token() {
    let fixture = Fixture::new().await;
    let token = fixture.login("c", "exact", &[]).await;
    let right = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", PASSWORD),
    ];
    assert_eq!(post(&fixture, "c/__token", "", &right).await.status, 200);
    let before = fixture.all_records().await;
    for (authorization, fields, status) in [
        (
            String::new(),
            &[("grant_type", "password"), ("username", "exact")][..],
            400,
        ),
        (format!("Bearer {token}"), &right[..], 400),
        (
            String::new(),
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", token.as_str()),
            ],
            400,
        ),
        (
            String::new(),
            &[
                ("grant_type", "authorization_code"),
                ("code", token.as_str()),
            ],
            400,
        ),
        (String::new(), &[("grant_type", "client_credentials")], 400),
    ] {
        let response = post(&fixture, "c/__token", &authorization, fields).await;
        assert_eq!(response.status, status, "{fields:?}: {}", response.text());
        assert!(!response.text().contains("access_token"), "{fields:?}");
    }
    assert_eq!(before, fixture.all_records().await);
}

#[tokio::test]
async fn authorization_code_is_issued_only_after_login() {
    let fixture = Fixture::new().await;
    let token = fixture.login("c", "exact", &[]).await;
    let (app, back) = (cell_url("appcell"), cell_url("appcell") + "back");
    let base = [
        ("response_type", "code"),
        ("client_id", app.as_str()),
        ("redirect_uri", back.as_str()),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&base[..], more].concat();
    let location =
        |response: &TestResponse| response.header("location").unwrap_or_default().to_owned();
    let response = post(
        &fixture,
        "c/__authz",
        "",
        &with(&[("username", "exact"), ("password", PASSWORD)]),
    )
    .await;
    assert!(
        location(&response).starts_with(&format!("{back}?")),
        "{}",
        location(&response)
    );
    let before = fixture.all_records().await;
    for fields in [with(&[]), with(&[("username", "exact")])] {
        // A token in the header does not log in.
        let response = post(&fixture, "c/__authz", &format!("Bearer {token}"), &fields).await;
        assert_eq!(response.status, 303);
        assert!(
            location(&response).starts_with("http://unit.example/c/__authz?"),
            "{}",
            location(&response)
        );
        assert!(!location(&response).contains("GC~"));
    }
    let page = fixture
        .unit
        .request("GET", &format!("c/__authz?{}", encode_form(&base)))
        .send()
        .await;
    assert!(
        page.status == 200 && page.text().contains("<form"),
        "{}",
        page.text()
    );
    assert_eq!(before, fixture.all_records().await);
}

#[tokio::test]
async fn introspection_is_refused_to_unauthorized_callers() {
    let fixture = Fixture::new().await;
    let token = fixture.login("c", "exact", &[]).await;
    let fields = [("token", token.as_str())];
    fixture
        .unit
        .set_acl("c", &role_ace("exact", &[P::Root]))
        .await;
    let unit_user = fixture.unit.trans_to_unit("d").await;
    for (authorization, outcome) in [
        (String::new(), refused(401, "AU-0001")),
        (format!("Bearer {token}"), refused(403, "AU-0002")),
        ("Bearer AR~nonsense".to_owned(), refused(403, "AU-0002")),
        (
            "Basic ZXhhY3Q6cGFzc3dvcmQx".to_owned(),
            refused(403, "AU-0002"),
        ),
        (
            format!("Bearer {}", fixture.unit.access_token("d").await),
            refused(403, "AU-0002"),
        ),
        (format!("Bearer {unit_user}"), refused(403, "AU-0002")),
        ("Bearer master".to_owned(), success(200)),
    ] {
        let response = post(&fixture, "c/__introspect", &authorization, &fields).await;
        assert_eq!(response.outcome(), outcome, "{authorization}");
        if response.status == 200 {
            assert_eq!(response.json()["active"], true);
            assert_eq!(response.json()["sub"], "http://unit.example/c/#exact");
        }
    }
}

#[tokio::test]
async fn password_change_is_refused_to_all_but_the_account() {
    let fixture = Fixture::new().await;
    let unit = &fixture.unit;
    unit.set_acl("c", &role_ace("exact", &[P::Root])).await;
    let token = fixture.login("c", "exact", &[]).await;
    let narrow = fixture
        .login("c", "exact", &[("scope", "root-read auth-read message")])
        .await;
    let before = fixture.all_records().await;
    let change = async |authorization: &str| {
        let request = unit
            .request("PUT", "c/__mypassword")
            .header("x-personium-credential", "password2");
        let request = match authorization {
            "" => request,
            value => request.header("authorization", value),
        };
        request.send().await.outcome()
    };
    for (authorization, outcome) in [
        (String::new(), refused(401, "AU-0001")),
        (
            "Basic ZXhhY3Q6cGFzc3dvcmQx".to_owned(),
            refused(401, "AU-0001"),
        ),
        ("Bearer AR~nonsense".to_owned(), refused(401, "AU-0006")),
        ("Bearer master".to_owned(), refused(403, "AU-0002")),
        (
            format!("Bearer {}", unit.trans_cell_token("d", "c").await),
            refused(403, "AU-0002"),
        ),
        (
            format!("Bearer {}", unit.trans_to_unit("d").await),
            refused(403, "AU-0002"),
        ),
        (
            format!("Bearer {}", unit.access_token("d").await),
            refused(401, "AU-0006"),
        ),
        (format!("Bearer {narrow}"), refused(403, "AU-0007")),
    ] {
        assert_eq!(change(&authorization).await, outcome, "{authorization}");
    }
    assert_eq!(before, fixture.all_records().await);
    assert_eq!(change(&format!("Bearer {token}")).await, success(204));
    let old = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", PASSWORD),
    ];
    let new = [
        ("grant_type", "password"),
        ("username", "exact"),
        ("password", "password2"),
    ];
    assert_eq!(unit.request_token("c", &old).await.status, 400);
    assert_eq!(unit.request_token("c", &new).await.status, 200);
}
