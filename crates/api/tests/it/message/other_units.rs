//! Messages to cells of other units.

use personium_testkit::{StubServer, cell_url, refused, success};
use personium_token::saml;
use serde_json::json;

use crate::auth::unit_with_accounts;
use crate::message::grant_cell;

#[tokio::test]
async fn message_to_another_unit_is_sent_with_a_token() {
    let unit = unit_with_accounts(|settings| settings.allow_private_networks = true).await;
    let server = StubServer::start().await;
    let to = format!("{}far/", server.url());
    let body = json!({"To": to, "Title": "t"}).to_string();

    let (received, sent) = tokio::join!(
        server.receive("201 Created", "{}"),
        unit.post("c/__message/send", &body)
    );
    let (head, got) = (received.head, received.body);
    assert!(
        head.starts_with("POST /far/__message/port HTTP/1.1"),
        "{head}"
    );
    assert_eq!(got["From"], cell_url("c"));
    assert_eq!(got["__id"], sent.json()["d"]["results"]["__id"]);
    let result = &sent.json()["d"]["results"]["Result"][0];
    assert_eq!(
        *result,
        json!({"To": to, "Code": "201", "Reason": "Created."})
    );

    let refusal = r#"{"code":"PR400-XX-0001","message":{"lang":"en","value":"no thanks"}}"#;
    let (_, sent) = tokio::join!(
        server.receive("400 Bad Request", refusal),
        unit.post("c/__message/send", &body)
    );
    let result = &sent.json()["d"]["results"]["Result"][0];
    assert_eq!(
        *result,
        json!({"To": to, "Code": "400", "Reason": "no thanks"})
    );
}

#[tokio::test]
async fn message_token_is_issued_by_the_cell_for_the_recipient() {
    let unit = unit_with_accounts(|settings| settings.allow_private_networks = true).await;
    grant_cell(&unit, &["p:root"]).await;
    let server = StubServer::start().await;
    let to = format!("{}far/", server.url());
    let token = unit.access_token("c").await;
    let body = json!({"To": to}).to_string();
    let (received, response) = tokio::join!(
        server.receive("201 Created", "{}"),
        unit.post_as(&token, "c/__message/send", &body)
    );
    assert_eq!(response.outcome(), success(201));
    let authorization = received.header("authorization").unwrap();
    let text = authorization.strip_prefix("Bearer ").unwrap();
    let token = saml::verify(
        text,
        unit.model.now_ms(),
        &unit.model.keys().certificates().trust_roots,
    )
    .unwrap();
    assert_eq!(token.issuer, cell_url("c"));
    assert_eq!(token.subject, cell_url("c"));
    assert_eq!(token.target, to);
    assert!(token.roles.is_empty());
    assert_eq!(token.scopes, ["root"]);
}

#[tokio::test]
async fn message_to_a_private_network_address_is_not_sent() {
    let unit = unit_with_accounts(|_| {}).await;
    let server = StubServer::start().await;
    let port = server.port();
    for host in ["127.0.0.1", "localhost"] {
        let body = json!({"To": format!("http://{host}:{port}/far/")}).to_string();
        let response = unit.post("c/__message/send", &body).await;
        assert_eq!(response.outcome(), refused(500, "SM-0001"), "{host}");
    }
    let asked = tokio::time::timeout(std::time::Duration::from_millis(50), server.accept());
    assert!(asked.await.is_err());
}
