//! Login with the ID token of an OpenID Connect provider.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use personium_model::settings::OidcProvider;
use personium_testkit::{TestResponse, TestUnit, text_member};
use personium_token::jwt::CellKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{oauth_error, unit_with_accounts};

const GRANT: &str = "urn:x-personium:oidc:test";

/// A provider on a port of this machine.
struct Provider {
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    discovery_requests: Arc<AtomicUsize>,
}

impl Provider {
    async fn start(key: &CellKey) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let keys = Arc::new(Mutex::new(vec![serde_json::to_value(key.jwk()).unwrap()]));
        let asked = Arc::new(AtomicUsize::new(0));
        let provider = Self {
            url: url.clone(),
            keys: keys.clone(),
            discovery_requests: asked.clone(),
        };
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap_or(0);
                let head = String::from_utf8_lossy(&head[..read]).into_owned();
                let body = if head.starts_with("GET /config ") {
                    asked.fetch_add(1, Ordering::SeqCst);
                    json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string()
                } else {
                    json!({"keys": *keys.lock().unwrap()}).to_string()
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        provider
    }
}

async fn unit_trusting(url: &str) -> TestUnit {
    let config_url = format!("{url}/config");
    let unit = unit_with_accounts(|s| {
        s.auth.account_types = vec!["oidc:test".to_owned()];
        s.auth.oidc_providers = vec![OidcProvider {
            config_url,
            trusted_client_ids: Some(vec!["our-app".to_owned()]),
            account_type: "oidc:test".to_owned(),
            account_name_key: "email".to_owned(),
            grant_type: GRANT.to_owned(),
        }];
    })
    .await;
    for json in [
        r#"{"Name":"me@op.example","Type":"oidc:test"}"#,
        r#"{"Name":"both@op.example","Type":"basic oidc:test"}"#,
        r#"{"Name":"basic@op.example"}"#,
        r#"{"Name":"off@op.example","Type":"oidc:test","Status":"deactivated"}"#,
        r#"{"Name":"new@op.example","Type":"oidc:test","Status":"passwordChangeRequired"}"#,
    ] {
        unit.create_account("c", json).await;
    }
    unit
}

fn claims(unit: &TestUnit, provider: &Provider, name: &str) -> Value {
    let now = unit.model.now_ms() / 1_000;
    json!({"iss": provider.url, "aud": "our-app", "iat": now, "exp": now + 300, "email": name})
}

async fn exchange_id_token(unit: &TestUnit, id_token: &str) -> TestResponse {
    unit.request_token("c", &[("grant_type", GRANT), ("id_token", id_token)])
        .await
}

fn sign(key: &CellKey, claims: &Value) -> String {
    key.sign(claims.to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn id_token_of_a_trusted_provider_logs_in_matching_accounts() {
    let key = CellKey::generate("k1").unwrap();
    let provider = Provider::start(&key).await;
    let unit = unit_trusting(&provider.url).await;
    for name in ["me@op.example", "both@op.example"] {
        let response = exchange_id_token(&unit, &sign(&key, &claims(&unit, &provider, name))).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let body = response.json();
        assert!(text_member(&body, "access_token").starts_with("AR~"));
        assert!(body.get("last_authenticated").is_none());
    }
    for name in [
        "basic@op.example",
        "off@op.example",
        "nobody@op.example",
        "ME@op.example",
    ] {
        let response = exchange_id_token(&unit, &sign(&key, &claims(&unit, &provider, name))).await;
        assert_eq!(oauth_error(&response), "invalid_grant AN-0017", "{name}");
    }
    let response = exchange_id_token(
        &unit,
        &sign(&key, &claims(&unit, &provider, "new@op.example")),
    )
    .await;
    assert_eq!(
        (response.status.as_u16(), oauth_error(&response).as_str()),
        (401, "invalid_grant AN-0023")
    );
    assert_eq!(
        provider.discovery_requests.load(Ordering::SeqCst),
        1,
        "keys are remembered"
    );
}

#[tokio::test]
async fn invalid_id_tokens_are_refused() {
    let (key, other) = (
        CellKey::generate("k1").unwrap(),
        CellKey::generate("k1").unwrap(),
    );
    let provider = Provider::start(&key).await;
    let unit = unit_trusting(&provider.url).await;
    let good = claims(&unit, &provider, "me@op.example");
    let missing = unit.request_token("c", &[("grant_type", GRANT)]).await;
    assert_eq!(oauth_error(&missing), "invalid_request PA-0001");
    let mut bad = vec![
        "x".to_owned(),
        sign(&other, &good),
        sign(&key, &good).replace('.', ""),
    ];
    // {"alg":"none"} and {"alg":"HS256","kid":"k1"}
    let token = sign(&key, &good);
    let payload = token.split('.').nth(1).unwrap();
    bad.push(format!("eyJhbGciOiJub25lIn0.{payload}."));
    bad.push(format!(
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIn0.{payload}.AAAA"
    ));
    for (name, value) in [
        ("iss", json!("http://other.example")),
        ("aud", json!("their-app")),
        ("exp", json!(1_600_000_000)),
        ("email", json!("")),
        ("email_verified", json!(false)),
    ] {
        let mut claims = good.clone();
        claims[name] = value;
        bad.push(sign(&key, &claims));
    }
    for token in bad {
        assert_eq!(
            oauth_error(&exchange_id_token(&unit, &token).await),
            "invalid_grant PA-0001",
            "{token}"
        );
    }
    assert_eq!(
        exchange_id_token(&unit, &sign(&key, &good)).await.status,
        200
    );
}

#[tokio::test]
async fn provider_keys_are_refetched_at_a_limited_rate() {
    let (old, new) = (
        CellKey::generate("k1").unwrap(),
        CellKey::generate("k2").unwrap(),
    );
    let provider = Provider::start(&old).await;
    let unit = unit_trusting(&provider.url).await;
    let good = claims(&unit, &provider, "me@op.example");
    assert_eq!(
        exchange_id_token(&unit, &sign(&old, &good)).await.status,
        200
    );
    for _ in 0..5 {
        let response = exchange_id_token(&unit, &sign(&new, &good)).await;
        assert_eq!(oauth_error(&response), "invalid_grant PA-0001");
    }
    assert_eq!(provider.discovery_requests.load(Ordering::SeqCst), 1);
    *provider.keys.lock().unwrap() = vec![serde_json::to_value(new.jwk()).unwrap()];
    unit.advance_clock(31_000);
    assert_eq!(
        exchange_id_token(&unit, &sign(&new, &good)).await.status,
        200
    );
    assert_eq!(provider.discovery_requests.load(Ordering::SeqCst), 2);
    assert_eq!(
        oauth_error(&exchange_id_token(&unit, &sign(&old, &good)).await),
        "invalid_grant PA-0001"
    );
}

#[tokio::test]
async fn unreachable_provider_gives_server_error() {
    let key = CellKey::generate("k1").unwrap();
    let unit = unit_trusting("http://127.0.0.1:1").await;
    let response = exchange_id_token(&unit, &sign(&key, &json!({}))).await;
    assert_eq!(
        (response.status.as_u16(), oauth_error(&response).as_str()),
        (500, "server_error PA-0001")
    );
}

#[tokio::test]
async fn grant_of_an_unconfigured_provider_is_unsupported() {
    let unit = unit_with_accounts(|_| {}).await;
    let response = exchange_id_token(&unit, "x").await;
    assert_eq!(oauth_error(&response), "unsupported_grant_type AN-0001");
}
