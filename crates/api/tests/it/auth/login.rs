//! Logging in: what failures look like, and what they lead to.

use std::time::Duration;

use base64::Engine;
use personium_model::settings::LoginRateLimit;
use serde_json::json;

use super::{PASSWORD, cell_url, form, oauth, text, world};
use crate::harness::{Reply, World, done, refused};

async fn attempt(world: &World, name: &str, password: &str) -> Reply {
    let fields = [
        ("grant_type", "password"),
        ("username", name),
        ("password", password),
    ];
    world.token("c", &fields).await
}

#[tokio::test]
async fn every_failure_looks_the_same() {
    let world = world(|s| s.auth.account_types = vec!["oidc:x".to_owned()]).await;
    world
        .account("c", r#"{"Name":"off","Status":"deactivated"}"#)
        .await;
    world
        .account("c", r#"{"Name":"far","IPAddressRange":"10.0.0.1"}"#)
        .await;
    world
        .account("c", r#"{"Name":"oidc","Type":"oidc:x"}"#)
        .await;
    world.make("c/__ctl/Account", r#"{"Name":"blank"}"#).await;
    let expected = attempt(&world, "nobody", PASSWORD).await;
    assert_eq!(oauth(&expected), "invalid_grant AN-0017");
    for (name, password) in [
        ("me", "password2"),
        ("me", ""),
        ("off", PASSWORD),
        ("far", PASSWORD),
        ("oidc", PASSWORD),
        ("blank", ""),
        ("blank", PASSWORD),
        ("me' or '1'='1", PASSWORD),
        ("Me", PASSWORD),
    ] {
        let reply = attempt(&world, name, password).await;
        assert_eq!(reply.status, expected.status, "{name}");
        assert_eq!(reply.text(), expected.text(), "{name}");
        let names = |r: &Reply| r.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&reply), names(&expected), "{name}");
    }
}

#[tokio::test]
async fn parameters_are_checked() {
    let world = world(|_| {}).await;
    let base = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    for (extra, error) in [
        (("expires_in", "0"), "invalid_request AN-0016"),
        (("expires_in", "3601"), "invalid_request AN-0016"),
        (
            ("refresh_token_expires_in", "86401"),
            "invalid_request AN-0016",
        ),
        (("p_target", "no url"), "invalid_request AN-0002"),
        (
            ("p_target", "http://a.example/\r\nX: y"),
            "invalid_request AN-0002",
        ),
        (("p_owner", "true"), "invalid_grant AN-0014"),
    ] {
        let mut fields = base.to_vec();
        fields.push(extra);
        assert_eq!(oauth(&world.token("c", &fields).await), error, "{extra:?}");
    }
    for (fields, error) in [
        (
            &[("grant_type", "password"), ("username", "me")][..],
            "invalid_request AN-0016",
        ),
        (&[("username", "me")], "unsupported_grant_type AN-0001"),
        (
            &[("grant_type", "client_credentials")],
            "unsupported_grant_type AN-0001",
        ),
        (&[], "invalid_request AN-0016"),
    ] {
        assert_eq!(oauth(&world.token("c", fields).await), error, "{fields:?}");
    }
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(
            world.code(method, "c/__token").await,
            refused(405, "MC-0001")
        );
    }
}

#[tokio::test]
async fn after_a_failure_one_must_wait() {
    let world = world(|s| s.auth.interval_seconds = 1).await;
    assert_eq!(attempt(&world, "me", "wrong1").await.status, 400);
    assert_eq!(attempt(&world, "me", PASSWORD).await.status, 400);
    world.account("c", r#"{"Name":"other"}"#).await;
    assert_eq!(attempt(&world, "other", PASSWORD).await.status, 200);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(attempt(&world, "me", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn failures_lock_an_account_and_success_counts_anew() {
    let world = world(|s| {
        s.auth.lock_count = 3;
        s.auth.lock_seconds = 60;
    })
    .await;
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(attempt(&world, "me", "wrong1").await.status, 400);
        }
        assert_eq!(attempt(&world, "me", PASSWORD).await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(attempt(&world, "me", "wrong1").await.status, 400);
    }
    assert_eq!(
        oauth(&attempt(&world, "me", PASSWORD).await),
        "invalid_grant AN-0017"
    );
    let other = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    assert_eq!(
        world.token("d", &other).await.status,
        200,
        "another cell's account"
    );
}

#[tokio::test]
async fn many_guesses_at_once_count_one_by_one() {
    let world = world(|s| {
        s.auth.lock_count = 3;
        s.auth.lock_seconds = 60;
    })
    .await;
    let guesses = (0..12).map(|n| {
        let world = world.clone();
        tokio::spawn(async move {
            let guess = if n == 11 {
                PASSWORD.to_owned()
            } else {
                format!("wrong{n}")
            };
            attempt(&world, "me", &guess).await.status
        })
    });
    for guess in guesses.collect::<Vec<_>>() {
        assert_eq!(guess.await.unwrap(), 400);
    }
}

#[tokio::test]
async fn where_from_decides() {
    let world = world(|_| {}).await;
    let body = r#"{"Name":"near","IPAddressRange":"10.0.0.1,192.168.1.0/24"}"#;
    world.account("c", body).await;
    let fields = [
        ("grant_type", "password"),
        ("username", "near"),
        ("password", PASSWORD),
    ];
    for (from, status) in [
        (Some("10.0.0.1"), 200),
        (Some("192.168.1.9, 10.9.9.9"), 200),
        (Some("10.9.9.9, 10.0.0.1"), 400),
        (Some("nonsense"), 400),
        (None, 400),
    ] {
        let mut ask = world.anybody("POST", "c/__token");
        if let Some(from) = from {
            ask = ask.with("x-forwarded-for", from);
        }
        assert_eq!(
            ask.text(&form(&fields)).send().await.status,
            status,
            "{from:?}"
        );
    }
}

#[tokio::test]
async fn a_client_cannot_say_itself_where_it_is() {
    let world = world(|_| {}).await;
    let body = r#"{"Name":"near","IPAddressRange":"203.0.113.7"}"#;
    world.account("c", body).await;
    let fields = [
        ("grant_type", "password"),
        ("username", "near"),
        ("password", PASSWORD),
    ];
    let told = "x-forwarded-for";
    for (headers, status) in [
        (vec![(told, "203.0.113.7")], 200),
        (vec![(told, "198.51.100.2, 203.0.113.7")], 200),
        (vec![(told, "203.0.113.7, 10.0.0.2")], 200),
        // What the client wrote stands before what the proxy has added.
        (vec![(told, "203.0.113.7, 198.51.100.2")], 400),
        (vec![(told, "203.0.113.7"), (told, "198.51.100.2")], 400),
        (
            vec![
                (told, "198.51.100.2"),
                ("x-override", "X-Forwarded-For: 203.0.113.7"),
            ],
            400,
        ),
    ] {
        let ask = headers
            .iter()
            .fold(world.anybody("POST", "c/__token"), |ask, (name, value)| {
                ask.with(name, value)
            });
        let reply = ask.text(&form(&fields)).send().await;
        assert_eq!(reply.status, status, "{headers:?}");
    }
}

#[tokio::test]
async fn the_history_tells_of_the_time_before() {
    let world = world(|_| {}).await;
    let first = attempt(&world, "me", PASSWORD).await.json();
    assert_eq!(
        (&first["last_authenticated"], &first["failed_count"]),
        (&json!(null), &json!(0))
    );
    attempt(&world, "me", "wrong1").await;
    attempt(&world, "me", "wrong2").await;
    let second = attempt(&world, "me", PASSWORD).await.json();
    assert!(second["last_authenticated"].as_i64().unwrap() > 1_700_000_000_000);
    assert_eq!(second["failed_count"], json!(2));
    let third = attempt(&world, "me", PASSWORD).await.json();
    assert_eq!(third["failed_count"], json!(0));
    assert!(third["last_authenticated"].as_i64() > second["last_authenticated"].as_i64());
}

#[tokio::test]
async fn who_must_change_the_password_can_do_nothing_else() {
    let world = world(|_| {}).await;
    world
        .account("c", r#"{"Name":"new","Status":"passwordChangeRequired"}"#)
        .await;
    let reply = attempt(&world, "new", PASSWORD).await;
    assert_eq!(reply.status, 401);
    assert_eq!(oauth(&reply), "invalid_grant AN-0023");
    let realm = format!("Basic realm=\"{}\"", cell_url("c"));
    assert_eq!(reply.header("www-authenticate"), Some(realm.as_str()));
    let body = reply.json();
    assert_eq!(text(&body, "url"), cell_url("c") + "__mypassword");
    let token = text(&body, "access_token");
    world.put("c/b/f", "x").await;
    world.grant_all("c/b", &["D:read"]).await;
    assert_eq!(
        world.with_token("GET", "c/b/f", &token).await,
        refused(401, "AU-0012")
    );
    assert_eq!(
        world.with_token("GET", "c/__ctl/Role", &token).await,
        refused(403, "AU-0002")
    );
    let change = async |password: Option<&str>| {
        let ask = world
            .anybody("PUT", "c/__mypassword")
            .with("authorization", &format!("Bearer {token}"));
        let ask = match password {
            Some(password) => ask.with("x-personium-credential", password),
            None => ask,
        };
        ask.send().await.outcome()
    };
    assert_eq!(change(None).await, refused(400, "AU-0003"));
    for bad in ["", "short", "with space"] {
        assert_eq!(change(Some(bad)).await, refused(400, "AU-0001"), "{bad}");
    }
    assert_eq!(change(Some("password2")).await, done(204));
    assert_eq!(attempt(&world, "new", "password2").await.status, 200);
    assert_eq!(attempt(&world, "new", PASSWORD).await.status, 400);
}

#[tokio::test]
async fn only_accounts_change_their_own_password() {
    let world = world(|_| {}).await;
    let put = async |value: Option<&str>| {
        let mut ask = world
            .anybody("PUT", "c/__mypassword")
            .with("x-personium-credential", "password2");
        if let Some(value) = value {
            ask = ask.with("authorization", value);
        }
        ask.send().await.outcome()
    };
    let bearer = |token: &str| format!("Bearer {token}");
    let narrow = world.login("c", &[("scope", "social")]).await;
    let visitor = world.trans("d", "c").await;
    assert_eq!(put(None).await, refused(401, "AU-0001"));
    assert_eq!(
        put(Some("Basic bWU6cGFzc3dvcmQx")).await,
        refused(401, "AU-0001")
    );
    assert_eq!(put(Some("Bearer x")).await, refused(401, "AU-0006"));
    assert_eq!(put(Some("Bearer master")).await, refused(403, "AU-0002"));
    assert_eq!(put(Some(&bearer(&visitor))).await, refused(403, "AU-0002"));
    assert_eq!(
        put(Some(&bearer(&text(&narrow, "access_token")))).await,
        refused(403, "AU-0007")
    );
    let wide = world.login("c", &[("scope", "auth")]).await;
    assert_eq!(
        put(Some(&bearer(&text(&wide, "access_token")))).await,
        done(204)
    );
}

#[tokio::test]
async fn scopes_are_what_was_asked_and_may_be_had() {
    let world = world(|s| s.auth.scope_ropc = vec!["auth".to_owned(), "message".to_owned()]).await;
    world.make("c/__ctl/Role", r#"{"Name":"r"}"#).await;
    let role = cell_url("c") + "__role/__/r";
    for (asked, granted) in [
        ("", Some("auth message")),
        ("auth", Some("auth")),
        ("auth-read auth-read", Some("auth-read")),
        ("root social nonsense", None),
        ("openid", Some("openid")),
        (role.as_str(), Some(role.as_str())),
        ("read", None),
    ] {
        let body = world.login("c", &[("scope", asked)]).await;
        assert_eq!(body["scope"].as_str(), granted, "{asked}");
    }
    let unknown = cell_url("c") + "__role/__/unknown";
    let foreign = cell_url("d") + "__role/__/r";
    for bad in [unknown.as_str(), &foreign, "http://x"] {
        let fields = [
            ("grant_type", "password"),
            ("username", "me"),
            ("password", PASSWORD),
            ("scope", bad),
        ];
        assert_eq!(
            world.token("c", &fields).await.outcome(),
            refused(400, "DV-0004"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn spraying_names_tells_nothing_and_leaves_room_for_other_cells() {
    let world = world(|s| {
        s.auth.hash_threads = Some(1);
        s.auth.interval_seconds = 1;
        s.auth.login_rate_limit.burst = 0;
    })
    .await;
    let spray = (0..400).map(|n| {
        let world = world.clone();
        tokio::spawn(async move {
            let reply = attempt(&world, &format!("name{n}"), PASSWORD).await;
            (reply.status.as_u16(), reply.text())
        })
    });
    let spray: Vec<_> = spray.collect();
    let other = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    assert_eq!(world.token("d", &other).await.status, 200);
    for attempt in spray {
        let (status, body) = attempt.await.unwrap();
        let refused = status == 400 && body.contains("PR400-AN-0017");
        let busy = status == 503 && body.contains("PR503-SV-0002");
        assert!(refused || busy, "{status} {body}");
    }
}

#[tokio::test]
async fn spraying_slows_only_the_address_that_it_comes_from() {
    let world = world(|s| {
        s.auth.login_rate_limit = LoginRateLimit {
            burst: 20,
            per_minute: 6,
        };
    })
    .await;
    let from = async |address: &str, name: &str, password: &str| {
        let fields = [
            ("grant_type", "password"),
            ("username", name),
            ("password", password),
        ];
        let ask = world
            .anybody("POST", "c/__token")
            .with("x-forwarded-for", address);
        ask.text(&form(&fields)).send().await
    };
    for attempt in 0..20 {
        let reply = from("192.0.2.1", &format!("user{attempt}"), "wrong1").await;
        assert_eq!(oauth(&reply), "invalid_grant AN-0017", "{attempt}");
    }
    for (name, password) in [("user99", "wrong1"), ("me", PASSWORD)] {
        let reply = from("192.0.2.1", name, password).await;
        assert_eq!(reply.status, 429, "{}", reply.text());
        assert_eq!(oauth(&reply), "temporarily_unavailable AU-0001");
        let seconds: u32 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=10).contains(&seconds), "{seconds}");
    }
    // The same address gets no further by other ways: Basic, the form, another cell.
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("me:{PASSWORD}"));
    let ask = world
        .anybody("GET", "c/b/f")
        .with("authorization", &format!("Basic {pair}"));
    let reply = ask.with("x-forwarded-for", "192.0.2.1").send().await;
    assert_eq!(reply.outcome(), refused(429, "AU-0001"));
    let fields = [
        ("response_type", "code"),
        ("client_id", "http://unit.example/appcell/"),
        ("redirect_uri", "http://unit.example/appcell/back"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    let ask = world
        .anybody("POST", "c/__authz")
        .with("x-forwarded-for", "192.0.2.1");
    let reply = ask.text(&form(&fields)).send().await;
    assert!(reply.header("location").unwrap().contains("PS-AU-0004"));
    let ask = world
        .anybody("POST", "d/__token")
        .with("x-forwarded-for", "192.0.2.1");
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    assert_eq!(ask.text(&form(&fields)).send().await.status, 429);
    // Everybody else logs in, and so does this address when it has waited.
    assert_eq!(from("192.0.2.2", "me", PASSWORD).await.status, 200);
    assert_eq!(from("nonsense", "me", PASSWORD).await.status, 200);
    world.later(10_000);
    assert_eq!(from("192.0.2.1", "me", PASSWORD).await.status, 200);
    assert_eq!(from("192.0.2.1", "me", PASSWORD).await.status, 200);
    assert_eq!(from("192.0.2.1", "me", "wrong1").await.status, 400);
    assert_eq!(from("192.0.2.1", "me", PASSWORD).await.status, 429);
}

/// Whether an account, or a name without one, waits after a failure.
async fn waits(world: &World, name: &str) -> bool {
    let context = world.unit.find_cell("c").await.unwrap().unwrap();
    let whose = match context.find_account(name).await.unwrap() {
        Some(known) => known.id.clone(),
        None => name
            .bytes()
            .fold("?".to_owned(), |all, b| format!("{all}{b:02x}")),
    };
    let key = format!("login-wait/{}/{whose}", context.cell().id);
    world.unit.cache().get(&key).await.unwrap().is_some()
}

#[tokio::test]
async fn a_failure_starts_the_same_wait_whoever_is_named_and_by_every_way() {
    let world = world(|s| {
        s.auth.interval_seconds = 60;
        s.auth.account_types = vec!["oidc:x".to_owned()];
    })
    .await;
    for name in ["known", "unknown", "other"] {
        if name != "unknown" {
            let kind = if name == "other" { "oidc:x" } else { "basic" };
            let body = format!(r#"{{"Name":"{name}","Type":"{kind}"}}"#);
            world.account("c", &body).await;
        }
        assert!(!waits(&world, name).await, "{name}");
        assert_eq!(attempt(&world, name, "wrong1").await.status, 400);
        assert!(waits(&world, name).await, "{name}");
    }
    for name in ["me", "nobody"] {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:wrong1"));
        let ask = world.anybody("GET", "c/b/");
        let reply = ask.with("authorization", &format!("Basic {pair}")).send();
        assert_eq!(reply.await.outcome(), refused(401, "AU-0011"));
        assert!(waits(&world, name).await, "{name}");
    }
}
