//! Metrics of what waits in outboxes, and of what was given up.

use personium_testkit::{free_port, wait_until};
use serde_json::json;

use crate::storage_unit::StorageUnit;

const NAMES: [&str; 4] = [
    "personium_rule_requests_waiting",
    "personium_messages_waiting",
    "personium_rule_requests_failed_total",
    "personium_rule_requests_skipped_total",
];

async fn values(unit: &StorageUnit) -> [Option<u64>; 4] {
    let (_, text) = unit.admin_text("metrics").await;
    let value = |name: &str| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    };
    NAMES.map(value)
}

async fn wait_for(unit: &StorageUnit, wanted: [u64; 4]) {
    wait_until(&format!("{wanted:?}"), async || {
        values(unit).await == wanted.map(Some)
    })
    .await;
}

#[tokio::test]
async fn waiting_requests_and_messages_and_failed_requests_are_counted_until_they_are_gone() {
    let builder = crate::unit()
        .setting("io.personium.core.outgoing.privateNetworks.enabled", "true")
        .setting("io.personium.core.rule.request.expiresIn", 3600);
    let mut unit = StorageUnit::start(builder);
    assert_eq!(values(&unit).await, [Some(0); 4]);
    unit.create_cell("c").await;
    // Nobody listens there.
    let nowhere = format!("http://127.0.0.1:{}/", free_port());
    let rules = [
        ("waits", nowhere.as_str()),
        ("fails", "personium-localunit:none:/x"),
    ];
    for (name, target) in rules {
        let rule = json!({
            "Name": name, "EventExternal": true, "EventType": "t", "Action": "relay", "TargetUrl": target,
        });
        unit.create("c/__ctl/Rule", &rule.to_string()).await;
    }
    let event = json!({"Type": "t", "Object": "o", "Info": "i"}).to_string();
    for _ in 0..2 {
        unit.post("c/__event", &event).await.expect(200);
    }
    let message = json!({"To": format!("{nowhere}cell/"), "Title": "t"}).to_string();
    unit.post("c/__message/send", &message).await.expect(201);
    wait_for(&unit, [2, 1, 2, 0]).await;

    // What waits is in the store, what has failed was counted by the process.
    unit.kill();
    unit.restart();
    wait_for(&unit, [2, 1, 0, 0]).await;
    let removal = unit.admin_request("DELETE", "c");
    let removal = removal.header("X-Personium-Recursive", "true");
    removal.send().await.expect(204);
    wait_for(&unit, [0, 0, 0, 0]).await;
}
