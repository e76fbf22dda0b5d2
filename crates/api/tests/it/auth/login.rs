//! The password grant: failures, delays, locks, rate limits, scopes.

use std::time::Duration;

use base64::Engine;
use personium_model::credentials::LoginRateLimit;
use personium_testkit::{
    PASSWORD, TestResponse, TestUnit, cell_url, encode_form, refused, success, text_member,
};
use serde_json::json;

use super::{oauth_error, unit_with_accounts};

async fn attempt_login(unit: &TestUnit, name: &str, password: &str) -> TestResponse {
    let fields = [
        ("grant_type", "password"),
        ("username", name),
        ("password", password),
    ];
    unit.request_token("c", &fields).await
}

#[tokio::test]
async fn failed_logins_have_identical_responses() {
    let unit = unit_with_accounts(|s| s.auth.account_types = vec!["oidc:x".to_owned()]).await;
    unit.create_account("c", r#"{"Name":"off","Status":"deactivated"}"#)
        .await;
    unit.create_account("c", r#"{"Name":"far","IPAddressRange":"10.0.0.1"}"#)
        .await;
    unit.create_account("c", r#"{"Name":"oidc","Type":"oidc:x"}"#)
        .await;
    unit.create("c/__ctl/Account", r#"{"Name":"blank"}"#).await;
    let expected = attempt_login(&unit, "nobody", PASSWORD).await;
    assert_eq!(oauth_error(&expected), "invalid_grant AN-0017");
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
        let response = attempt_login(&unit, name, password).await;
        assert_eq!(response.status, expected.status, "{name}");
        assert_eq!(response.text(), expected.text(), "{name}");
        let names = |r: &TestResponse| r.headers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&response), names(&expected), "{name}");
    }
}

#[tokio::test]
async fn invalid_token_request_parameters_are_refused() {
    let unit = unit_with_accounts(|_| {}).await;
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
        assert_eq!(
            oauth_error(&unit.request_token("c", &fields).await),
            error,
            "{extra:?}"
        );
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
        assert_eq!(
            oauth_error(&unit.request_token("c", fields).await),
            error,
            "{fields:?}"
        );
    }
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(
            unit.admin_outcome(method, "c/__token").await,
            refused(405, "MC-0001")
        );
    }
}

#[tokio::test]
async fn login_within_the_interval_after_a_failure_is_refused() {
    let unit = unit_with_accounts(|s| s.auth.retry_after_secs = 1).await;
    assert_eq!(attempt_login(&unit, "me", "wrong1").await.status, 400);
    assert_eq!(attempt_login(&unit, "me", PASSWORD).await.status, 400);
    unit.create_account("c", r#"{"Name":"other"}"#).await;
    assert_eq!(attempt_login(&unit, "other", PASSWORD).await.status, 200);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(attempt_login(&unit, "me", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn account_is_locked_after_consecutive_failures_and_success_resets_the_count() {
    let unit = unit_with_accounts(|s| {
        s.auth.lock_after_failures = 3;
        s.auth.lock_secs = 60;
    })
    .await;
    for _ in 0..3 {
        for _ in 0..2 {
            assert_eq!(attempt_login(&unit, "me", "wrong1").await.status, 400);
        }
        assert_eq!(attempt_login(&unit, "me", PASSWORD).await.status, 200);
    }
    for _ in 0..3 {
        assert_eq!(attempt_login(&unit, "me", "wrong1").await.status, 400);
    }
    assert_eq!(
        oauth_error(&attempt_login(&unit, "me", PASSWORD).await),
        "invalid_grant AN-0017"
    );
    let other = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    assert_eq!(
        unit.request_token("d", &other).await.status,
        200,
        "another cell's account"
    );
}

#[tokio::test]
async fn concurrent_failed_logins_are_counted_one_by_one() {
    let unit = unit_with_accounts(|s| {
        s.auth.lock_after_failures = 3;
        s.auth.lock_secs = 60;
    })
    .await;
    let guesses = (0..12).map(|n| {
        let unit = unit.clone();
        tokio::spawn(async move {
            let guess = if n == 11 {
                PASSWORD.to_owned()
            } else {
                format!("wrong{n}")
            };
            attempt_login(&unit, "me", &guess).await.status
        })
    });
    for guess in guesses.collect::<Vec<_>>() {
        assert_eq!(guess.await.unwrap(), 400);
    }
}

#[tokio::test]
async fn login_is_limited_to_the_address_range_of_the_account() {
    let unit = unit_with_accounts(|_| {}).await;
    let body = r#"{"Name":"near","IPAddressRange":"10.0.0.1,192.168.1.0/24"}"#;
    unit.create_account("c", body).await;
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
        let mut request = unit.request("POST", "c/__token");
        if let Some(from) = from {
            request = request.header("x-forwarded-for", from);
        }
        assert_eq!(
            request.body(encode_form(&fields)).send().await.status,
            status,
            "{from:?}"
        );
    }
}

#[tokio::test]
async fn client_cannot_forge_its_address_by_x_forwarded_for() {
    let unit = unit_with_accounts(|_| {}).await;
    let body = r#"{"Name":"near","IPAddressRange":"203.0.113.7"}"#;
    unit.create_account("c", body).await;
    let fields = [
        ("grant_type", "password"),
        ("username", "near"),
        ("password", PASSWORD),
    ];
    let forwarded_for = "x-forwarded-for";
    for (headers, status) in [
        (vec![(forwarded_for, "203.0.113.7")], 200),
        (vec![(forwarded_for, "198.51.100.2, 203.0.113.7")], 200),
        (vec![(forwarded_for, "203.0.113.7, 10.0.0.2")], 200),
        // The address from the client comes before the one that the proxy added.
        (vec![(forwarded_for, "203.0.113.7, 198.51.100.2")], 400),
        (
            vec![
                (forwarded_for, "203.0.113.7"),
                (forwarded_for, "198.51.100.2"),
            ],
            400,
        ),
        (
            vec![
                (forwarded_for, "198.51.100.2"),
                ("x-override", "X-Forwarded-For: 203.0.113.7"),
            ],
            400,
        ),
    ] {
        let request = headers.iter().fold(
            unit.request("POST", "c/__token"),
            |request, (name, value)| request.header(name, value),
        );
        let response = request.body(encode_form(&fields)).send().await;
        assert_eq!(response.status, status, "{headers:?}");
    }
}

#[tokio::test]
async fn login_history_reports_last_login_and_failed_count() {
    let unit = unit_with_accounts(|_| {}).await;
    let first = attempt_login(&unit, "me", PASSWORD).await.json();
    assert_eq!(
        (&first["last_authenticated"], &first["failed_count"]),
        (&json!(null), &json!(0))
    );
    attempt_login(&unit, "me", "wrong1").await;
    attempt_login(&unit, "me", "wrong2").await;
    let second = attempt_login(&unit, "me", PASSWORD).await.json();
    assert!(second["last_authenticated"].as_i64().unwrap() > 1_700_000_000_000);
    assert_eq!(second["failed_count"], json!(2));
    let third = attempt_login(&unit, "me", PASSWORD).await.json();
    assert_eq!(third["failed_count"], json!(0));
    assert!(third["last_authenticated"].as_i64() > second["last_authenticated"].as_i64());
}

#[tokio::test]
async fn account_that_must_change_its_password_gets_a_token_for_that_only() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.create_account("c", r#"{"Name":"new","Status":"passwordChangeRequired"}"#)
        .await;
    let response = attempt_login(&unit, "new", PASSWORD).await;
    assert_eq!(response.status, 401);
    assert_eq!(oauth_error(&response), "invalid_grant AN-0023");
    let realm = format!("Basic realm=\"{}\"", cell_url("c"));
    assert_eq!(response.header("www-authenticate"), Some(realm.as_str()));
    let body = response.json();
    assert_eq!(text_member(&body, "url"), cell_url("c") + "__mypassword");
    let token = text_member(&body, "access_token");
    unit.put_file("c/b/f", "x").await;
    unit.grant_to_everybody("c/b", &["D:read"]).await;
    assert_eq!(
        unit.outcome_with_token("GET", "c/b/f", &token).await,
        refused(401, "AU-0012")
    );
    assert_eq!(
        unit.outcome_with_token("GET", "c/__ctl/Role", &token).await,
        refused(403, "AU-0002")
    );
    let change = async |password: Option<&str>| {
        let request = unit.request("PUT", "c/__mypassword").bearer(&token);
        let request = match password {
            Some(password) => request.header("x-personium-credential", password),
            None => request,
        };
        request.send().await.outcome()
    };
    assert_eq!(change(None).await, refused(400, "AU-0003"));
    for bad in ["", "short", "with space"] {
        assert_eq!(change(Some(bad)).await, refused(400, "AU-0001"), "{bad}");
    }
    assert_eq!(change(Some("password2")).await, success(204));
    assert_eq!(attempt_login(&unit, "new", "password2").await.status, 200);
    assert_eq!(attempt_login(&unit, "new", PASSWORD).await.status, 400);
}

#[tokio::test]
async fn password_change_needs_a_token_of_the_account_with_auth_scope() {
    let unit = unit_with_accounts(|_| {}).await;
    let put = async |value: Option<&str>| {
        let mut request = unit
            .request("PUT", "c/__mypassword")
            .header("x-personium-credential", "password2");
        if let Some(value) = value {
            request = request.header("authorization", value);
        }
        request.send().await.outcome()
    };
    let bearer = |token: &str| format!("Bearer {token}");
    let narrow = unit.login("c", &[("scope", "social")]).await;
    let visitor = unit.trans_cell_token("d", "c").await;
    assert_eq!(put(None).await, refused(401, "AU-0001"));
    assert_eq!(
        put(Some("Basic bWU6cGFzc3dvcmQx")).await,
        refused(401, "AU-0001")
    );
    assert_eq!(put(Some("Bearer x")).await, refused(401, "AU-0006"));
    assert_eq!(put(Some("Bearer master")).await, refused(403, "AU-0002"));
    assert_eq!(put(Some(&bearer(&visitor))).await, refused(403, "AU-0002"));
    assert_eq!(
        put(Some(&bearer(&text_member(&narrow, "access_token")))).await,
        refused(403, "AU-0007")
    );
    let wide = unit.login("c", &[("scope", "auth")]).await;
    assert_eq!(
        put(Some(&bearer(&text_member(&wide, "access_token")))).await,
        success(204)
    );
}

#[tokio::test]
async fn granted_scopes_are_those_requested_and_allowed() {
    let unit = unit_with_accounts(|s| {
        s.auth.default_scope_password = vec!["auth".to_owned(), "message".to_owned()]
    })
    .await;
    unit.create("c/__ctl/Role", r#"{"Name":"r"}"#).await;
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
        let body = unit.login("c", &[("scope", asked)]).await;
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
            unit.request_token("c", &fields).await.outcome(),
            refused(400, "DV-0004"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn password_spraying_does_not_starve_logins_of_other_cells() {
    let unit = unit_with_accounts(|s| {
        s.auth.hash_threads = Some(1);
        s.auth.retry_after_secs = 1;
        s.auth.login_rate_limit.burst = 0;
    })
    .await;
    let spray = (0..400).map(|n| {
        let unit = unit.clone();
        tokio::spawn(async move {
            let response = attempt_login(&unit, &format!("name{n}"), PASSWORD).await;
            (response.status.as_u16(), response.text())
        })
    });
    let spray: Vec<_> = spray.collect();
    let other = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    assert_eq!(unit.request_token("d", &other).await.status, 200);
    for attempt in spray {
        let (status, body) = attempt.await.unwrap();
        let refused = status == 400 && body.contains("PR400-AN-0017");
        let busy = status == 503 && body.contains("PR503-SV-0002");
        assert!(refused || busy, "{status} {body}");
    }
}

#[tokio::test]
async fn login_rate_limit_is_per_client_address() {
    let unit = unit_with_accounts(|s| {
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
        let request = unit
            .request("POST", "c/__token")
            .header("x-forwarded-for", address);
        request.body(encode_form(&fields)).send().await
    };
    for attempt in 0..20 {
        let response = from("192.0.2.1", &format!("user{attempt}"), "wrong1").await;
        assert_eq!(oauth_error(&response), "invalid_grant AN-0017", "{attempt}");
    }
    for (name, password) in [("user99", "wrong1"), ("me", PASSWORD)] {
        let response = from("192.0.2.1", name, password).await;
        assert_eq!(response.status, 429, "{}", response.text());
        assert_eq!(oauth_error(&response), "temporarily_unavailable AU-0001");
        let seconds: u32 = response.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=10).contains(&seconds), "{seconds}");
    }
    // The limit also applies to Basic credentials, the form and other cells.
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("me:{PASSWORD}"));
    let request = unit
        .request("GET", "c/b/f")
        .header("authorization", &format!("Basic {pair}"));
    let response = request.header("x-forwarded-for", "192.0.2.1").send().await;
    assert_eq!(response.outcome(), refused(429, "AU-0001"));
    let fields = [
        ("response_type", "code"),
        ("client_id", "http://unit.example/appcell/"),
        ("redirect_uri", "http://unit.example/appcell/back"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    let request = unit
        .request("POST", "c/__authz")
        .header("x-forwarded-for", "192.0.2.1");
    let response = request.body(encode_form(&fields)).send().await;
    assert!(response.header("location").unwrap().contains("PS-AU-0004"));
    let request = unit
        .request("POST", "d/__token")
        .header("x-forwarded-for", "192.0.2.1");
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    assert_eq!(request.body(encode_form(&fields)).send().await.status, 429);
    // Other addresses can log in, and so can this one after some time.
    assert_eq!(from("192.0.2.2", "me", PASSWORD).await.status, 200);
    assert_eq!(from("nonsense", "me", PASSWORD).await.status, 200);
    unit.advance_clock(10_000);
    assert_eq!(from("192.0.2.1", "me", PASSWORD).await.status, 200);
    assert_eq!(from("192.0.2.1", "me", PASSWORD).await.status, 200);
    assert_eq!(from("192.0.2.1", "me", "wrong1").await.status, 400);
    assert_eq!(from("192.0.2.1", "me", PASSWORD).await.status, 429);
}

/// Whether logins under this name are delayed after a failure.
async fn must_wait(unit: &TestUnit, name: &str) -> bool {
    let context = unit.model.find_cell("c").await.unwrap().unwrap();
    let whose = match context.find_account(name).await.unwrap() {
        Some(known) => known.id.clone(),
        None => name
            .bytes()
            .fold("?".to_owned(), |all, b| format!("{all}{b:02x}")),
    };
    let key = format!("login-wait/{}/{whose}/::", context.cell().id);
    unit.model.cache().get(&key).await.unwrap().is_some()
}

#[tokio::test]
async fn failed_login_delays_known_and_unknown_names_alike() {
    let unit = unit_with_accounts(|s| {
        s.auth.retry_after_secs = 60;
        s.auth.account_types = vec!["oidc:x".to_owned()];
    })
    .await;
    for name in ["known", "unknown", "other"] {
        if name != "unknown" {
            let kind = if name == "other" { "oidc:x" } else { "basic" };
            let body = format!(r#"{{"Name":"{name}","Type":"{kind}"}}"#);
            unit.create_account("c", &body).await;
        }
        assert!(!must_wait(&unit, name).await, "{name}");
        assert_eq!(attempt_login(&unit, name, "wrong1").await.status, 400);
        assert!(must_wait(&unit, name).await, "{name}");
    }
    for name in ["me", "nobody"] {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:wrong1"));
        let request = unit.request("GET", "c/b/");
        let response = request
            .header("authorization", &format!("Basic {pair}"))
            .send();
        assert_eq!(response.await.outcome(), refused(401, "AU-0011"));
        assert!(must_wait(&unit, name).await, "{name}");
    }
}
