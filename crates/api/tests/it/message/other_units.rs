//! Messages to cells of other units.

use std::sync::Arc;

use personium_token::saml;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::auth::{cell_url, unit_with_accounts};
use crate::harness::{refused, success};

/// Receives one request and sends a response; returns head and body of the request.
async fn answer_one(listener: Arc<TcpListener>, answer: String) -> (String, Value) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await.unwrap();
        read.extend_from_slice(&chunk[..count]);
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(body) = serde_json::from_str(body)
        {
            stream.write_all(answer.as_bytes()).await.unwrap();
            return (head.to_ascii_lowercase(), body);
        }
        assert!(count > 0, "{text}");
    }
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn message_to_another_unit_is_sent_with_a_token() {
    let unit = unit_with_accounts(|settings| settings.private_networks = true).await;
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    let to = format!("http://127.0.0.1:{port}/far/");
    let body = json!({"To": to, "Title": "t"}).to_string();

    let other = tokio::spawn(answer_one(listener.clone(), http("201 Created", "{}")));
    let sent = unit.post("c/__message/send", &body).await;
    let (head, got) = other.await.unwrap();
    assert!(
        head.starts_with("post /far/__message/port http/1.1"),
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
    let other = tokio::spawn(answer_one(listener, http("400 Bad Request", refusal)));
    let sent = unit.post("c/__message/send", &body).await;
    other.await.unwrap();
    let result = &sent.json()["d"]["results"]["Result"][0];
    assert_eq!(
        *result,
        json!({"To": to, "Code": "400", "Reason": "no thanks"})
    );
}

#[tokio::test]
async fn message_token_is_issued_by_the_cell_for_the_recipient() {
    let unit = unit_with_accounts(|settings| settings.private_networks = true).await;
    unit.grant_cell(&["p:root"]).await;
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0").await.unwrap());
    let port = listener.local_addr().unwrap().port();
    let to = format!("http://127.0.0.1:{port}/far/");
    let (sender, mut tokens) = tokio::sync::mpsc::channel(1);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = vec![0; 64 << 10];
        let count = stream.read(&mut read).await.unwrap();
        let head = String::from_utf8_lossy(&read[..count]).into_owned();
        let token = head
            .split("Bearer ")
            .nth(1)
            .or(head.split("bearer ").nth(1));
        let token = token.and_then(|rest| rest.split("\r\n").next());
        sender
            .send(token.unwrap_or_default().to_owned())
            .await
            .unwrap();
        stream
            .write_all(http("201 Created", "{}").as_bytes())
            .await
            .unwrap();
    });
    let token = unit.access_token("c").await;
    let body = json!({"To": to}).to_string();
    let response = unit.post_as(&token, "c/__message/send", &body).await;
    assert_eq!(response.outcome(), success(201));
    let text = tokens.recv().await.unwrap();
    let token = saml::verify(&text, unit.model.now_ms(), &unit.model.keys().trust_roots).unwrap();
    assert_eq!(token.issuer, cell_url("c"));
    assert_eq!(token.subject, cell_url("c"));
    assert_eq!(token.target, to);
    assert!(token.roles.is_empty());
    assert_eq!(token.scopes, ["root"]);
}

#[tokio::test]
async fn message_to_an_unreachable_recipient_is_not_stored() {
    let unit = unit_with_accounts(|settings| settings.private_networks = true).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let far = format!("http://127.0.0.1:{port}/far/");
    let body = json!({"To": format!("{},{far}", cell_url("d"))}).to_string();
    let response = unit.post("c/__message/send", &body).await;
    assert_eq!(response.outcome(), refused(500, "SM-0001"));
    assert!(unit.list_entities("c/__ctl/SentMessage").await.is_empty());
}

#[tokio::test]
async fn message_to_a_private_network_address_is_not_sent() {
    let unit = unit_with_accounts(|_| {}).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1", "localhost"] {
        let body = json!({"To": format!("http://{host}:{port}/far/")}).to_string();
        let response = unit.post("c/__message/send", &body).await;
        assert_eq!(response.outcome(), refused(500, "SM-0001"), "{host}");
    }
    let asked = tokio::time::timeout(std::time::Duration::from_millis(50), listener.accept());
    assert!(asked.await.is_err());
}
