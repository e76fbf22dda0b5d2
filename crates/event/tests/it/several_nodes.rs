//! Rule requests of a unit with several server nodes: none is lost, those of a rule are in order, and only one that was in flight
//! is sent twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode};
use personium_event::{NoResponse, ReceivedResponse, RequestSender};
use personium_model::event::{self, Event, RuleChain, dead_letter, rule_state};
use personium_model::keys;
use personium_model::odata::ServiceRoot;
use personium_model::server_node;
use personium_testkit::{ModelUnit, cell_permit, wait_until};
use personium_types::Operation;
use tokio::task::JoinHandle;
use tokio::time::sleep;

const HOUR_MS: i64 = 3_600_000;

/// The requests that were received: the server node that sent them, and the type of the event.
type Ledger = Arc<Mutex<Vec<(&'static str, String)>>>;

/// The sender of a server node. It is stuck in the middle of one request, if it should be. That of the server node `refused` gets the
/// answer 404.
struct LedgerSender {
    node: &'static str,
    ledger: Ledger,
    stuck_at: Option<(&'static str, Duration)>,
}

#[async_trait]
impl RequestSender for LedgerSender {
    async fn send(&self, request: Request<Bytes>) -> Result<ReceivedResponse, NoResponse> {
        let event: serde_json::Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let kind = event["Type"].as_str().unwrap_or_default().to_owned();
        self.ledger.lock().unwrap().push((self.node, kind.clone()));
        if let Some((at, duration)) = self.stuck_at
            && kind.ends_with(at)
        {
            sleep(duration).await;
        }
        Ok(ReceivedResponse {
            status: match self.node {
                "refused" => StatusCode::NOT_FOUND,
                _ => StatusCode::OK,
            },
            body: Bytes::new(),
        })
    }
}

/// A running server node.
struct RunningNode {
    unit: ModelUnit,
    tasks: Vec<JoinHandle<()>>,
}

impl RunningNode {
    fn start(
        unit: ModelUnit,
        (node, ledger): (&'static str, &Ledger),
        stuck_at: Option<(&'static str, Duration)>,
    ) -> Self {
        let sender = Arc::new(LedgerSender {
            node,
            ledger: ledger.clone(),
            stuck_at,
        });
        let model = unit.model.clone();
        let maintained = tokio::spawn(async move { server_node::maintain(&model).await });
        let sending = tokio::spawn(personium_event::run(unit.model.clone(), sender, 4, None));
        Self {
            unit,
            tasks: vec![maintained, sending],
        }
    }

    /// Ends it as by `kill -9`.
    fn kill(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.unit.records.suspend_process();
    }

    async fn post(&self, kind: &str) {
        let context = self.unit.context().await;
        let event = Event {
            external: true,
            schema: None,
            subject: None,
            account: None,
            kind: Some(kind.to_owned()),
            object: None,
            info: None,
            request_key: None,
            id: None,
            chain: RuleChain::default(),
            via: None,
            roles: Vec::new(),
        };
        let permit = cell_permit(&context, Operation::PostEvent);
        event::post(&self.unit.model, &context, &permit, event)
            .await
            .unwrap();
    }

    /// Whether nothing waits to be sent.
    async fn is_outbox_empty(&self) -> bool {
        let records = self.unit.context().await.records().clone();
        records.is_empty(&keys::all_outbox_entries()).await.unwrap()
    }
}

/// A unit with a rule in the cell `c`, whose server nodes the tests start.
async fn unit_with_rule() -> ModelUnit {
    let unit = ModelUnit::new().await;
    let context = unit.context().await;
    let root = ServiceRoot::of_cell(unit.model.clone(), context);
    unit.create_relay_rule(&root).await;
    unit.model.leave().await.unwrap();
    unit
}

fn received(ledger: &Ledger) -> Vec<(&'static str, String)> {
    ledger.lock().unwrap().clone()
}

fn sent(node: &'static str, kinds: &[&str]) -> Vec<(&'static str, String)> {
    kinds
        .iter()
        .map(|kind| (node, (*kind).to_owned()))
        .collect()
}

const LONG: Duration = Duration::from_secs(50);

#[tokio::test(start_paused = true)]
async fn requests_of_a_killed_server_node_are_sent_by_another_one_within_ten_seconds() {
    let (unit, ledger) = (unit_with_rule().await, Ledger::default());
    let a = RunningNode::start(
        unit.server_node(HOUR_MS),
        ("a", &ledger),
        Some(("t2", LONG)),
    );
    let b = RunningNode::start(unit.server_node(0), ("b", &ledger), None);
    sleep(Duration::from_secs(3)).await;
    for kind in ["t0", "t1", "t2", "t3", "t4"] {
        a.post(kind).await;
    }
    wait_until("a sends t2", async || received(&ledger).len() == 3).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(received(&ledger), sent("a", &["t0", "t1", "t2"]));
    a.kill();
    let elapsed = wait_until("b has sent all", async || b.is_outbox_empty().await);
    assert!(elapsed.await < Duration::from_secs(10));
    sleep(Duration::from_secs(60)).await;
    let expected = [
        sent("a", &["t0", "t1", "t2"]),
        sent("b", &["t2", "t3", "t4"]),
    ];
    assert_eq!(received(&ledger), expected.concat());
}

#[tokio::test(start_paused = true)]
async fn suspended_server_node_sends_nothing_that_another_one_took_over() {
    let (unit, ledger) = (unit_with_rule().await, Ledger::default());
    let second = Some(("t1", Duration::from_secs(1)));
    let a = RunningNode::start(unit.server_node(0), ("a", &ledger), second);
    let b = RunningNode::start(unit.server_node(HOUR_MS), ("b", &ledger), None);
    sleep(Duration::from_secs(3)).await;
    for kind in ["t0", "t1", "t2", "t3"] {
        a.post(kind).await;
    }
    wait_until("a sends t1", async || received(&ledger).len() == 2).await;
    a.unit.records.suspend_process();
    sleep(Duration::from_secs(20)).await;
    let expected = [sent("a", &["t0", "t1"]), sent("b", &["t1", "t2", "t3"])];
    assert_eq!(received(&ledger), expected.concat());
    a.unit.records.resume_process();
    sleep(Duration::from_secs(20)).await;
    assert_eq!(received(&ledger), expected.concat());
    // It takes part again.
    a.post("t4").await;
    b.post("t5").await;
    wait_until("all are sent", async || b.is_outbox_empty().await).await;
    sleep(Duration::from_secs(20)).await;
    let mut kinds: Vec<String> = received(&ledger)
        .into_iter()
        .map(|(_, kind)| kind)
        .collect();
    assert_eq!(kinds.split_off(5), ["t4", "t5"]);
}

#[tokio::test(start_paused = true)]
async fn suspended_server_node_that_nobody_replaced_goes_on() {
    let (unit, ledger) = (unit_with_rule().await, Ledger::default());
    let second = Some(("t1", Duration::from_secs(1)));
    let a = RunningNode::start(unit.server_node(0), ("a", &ledger), second);
    sleep(Duration::from_secs(3)).await;
    for kind in ["t0", "t1", "t2"] {
        a.post(kind).await;
    }
    wait_until("a sends t1", async || received(&ledger).len() == 2).await;
    a.unit.records.suspend_process();
    sleep(Duration::from_secs(20)).await;
    a.unit.records.resume_process();
    wait_until("all are sent", async || a.is_outbox_empty().await).await;
    assert_eq!(received(&ledger), sent("a", &["t0", "t1", "t2"]));
}

#[tokio::test(start_paused = true)]
async fn starting_server_node_does_not_disturb_the_living_ones() {
    let (unit, ledger) = (unit_with_rule().await, Ledger::default());
    let a = RunningNode::start(unit.server_node(0), ("a", &ledger), Some(("t0", LONG)));
    let _b = RunningNode::start(unit.server_node(HOUR_MS), ("b", &ledger), None);
    sleep(Duration::from_secs(3)).await;
    a.post("t0").await;
    a.post("t1").await;
    wait_until("a sends t0", async || received(&ledger).len() == 1).await;
    let _c = RunningNode::start(unit.server_node(-HOUR_MS), ("c", &ledger), None);
    sleep(Duration::from_secs(100)).await;
    assert_eq!(received(&ledger), sent("a", &["t0", "t1"]));
    assert!(a.is_outbox_empty().await);
}

#[tokio::test(start_paused = true)]
async fn event_of_another_server_node_wakes_the_owner_within_a_second() {
    let (unit, ledger) = (unit_with_rule().await, Ledger::default());
    let a = RunningNode::start(unit.server_node(0), ("a", &ledger), None);
    let b = RunningNode::start(unit.server_node(HOUR_MS), ("b", &ledger), None);
    sleep(Duration::from_secs(3)).await;
    a.post("t0").await;
    sleep(Duration::from_millis(200)).await;
    b.post("t1").await;
    let elapsed = wait_until("a sends t1", async || received(&ledger).len() == 2);
    assert!(elapsed.await <= Duration::from_millis(1_100));
    assert_eq!(received(&ledger), sent("a", &["t0", "t1"]));
}

#[tokio::test(start_paused = true)]
async fn empty_outbox_is_given_up_and_owned_by_the_server_node_of_the_next_event() {
    let (unit, ledger) = (unit_with_rule().await, Ledger::default());
    let a = RunningNode::start(unit.server_node(0), ("a", &ledger), None);
    let b = RunningNode::start(unit.server_node(0), ("b", &ledger), None);
    sleep(Duration::from_secs(3)).await;
    a.post("t0").await;
    sleep(Duration::from_secs(10)).await;
    let markers = keys::outbox_markers().range;
    assert!(b.unit.model.records().is_empty(&markers).await.unwrap());
    b.post("t1").await;
    sleep(Duration::from_secs(1)).await;
    let expected = [sent("a", &["t0"]), sent("b", &["t1"])].concat();
    assert_eq!(received(&ledger), expected);
}

#[tokio::test(start_paused = true)]
async fn requests_of_a_rule_are_sent_in_order_although_the_clocks_differ() {
    let (unit, ledger) = (unit_with_rule().await, Ledger::default());
    let first = Some(("t0", Duration::from_secs(5)));
    let a = RunningNode::start(unit.server_node(HOUR_MS), ("a", &ledger), first);
    let b = RunningNode::start(unit.server_node(0), ("b", &ledger), None);
    let c = RunningNode::start(unit.server_node(-HOUR_MS), ("c", &ledger), None);
    sleep(Duration::from_secs(3)).await;
    let mut expected = Vec::new();
    for number in 0..9 {
        let kind = format!("t{number}");
        [&a, &b, &c][number % 3].post(&kind).await;
        expected.push(("a", kind));
    }
    wait_until("all are sent", async || a.is_outbox_empty().await).await;
    assert_eq!(received(&ledger), expected);
}

#[tokio::test(start_paused = true)]
async fn event_that_a_dead_owner_would_send_is_sent_by_another_one() {
    let (unit, ledger) = (unit_with_rule().await, Ledger::default());
    let a = RunningNode::start(unit.server_node(0), ("a", &ledger), Some(("t0", LONG)));
    let b = RunningNode::start(unit.server_node(0), ("b", &ledger), None);
    let c = RunningNode::start(unit.server_node(0), ("c", &ledger), None);
    sleep(Duration::from_secs(3)).await;
    a.post("t0").await;
    wait_until("a sends t0", async || received(&ledger).len() == 1).await;
    a.kill();
    b.post("t1").await;
    c.post("t2").await;
    let elapsed = wait_until("all are sent", async || b.is_outbox_empty().await);
    assert!(elapsed.await < Duration::from_secs(10));
    sleep(Duration::from_secs(30)).await;
    let kinds: Vec<String> = received(&ledger)
        .into_iter()
        .map(|(_, kind)| kind)
        .collect();
    assert_eq!(kinds, ["t0", "t0", "t1", "t2"]);
}

/// The number of batches in which lines were added to the event log of the cell, and the number of lines.
async fn log_batches(unit: &ModelUnit) -> (usize, usize) {
    let records = unit.context().await.records().clone();
    let lines = records.list_records(&keys::log_lines(0), 1_000).await;
    let lines = lines.unwrap();
    let batches: BTreeSet<_> = lines.iter().map(|(_, line)| line.version).collect();
    (batches.len(), lines.len())
}

#[tokio::test(start_paused = true)]
async fn outcomes_of_relays_are_stored_together_and_those_of_scripts_one_by_one() {
    const REQUESTS: usize = 40;
    for (action, target, is_repeatable) in [
        ("relay", "http://x.example/", true),
        ("relay.event", "http://x.example/c/", true),
        ("exec", "personium-localcell:/b/s/x", false),
    ] {
        let (unit, ledger) = (ModelUnit::new().await, Ledger::default());
        let root = ServiceRoot::of_cell(unit.model.clone(), unit.context().await);
        unit.create_rule(&root, action, target).await;
        unit.model.leave().await.unwrap();
        // The others wait meanwhile.
        let first = Some(("t0", Duration::from_secs(1)));
        let a = RunningNode::start(unit.server_node(0), ("a", &ledger), first);
        sleep(Duration::from_secs(3)).await;
        let kinds: Vec<String> = (0..REQUESTS).map(|number| format!("t{number}")).collect();
        for kind in &kinds {
            a.post(kind).await;
        }
        wait_until("all are sent", async || a.is_outbox_empty().await).await;
        let (batches, lines) = log_batches(&a.unit).await;
        assert_eq!(lines, 2 * REQUESTS, "{action}");
        if is_repeatable {
            assert!(batches < REQUESTS / 2, "{action}: {batches} batches");
        } else {
            assert_eq!(batches, REQUESTS, "{action}");
        }
        if action == "relay" {
            let expected = kinds.iter().map(|kind| ("a", kind.clone()));
            assert_eq!(received(&ledger), expected.collect::<Vec<_>>());
        }
        let records = a.unit.context().await.records().clone();
        let counts = rule_state::counts(&records).await.unwrap();
        // `relay.data` finds no entity.
        let failed = if action == "relay.data" { REQUESTS } else { 0 };
        assert_eq!(
            (counts.waiting, counts.failed),
            (0, failed as i64),
            "{action}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn failed_requests_that_are_concluded_together_are_all_kept() {
    let (unit, ledger) = (unit_with_rule().await, Ledger::default());
    let a = RunningNode::start(unit.server_node(0), ("refused", &ledger), None);
    sleep(Duration::from_secs(3)).await;
    for number in 0..20 {
        a.post(&format!("t{number}")).await;
    }
    wait_until("all are sent", async || a.is_outbox_empty().await).await;
    let records = a.unit.context().await.records().clone();
    let counts = rule_state::counts(&records).await.unwrap();
    assert_eq!((counts.waiting, counts.failed), (0, 20));
    let page = dead_letter::list(&records, None, 1 << 20).await.unwrap();
    let kinds = page
        .letters
        .iter()
        .map(|(_, it)| it.entry.event.kind.clone());
    let expected = (0..20).map(|number| Some(format!("t{number}")));
    assert!(kinds.eq(expected));
}
