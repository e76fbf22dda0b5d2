//! Codes and refresh tokens are for one use; changes of the account revoke them.

use personium_model::settings::TokenReuse;
use personium_testkit::{PASSWORD, TestResponse, TestUnit, cell_url, success, text_member};

use super::authorize::{authorization_request, location_parameter, post, redeem, with_login};
use super::{oauth_error, unit_with_accounts};

const EXPIRED: &str = "invalid_grant AN-0010";

async fn new_code(unit: &TestUnit) -> String {
    let response = post(unit, &with_login(authorization_request("code"))).await;
    location_parameter(&response, "code").unwrap()
}

async fn refresh_token(unit: &TestUnit) -> String {
    text_member(&unit.login("c", &[]).await, "refresh_token")
}

async fn refresh(unit: &TestUnit, token: &str) -> TestResponse {
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token)];
    unit.request_token("c", &fields).await
}

/// Refreshes with a token, which must be accepted. Returns the new refresh token.
async fn refreshed(unit: &TestUnit, token: &str) -> String {
    let response = refresh(unit, token).await.expect(200);
    text_member(&response.json(), "refresh_token")
}

/// Whether a token is accepted.
async fn is_valid(unit: &TestUnit, token: &str) -> bool {
    unit.outcome_with_token("GET", "c/__ctl/Role", token).await == success(200)
}

#[tokio::test]
async fn second_use_of_a_code_is_refused_and_revokes_what_was_issued_for_it() {
    for reuse in [TokenReuse::Retries, TokenReuse::Never] {
        let unit = unit_with_accounts(|s| s.auth.code_reuse = reuse).await;
        unit.grant_to_everybody("c", &["p:auth-read"]).await;
        let (code, other) = (new_code(&unit).await, new_code(&unit).await);
        let first = redeem(&unit, &code, &[]).await.expect(200).json();
        let bystander = redeem(&unit, &other, &[]).await.expect(200).json();
        let access = text_member(&first, "access_token");
        assert!(is_valid(&unit, &access).await);
        assert_eq!(oauth_error(&redeem(&unit, &code, &[]).await), EXPIRED);
        assert!(!is_valid(&unit, &access).await);
        let kept = text_member(&bystander, "access_token");
        assert!(is_valid(&unit, &kept).await);
        for (tokens, status) in [(&first, 400), (&bystander, 200)] {
            let (app, secret) = (cell_url("appcell"), super::authorize::client_secret(&unit));
            let fields = [
                ("grant_type", "refresh_token"),
                ("refresh_token", &text_member(tokens, "refresh_token")),
                ("client_id", &app),
                ("client_secret", &secret),
            ];
            assert_eq!(unit.request_token("c", &fields).await.status, status);
        }
    }
}

#[tokio::test]
async fn tokens_that_descend_from_a_replayed_code_are_revoked() {
    let unit = unit_with_accounts(|_| {}).await;
    unit.grant_to_everybody("c", &["p:auth-read"]).await;
    let code = new_code(&unit).await;
    let first = redeem(&unit, &code, &[]).await.expect(200).json();
    let (app, secret) = (cell_url("appcell"), super::authorize::client_secret(&unit));
    let second = async |token: &str| {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", token),
            ("client_id", app.as_str()),
            ("client_secret", secret.as_str()),
        ];
        unit.request_token("c", &fields).await
    };
    let refreshed = second(&text_member(&first, "refresh_token")).await;
    let refreshed = refreshed.expect(200).json();
    let access = text_member(&refreshed, "access_token");
    assert!(is_valid(&unit, &access).await);
    assert_eq!(oauth_error(&redeem(&unit, &code, &[]).await), EXPIRED);
    assert!(!is_valid(&unit, &access).await);
    let next = text_member(&refreshed, "refresh_token");
    assert_eq!(oauth_error(&second(&next).await), EXPIRED);
}

#[tokio::test]
async fn code_is_exchanged_once_for_each_target_by_a_client_with_a_secret() {
    let d = cell_url("d");
    let targets: [&[(&str, &str)]; 2] = [&[], &[("p_target", &d)]];
    for (reuse, second) in [(TokenReuse::Retries, 200), (TokenReuse::Never, 400)] {
        let unit = unit_with_accounts(|s| s.auth.code_reuse = reuse).await;
        let code = new_code(&unit).await;
        redeem(&unit, &code, targets[0]).await.expect(200);
        assert_eq!(redeem(&unit, &code, targets[1]).await.status, second);
        assert_eq!(redeem(&unit, &code, targets[1]).await.status, 400);
    }
}

#[tokio::test]
async fn concurrent_uses_of_a_code_succeed_once() {
    let unit = unit_with_accounts(|_| {}).await;
    let code = new_code(&unit).await;
    let uses = (0..16).map(|_| {
        let (unit, code) = (unit.clone(), code.clone());
        tokio::spawn(async move { redeem(&unit, &code, &[]).await.status.as_u16() })
    });
    let mut statuses = Vec::new();
    for one in uses.collect::<Vec<_>>() {
        statuses.push(one.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses[..2], [200, 400]);
}

#[tokio::test]
async fn codes_and_refresh_tokens_are_reusable_only_if_configured() {
    let unit = unit_with_accounts(|s| {
        s.auth.code_reuse = TokenReuse::Always;
        s.auth.refresh_token_reuse = TokenReuse::Always;
    })
    .await;
    let (code, token) = (new_code(&unit).await, refresh_token(&unit).await);
    for _ in 0..2 {
        redeem(&unit, &code, &[]).await.expect(200);
        let next = refreshed(&unit, &token).await;
        refreshed(&unit, &next).await;
    }
}

#[tokio::test]
async fn refresh_token_can_be_repeated_until_its_successor_is_used() {
    let unit = unit_with_accounts(|_| {}).await;
    let first = refresh_token(&unit).await;
    let lost = refreshed(&unit, &first).await;
    let second = refreshed(&unit, &first).await;
    let third = refreshed(&unit, &second).await;
    assert_eq!(oauth_error(&refresh(&unit, &first).await), EXPIRED);
    for revoked in [third, lost] {
        assert_eq!(oauth_error(&refresh(&unit, &revoked).await), EXPIRED);
    }
}

#[tokio::test]
async fn use_of_two_successors_of_a_refresh_token_revokes_its_family() {
    let unit = unit_with_accounts(|_| {}).await;
    let first = refresh_token(&unit).await;
    let (own, stolen) = (
        refreshed(&unit, &first).await,
        refreshed(&unit, &first).await,
    );
    let next = refreshed(&unit, &own).await;
    assert_eq!(oauth_error(&refresh(&unit, &stolen).await), EXPIRED);
    assert_eq!(oauth_error(&refresh(&unit, &next).await), EXPIRED);
}

#[tokio::test]
async fn refresh_token_cannot_be_repeated_after_a_while() {
    let unit = unit_with_accounts(|_| {}).await;
    let first = refresh_token(&unit).await;
    let second = refreshed(&unit, &first).await;
    unit.advance_clock(31_000);
    assert_eq!(oauth_error(&refresh(&unit, &first).await), EXPIRED);
    assert_eq!(oauth_error(&refresh(&unit, &second).await), EXPIRED);
}

#[tokio::test]
async fn replayed_refresh_token_revokes_its_token_family_only() {
    let strictly = |s: &mut personium_model::Settings| {
        s.auth.refresh_token_reuse = TokenReuse::Never;
    };
    let unit = unit_with_accounts(strictly).await;
    let (first, bystander) = (refresh_token(&unit).await, refresh_token(&unit).await);
    let second = refreshed(&unit, &first).await;
    let third = refreshed(&unit, &second).await;
    assert_eq!(oauth_error(&refresh(&unit, &first).await), EXPIRED);
    assert_eq!(oauth_error(&refresh(&unit, &third).await), EXPIRED);
    refreshed(&unit, &bystander).await;
    unit.advance_clock(3 * 86_400_000);
    let next = refresh_token(&unit).await;
    refreshed(&unit, &next).await;
    let kept = unit.record_keys(b"T").await.len();
    assert_eq!(kept, 1, "what is long over is swept");
}

/// Changes the account `me` of `c`.
async fn change_account(unit: &TestUnit, password: Option<&str>, body: &str) {
    let mut request = unit.admin_request("MERGE", "c/__ctl/Account('me')");
    request = request.header("if-match", "*").body(body);
    if let Some(password) = password {
        request = request.header("x-personium-credential", password);
    }
    request.send().await.expect(204);
}

#[tokio::test]
async fn changes_of_the_account_revoke_what_leads_to_new_tokens_unless_configured() {
    let deactivated = r#"{"Status":"deactivated"}"#;
    for (password, body) in [(Some("password2"), "{}"), (None, deactivated)] {
        for revokes in [true, false] {
            let set = |s: &mut personium_model::Settings| {
                s.auth.revoke_refresh_with_account = revokes;
            };
            let unit = unit_with_accounts(set).await;
            unit.grant_to_everybody("c", &["p:auth-read"]).await;
            let login = unit.login("c", &[("p_cookie", "true")]).await;
            let (access, token) = (
                text_member(&login, "access_token"),
                text_member(&login, "refresh_token"),
            );
            let code = new_code(&unit).await;
            change_account(&unit, password, body).await;
            let status = if revokes { 400 } else { 200 };
            let what = format!("{password:?} {body} {revokes}");
            assert_eq!(refresh(&unit, &token).await.status, status, "{what}");
            assert_eq!(redeem(&unit, &code, &[]).await.status, status, "{what}");
            assert!(is_valid(&unit, &access).await, "{what}");
            change_account(&unit, None, r#"{"Status":"active"}"#).await;
            assert_eq!(
                refresh(&unit, &token).await.status,
                status,
                "{what}, activated again"
            );
        }
    }
}

#[tokio::test]
async fn cookie_does_not_log_in_after_a_change_of_the_password() {
    let unit = unit_with_accounts(|_| {}).await;
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
        ("p_cookie", "true"),
    ];
    let response = unit.request_token("c", &fields).await.expect(200);
    let cookie = response.header("set-cookie").unwrap();
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let query = super::authorize::encode(&authorization_request("code"));
    let send = async || {
        let request = unit.request("GET", &format!("c/__authz?{query}"));
        request
            .header("cookie", &cookie)
            .send()
            .await
            .status
            .as_u16()
    };
    assert_eq!(send().await, 303);
    change_account(&unit, Some("password2"), "{}").await;
    assert_eq!(send().await, 200, "the form");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn code_that_two_nodes_get_at_the_same_moment_is_accepted_once() {
    for _ in 0..10 {
        let unit = unit_with_accounts(|_| {}).await;
        let nodes = [unit.clone(), unit.another_node()];
        let code = new_code(&unit).await;
        let uses = (0..8).map(|n| {
            let (node, code) = (nodes[n % 2].clone(), code.clone());
            tokio::spawn(async move { redeem(&node, &code, &[]).await.status.as_u16() })
        });
        let mut statuses = Vec::new();
        for one in uses.collect::<Vec<_>>() {
            statuses.push(one.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses[..2], [200, 400]);
        assert_eq!(redeem(&nodes[1], &code, &[]).await.status, 400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_token_that_two_nodes_get_at_the_same_moment_is_accepted_once() {
    for _ in 0..10 {
        let strictly = |s: &mut personium_model::Settings| {
            s.auth.refresh_token_reuse = TokenReuse::Never;
        };
        let unit = unit_with_accounts(strictly).await;
        let nodes = [unit.clone(), unit.another_node()];
        let token = refresh_token(&unit).await;
        let uses = (0..8).map(|n| {
            let (node, token) = (nodes[n % 2].clone(), token.clone());
            tokio::spawn(async move { refresh(&node, &token).await.status.as_u16() })
        });
        let mut statuses = Vec::new();
        for one in uses.collect::<Vec<_>>() {
            statuses.push(one.await.unwrap());
        }
        statuses.sort_unstable();
        assert_eq!(statuses[..2], [200, 400]);
    }
}

#[tokio::test]
async fn replay_is_found_and_revokes_although_the_clock_of_a_node_is_an_hour_off() {
    const HOUR_MS: i64 = 3_600_000;
    // The clocks are on different sides of midnight at some of these times.
    for hour in [0, 1, 2, 3, 12, 22, 23] {
        for ahead_ms in [HOUR_MS, -HOUR_MS] {
            let strictly = |s: &mut personium_model::Settings| {
                s.auth.refresh_token_reuse = TokenReuse::Never;
            };
            let unit = unit_with_accounts(strictly).await;
            unit.advance_clock(hour * HOUR_MS);
            let other = unit.node_with_clock_ahead(ahead_ms);
            let first = refresh_token(&unit).await;
            let second = refreshed(&unit, &first).await;
            // Each use sweeps, also by the clock of the other node.
            let bystander = refresh_token(&other).await;
            refreshed(&other, &bystander).await;
            assert_eq!(oauth_error(&refresh(&other, &first).await), EXPIRED);
            for node in [&unit, &other] {
                let answer = refresh(node, &second).await;
                assert_eq!(oauth_error(&answer), EXPIRED, "{hour} {ahead_ms}");
            }
        }
    }
}
