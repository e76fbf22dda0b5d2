//! Logging in with the ID token of an outside provider.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use personium_model::settings::OidcProvider;
use personium_token::jwt::CellKey;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{oauth, text, world};
use crate::harness::{Reply, World};

const GRANT: &str = "urn:x-personium:oidc:test";

/// A provider on a port of this machine.
struct Provider {
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
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
            asked: asked.clone(),
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

async fn trusting(url: &str) -> World {
    let config_url = format!("{url}/config");
    let world = world(|s| {
        s.auth.account_types = vec!["oidc:test".to_owned()];
        s.auth.oidc = vec![OidcProvider {
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
        world.account("c", json).await;
    }
    world
}

fn claims(world: &World, provider: &Provider, name: &str) -> Value {
    let now = world.unit.now_ms() / 1_000;
    json!({"iss": provider.url, "aud": "our-app", "iat": now, "exp": now + 300, "email": name})
}

async fn send(world: &World, id_token: &str) -> Reply {
    world
        .token("c", &[("grant_type", GRANT), ("id_token", id_token)])
        .await
}

fn signed(key: &CellKey, claims: &Value) -> String {
    key.sign(claims.to_string().as_bytes()).unwrap()
}

#[tokio::test]
async fn who_a_trusted_provider_knows_gets_in() {
    let key = CellKey::generate("k1").unwrap();
    let provider = Provider::start(&key).await;
    let world = trusting(&provider.url).await;
    for name in ["me@op.example", "both@op.example"] {
        let reply = send(&world, &signed(&key, &claims(&world, &provider, name))).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let body = reply.json();
        assert!(text(&body, "access_token").starts_with("AR~"));
        assert!(body.get("last_authenticated").is_none());
    }
    for name in [
        "basic@op.example",
        "off@op.example",
        "nobody@op.example",
        "ME@op.example",
    ] {
        let reply = send(&world, &signed(&key, &claims(&world, &provider, name))).await;
        assert_eq!(oauth(&reply), "invalid_grant AN-0017", "{name}");
    }
    let reply = send(
        &world,
        &signed(&key, &claims(&world, &provider, "new@op.example")),
    )
    .await;
    assert_eq!(
        (reply.status.as_u16(), oauth(&reply).as_str()),
        (401, "invalid_grant AN-0023")
    );
    assert_eq!(
        provider.asked.load(Ordering::SeqCst),
        1,
        "keys are remembered"
    );
}

#[tokio::test]
async fn a_token_that_is_not_good_in_every_way_is_refused() {
    let (key, other) = (
        CellKey::generate("k1").unwrap(),
        CellKey::generate("k1").unwrap(),
    );
    let provider = Provider::start(&key).await;
    let world = trusting(&provider.url).await;
    let good = claims(&world, &provider, "me@op.example");
    let missing = world.token("c", &[("grant_type", GRANT)]).await;
    assert_eq!(oauth(&missing), "invalid_request PA-0001");
    let mut bad = vec![
        "x".to_owned(),
        signed(&other, &good),
        signed(&key, &good).replace('.', ""),
    ];
    // {"alg":"none"} and {"alg":"HS256","kid":"k1"}
    let token = signed(&key, &good);
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
        bad.push(signed(&key, &claims));
    }
    for token in bad {
        assert_eq!(
            oauth(&send(&world, &token).await),
            "invalid_grant PA-0001",
            "{token}"
        );
    }
    assert_eq!(send(&world, &signed(&key, &good)).await.status, 200);
}

#[tokio::test]
async fn a_new_key_is_fetched_but_not_for_every_unknown_one() {
    let (old, new) = (
        CellKey::generate("k1").unwrap(),
        CellKey::generate("k2").unwrap(),
    );
    let provider = Provider::start(&old).await;
    let world = trusting(&provider.url).await;
    let good = claims(&world, &provider, "me@op.example");
    assert_eq!(send(&world, &signed(&old, &good)).await.status, 200);
    for _ in 0..5 {
        let reply = send(&world, &signed(&new, &good)).await;
        assert_eq!(oauth(&reply), "invalid_grant PA-0001");
    }
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
    *provider.keys.lock().unwrap() = vec![serde_json::to_value(new.jwk()).unwrap()];
    world.later(31_000);
    assert_eq!(send(&world, &signed(&new, &good)).await.status, 200);
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2);
    assert_eq!(
        oauth(&send(&world, &signed(&old, &good)).await),
        "invalid_grant PA-0001"
    );
}

#[tokio::test]
async fn a_provider_that_cannot_be_asked_is_the_servers_failure() {
    let key = CellKey::generate("k1").unwrap();
    let world = trusting("http://127.0.0.1:1").await;
    let reply = send(&world, &signed(&key, &json!({}))).await;
    assert_eq!(
        (reply.status.as_u16(), oauth(&reply).as_str()),
        (500, "server_error PA-0001")
    );
}

#[tokio::test]
async fn the_grant_of_a_provider_that_is_not_set_up_is_unknown() {
    let world = world(|_| {}).await;
    let reply = send(&world, "x").await;
    assert_eq!(oauth(&reply), "unsupported_grant_type AN-0001");
}
