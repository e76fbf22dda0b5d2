//! Clients without a secret, which prove by PKCE that they began the login (RFC 7636).

use personium_model::settings::TokenReuse;
use personium_testkit::{TestResponse, TestUnit, cell_url, success, text_member};

use super::authorize::{
    CHALLENGE, VERIFIER, authorization_request, location_parameter, post, with_login,
};
use super::{oauth_error, unit_with_accounts};

async fn new_code(unit: &TestUnit, has_challenge: bool) -> String {
    let mut fields = with_login(authorization_request("code"));
    if has_challenge {
        fields.push(("code_challenge", CHALLENGE.to_owned()));
        fields.push(("code_challenge_method", "S256".to_owned()));
    }
    location_parameter(&post(unit, &fields).await, "code").unwrap()
}

async fn redeem(unit: &TestUnit, code: &str, client: &str, verifier: Option<&str>) -> TestResponse {
    let mut fields = vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("client_id", client),
    ];
    fields.extend(verifier.map(|verifier| ("code_verifier", verifier)));
    unit.request_token("c", &fields).await
}

async fn refresh(unit: &TestUnit, token: &str, client: Option<&str>) -> TestResponse {
    let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
    fields.extend(client.map(|client| ("client_id", client)));
    unit.request_token("c", &fields).await
}

#[tokio::test]
async fn client_without_secret_logs_in_by_pkce_and_refreshes() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.put_file("c/app/f", "x").await;
    unit.set_acl_with(
        "c/app",
        r#"p:requireSchemaAuthz="public""#,
        &personium_testkit::everybody_ace(&["D:read"]),
    )
    .await;
    let app = cell_url("appcell");
    let code = new_code(&unit, true).await;
    let tokens = redeem(&unit, &code, &app, Some(VERIFIER)).await.expect(200);
    let access = text_member(&tokens.json(), "access_token");
    assert_eq!(
        unit.outcome_with_token("GET", "c/app/f", &access).await,
        success(200)
    );
    let first = text_member(&tokens.json(), "refresh_token");
    let second = refresh(&unit, &first, Some(&app)).await.expect(200).json();
    let second = text_member(&second, "refresh_token");
    for (client, error) in [
        (None, "invalid_client AN-0021"),
        (Some(cell_url("d")), "invalid_client AN-0020"),
    ] {
        let response = refresh(&unit, &second, client.as_deref()).await;
        assert_eq!(oauth_error(&response), error);
    }
    refresh(&unit, &second, Some(&app)).await.expect(200);
    let replayed = refresh(&unit, &first, Some(&app)).await;
    assert_eq!(oauth_error(&replayed), "invalid_grant AN-0010");
}

#[tokio::test]
async fn client_without_secret_needs_challenge_verifier_and_its_own_code() {
    let unit = unit_with_accounts(|_| {}).await;
    let (app, other) = (cell_url("appcell"), cell_url("d"));
    for (has_challenge, client, verifier, error) in [
        (false, &app, None, "invalid_client AN-0003"),
        (false, &app, Some(VERIFIER), "invalid_client AN-0003"),
        (true, &app, None, "invalid_grant AN-0024"),
        (true, &app, Some(CHALLENGE), "invalid_grant AN-0024"),
        (true, &other, Some(VERIFIER), "invalid_client AN-0020"),
    ] {
        let code = new_code(&unit, has_challenge).await;
        let response = redeem(&unit, &code, client, verifier).await;
        assert_eq!(
            oauth_error(&response),
            error,
            "{has_challenge} {client} {verifier:?}"
        );
    }
    let code = new_code(&unit, true).await;
    redeem(&unit, &code, &app, Some(VERIFIER)).await.expect(200);
    let d = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("client_id", app.as_str()),
        ("code_verifier", VERIFIER),
        ("p_target", other.as_str()),
    ];
    let again = unit.request_token("c", &d).await;
    assert_eq!(
        oauth_error(&again),
        "invalid_grant AN-0010",
        "once, whatever the target"
    );
}

#[tokio::test]
async fn refresh_token_of_a_client_with_secret_needs_the_secret() {
    let unit = unit_with_accounts(|_| {}).await;
    let code = new_code(&unit, false).await;
    let tokens = super::authorize::redeem(&unit, &code, &[])
        .await
        .expect(200);
    let token = text_member(&tokens.json(), "refresh_token");
    let response = refresh(&unit, &token, Some(&cell_url("appcell"))).await;
    assert_eq!(oauth_error(&response), "invalid_client AN-0003");
}

#[tokio::test]
async fn clients_without_secret_do_not_refresh_where_tokens_are_not_replaced() {
    let unit = unit_with_accounts(|s| s.auth.refresh_token_reuse = TokenReuse::Always).await;
    let app = cell_url("appcell");
    let code = new_code(&unit, true).await;
    let tokens = redeem(&unit, &code, &app, Some(VERIFIER)).await.expect(200);
    let token = text_member(&tokens.json(), "refresh_token");
    let response = refresh(&unit, &token, Some(&app)).await;
    assert_eq!(oauth_error(&response), "invalid_client AN-0003");
}

#[tokio::test]
async fn other_grants_need_the_secret_of_a_named_client() {
    let unit = unit_with_accounts(|_| {}).await;
    let app = cell_url("appcell");
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", personium_testkit::PASSWORD),
        ("client_id", app.as_str()),
    ];
    let response = unit.request_token("c", &fields).await;
    assert_eq!(oauth_error(&response), "invalid_client AN-0003");
}
