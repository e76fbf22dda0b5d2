//! Delays, locks and limits of failed logins, from several addresses and through all endpoints that take a password.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_model::credentials::LoginRateLimit;
use personium_testkit::{PASSWORD, TestUnit, encode_form};

use super::authorize::{authorization_request, encode};
use super::unit_with_accounts;

/// The endpoints that take a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Grant,
    Form,
    Basic,
}

const ENDPOINTS: [Endpoint; 3] = [Endpoint::Grant, Endpoint::Form, Endpoint::Basic];

/// Tries a password from an address. Returns whether it is accepted.
async fn try_password(unit: &TestUnit, endpoint: Endpoint, address: &str, password: &str) -> bool {
    let request = match endpoint {
        Endpoint::Grant => {
            let fields = [
                ("grant_type", "password"),
                ("username", "me"),
                ("password", password),
            ];
            unit.request("POST", "c/__token").body(encode_form(&fields))
        }
        Endpoint::Form => {
            let mut fields = authorization_request("code");
            fields.push(("username", "me".to_owned()));
            fields.push(("password", password.to_owned()));
            unit.request("POST", "c/__authz").body(encode(&fields))
        }
        Endpoint::Basic => {
            let value = format!("Basic {}", STANDARD.encode(format!("me:{password}")));
            unit.request("GET", "c/b/f").header("authorization", &value)
        }
    };
    let response = request.header("x-forwarded-for", address).send().await;
    match endpoint {
        Endpoint::Form => response
            .header("location")
            .is_some_and(|to| to.contains("code=GC~")),
        _ => response.status == 200,
    }
}

async fn unit(change: impl FnOnce(&mut personium_model::Settings)) -> TestUnit {
    let unit = unit_with_accounts(change).await;
    unit.put_file("c/b/f", "x").await;
    unit.grant_by_new_role("c/b", ("me", "reader"), &["D:read"])
        .await;
    unit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_password_among_parallel_guesses_is_refused_once_the_account_is_locked() {
    for endpoint in ENDPOINTS {
        for is_known in [false, true] {
            let unit = unit(|s| {
                s.auth.lock_after_failures = 5;
                s.auth.lock_secs = 600;
            })
            .await;
            if is_known {
                assert!(try_password(&unit, endpoint, "10.0.0.1", PASSWORD).await);
            }
            for n in 0..5 {
                assert!(!try_password(&unit, endpoint, "10.0.0.1", &format!("wrong{n}")).await);
            }
            let guesses = (0..64).map(|n| {
                let unit = unit.clone();
                let guess = if n == 40 {
                    PASSWORD.to_owned()
                } else {
                    format!("wrong{n}")
                };
                tokio::spawn(async move { try_password(&unit, endpoint, "10.0.0.1", &guess).await })
            });
            for guess in guesses.collect::<Vec<_>>() {
                assert!(!guess.await.unwrap(), "{endpoint:?} {is_known}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_most_as_many_parallel_guesses_are_compared_as_the_lock_permits() {
    for endpoint in ENDPOINTS {
        let unit = unit(|s| {
            s.auth.lock_after_failures = 5;
            s.auth.lock_secs = 600;
        })
        .await;
        let guesses = (0..64).map(|n| {
            let unit = unit.clone();
            let address = format!("10.0.{}.1", n % 16);
            tokio::spawn(async move { try_password(&unit, endpoint, &address, "wrong1").await })
        });
        for guess in guesses.collect::<Vec<_>>() {
            assert!(!guess.await.unwrap());
        }
        let from_new_address = try_password(&unit, endpoint, "10.1.0.1", PASSWORD).await;
        assert!(
            !from_new_address,
            "{endpoint:?}: the strangers have locked themselves out"
        );
    }
}

#[tokio::test]
async fn interval_after_a_failure_holds_for_every_endpoint() {
    for failed in ENDPOINTS {
        for tried in ENDPOINTS {
            let unit = unit(|s| s.auth.retry_after_secs = 1).await;
            assert!(try_password(&unit, tried, "10.0.0.1", PASSWORD).await);
            assert!(!try_password(&unit, failed, "10.0.0.1", "wrong1").await);
            assert!(
                !try_password(&unit, tried, "10.0.0.1", PASSWORD).await,
                "{failed:?} {tried:?}"
            );
        }
    }
    let unit = unit(|s| s.auth.retry_after_secs = 1).await;
    assert!(!try_password(&unit, Endpoint::Basic, "10.0.0.1", "wrong1").await);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert!(try_password(&unit, Endpoint::Basic, "10.0.0.1", PASSWORD).await);
}

#[tokio::test]
async fn failures_from_one_address_do_not_delay_another() {
    for endpoint in ENDPOINTS {
        let unit = unit(|s| s.auth.retry_after_secs = 1).await;
        for _ in 0..20 {
            assert!(!try_password(&unit, endpoint, "10.0.0.9", "wrong1").await);
            assert!(
                try_password(&unit, endpoint, "10.0.0.1", PASSWORD).await,
                "{endpoint:?}"
            );
        }
    }
}

#[tokio::test]
async fn strangers_lock_strangers_out_but_no_known_address() {
    for endpoint in ENDPOINTS {
        let unit = unit(|s| {
            s.auth.lock_after_failures = 3;
            s.auth.lock_secs = 600;
        })
        .await;
        assert!(try_password(&unit, endpoint, "10.0.0.1", PASSWORD).await);
        for n in 0..5 {
            assert!(!try_password(&unit, endpoint, &format!("10.9.{n}.1"), "wrong1").await);
        }
        assert!(
            !try_password(&unit, endpoint, "10.8.0.1", PASSWORD).await,
            "{endpoint:?}"
        );
        assert!(
            try_password(&unit, endpoint, "10.0.0.1", PASSWORD).await,
            "{endpoint:?}"
        );
        for _ in 0..3 {
            assert!(!try_password(&unit, endpoint, "10.0.0.1", "wrong1").await);
        }
        assert!(
            !try_password(&unit, endpoint, "10.0.0.1", PASSWORD).await,
            "its own failures"
        );
    }
}

#[tokio::test]
async fn many_addresses_have_no_more_guesses_than_the_rate_limit_of_the_account() {
    for endpoint in ENDPOINTS {
        let unit = unit(|s| {
            s.auth.login_rate_limit = LoginRateLimit {
                burst: 5,
                per_minute: 1,
            };
        })
        .await;
        assert!(try_password(&unit, endpoint, "10.0.0.1", PASSWORD).await);
        for n in 0..5 {
            assert!(!try_password(&unit, endpoint, &format!("10.9.{n}.1"), "wrong1").await);
        }
        assert!(
            !try_password(&unit, endpoint, "10.8.0.1", PASSWORD).await,
            "{endpoint:?}"
        );
        assert!(
            try_password(&unit, endpoint, "10.0.0.1", PASSWORD).await,
            "{endpoint:?}"
        );
        unit.advance_clock(60_000);
        assert!(
            try_password(&unit, endpoint, "10.8.0.1", PASSWORD).await,
            "{endpoint:?}"
        );
    }
}

#[tokio::test]
async fn clock_that_is_set_back_delays_no_login() {
    let unit = unit(|s| {
        s.auth.login_rate_limit = LoginRateLimit {
            burst: 2,
            per_minute: 60,
        };
    })
    .await;
    for set_back in [0, 3_600_000, 3_600_000] {
        unit.set_clock_back(set_back);
        for endpoint in ENDPOINTS {
            assert!(
                try_password(&unit, endpoint, "10.0.0.1", PASSWORD).await,
                "{endpoint:?}"
            );
        }
        assert!(!try_password(&unit, Endpoint::Grant, "10.0.0.2", "wrong1").await);
    }
}
