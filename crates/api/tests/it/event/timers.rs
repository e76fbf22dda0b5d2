//! Timers of rules.

use personium_model::event::timer;
use personium_model::keys;
use personium_store::{Batch, Key, KeyRange};
use personium_testkit::{TestUnit, cell_url, refused, success};
use serde_json::{Value, json};

use super::{after_level, log_lines};
use crate::auth::unit_with_accounts;

const MINUTE_MS: i64 = 60_000;
const RULE: &str = "c/__ctl/Rule(Name='t',_Box.Name=null)";

/// A rule that logs a timer.
fn rule(name: &str, kind: &str, object: &str) -> Value {
    json!({
        "Name": name, "EventType": kind, "EventObject": object, "EventInfo": "tick",
        "Action": "log",
    })
}

async fn create(unit: &TestUnit, rule: &Value) {
    unit.create("c/__ctl/Rule", &rule.to_string()).await;
}

/// Lets some time pass, or sets the clock back, and fires what is due. Returns the number of lines in the log.
async fn lines_after(unit: &TestUnit, ms: i64) -> usize {
    match ms < 0 {
        true => unit.set_clock_back(-ms),
        false => unit.advance_clock(ms),
    }
    while timer::fire_due(&unit.model).await.unwrap() {}
    log_lines(unit, "c").await.len()
}

async fn timers(unit: &TestUnit) -> Value {
    let shown = unit.admin_request("GET", "c/__rule").send().await.json();
    shown["timers"].clone()
}

#[tokio::test]
async fn periodic_timer_fires_once_for_each_time_also_after_a_restart() {
    let unit = TestUnit::new().await;
    create(&unit, &rule("t", "timer.periodic", "1")).await;
    assert_eq!(lines_after(&unit, MINUTE_MS / 2).await, 0);
    assert_eq!(lines_after(&unit, MINUTE_MS / 2).await, 1);
    assert_eq!(lines_after(&unit, 0).await, 1);
    let line = log_lines(&unit, "c").await.remove(0);
    let (key, rest) = after_level(&line).split_once(',').unwrap();
    assert_eq!(key.len(), r#""qVpc_J-JzTemRBynrfd1eJQ""#.len(), "{line}");
    assert_eq!(rest, r#""false",null,null,"timer.periodic","1","tick""#);
    let restarted = unit.restart();
    assert_eq!(lines_after(&restarted, MINUTE_MS).await, 2);
    // What was missed while nothing ran is made up for once.
    assert_eq!(lines_after(&restarted, 10 * MINUTE_MS).await, 3);
    assert_eq!(lines_after(&restarted, MINUTE_MS).await, 4);
    let shown = timers(&restarted).await;
    assert_eq!(shown[0]["count"], 4, "{shown}");
    assert_eq!(shown[0]["interval"], MINUTE_MS);
    assert_eq!(shown[0]["EventObject"], "1");
    assert_eq!(restarted.admin_outcome("DELETE", RULE).await, success(204));
    assert_eq!(lines_after(&restarted, 10 * MINUTE_MS).await, 4);
    assert_eq!(timers(&restarted).await, json!([]));
    assert!(restarted.record_keys(b"PJ").await.is_empty());
}

#[tokio::test]
async fn timer_of_a_rule_without_details_has_none() {
    let unit = TestUnit::new().await;
    let mut rule = rule("t", "timer.periodic", "1");
    rule["EventInfo"] = Value::Null;
    create(&unit, &rule).await;
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 1);
    let line = log_lines(&unit, "c").await.remove(0);
    assert!(line.ends_with(r#""timer.periodic","1",null"#), "{line}");
}

#[tokio::test]
async fn timer_for_one_time_fires_at_that_minute_and_never_again() {
    let unit = TestUnit::new().await;
    let at = unit.model.now_ms() + 5 * MINUTE_MS;
    create(&unit, &rule("t", "timer.oneshot", &at.to_string())).await;
    assert_eq!(lines_after(&unit, 3 * MINUTE_MS).await, 0);
    assert_eq!(lines_after(&unit, 2 * MINUTE_MS).await, 1);
    assert_eq!(lines_after(&unit, 60 * MINUTE_MS).await, 1);
    assert_eq!(timers(&unit).await, json!([]));
    // The rule stays and can be changed.
    let later = rule("t", "timer.oneshot", &(at + 90 * MINUTE_MS).to_string());
    let put = unit.admin_request("PUT", RULE).body(later.to_string());
    assert_eq!(put.send().await.outcome(), success(204));
    assert_eq!(lines_after(&unit, 60 * MINUTE_MS).await, 2);
}

#[tokio::test]
async fn no_time_is_fired_twice_when_the_clock_is_set_back_and_forward() {
    let unit = TestUnit::new().await;
    let at = unit.model.now_ms() + 5 * MINUTE_MS;
    create(&unit, &rule("t", "timer.periodic", "1")).await;
    create(&unit, &rule("once", "timer.oneshot", &at.to_string())).await;
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 1);
    // Set back by an hour: the times of that hour are not fired again.
    assert_eq!(lines_after(&unit, -60 * MINUTE_MS).await, 1);
    assert_eq!(lines_after(&unit, 60 * MINUTE_MS).await, 1);
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 2);
    // Set forward by a day: each fires once for what has passed.
    assert_eq!(lines_after(&unit, 24 * 60 * MINUTE_MS).await, 4);
    assert_eq!(lines_after(&unit, 0).await, 4);
    // Set back by that day, and right again.
    assert_eq!(lines_after(&unit, -24 * 60 * MINUTE_MS).await, 4);
    assert_eq!(lines_after(&unit, 24 * 60 * MINUTE_MS).await, 4);
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 5);
}

#[tokio::test]
async fn timer_whose_batch_is_committed_after_the_first_look_fires_a_minute_later() {
    let unit = TestUnit::new().await;
    create(&unit, &rule("t", "timer.periodic", "1")).await;
    // As if the batch of the rule were still on its way: its clock is behind, or the store is slow.
    let records = unit.model.cell_records(&unit.cell_id().await);
    let late = unit.record_keys(b"PJ").await;
    let (mut away, mut back) = (Batch::new(), Batch::new());
    for key in &late {
        back.put(key.clone(), records.find_bytes(key).await.unwrap().unwrap());
        away.delete(key.clone());
    }
    assert_eq!(late.len(), 2);
    records.commit(away).await.unwrap();
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 0);
    records.commit(back).await.unwrap();
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 1);
    // What is not there at the second look either is not looked for again.
    assert_eq!(unit.admin_outcome("DELETE", RULE).await, success(204));
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 1);
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 1);
    let entries = KeyRange::prefix(&Key::table(b'Y').build());
    assert!(unit.model.records().is_empty(&entries).await.unwrap());
}

#[tokio::test]
async fn damaged_cells_do_not_delay_the_timers_of_others() {
    let unit = TestUnit::new().await;
    unit.create_cell("d").await;
    let damaged = unit.model.find_cell("d").await.unwrap().unwrap().cell().id;
    let records = unit.model.cell_records(&damaged);
    let now = unit.model.now_ms();
    let mut batch = Batch::new();
    batch.put(keys::due_timer(now, "x"), "");
    batch.put(keys::timer("x"), "garbage");
    records.commit(batch).await.unwrap();
    // More than are looked at at once.
    let mut index = Batch::new();
    for n in 0..250 {
        index.put(keys::cell_with_timer(now + n, &damaged), "");
    }
    unit.model.records().commit(index).await.unwrap();
    create(&unit, &rule("t", "timer.periodic", "1")).await;
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 1);
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 2);
    // Once it is repaired its timers go on.
    let repair = KeyRange::prefix(&keys::timer("x"));
    records.remove_range(&repair).await.unwrap();
    records.remove_range(&keys::due_timers(None)).await.unwrap();
    assert_eq!(unit.admin_outcome("DELETE", RULE).await, success(204));
    for _ in 0..4 {
        lines_after(&unit, 10 * MINUTE_MS).await;
    }
    let entries = KeyRange::prefix(&Key::table(b'Y').build());
    assert!(unit.model.records().is_empty(&entries).await.unwrap());
}

#[tokio::test]
async fn new_timer_whose_time_is_over_is_refused_and_one_that_never_fires_is_not() {
    let unit = TestUnit::new().await;
    let at = unit.model.now_ms() - 2 * MINUTE_MS;
    for path in ["c/__ctl/Rule", "c/__ctl/Box('b')/_Rule"] {
        for (kind, object) in [
            ("timer.oneshot", at.to_string()),
            ("timer.oneshot", "1".to_owned()),
            ("timer.periodic", "x".to_owned()),
            ("timer.periodic", "253402300800000".to_owned()),
        ] {
            let post = unit.post(path, &rule("t", kind, &object).to_string()).await;
            assert_eq!(
                post.outcome(),
                refused(400, "OD-0006"),
                "{path} {kind} {object}"
            );
        }
    }
    for (name, object) in [("far", "253402300799999"), ("sign", "+5000000000")] {
        create(&unit, &rule(name, "timer.periodic", object)).await;
        let path = format!("c/__ctl/Rule('{name}')");
        assert_eq!(unit.admin_outcome("DELETE", &path).await, success(204));
    }
    let bound = rule("t", "timer.periodic", "1").to_string();
    let post = unit.post("c/__ctl/Box('b')/_Rule", &bound).await;
    assert_eq!(post.outcome(), success(201));
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 1);
    let remove = unit
        .admin_request("DELETE", "c/b")
        .header("x-personium-recursive", "true");
    assert_eq!(remove.send().await.outcome(), success(204));
    assert!(unit.record_keys(b"PJ").await.is_empty());
}

#[tokio::test]
async fn timer_fires_once_in_a_unit_of_several_nodes() {
    let unit = TestUnit::new().await.with_two_nodes();
    let other = unit.another_node();
    create(&unit, &rule("t", "timer.periodic", "1")).await;
    create(&unit, &rule("u", "timer.periodic", "1")).await;
    for round in 1..5 {
        unit.advance_clock(MINUTE_MS);
        let (a, b) = tokio::join!(timer::fire_due(&unit.model), timer::fire_due(&other.model));
        assert!(a.is_ok() && b.is_ok());
        // Neither node may have had the claim in the first round if both wanted it.
        while timer::fire_due(&unit.model).await.unwrap() {}
        while timer::fire_due(&other.model).await.unwrap() {}
        assert_eq!(log_lines(&unit, "c").await.len(), 2 * round);
    }
}

#[tokio::test]
async fn timer_acts_as_an_account_of_its_cell_only() {
    let unit = unit_with_accounts(|_| {}).await;
    let own = format!("{}#me", cell_url("c"));
    for (name, subject) in [
        ("own", "personium-localunit:c:/#me"),
        ("none", "personium-localunit:c:/#nobody"),
        ("far", "https://far.example/c/#me"),
    ] {
        let mut rule = rule(name, "timer.periodic", "1");
        rule["EventSubject"] = subject.into();
        rule["EventInfo"] = name.into();
        create(&unit, &rule).await;
    }
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 3);
    for line in log_lines(&unit, "c").await {
        let is_own = line.contains(r#","own""#);
        assert_eq!(line.contains(&own), is_own, "{line}");
        assert!(!line.contains("far.example"), "{line}");
    }
}

#[tokio::test]
async fn general_rules_hear_timers() {
    let unit = TestUnit::new().await;
    create(&unit, &rule("t", "timer.periodic", "1")).await;
    create(
        &unit,
        &json!({"Name": "all", "EventType": "timer", "Action": "log.warn"}),
    )
    .await;
    assert_eq!(lines_after(&unit, MINUTE_MS).await, 2);
    let lines = log_lines(&unit, "c").await.concat();
    assert!(
        lines.contains("[WARN ]") && lines.contains("[INFO ]"),
        "{lines}"
    );
}

#[tokio::test]
async fn process_that_fires_no_timers_shows_none_and_refuses_them_if_no_other_one_can_fire_them() {
    let unit = unit_with_accounts(|settings| settings.events.fires_timers = false).await;
    let at = unit.model.now_ms() + 5 * MINUTE_MS;
    let timers = [
        rule("t", "timer.periodic", "1"),
        rule("t", "timer.oneshot", &at.to_string()),
    ];
    let other = rule("t", "app", "personium-localcell:/b/");
    for timer in &timers {
        let post = unit.admin_request("POST", "c/__ctl/Rule");
        let post = post.body(timer.to_string()).send().await;
        assert_eq!(post.outcome(), refused(400, "OD-0006"));
    }
    create(&unit, &other).await;
    for timer in &timers {
        let put = unit.admin_request("PUT", RULE).body(timer.to_string());
        assert_eq!(put.send().await.outcome(), refused(400, "OD-0006"));
    }
    let shown = unit.admin_request("GET", "c/__rule").send().await.json();
    assert_eq!(shown["rules"].as_array().map(Vec::len), Some(1));
    assert!(shown.get("timers").is_none(), "{shown}");
    // Another server node may fire it.
    let node = unit.sharing_node();
    for timer in &timers {
        let put = node.admin_request("PUT", RULE).body(timer.to_string());
        assert_eq!(put.send().await.outcome(), success(204));
    }
}
