//! Events, rules and the event log.

mod background_chains;
mod every_operation;
mod exec;
mod failed_requests;
mod feed;
mod hostile_targets;
mod internal;
mod log;
mod messages;
mod post;
mod relay_tokens;
mod rule_actions;
mod rules;
mod timers;

use std::sync::Arc;

use personium_model::event;
use personium_testkit::{TestResponse, TestUnit, wait_until};
use serde_json::{Value, json};

/// The path of the current log of the cell `c`.
const LOG: &str = "c/__log/current/default.log";

/// Creates a rule of `c` for external events with these members.
async fn create_rule(unit: &TestUnit, name: &str, members: Value) {
    let mut rule = json!({"Name": name, "EventExternal": true});
    for (member, value) in members.as_object().unwrap() {
        rule[member] = value.clone();
    }
    unit.create("c/__ctl/Rule", &rule.to_string()).await;
}

/// Posts an event to `c` with the master token.
async fn post_event(unit: &TestUnit, event: Value) -> TestResponse {
    unit.post("c/__event", &event.to_string()).await
}

/// The number of events that a rule of `c` has matched.
async fn hits(unit: &TestUnit, rule: &str) -> usize {
    let shown = unit.admin_request("GET", "c/__rule").send().await.json();
    let rules = shown["rules"].as_array().unwrap();
    let found = rules.iter().find(|found| found["Name"] == rule).unwrap();
    usize::try_from(found["HitCount"].as_u64().unwrap()).unwrap()
}

/// Returns the lines of the current log of a cell.
pub(super) async fn log_lines(unit: &TestUnit, cell: &str) -> Vec<String> {
    let path = format!("{cell}/__log/current/default.log");
    let response = unit.admin_request("GET", &path).send().await;
    assert_eq!(response.status, 200, "{}", response.text());
    response.text().lines().map(str::to_owned).collect()
}

/// Waits until the log of a cell has at least `count` lines; returns them.
pub(super) async fn wait_for_log_lines(unit: &TestUnit, cell: &str, count: usize) -> Vec<String> {
    wait_until(&format!("{count} lines of {cell}"), async || {
        log_lines(unit, cell).await.len() >= count
    })
    .await;
    log_lines(unit, cell).await
}

/// Starts the background task that sends the requests of rules.
pub(super) fn start_rule_sender(unit: &TestUnit) {
    let sender = Arc::new(unit.service.clone());
    tokio::spawn(personium_event::run(unit.model.clone(), sender, 4, None));
}

/// Returns the part of a log line after time and level.
pub(super) fn after_level(line: &str) -> &str {
    line.split_once("],").unwrap().1
}

/// The longest text that an event may have.
fn longest_text() -> String {
    "x".repeat(event::MAX_TEXT_UTF16_UNITS)
}
