//! The contract of the brokers that carry the events of a unit to other systems, ActiveMQ and Kafka. Both pass the same cases.

mod activemq;
mod cases;
mod kafka;

use personium_testkit::{ProcessUnitBuilder, wait_until};
use serde_json::{Value, json};

pub(crate) use self::activemq::{Consumer, TOPIC};
use crate::storage_unit::StorageUnit;

/// The largest number of events of a cell that wait for a broker.
const WAITING_MAX: u32 = 40;

/// An event as somebody outside of the unit gets it.
#[derive(Debug, Clone)]
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
    /// An event in the format for other systems.
    fn of_broker(event: &Value) -> Self {
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        assert!(event["Timestamp"].as_i64().unwrap() > 1_600_000_000_000);
        Self {
            cell: text("Cell"),
            id: text("Id"),
            kind: text("Type"),
            is_external: event["External"] == true,
            info: text("Info"),
            text: event.to_string(),
        }
    }
}

/// A broker that carries the events of a unit to other systems.
trait EventBus {
    /// Adds its settings to those of a unit.
    fn configure(&self, unit: ProcessUnitBuilder) -> ProcessUnitBuilder;

    /// Begins to read the events of the cells `c` and `d` from now on.
    async fn listen(&mut self);

    /// The next event. Connects again where that is necessary, and goes on after the last one.
    async fn next(&mut self) -> BusEvent;

    /// Ends it by SIGKILL, with all connections.
    fn kill(&mut self);

    /// Starts it again.
    fn start_again(&mut self);

    /// Makes it slow: it accepts what comes and answers nothing.
    fn pause(&self);

    /// Lets it go on.
    fn resume(&self);

    /// A part of the reason why it refuses a large event.
    fn refusal(&self) -> &'static str;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn activemq_keeps_the_contract_of_the_event_bus() {
    let bus = tokio::task::spawn_blocking(activemq::ActiveMqBus::start);
    cases::check(bus.await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kafka_keeps_the_contract_of_the_event_bus() {
    let bus = tokio::task::spawn_blocking(kafka::KafkaBus::start);
    cases::check(bus.await.unwrap()).await;
}

/// Posts an external event to a cell.
async fn post(unit: &StorageUnit, cell: &str, info: &str) {
    let event = json!({"Type": "app.did", "Object": "o", "Info": info}).to_string();
    let path = format!("{cell}/__event");
    let admin = unit.admin();
    let posted = admin.admin_request("POST", &path).body(event).send().await;
    posted.expect(200);
}

/// Waits until so many events wait for the broker.
async fn wait_for_waiting(unit: &StorageUnit, at_least: u64) {
    wait_until("it is shown how many events wait", async || {
        unit.metric("personium_event_bus_waiting").await >= at_least
    })
    .await;
}
