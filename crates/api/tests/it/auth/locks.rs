//! Locks of accounts hold on every node, after a restart, and whatever strangers do.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_testkit::{PASSWORD, TestRequest, TestUnit, encode_form};

use super::unit_with_accounts;

const HOUR_MS: i64 = 3_600_000;

/// A unit whose accounts are locked for ten minutes after five failures.
async fn locking_unit() -> TestUnit {
    unit_with_accounts(|s| {
        s.auth.lock_after_failures = 5;
        s.auth.lock_secs = 600;
    })
    .await
}

fn login_request(unit: &TestUnit, name: &str, password: &str, address: &str) -> TestRequest {
    let fields = [
        ("grant_type", "password"),
        ("username", name),
        ("password", password),
    ];
    let request = unit.request("POST", "c/__token").body(encode_form(&fields));
    request.header("x-forwarded-for", address)
}

/// Logs in with the password grant. Returns whether that is accepted.
async fn login(unit: &TestUnit, password: &str, address: &str) -> bool {
    let response = login_request(unit, "me", password, address).send().await;
    response.status == 200
}

/// Sends Basic credentials; returns the status and the code of the answer.
async fn basic(unit: &TestUnit, password: &str, address: &str) -> (u16, String) {
    let value = format!("Basic {}", STANDARD.encode(format!("me:{password}")));
    let request = unit.request("GET", "c/b/f");
    let request = request.header("authorization", &value);
    request
        .header("x-forwarded-for", address)
        .send()
        .await
        .outcome()
}

/// A password that is wrong, and passes the rule of passwords.
fn wrong(n: usize) -> String {
    format!("wrong{n}")
}

#[tokio::test]
async fn lock_and_known_addresses_survive_a_restart() {
    let unit = locking_unit().await;
    assert!(login(&unit, PASSWORD, "10.0.0.1").await);
    for n in 0..5 {
        assert!(!login(&unit, &wrong(n), "10.0.0.9").await);
    }
    let restarted = unit.restart();
    assert!(!login(&restarted, PASSWORD, "10.0.0.9").await);
    assert!(!login(&restarted, PASSWORD, "10.0.0.8").await);
    assert!(
        login(&restarted, PASSWORD, "10.0.0.1").await,
        "the address is still known"
    );
    unit.advance_clock(601_000);
    assert!(login(&restarted, PASSWORD, "10.0.0.9").await);
}

#[tokio::test]
async fn failures_on_two_nodes_are_counted_together_and_reset_together() {
    let unit = locking_unit().await;
    let nodes = [&unit, &unit.another_node()];
    for round in 0..3 {
        for n in 0..4 {
            assert!(!login(nodes[n % 2], &wrong(n), "10.0.0.1").await);
        }
        assert!(
            login(nodes[round % 2], PASSWORD, "10.0.0.1").await,
            "{round}"
        );
    }
    for n in 0..5 {
        assert!(!login(nodes[n % 2], &wrong(n), "10.0.0.1").await);
    }
    for node in nodes {
        assert!(!login(node, PASSWORD, "10.0.0.1").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_guesses_on_two_nodes_get_no_more_answers_than_the_lock_permits() {
    let unit = locking_unit().await;
    let nodes = [unit.clone(), unit.another_node()];
    let guesses = (0..64).map(|n| {
        let node = nodes[n % 2].clone();
        tokio::spawn(async move { basic(&node, &wrong(n), &format!("10.0.{n}.1")).await })
    });
    let mut answers = Vec::new();
    for guess in guesses.collect::<Vec<_>>() {
        answers.push(guess.await.unwrap().1);
    }
    answers.sort_unstable();
    let wrong_passwords = answers.iter().filter(|code| *code == "AU-0011").count();
    let locked = answers.iter().filter(|code| *code == "AU-0010").count();
    assert_eq!((wrong_passwords, locked), (5, 59), "{answers:?}");
    for node in &nodes {
        assert_eq!(basic(node, PASSWORD, "10.1.0.1").await.1, "AU-0010");
    }
}

#[tokio::test]
async fn right_password_that_was_compared_while_another_node_locked_the_account_is_refused() {
    for known in [false, true] {
        let unit = locking_unit().await;
        if known {
            assert!(login(&unit, PASSWORD, "10.0.0.1").await);
        }
        let other = unit.another_node();
        // The attempt is at the comparison of the password when the other node counts.
        let started = login_request(&unit, "me", PASSWORD, "10.0.0.1").send();
        let mut started = Box::pin(started);
        let begun = tokio::time::timeout(Duration::ZERO, &mut started).await;
        for n in 0..5 {
            assert!(!login(&other, &wrong(n), "10.0.0.1").await);
        }
        // Unless the comparison was over before anything else ran.
        if begun.is_err() {
            assert_eq!(started.await.status, 400, "{known}");
        }
    }
}

#[tokio::test]
async fn login_costs_a_commit_only_if_it_changes_something() {
    let unit = locking_unit().await;
    let patch = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                 <p:accountsnotrecordingauthhistory>me</p:accountsnotrecordingauthhistory>\
                 </D:prop></D:set></D:propertyupdate>";
    let request = unit.admin_request("PROPPATCH", "c").body(patch);
    request.send().await.expect(207);
    assert!(login(&unit, PASSWORD, "10.0.0.1").await);
    let before = unit.last_commit().await;
    for _ in 0..3 {
        assert!(login(&unit, PASSWORD, "10.0.0.1").await);
        assert_eq!(basic(&unit, PASSWORD, "10.0.0.1").await.0, 403);
    }
    assert_eq!(unit.last_commit().await, before);
    assert!(!login(&unit, &wrong(0), "10.0.0.1").await);
    assert_eq!(unit.last_commit().await, before + 1);
    assert!(login(&unit, PASSWORD, "10.0.0.1").await);
    assert_eq!(
        unit.last_commit().await,
        before + 2,
        "the failure is forgotten"
    );
    assert!(login(&unit, PASSWORD, "10.0.0.1").await);
    assert_eq!(unit.last_commit().await, before + 2);
}

#[tokio::test]
async fn failed_login_costs_one_commit_whether_the_account_exists_or_not() {
    let unit = locking_unit().await;
    for name in ["me", "nobody", "me", "nobody"] {
        let before = unit.last_commit().await;
        let response = login_request(&unit, name, &wrong(0), "10.0.0.1").send();
        assert_eq!(response.await.status, 400);
        assert_eq!(unit.last_commit().await, before + 1, "{name}");
    }
}

#[tokio::test]
async fn failed_logins_of_strangers_add_two_records_to_a_cell_at_most() {
    let unit = locking_unit().await;
    assert!(login(&unit, PASSWORD, "10.0.0.1").await);
    let before = unit.record_keys(b"M").await.len();
    for n in 0..150 {
        let name = if n % 2 == 0 {
            "me"
        } else {
            &format!("nobody{n}")
        };
        let address = format!("10.{n}.0.1");
        let response = login_request(&unit, name, &wrong(n), &address).send();
        assert_eq!(response.await.status, 400);
    }
    let after = unit.record_keys(b"M").await.len();
    assert!(after <= before + 2, "{before} {after}");
    unit.admin_request("DELETE", "c/__ctl/Account('me')")
        .send()
        .await
        .expect(204);
    assert!(unit.record_keys(b"M").await.len() < after);
}

#[tokio::test]
async fn clock_of_one_node_an_hour_off_gives_a_guesser_no_more_than_twice_the_attempts() {
    for ahead_ms in [HOUR_MS, -HOUR_MS] {
        let unit = locking_unit().await;
        let nodes = [unit.clone(), unit.node_with_clock_ahead(ahead_ms)];
        let mut wrong_passwords = 0;
        for n in 0..60 {
            let answer = basic(&nodes[n % 2], &wrong(n), "10.0.0.9").await.1;
            wrong_passwords += usize::from(answer == "AU-0011");
        }
        assert!((5..=10).contains(&wrong_passwords), "{wrong_passwords}");
    }
}

#[tokio::test]
async fn lock_ends_on_every_node_although_the_clock_of_one_is_an_hour_off() {
    for ahead_ms in [HOUR_MS, -HOUR_MS] {
        let unit = locking_unit().await;
        let nodes = [unit.clone(), unit.node_with_clock_ahead(ahead_ms)];
        for n in 0..20 {
            assert!(!login(&nodes[n % 2], &wrong(n), "10.0.0.9").await);
        }
        for node in &nodes {
            assert!(!login(node, PASSWORD, "10.0.0.9").await, "{ahead_ms}");
        }
        for node in &nodes {
            node.advance_clock(602_000);
        }
        for node in nodes.iter().rev() {
            assert!(login(node, PASSWORD, "10.0.0.9").await, "{ahead_ms}");
        }
    }
}

#[tokio::test]
async fn guess_whose_client_goes_away_counts() {
    let unit = locking_unit().await;
    let mut cancelled = 0;
    while cancelled < 5 {
        let request = login_request(&unit, "me", &wrong(cancelled), "10.0.0.1").send();
        // The first time that it waits is for the comparison of the password. If that is over at once, the attempt counts as well.
        let _ = tokio::time::timeout(Duration::ZERO, request).await;
        cancelled += 1;
    }
    loop {
        let code = basic(&unit, &wrong(9), "10.0.0.1").await.1;
        if code == "AU-0010" {
            break;
        }
        // It counts soon, in the background. Without that, the fifth of these attempts gives the first answer after it.
        cancelled += 1;
        assert!(cancelled < 9, "{code}");
        tokio::task::yield_now().await;
    }
    assert!(!login(&unit, PASSWORD, "10.0.0.1").await);
}
