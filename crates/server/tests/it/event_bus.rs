//! The events of a unit at an ActiveMQ broker, as another system reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use personium_activemq::frame::{Frame, FrameReader};
use personium_testkit::{ActiveMq, ProcessUnitBuilder, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::storage_unit::StorageUnit;

const WAIT: Duration = Duration::from_secs(120);
/// The name of a topic that ActiveMQ gives to each consumer as a queue of its own.
pub(crate) const TOPIC: &str = "VirtualTopic.personium";
const CONSUMER: &str = "/queue/Consumer.test.VirtualTopic.personium";

fn with_bus(broker: &ActiveMq) -> ProcessUnitBuilder {
    crate::unit()
        .setting("io.personium.core.eventbus.mq", "activemq")
        .setting("io.personium.core.eventbus.broker", broker.url())
        .setting("io.personium.core.eventbus.broker.timeoutInSec", 2)
        .setting("io.personium.core.eventbus.topic.all", TOPIC)
}

/// Another system: it reads the events from its queue.
pub(crate) struct Consumer {
    stream: TcpStream,
    reader: FrameReader,
}

impl Consumer {
    pub(crate) async fn connect(broker: &ActiveMq) -> Self {
        let address = broker.url().replace("tcp://", "");
        let mut consumer = Self {
            stream: TcpStream::connect(address).await.unwrap(),
            reader: FrameReader::new(1 << 20),
        };
        let connect = Frame::new("CONNECT").with("accept-version", "1.2");
        consumer.write(&connect.with("host", "localhost")).await;
        assert_eq!(consumer.read().await.unwrap().command, "CONNECTED");
        let subscribe = Frame::new("SUBSCRIBE").with("id", "1");
        let subscribe = subscribe.with("destination", CONSUMER).with("receipt", "1");
        // The broker keeps the group to itself; a selector sees it.
        let subscribe = subscribe.with("selector", "JMSXGroupID LIKE 'http%'");
        consumer.write(&subscribe.with("ack", "auto")).await;
        assert_eq!(consumer.read().await.unwrap().command, "RECEIPT");
        consumer
    }

    async fn write(&mut self, frame: &Frame) {
        self.stream.write_all(&frame.encode()).await.unwrap();
    }

    /// The next frame; `None` if the broker is gone.
    async fn read(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.reader.take().unwrap() {
                return Some(frame);
            }
            match self.stream.read_buf(self.reader.buffer()).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// The next event, and its frame.
    pub(crate) async fn next(&mut self) -> (Value, Frame) {
        let frame = timeout(WAIT, self.read()).await.unwrap().unwrap();
        assert_eq!(frame.command, "MESSAGE");
        (serde_json::from_slice(&frame.body).unwrap(), frame)
    }
}

/// Posts an external event to a cell.
pub(crate) async fn post(unit: &StorageUnit, cell: &str, info: &str) {
    let event = json!({"Type": "app.did", "Object": "o", "Info": info}).to_string();
    let path = format!("{cell}/__event");
    let admin = unit.admin();
    let posted = admin.admin_request("POST", &path).body(event).send().await;
    posted.expect(200);
}

/// Waits until so many events wait for the broker.
pub(crate) async fn wait_for_waiting(unit: &StorageUnit, at_least: u64) {
    wait_until("it is shown how many events wait", async || {
        unit.metric("personium_event_bus_waiting").await >= at_least
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_published_in_order_although_broker_and_unit_are_killed() {
    let mut broker = ActiveMq::start();
    let mut consumer = Consumer::connect(&broker).await;
    let mut unit = StorageUnit::start(with_bus(&broker));
    let admin = unit.admin();
    admin.create_cell("c").await;
    admin.create_box("c", "b").await;
    let (event, frame) = consumer.next().await;
    assert_eq!(event["Type"], "cellctl.Box.create");
    assert_eq!(event["External"], false);
    assert_eq!(event["Cell"], unit.cell_url("c"));
    assert!(event["Timestamp"].as_i64().unwrap() > 1_600_000_000_000);
    let header = |name: &str| frame.header(name).unwrap_or_default().to_owned();
    assert_eq!(header("personium-id"), event["Id"]);
    assert_eq!(header("personium-cell"), event["Cell"]);
    assert_eq!(header("personium-type"), event["Type"]);
    // Reading is not published, and writes nothing.
    admin
        .admin_request("GET", "c/__ctl/Box?$top=1")
        .send()
        .await
        .expect(200);
    admin.put_file("c/b/f", "secret content").await;
    let (event, frame) = consumer.next().await;
    assert_eq!(event["Type"], "davfile.create");
    assert!(!String::from_utf8_lossy(&frame.body).contains("secret"));

    // The broker dies under load, and the unit while the broker is down.
    let mut posted = BTreeSet::new();
    admin.create_cell("d").await;
    for number in 0..30_u32 {
        for cell in ["c", "d"] {
            post(&unit, cell, &number.to_string()).await;
            posted.insert((unit.cell_url(cell), number));
        }
        match number {
            10 => tokio::task::block_in_place(|| broker.kill()),
            20 => {
                wait_for_waiting(&unit, 10).await;
                assert_eq!(unit.metric("personium_event_bus_lost_total").await, 0);
                unit.kill();
                unit.restart();
            }
            _ => {}
        }
    }
    tokio::task::block_in_place(|| broker.start_again());
    let mut before = Vec::new();
    while let Ok(Some(frame)) = timeout(Duration::from_secs(1), consumer.read()).await {
        before.push(frame);
    }
    let mut consumer = Consumer::connect(&broker).await;
    let mut ids: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
    let mut received = BTreeSet::new();
    let mut take = |body: &[u8]| {
        let event: Value = serde_json::from_slice(body).unwrap();
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        let number: u32 = text("Info").parse().unwrap();
        received.insert((text("Cell"), number));
        ids.entry(text("Cell"))
            .or_default()
            .push((text("Id"), number));
        received.len()
    };
    let mut count = before
        .iter()
        .map(|frame| take(&frame.body))
        .max()
        .unwrap_or(0);
    while count < posted.len() {
        let (_, frame) = consumer.next().await;
        count = take(&frame.body);
    }
    assert_eq!(received, posted);
    for (cell, ids) in ids {
        // Those that came twice have the same id; without them all are in order.
        let different: BTreeMap<&String, u32> = ids.iter().map(|(id, n)| (id, *n)).collect();
        let numbers: Vec<u32> = different.into_values().collect();
        assert_eq!(numbers, (0..30).collect::<Vec<u32>>(), "{cell}");
    }
    wait_until("none waits", async || {
        unit.metric("personium_event_bus_waiting").await == 0
    })
    .await;
    assert!(unit.metric("personium_event_bus_published_total").await >= 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_the_broker_refuses_is_set_aside_and_listed_and_too_many_are_counted() {
    // It takes small messages only.
    let mut broker = ActiveMq::start_with_options("?wireFormat.maxDataLength=4000", "");
    let mut consumer = Consumer::connect(&broker).await;
    let unit =
        StorageUnit::start(with_bus(&broker).setting("io.personium.core.eventbus.waiting.max", 5));
    let admin = unit.admin();
    admin.create_cell("c").await;
    post(&unit, "c", &"x".repeat(20_000)).await;
    post(&unit, "c", "next").await;
    post(&unit, "c", "last").await;
    assert_eq!(consumer.next().await.0["Info"], "next");
    assert_eq!(consumer.next().await.0["Info"], "last");
    wait_until("it is counted", async || {
        unit.metric("personium_event_bus_set_aside_total").await == 1
    })
    .await;
    let listed = admin.admin_request("GET", "c/__rule/failed").send().await;
    let listed = listed.expect(200).json();
    let letter = &listed["requests"][0];
    assert_eq!(letter["Action"], "publish");
    assert_eq!(letter["Rule"], Value::Null);
    assert_eq!(letter["Event"]["Info"].as_str().unwrap().len(), 20_000);
    assert!(
        letter["Status"].as_str().unwrap().contains("length"),
        "{}",
        letter["Status"]
    );
    let path = format!("c/__rule/failed/{}", letter["Id"].as_str().unwrap());
    admin
        .admin_request("DELETE", &path)
        .send()
        .await
        .expect(204);

    tokio::task::block_in_place(|| broker.kill());
    for number in 0..8 {
        post(&unit, "c", &number.to_string()).await;
    }
    assert_eq!(unit.metric("personium_event_bus_lost_total").await, 3);
}
