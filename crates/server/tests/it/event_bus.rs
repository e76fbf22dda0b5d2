//! The contract of what carries the events of a unit to others: the feeds of a unit of one process and of several server nodes over
//! PostgreSQL, and the brokers ActiveMQ and Kafka. All pass the same cases.

mod activemq;
mod broker;
mod cases;
mod feed;
mod full_broker;
mod kafka;
mod nodes_feed;
mod process_feed;

use personium_testkit::TestClient;
use serde_json::{Value, json};

pub(crate) use self::activemq::{Consumer, TOPIC};

/// An event as somebody outside of the unit gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BusEvent {
    /// The URL of its cell.
    cell: String,
    /// Its id. Those of a cell are in the order of its events.
    id: String,
    kind: String,
    is_external: bool,
    info: String,
    /// All of it.
    text: String,
}

impl BusEvent {
    /// An event of a cell, as JSON with the members that all formats have.
    fn new(cell: &str, id: String, event: &Value) -> Self {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        assert!(event["Timestamp"].as_i64().unwrap() > 1_600_000_000_000);
        Self {
            cell: cell.to_owned(),
            id,
            kind: text("Type"),
            is_external: event["External"] == true,
            info: text("Info"),
            text: event.to_string(),
        }
    }
}

/// The failures while events are posted, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outage {
    /// The carrier of the events dies by SIGKILL.
    Down,
    /// While it is down, a process of the unit dies by SIGKILL too.
    ProcessKilled,
    /// Everything is started again, and then something is stuck: it accepts what comes and answers nothing.
    Stuck,
    /// The process that is stuck goes on.
    Over,
}

/// The refusal of an event by somebody outside of the unit, which the unit sets aside.
struct Refusal {
    /// The action that failed.
    action: &'static str,
    /// The rule whose action it is, if it is one of a rule.
    rule: Value,
    /// A part of the reason.
    reason: &'static str,
}

/// Something that carries the events of a unit to others, with that unit.
trait EventBus {
    /// A client of the unit with the master token.
    fn admin(&self) -> TestClient;

    /// Begins to read the events of the cells `c` and `d` from now on.
    async fn listen(&mut self);

    /// The next event. Connects again where that is necessary, and goes on after the last one.
    async fn next(&mut self) -> BusEvent;

    /// Whether events that say that somebody has read are carried too.
    fn carries_reads(&self) -> bool;

    /// Lets something fail.
    async fn fail(&mut self, outage: Outage);

    /// Whether the unit may refuse events now, because its store is away.
    fn may_refuse(&self) -> bool;

    /// Waits until nothing waits to be carried, and checks that nothing was lost, if the unit counts that.
    async fn expect_all_carried(&self) {}

    /// Lets events whose information begins with this text be refused outside of the unit. Returns how that is listed.
    async fn refuse(&mut self, beginning: &str) -> Refusal;

    /// Whether those who listen get an event that was refused.
    fn carries_refused(&self) -> bool;

    /// Checks that one event was counted as set aside.
    async fn expect_one_set_aside(&self);

    /// Posts more events to the cell `c` than are kept. Checks that what is missing is told, and that the others come.
    async fn check_more_than_is_kept(&mut self);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activemq_keeps_the_contract_of_the_event_bus() {
    let bus = tokio::task::spawn_blocking(activemq::ActiveMqBus::start);
    cases::check(broker::BrokerUnit::start(bus.await.unwrap()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract_of_the_event_bus() {
    let bus = tokio::task::spawn_blocking(kafka::KafkaBus::start);
    cases::check(broker::BrokerUnit::start(bus.await.unwrap()).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feed_of_one_process_keeps_the_contract_of_the_event_bus() {
    let bus = tokio::task::spawn_blocking(process_feed::ProcessFeed::start);
    cases::check(bus.await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn feed_of_several_nodes_over_postgresql_keeps_the_contract_of_the_event_bus() {
    let bus = tokio::task::spawn_blocking(nodes_feed::NodesFeed::start);
    cases::check(bus.await.unwrap()).await;
}

/// Posts an external event to a cell. Whether it was acknowledged.
async fn post(admin: &TestClient, cell: &str, info: &str) -> bool {
    let event = json!({"Type": "app.did", "Object": "o", "Info": info}).to_string();
    let path = format!("{cell}/__event");
    let posted = admin.admin_request("POST", &path).body(event).try_send();
    posted.await.is_ok_and(|answer| answer.status == 200)
}
