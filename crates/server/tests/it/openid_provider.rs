//! Login with an identity provider of others: oidc-provider (Node), directly and through a proxy.

use std::time::{Duration, Instant, SystemTime};

use personium_testkit::{ProcessUnit, TestClient, TestResponse, free_port, text_member};
use serde_json::{Value, json};

use crate::external_programs::{NodeServer, run_node, run_python};

/// Settings that trust a provider; accounts are named by the claim `email`.
fn provider_settings(provider: &NodeServer) -> String {
    let issuer = provider.text("issuer");
    format!(
        "io.personium.plugin.oidc.test.enabled=true\n\
         io.personium.plugin.oidc.test.configURL={issuer}/.well-known/openid-configuration\n\
         io.personium.plugin.oidc.test.trustedClientIds=our-app brief-app\n\
         io.personium.plugin.oidc.test.accountType=oidc:test\n\
         io.personium.plugin.oidc.test.accountNameKey=email\n\
         io.personium.plugin.oidc.test.grantType=urn:x-personium:oidc:test\n"
    )
}

/// Starts a unit that trusts a provider, with a cell `ours`.
async fn start_unit(provider: &NodeServer) -> ProcessUnit {
    let settings = provider_settings(provider);
    let unit = crate::unit().settings(&settings).start();
    create_accounts(&unit).await;
    unit
}

/// Creates a cell `ours` with accounts of several kinds.
async fn create_accounts(unit: &TestClient) {
    let owner = unit.create_cell_with_owner("ours").await;
    owner.call("PUT", "ours/box/file", "mine").await;
    for account in [
        json!({"Name": "alice@op.example", "Type": "oidc:test"}),
        json!({"Name": "both@op.example", "Type": "basic oidc:test"}),
        json!({"Name": "basic@op.example"}),
        json!({"Name": "unverified@op.example", "Type": "oidc:test"}),
        json!({"Name": "off@op.example", "Type": "oidc:test", "Status": "deactivated"}),
    ] {
        unit.create("ours/__ctl/Account", &account.to_string())
            .await;
    }
    let alice = "Account('alice@op.example')";
    unit.link("ours", alice, "_Role", "Role('owner')").await;
}

/// Logs in at the provider as a user of a client; returns the ID token, its claims and forged ones.
fn log_in(provider: &NodeServer, client: &str, user: &str) -> Value {
    let issuer = provider.text("issuer");
    let input = json!({"issuer": issuer, "client": client, "user": user});
    run_node("openid_login.mjs", &input)
}

async fn exchange(unit: &TestClient, id_token: &Value) -> TestResponse {
    let fields = [
        ("grant_type", "urn:x-personium:oidc:test"),
        ("id_token", id_token.as_str().unwrap()),
    ];
    unit.request_token("ours", &fields).await
}

/// Exchanges an ID token that must be accepted; returns a client with the access token.
async fn expect_accepted(unit: &TestClient, id_token: &Value) -> TestClient {
    let response = exchange(unit, id_token).await.expect(200);
    unit.with_token(&text_member(&response.json(), "access_token"))
}

async fn expect_refused(unit: &TestClient, name: &str, id_token: &Value, error: &str) {
    let response = exchange(unit, id_token).await;
    assert_eq!(response.status, 400, "{name}: {}", response.text());
    assert_eq!(response.json()["error"], error, "{name}");
}

#[tokio::test]
async fn id_tokens_of_a_trusted_provider_log_in_and_all_others_are_refused() {
    let provider = NodeServer::start("openid_provider.mjs", &json!({}));
    let unit = start_unit(&provider).await;
    let brief = log_in(&provider, "brief-app", "alice");

    let alice = log_in(&provider, "our-app", "alice");
    let client = expect_accepted(&unit, &alice["idToken"]).await;
    let file = client.call("GET", "ours/box/file", "").await;
    assert_eq!(file.text(), "mine");
    let both = log_in(&provider, "our-app", "both");
    let both = expect_accepted(&unit, &both["idToken"]).await;
    let denied = both.request("GET", "ours/box/file").send().await;
    assert_eq!(denied.status, 403, "a login gives no role");

    for user in ["basic", "off", "unknown", "unverified"] {
        let token = log_in(&provider, "our-app", user);
        expect_refused(&unit, user, &token["idToken"], "invalid_grant").await;
    }
    let other = log_in(&provider, "other-app", "alice");
    expect_refused(&unit, "another client", &other["idToken"], "invalid_grant").await;
    for (name, token) in alice["forged"].as_object().unwrap() {
        expect_refused(&unit, name, token, "invalid_grant").await;
    }
    let expires = brief["claims"]["exp"].as_u64().unwrap();
    while SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() <= expires {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    expect_refused(&unit, "expired", &brief["idToken"], "invalid_grant").await;

    // Another issuer with the same keys.
    let input = json!({"jwks": provider.info["jwks"]});
    let twin = NodeServer::start("openid_provider.mjs", &input);
    let token = log_in(&twin, "our-app", "alice");
    expect_refused(&unit, "another issuer", &token["idToken"], "invalid_grant").await;
    expect_accepted(&unit, &alice["idToken"]).await;
}

#[tokio::test]
async fn changed_provider_keys_are_fetched() {
    let port = free_port();
    let start = || NodeServer::start("openid_provider.mjs", &json!({"port": port}));
    let provider = start();
    let unit = start_unit(&provider).await;
    let before = log_in(&provider, "our-app", "alice");
    expect_accepted(&unit, &before["idToken"]).await;
    drop(provider);
    // Cached keys are used while the provider is down.
    expect_accepted(&unit, &before["idToken"]).await;
    let provider = start();
    let after = log_in(&provider, "our-app", "alice");
    // Keys are fetched for an unknown key at most every half minute.
    let until = Instant::now() + Duration::from_secs(120);
    while exchange(&unit, &after["idToken"]).await.status != 200 {
        assert!(Instant::now() < until, "the new key is not fetched");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    expect_refused(&unit, "the old key", &before["idToken"], "invalid_grant").await;
}

#[tokio::test]
async fn unreachable_provider_gives_server_error() {
    let provider = NodeServer::start("openid_provider.mjs", &json!({}));
    let token = log_in(&provider, "our-app", "alice");
    let unit = start_unit(&provider).await;
    drop(provider);
    let response = exchange(&unit, &token["idToken"]).await.expect(500);
    assert_eq!(response.json()["error"], "server_error");
}

#[tokio::test]
async fn provider_is_reached_through_a_proxy_with_credentials() {
    const NAME: &str = "op.outside.example";
    let keys = tempfile::tempdir().unwrap();
    let path = |file: &str| keys.path().join(file).to_str().unwrap().to_owned();
    let input = json!({"folder": keys.path(), "units": {"provider": NAME}});
    run_python("make_keys.py", &input);
    let input = json!({"name": NAME, "user": "unit", "password": "pass:word"});
    let proxy = NodeServer::start("proxy.mjs", &input);
    let start_unit = async |provider: &NodeServer, password: &str| {
        let proxy_settings = format!(
            "io.personium.core.proxy.host=localhost\nio.personium.core.proxy.port={}\n\
             io.personium.core.proxy.user=unit\nio.personium.core.proxy.pswd={password}\n",
            proxy.port("port")
        );
        let unit = crate::unit()
            .settings(&provider_settings(provider))
            .settings(&proxy_settings)
            .environment("SSL_CERT_FILE", &path("root.crt"))
            .start();
        create_accounts(&unit).await;
        unit
    };
    let tls = json!({"key": path("provider.key"), "certificate": path("provider.crt")});
    for (scheme, input, way) in [
        (
            "http",
            json!({"issuer": format!("http://{NAME}:PORT")}),
            "whole URL",
        ),
        (
            "https",
            json!({"issuer": format!("https://{NAME}:PORT"), "tls": tls}),
            "CONNECT",
        ),
    ] {
        let provider = NodeServer::start("openid_provider.mjs", &input);
        let unit = start_unit(&provider, "pass:word").await;
        let token = run_python(
            "sign_id_token.py",
            &json!({"jwks": provider.info["jwks"], "claims": {
                "iss": provider.info["issuer"], "aud": "our-app", "email": "alice@op.example",
            }}),
        );
        expect_accepted(&unit, &token["idToken"]).await;

        let with_wrong_password = start_unit(&provider, "wrong").await;
        let response = exchange(&with_wrong_password, &token["idToken"]).await;
        assert_eq!(response.status, 500, "{scheme}: {}", response.text());

        let requests = proxy_requests(&proxy).await;
        let count = |known: bool| {
            requests
                .iter()
                .filter(|r| r["way"] == way && r["host"] == NAME && r["known"] == known)
                .count()
        };
        assert!(
            count(true) > 0 && count(false) > 0,
            "{scheme}: {requests:?}"
        );
    }
}

/// The requests that the proxy received.
async fn proxy_requests(proxy: &NodeServer) -> Vec<Value> {
    let list = TestClient::for_port(proxy.port("requestsPort"));
    let list = list.call("GET", "/", "").await;
    list.json().as_array().unwrap().clone()
}
