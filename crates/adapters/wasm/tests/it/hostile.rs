//! Components that trap, loop, allocate without bound, or lie.

use std::sync::Arc;

use personium_wasm::WasmPluginKind;

use crate::component_text::{Parts, RESULT};
use crate::{Plugins, host, log_in, plugin};

/// The outcomes of log-ins by a component without imports, compiled and interpreted.
async fn outcomes(parts: &Parts) -> Vec<String> {
    let mut found = Vec::new();
    for kind in [WasmPluginKind::default(), WasmPluginKind::interpreted()] {
        let plugins = Plugins::of_kind(kind);
        plugins.add("x", &parts.component("plugin"), "");
        found.push(log_in(&plugins.load("x").unwrap(), &host()).await);
    }
    found
}

async fn assert_outcome(parts: &Parts, expected: &str) {
    assert_eq!(outcomes(parts).await, [expected, expected]);
}

#[tokio::test]
async fn honest_components_return_accounts_nobody_and_errors() {
    assert_outcome(&Parts::account(b"alice", "x"), "alice of x").await;
    assert_outcome(&Parts::account(b"", "x"), "nobody").await;
    assert_outcome(&Parts::result(&[0, 0], b""), "nobody").await;
    let refusal = Parts::result(&[1, 7, 2_048, 9], b"no \r\n\"way");
    assert_outcome(&refusal, "refused: access_denied: no way").await;
    // The fields of the client are not passed on: the third field would be its secret.
    let fields =
        Parts::body("(if (i32.ne (local.get 9) (i32.const 2)) (then unreachable)) (i32.const 0)");
    assert_outcome(&fields, "nobody").await;
}

#[tokio::test]
async fn components_that_trap_or_break_the_rules_are_broken() {
    let recursion = Parts {
        fields:
            "(func $r (param i32) (result i32) (i32.add (call $r (local.get 0)) (i32.const 1)))"
                .to_owned(),
        ..Parts::body("(call $r (i32.const 0))")
    };
    let grows =
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let tables = Parts {
        fields: "(table $t 1 funcref)".to_owned(),
        ..Parts::body(
            "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1)))) unreachable",
        )
    };
    let long = "n".repeat(2_000);
    let huge = Parts {
        pages: Some(600),
        ..Parts::result(&[0, 1, 0, 30 << 20, 0, 1], b"")
    };
    let mut wrong = Vec::new();
    for (name, parts, expected) in [
        ("trap", Parts::body("unreachable"), "unreachable"),
        (
            "division",
            Parts::body("(i32.div_u (i32.const 1) (i32.const 0))"),
            "divide by zero",
        ),
        (
            "address",
            Parts::body("(i32.load (i32.const -4))"),
            "out of bounds",
        ),
        ("recursion", recursion, "call stack exhausted"),
        ("memory", Parts::body(grows), "memory_mib"),
        ("table", tables, "memory_mib"),
        ("output", huge, "fuel"),
        (
            "string outside",
            Parts::result(&[0, 1, 0x7fff_ff00, 5, 0, 1], b""),
            "out of bounds",
        ),
        ("result outside", Parts::body("(i32.const -24)"), "pointer"),
        ("alignment", Parts::body("(i32.const 1027)"), "aligned"),
        ("result", Parts::result(&[7], b""), "discriminant"),
        ("error", Parts::result(&[1, 200, 0, 0], b""), "discriminant"),
        ("text", Parts::account(b"\xff\xfe", "x"), "utf-8"),
        (
            "type",
            Parts::account(b"alice", "other"),
            "which it does not declare",
        ),
        (
            "no type",
            Parts::account(b"alice", ""),
            "which it does not declare",
        ),
        (
            "name",
            Parts::account(long.as_bytes(), "x"),
            "a name of more than 1024 bytes",
        ),
        (
            "allocator",
            Parts {
                realloc: Some("(i32.const -8)".to_owned()),
                ..Parts::default()
            },
            "realloc",
        ),
        (
            "allocator that traps",
            Parts {
                realloc: Some("unreachable".to_owned()),
                ..Parts::default()
            },
            "unreachable",
        ),
    ] {
        for found in outcomes(&parts).await {
            let is_right = found.starts_with("broken: failed: ") && found.contains(expected);
            if !is_right || found.len() > 700 {
                wrong.push(format!("{name}: {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn components_that_do_not_end_are_interrupted_and_hold_up_nobody() {
    do_not_end(WasmPluginKind::default(), &["x", "fills", "after", "short"]).await;
}

#[tokio::test]
async fn interpreted_components_that_do_not_end_are_interrupted_and_hold_up_nobody() {
    do_not_end(WasmPluginKind::interpreted(), &["x", "short"]).await;
}

async fn do_not_end(kind: WasmPluginKind, names: &[&str]) {
    let plugins = Plugins::of_kind(kind);
    let endless = "(loop $l (br $l)) unreachable";
    // Filling memory is one instruction, however long it is.
    let fills = Parts {
        pages: Some(500),
        ..Parts::body(
            "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 32000000)) (br $l)) unreachable",
        )
    };
    let after = Parts {
        fields: format!(
            "(func (export \"cabi_post_personium:authentication/authenticator@1.0.0#authenticate\") (param i32) {endless})"
        ),
        ..Parts::account(b"alice", "x")
    };
    let good = Parts::account(b"bob", "good");
    plugins.add("good", &good.component("plugin"), "");
    plugins.add("x", &Parts::body(endless).component("plugin"), "");
    plugins.add("fills", &fills.component("plugin"), "");
    plugins.add("after", &after.component("plugin"), "");
    let short = "timeout_ms = 10";
    plugins.add("short", &Parts::body(endless).component("plugin"), short);
    let good = plugins.load("good").unwrap();
    let mut calls = Vec::new();
    for name in names {
        let plugin = plugins.load(name).unwrap();
        calls.push(tokio::spawn(async move { log_in(&plugin, &host()).await }));
    }
    // The loops compute for seconds. Nobody waits for their end.
    let mut count = 0;
    while !calls[0].is_finished() && count < 20 {
        assert_eq!(log_in(&good, &host()).await, "bob of good");
        count += 1;
    }
    assert!(count >= 20, "only {count} log-ins beside the loops");
    let short = calls.pop().unwrap().await.unwrap();
    assert!(short.starts_with("unavailable: "), "{short}");
    for call in calls {
        let found = call.await.unwrap();
        let expected = "broken: failed: it has computed for more than 2 seconds";
        assert_eq!(found, expected);
    }
    assert_eq!(log_in(&good, &host()).await, "bob of good");
}

#[tokio::test]
async fn instances_share_nothing() {
    // Each call would count.
    let counts = Parts {
        fields: format!("(global $count (mut i32) (i32.const 0)) {}", Parts::account(b"a", "x").fields),
        ..Parts::body(&format!(
            "(if (i32.or (global.get $count) (i32.load (i32.const 4))) (then unreachable))
             (global.set $count (i32.const 1)) (i32.store (i32.const 4) (i32.const 1)) (i32.const {RESULT})"
        ))
    };
    let plugin = plugin(&counts.component("plugin"), "").unwrap();
    let mut calls = Vec::new();
    for _ in 0..20 {
        let plugin = Arc::clone(&plugin);
        calls.push(tokio::spawn(async move { log_in(&plugin, &host()).await }));
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), "a of x");
    }
}
