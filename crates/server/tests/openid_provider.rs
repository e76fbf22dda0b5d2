//! Logging in with an outside provider of OpenID Connect: oidc-provider (Node), directly and through a proxy of others.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test ends with the first surprise"
)]

#[path = "real_unit/clients.rs"]
mod clients;
#[path = "real_unit/process.rs"]
mod process;

use std::time::{Duration, Instant};

use clients::{Server, node, python};
use process::{Answer, Client, Scratch, Unit};
use serde_json::{Value, json};

/// Settings that trust a provider; people are known by their address.
fn trusting(config_url: &str) -> String {
    format!(
        "io.personium.plugin.oidc.test.enabled=true\n\
         io.personium.plugin.oidc.test.configURL={config_url}\n\
         io.personium.plugin.oidc.test.trustedClientIds=our-app brief-app\n\
         io.personium.plugin.oidc.test.accountType=oidc:test\n\
         io.personium.plugin.oidc.test.accountNameKey=email\n\
         io.personium.plugin.oidc.test.grantType=urn:x-personium:oidc:test\n"
    )
}

fn discovery(provider: &Server) -> String {
    format!(
        "{}/.well-known/openid-configuration",
        provider.text("issuer")
    )
}

/// A cell `ours` with people of several kinds.
fn with_people(unit: &Unit) {
    unit.cell_with_owner("ours")
        .made("PUT", "/ours/box/file", "mine");
    let mut admin = unit.admin();
    for account in [
        json!({"Name": "alice@op.example", "Type": "oidc:test"}),
        json!({"Name": "both@op.example", "Type": "basic oidc:test"}),
        json!({"Name": "basic@op.example"}),
        json!({"Name": "unverified@op.example", "Type": "oidc:test"}),
        json!({"Name": "off@op.example", "Type": "oidc:test", "Status": "deactivated"}),
    ] {
        admin.made("POST", "/ours/__ctl/Account", &account.to_string());
    }
    let role = format!("{{\"uri\":\"{}/ours/__ctl/Role('owner')\"}}", unit.url());
    admin.made(
        "POST",
        "/ours/__ctl/Account('alice@op.example')/$links/_Role",
        &role,
    );
}

/// What a user of a client of the provider gets: the ID token and forged ones.
fn log_in(provider: &Server, client: &str, user: &str) -> Value {
    let issuer = provider.text("issuer");
    node(
        "openid_login.mjs",
        &json!({"issuer": issuer, "client": client, "user": user}),
    )
}

fn exchange(unit: &Unit, id_token: &str) -> Answer {
    let form = format!("grant_type=urn%3Ax-personium%3Aoidc%3Atest&id_token={id_token}");
    let mut client = Client::new(unit.port, "");
    client
        .send("POST", "/ours/__token", &[], form.as_bytes())
        .unwrap()
}

fn accepted(unit: &Unit, id_token: &Value) -> Client {
    let answer = exchange(unit, id_token.as_str().unwrap());
    assert_eq!(answer.status, 200, "{}", answer.text());
    Client::new(unit.port, answer.json()["access_token"].as_str().unwrap())
}

fn refused(unit: &Unit, what: &str, id_token: &Value, error: &str) {
    let answer = exchange(unit, id_token.as_str().unwrap());
    assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    assert_eq!(answer.json()["error"], error, "{what}");
}

#[test]
fn people_of_a_trusted_provider_log_in_and_nobody_else() {
    let provider = Server::start("openid_provider.mjs", &json!({}));
    let unit = Unit::start_with("openid", &trusting(&discovery(&provider)));
    with_people(&unit);
    let brief = log_in(&provider, "brief-app", "alice");

    let alice = log_in(&provider, "our-app", "alice");
    let file = accepted(&unit, &alice["idToken"]).made("GET", "/ours/box/file", "");
    assert_eq!(file.text(), "mine");
    let both = log_in(&provider, "our-app", "both");
    let mut both = accepted(&unit, &both["idToken"]);
    let denied = both.send("GET", "/ours/box/file", &[], b"").unwrap();
    assert_eq!(
        denied.status,
        403,
        "logging in gives no role: {}",
        denied.text()
    );

    for user in ["basic", "off", "unknown", "unverified"] {
        let token = log_in(&provider, "our-app", user);
        refused(&unit, user, &token["idToken"], "invalid_grant");
    }
    let other = log_in(&provider, "other-app", "alice");
    refused(&unit, "another client", &other["idToken"], "invalid_grant");
    for (what, token) in alice["forged"].as_object().unwrap() {
        refused(&unit, what, token, "invalid_grant");
    }
    let expires = brief["claims"]["exp"].as_u64().unwrap();
    while std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs()
        <= expires
    {
        std::thread::sleep(Duration::from_millis(100));
    }
    refused(&unit, "expired", &brief["idToken"], "invalid_grant");

    // Another issuer, though it has the same keys.
    let twin = Server::start(
        "openid_provider.mjs",
        &json!({"jwks": provider.told["jwks"]}),
    );
    let token = log_in(&twin, "our-app", "alice");
    refused(&unit, "another issuer", &token["idToken"], "invalid_grant");
    accepted(&unit, &alice["idToken"]);
}

#[test]
fn keys_that_a_provider_changes_are_followed() {
    let provider = Server::start("openid_provider.mjs", &json!({}));
    let unit = Unit::start_with("openid-keys", &trusting(&discovery(&provider)));
    with_people(&unit);
    let before = log_in(&provider, "our-app", "alice");
    accepted(&unit, &before["idToken"]);
    let port = provider.told["port"].clone();
    drop(provider);
    // It is down for a while; what is known of it still counts.
    accepted(&unit, &before["idToken"]);
    let provider = Server::start("openid_provider.mjs", &json!({"port": port}));
    let after = log_in(&provider, "our-app", "alice");
    // Unknown keys are not asked for more often than every half minute.
    let until = Instant::now() + Duration::from_secs(120);
    while exchange(&unit, after["idToken"].as_str().unwrap()).status != 200 {
        assert!(Instant::now() < until, "the new key is not fetched");
        std::thread::sleep(Duration::from_millis(500));
    }
    refused(&unit, "the old key", &before["idToken"], "invalid_grant");
}

#[test]
fn a_provider_that_cannot_be_asked_is_the_servers_trouble() {
    let provider = Server::start("openid_provider.mjs", &json!({}));
    let token = log_in(&provider, "our-app", "alice");
    let unit = Unit::start_with("openid-gone", &trusting(&discovery(&provider)));
    with_people(&unit);
    drop(provider);
    let answer = exchange(&unit, token["idToken"].as_str().unwrap());
    assert_eq!(answer.status, 500, "{}", answer.text());
    assert_eq!(answer.json()["error"], "server_error");
}

#[test]
fn a_provider_behind_a_proxy_is_asked_through_it() {
    const NAME: &str = "op.outside.example";
    let keys = Scratch::new("openid-tls");
    let path = |file: &str| keys.path().join(file).to_str().unwrap().to_owned();
    python(
        "make_keys.py",
        &json!({"folder": keys.path(), "units": {"provider": NAME}}),
    );
    let proxy = Server::start(
        "proxy.mjs",
        &json!({"name": NAME, "user": "unit", "password": "pass:word"}),
    );
    let proxied = |password: &str| {
        format!(
            "io.personium.core.proxy.host=localhost\nio.personium.core.proxy.port={}\n\
             io.personium.core.proxy.user=unit\nio.personium.core.proxy.pswd={password}\n",
            proxy.told["port"]
        )
    };
    let tls = json!({"key": path("provider.key"), "certificate": path("provider.crt")});
    for (scheme, given, way) in [
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
        let provider = Server::start("openid_provider.mjs", &given);
        let settings = trusting(&discovery(&provider)) + &proxied("pass:word");
        let unit = Unit::start_with_environment(
            "openid-proxy",
            &settings,
            &[("SSL_CERT_FILE", &path("root.crt"))],
        );
        with_people(&unit);
        let token = python(
            "sign_id_token.py",
            &json!({"jwks": provider.told["jwks"], "claims": {
                "iss": provider.told["issuer"], "aud": "our-app", "email": "alice@op.example",
            }}),
        );
        accepted(&unit, &token["idToken"]);

        let unknown = unit_without_password(&provider, &proxied("wrong"), &path("root.crt"));
        let answer = exchange(&unknown, token["idToken"].as_str().unwrap());
        assert_eq!(answer.status, 500, "{scheme}: {}", answer.text());

        let asked = asked(&proxy);
        let of_this = |known: bool| {
            asked
                .iter()
                .filter(|a| a["way"] == way && a["host"] == NAME && a["known"] == known)
                .count()
        };
        assert!(
            of_this(true) > 0 && of_this(false) > 0,
            "{scheme}: {asked:?}"
        );
    }
}

fn unit_without_password(provider: &Server, proxy: &str, root: &str) -> Unit {
    let settings = trusting(&discovery(provider)) + proxy;
    let unit =
        Unit::start_with_environment("openid-refused", &settings, &[("SSL_CERT_FILE", root)]);
    with_people(&unit);
    unit
}

/// What the proxy was asked so far.
fn asked(proxy: &Server) -> Vec<Value> {
    let port = u16::try_from(proxy.told["toldPort"].as_u64().unwrap()).unwrap();
    let told = Client::new(port, "").made("GET", "/", "");
    told.json().as_array().unwrap().clone()
}
