//! Rules take turns: neither a target that never answers nor a rule that always has requests delays the rules of other cells.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use personium_event::{NoResponse, ReceivedResponse, RequestSender};
use personium_model::Unit;
use personium_model::event::{self, Event};
use personium_model::server_node;
use personium_testkit::{ModelUnit, cell_permit, create, wait_until};
use personium_types::Operation;

/// The number of rules whose requests are in flight at the same time.
const RULES_MAX: usize = 4;

/// The targets and types of events of the requests, in the order in which they were sent.
type Ledger = Arc<Mutex<Vec<(String, String)>>>;

/// The host of the unit, whose services never answer here.
const SILENT: &str = "unit.example";

/// A sender whose host [`SILENT`] never answers. A request to `busy.example` causes the next event of the cell `c`.
struct SlowSender {
    ledger: Ledger,
    unit: Weak<Unit>,
}

#[async_trait]
impl RequestSender for SlowSender {
    async fn send(&self, request: Request<Bytes>) -> Result<ReceivedResponse, NoResponse> {
        let event: serde_json::Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let kind = event["Type"].as_str().unwrap_or_default().to_owned();
        let host = request.uri().host().unwrap_or_default().to_owned();
        self.ledger.lock().unwrap().push((host.clone(), kind));
        match host.as_str() {
            SILENT => std::future::pending().await,
            "busy.example" => {
                let next = self.ledger.lock().unwrap().len();
                if let Some(unit) = self.unit.upgrade() {
                    post(&unit, "c", &format!("busy.{next:09}")).await;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            _ => {}
        }
        Ok(ReceivedResponse {
            status: StatusCode::OK,
            body: Bytes::new(),
        })
    }
}

/// Starts the sending.
fn start(unit: &ModelUnit, rules_max: usize) -> Ledger {
    let ledger = Ledger::default();
    let sender = Arc::new(SlowSender {
        ledger: Arc::clone(&ledger),
        unit: Arc::downgrade(&unit.model),
    });
    let running = personium_event::run(Arc::clone(&unit.model), sender, rules_max, None);
    tokio::spawn(running);
    ledger
}

async fn post(unit: &Unit, cell: &str, kind: &str) {
    let context = unit.find_cell(cell).await.unwrap().unwrap();
    let event = Event {
        external: true,
        kind: Some(kind.to_owned()),
        ..Event::internal()
    };
    let permit = cell_permit(&context, Operation::PostEvent);
    event::post(unit, &context, &permit, event).await.unwrap();
}

/// Creates a rule for external events whose types begin with its name.
async fn create_rule(unit: &ModelUnit, (cell, name): (&str, &str), action: &str, target: &str) {
    let context = unit.find_cell(cell).await.unwrap();
    let root = personium_model::odata::ServiceRoot::of_cell(unit.model.clone(), context);
    // The key of the cell, with which requests are signed: while a thread makes it, a paused clock would run on.
    personium_model::auth::cell_key::get_or_create(&unit.model, root.context().unwrap())
        .await
        .unwrap();
    let rule = serde_json::json!({
        "Name": name, "EventExternal": true, "EventType": name, "Action": action,
        "TargetUrl": target,
    });
    create(&root, "Rule", &rule.to_string()).await.unwrap();
}

fn sent_to(ledger: &Ledger, host: &str) -> Vec<String> {
    let ledger = ledger.lock().unwrap();
    let to_host = ledger.iter().filter(|(to, _)| to == host);
    to_host.map(|(_, kind)| kind.clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn silent_target_of_many_rules_takes_a_part_of_the_turns() {
    let unit = ModelUnit::new().await;
    unit.create_cell("d").await;
    for number in 0..3 * RULES_MAX {
        let name = format!("silent{number:02}");
        create_rule(&unit, ("c", &name), "exec", "personium-localcell:/b/svc/x").await;
        for _ in 0..3 {
            post(&unit.model, "c", &name).await;
        }
    }
    create_rule(&unit, ("d", "other"), "relay", "http://other.example/").await;
    let ledger = start(&unit, RULES_MAX);
    let silent = || sent_to(&ledger, SILENT);
    wait_until("the target is silent", async || {
        silent().len() >= RULES_MAX / 4
    })
    .await;
    post(&unit.model, "d", "other").await;
    wait_until("another cell is served", async || {
        !sent_to(&ledger, "other.example").is_empty()
    })
    .await;
    // No request has ended, and three quarters of the turns are left.
    assert_eq!(silent().len(), RULES_MAX / 4, "{:?}", silent());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_events_for_a_target_that_never_answers_wait_and_delay_nobody() {
    const EVENTS: usize = 10_000;
    const AT_ONCE: usize = 500;
    let unit = ModelUnit::new().await;
    unit.create_cell("d").await;
    create_rule(
        &unit,
        ("c", "silent"),
        "exec",
        "personium-localcell:/b/svc/x",
    )
    .await;
    create_rule(&unit, ("d", "other"), "relay", "http://other.example/").await;
    let ledger = start(&unit, RULES_MAX);
    let context = unit.find_cell("c").await.unwrap();
    let permit = cell_permit(&context, Operation::PostEvent);
    for _ in 0..EVENTS / AT_ONCE {
        let event = Event {
            external: true,
            kind: Some("silent".to_owned()),
            ..Event::internal()
        };
        let posted = event::post_all(&unit.model, &context, &permit, vec![event; AT_ONCE]);
        assert!(posted.await.unwrap().is_empty());
    }
    wait_until("the target is silent", async || {
        !sent_to(&ledger, SILENT).is_empty()
    })
    .await;
    for number in 0..20 {
        let kind = format!("other{number:02}");
        post(&unit.model, "d", &kind).await;
        wait_until("another cell is served", async || {
            sent_to(&ledger, "other.example").contains(&kind)
        })
        .await;
    }
    // One is in flight; the others wait in the store.
    assert_eq!(sent_to(&ledger, SILENT).len(), 1);
    let range = personium_model::keys::all_outbox_entries();
    let waiting = context.records().count(&range).await.unwrap();
    assert_eq!(waiting, EVENTS as u64);
}

#[tokio::test(start_paused = true)]
async fn silent_target_gives_its_turn_to_the_next_rule() {
    let first = ModelUnit::new().await;
    first.model.leave().await.unwrap();
    // Its clock is that of the time-outs.
    let unit = first.server_node(0);
    let model = unit.model.clone();
    tokio::spawn(async move { server_node::maintain(&model).await });
    tokio::time::sleep(Duration::from_secs(3)).await;
    for name in ["silent00", "silent01"] {
        create_rule(&unit, ("c", name), "exec", "personium-localcell:/b/svc/x").await;
        for _ in 0..2 {
            post(&unit.model, "c", name).await;
        }
    }
    let ledger = start(&unit, 1);
    let silent = || sent_to(&ledger, SILENT);
    while silent().len() < 4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(silent(), ["silent00", "silent01", "silent00", "silent01"]);
}

#[tokio::test(start_paused = true)]
async fn steady_rule_does_not_starve_others_and_keeps_its_order() {
    let unit = ModelUnit::new().await;
    unit.create_cell("d").await;
    create_rule(&unit, ("c", "busy"), "relay", "http://busy.example/").await;
    create_rule(&unit, ("c", "other"), "relay", "http://other.example/").await;
    create_rule(&unit, ("d", "other"), "relay", "http://far.example/").await;
    // Two requests wait at least at any time.
    for number in 0..2 {
        post(&unit.model, "c", &format!("busy.{number:09}")).await;
    }
    let ledger = start(&unit, 1);
    let busy = || sent_to(&ledger, "busy.example");
    wait_until("the rule is busy", async || busy().len() >= 20).await;
    for cell in ["c", "d"] {
        post(&unit.model, cell, "other").await;
    }
    for host in ["other.example", "far.example"] {
        wait_until(host, async || !sent_to(&ledger, host).is_empty()).await;
    }
    let now = busy().len();
    wait_until("the rule goes on", async || busy().len() >= now + 20).await;
    assert!(busy().is_sorted(), "{:?}", busy());
}
