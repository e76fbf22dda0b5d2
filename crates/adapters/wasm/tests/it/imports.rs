//! The parts of the unit that components may use.

use std::sync::Arc;

use crate::component_text::{Parts, data};
use crate::{NOW_MS, Service, TestHost, host, log_in, plugin};

/// A component that sends a request, and returns the body of the response as the name of an account, or the error as a refusal.
fn asking(url: &str, method: &str, pages: u32) -> Vec<u8> {
    let send = r#"(import "personium:authentication/http@1.0.0" "send"
      (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#;
    let body = format!(
        "(call $send (i32.const 100) (i32.const {}) (i32.const 200) (i32.const {}) (i32.const 0) (i32.const 0)
            (i32.const 100) (i32.const 4) (i32.const 512))
         (if (i32.load8_u (i32.const 512)) (then
            (i32.store (i32.const 1024) (i32.const 1))
            (i32.store (i32.const 1032) (i32.load (i32.const 516)))
            (i32.store (i32.const 1036) (i32.load (i32.const 520))))
          (else
            (i32.store (i32.const 1028) (i32.const 1))
            (i32.store (i32.const 1032) (i32.load (i32.const 528)))
            (i32.store (i32.const 1036) (i32.load (i32.const 532)))
            (i32.store (i32.const 1040) (i32.const 50))
            (i32.store (i32.const 1044) (i32.const 1))))
         (i32.const 1024)",
        method.len(),
        url.len()
    );
    let parts = Parts {
        imports: send.to_owned(),
        pages: Some(pages),
        fields: format!(
            "{}{}{}",
            data(50, b"x"),
            data(100, method.as_bytes()),
            data(200, url.as_bytes())
        ),
        ..Parts::body(&body)
    };
    parts.component("plugin-with-host")
}

const GRANTED: &str = "grants = ['http']\nhttp_urls = ['https://auth.example/login']";

#[tokio::test]
async fn requests_go_to_granted_urls_only() {
    let service = TestHost::new(Service::Answers("alice"));
    let good = plugin(
        &asking("https://auth.example/login?x=y", "POST", 16),
        GRANTED,
    )
    .unwrap();
    assert_eq!(log_in(&good, &service).await, "alice of x");
    let sent = service.requests.lock().unwrap().pop().unwrap();
    assert_eq!(sent.method(), "POST");
    assert_eq!(sent.uri(), "https://auth.example/login?x=y");
    assert_eq!(sent.body(), "POST");
    for (url, method, expected) in [
        ("http://169.254.169.254/latest", "GET", "not granted"),
        ("https://auth.example/login/../admin", "GET", "not granted"),
        ("https://auth.example/login", "CONNECT", "method"),
        ("https://auth.example/login", "G T", "method"),
        ("no url", "GET", "url"),
    ] {
        let asking = plugin(&asking(url, method, 16), GRANTED).unwrap();
        let found = log_in(&asking, &service).await;
        assert!(
            found.starts_with("refused: ") && found.contains(expected),
            "{url}: {found}"
        );
    }
    assert!(service.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn calls_that_wait_share_a_budget_of_memory_and_time() {
    let url = "https://auth.example/login";
    // Eight calls of 63 MiB: one more has not enough.
    let large = plugin(&asking(url, "GET", 63 * 16), GRANTED).unwrap();
    let silent = Arc::new(TestHost::new(Service::IsSilent));
    let mut calls = Vec::new();
    for _ in 0..8 {
        let (plugin, silent) = (Arc::clone(&large), Arc::clone(&silent));
        calls.push(tokio::spawn(async move { log_in(&plugin, &*silent).await }));
    }
    while silent.requests.lock().unwrap().len() < 8 {
        tokio::task::yield_now().await;
    }
    let found = log_in(&large, &*silent).await;
    assert!(
        found.starts_with("unavailable: ") && found.contains("no memory left"),
        "{found}"
    );
    for call in calls {
        call.abort();
        assert!(call.await.is_err());
    }
    // Their memory is free as soon as their threads have seen that they have ended.
    let service = TestHost::new(Service::Answers("alice"));
    while log_in(&large, &service).await != "alice of x" {
        tokio::task::yield_now().await;
    }
    let short = format!("{GRANTED}\ntimeout_ms = 20");
    let short = plugin(&asking(url, "GET", 16), &short).unwrap();
    let found = log_in(&short, &*silent).await;
    assert!(found.starts_with("unavailable: "), "{found}");
}

#[tokio::test]
async fn clock_random_and_log_work_when_granted() {
    let parts = Parts {
        imports: r#"
            (import "personium:authentication/clock@1.0.0" "now" (func $now (result i64)))
            (import "personium:authentication/random@1.0.0" "bytes" (func $bytes (param i32 i32)))
            (import "personium:authentication/log@1.0.0" "write" (func $log (param i32 i32 i32)))"#
            .to_owned(),
        fields: data(50, b"x"),
        ..Parts::body(&format!(
            "(if (i64.ne (call $now) (i64.const {NOW_MS})) (then unreachable))
             (call $log (i32.const 1) (i32.const 50) (i32.const 1))
             (call $bytes (i32.const 2000) (i32.const 512))
             (i32.store (i32.const 1028) (i32.const 1))
             (i32.store (i32.const 1032) (i32.load (i32.const 512)))
             (i32.store (i32.const 1036) (i32.load (i32.const 516)))
             (i32.store (i32.const 1040) (i32.const 50))
             (i32.store (i32.const 1044) (i32.const 1))
             (i32.const 1024)"
        ))
    };
    let component = parts.component("plugin-with-host");
    let all = plugin(&component, "grants = ['clock', 'random', 'log', 'log']").unwrap();
    // No more bytes than the contract says.
    let expected = format!("{} of x", "r".repeat(1_024));
    assert_eq!(log_in(&all, &host()).await, expected);
    for (grants, missing) in [
        ("'clock', 'random'", "log"),
        ("'clock', 'log'", "random"),
        ("'random', 'log'", "clock"),
        ("", "clock"),
    ] {
        let reason = plugin(&component, &format!("grants = [{grants}]"))
            .err()
            .unwrap();
        let expected = format!(
            "it imports personium:authentication/{missing}@1.0.0, which grants does not name"
        );
        assert_eq!(reason, expected);
    }
}
