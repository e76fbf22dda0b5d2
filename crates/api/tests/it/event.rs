//! Events, the rules that hear of them, and the event log.

mod actions;
mod log;
mod post;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use personium_model::event;
use serde_json::{Value, json};

use crate::harness::{Reply, World};

/// The current log of the cell `c`.
const LOG: &str = "c/__log/current/default.log";

impl World {
    /// Makes a rule of `c` for external events with these members.
    async fn rule(&self, name: &str, members: Value) {
        let mut rule = json!({"Name": name, "EventExternal": true});
        for (member, value) in members.as_object().unwrap() {
            rule[member] = value.clone();
        }
        self.make("c/__ctl/Rule", &rule.to_string()).await;
    }

    /// Posts an event to `c` as the master.
    async fn tell(&self, event: Value) -> Reply {
        self.post("c/__event", &event.to_string()).await
    }

    /// The lines of the current log of a cell.
    async fn lines(&self, cell: &str) -> Vec<String> {
        let path = format!("{cell}/__log/current/default.log");
        let reply = self.ask("GET", &path).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.text().lines().map(str::to_owned).collect()
    }

    /// Waits until the log of a cell has so many lines.
    async fn wait_for_lines(&self, cell: &str, count: usize) -> Vec<String> {
        until(&format!("{count} lines of {cell}"), async || {
            self.lines(cell).await.len() >= count
        })
        .await;
        self.lines(cell).await
    }

    /// Sends what rules want to be sent, in the background.
    fn send_for_rules(&self) {
        let sender = Arc::new(self.service.clone());
        tokio::spawn(personium_event::run(self.unit.clone(), sender, 4));
    }
}

/// Waits until something is so, for a bounded time.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..4_000 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(is_so().await, "not in time: {what}");
}

/// The part of a line behind time and level.
fn told(line: &str) -> &str {
    line.split_once("],").unwrap().1
}

/// The longest text of an event.
fn longest() -> String {
    "x".repeat(event::TEXT_MAX)
}
