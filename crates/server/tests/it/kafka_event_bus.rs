//! The events of a unit at a Kafka cluster, as another system reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use personium_testkit::{Kafka, KafkaRecord, ProcessUnitBuilder, wait_until};
use serde_json::Value;

use crate::event_bus::{post, wait_for_waiting};
use crate::program::expect_refused_start;
use crate::storage_unit::StorageUnit;

const TOPIC: &str = "personium_event_topic";
/// The number of external events of each cell.
const EVENTS: u32 = 30;

fn with_bus(broker: &Kafka) -> ProcessUnitBuilder {
    let (certificate, key) = broker.client_certificate();
    let password = broker.certificate().with_file_name("password");
    fs::write(&password, "pass:word\n").unwrap();
    let file = |path: &Path| path.display().to_string();
    let settings = [
        ("mq", "kafka".to_owned()),
        ("broker", broker.url()),
        ("broker.timeoutInSec", "2".to_owned()),
        ("broker.caFile", file(&broker.certificate())),
        ("broker.certificateFile", file(&certificate)),
        ("broker.keyFile", file(&key)),
        ("username", "unit".to_owned()),
        ("passwordFile", file(&password)),
        ("saslMechanism", "SCRAM-SHA-512".to_owned()),
        ("waiting.max", "200".to_owned()),
    ];
    settings
        .into_iter()
        .fold(crate::unit(), |unit, (name, value)| {
            unit.setting(&format!("io.personium.core.eventbus.{name}"), value)
        })
}

fn json_of(record: &KafkaRecord) -> Value {
    serde_json::from_str(&record.value).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_published_to_kafka_in_order_although_broker_and_unit_are_killed() {
    // It takes no large messages.
    let mut broker = Kafka::builder()
        .with_client_certificate()
        .user("unit", "pass:word")
        .setting("message.max.bytes", "65536")
        .start();
    let mut unit = StorageUnit::start(with_bus(&broker));
    let admin = unit.admin();
    admin.create_cell("c").await;
    admin.create_cell("d").await;
    admin.create_box("c", "b").await;
    admin.put_file("c/b/f", "secret content").await;
    let reader = broker.reader(TOPIC);
    let record = tokio::task::block_in_place(|| reader.next());
    let event = json_of(&record);
    assert_eq!(event["Type"], "cellctl.Box.create");
    assert_eq!(event["External"], false);
    assert_eq!(event["Cell"], unit.cell_url("c"));
    assert_eq!(record.key, unit.cell_url("c"));
    let header = |name: &str| record.headers.get(name).unwrap().clone();
    assert_eq!(header("personium-id"), event["Id"]);
    assert_eq!(header("personium-cell"), event["Cell"]);
    assert_eq!(header("personium-type"), event["Type"]);
    let record = tokio::task::block_in_place(|| reader.next());
    assert_eq!(json_of(&record)["Type"], "davfile.create");
    assert!(!record.value.contains("secret"));

    // The broker dies under load, the unit while the broker is down, and the broker is stuck.
    let mut posted = BTreeSet::new();
    for number in 0..EVENTS {
        for cell in ["c", "d"] {
            post(&unit, cell, &number.to_string()).await;
            posted.insert((unit.cell_url(cell), number));
        }
        match number {
            8 => tokio::task::block_in_place(|| broker.kill()),
            16 => {
                wait_for_waiting(&unit, 8).await;
                unit.kill();
                unit.restart();
            }
            20 => {
                tokio::task::block_in_place(|| broker.start_again());
                tokio::task::block_in_place(|| broker.pause());
            }
            26 => {
                wait_for_waiting(&unit, 6).await;
                broker.resume();
            }
            _ => {}
        }
    }
    let mut events: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
    let mut partitions: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    let mut received = BTreeSet::new();
    while received.len() < posted.len() {
        let record = tokio::task::block_in_place(|| reader.next());
        let event = json_of(&record);
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        let number: u32 = text("Info").parse().unwrap();
        received.insert((text("Cell"), number));
        let of_cell = events.entry(text("Cell")).or_default();
        of_cell.push((text("Id"), number));
        partitions
            .entry(record.key)
            .or_default()
            .insert(record.partition);
    }
    assert_eq!(received, posted);
    for (cell, events) in events {
        // Those that came twice have the same id; without them all are in order.
        let different: BTreeMap<&String, u32> = events.iter().map(|(id, n)| (id, *n)).collect();
        let numbers: Vec<u32> = different.into_values().collect();
        assert_eq!(numbers, (0..EVENTS).collect::<Vec<u32>>(), "{cell}");
        let mut first = Vec::new();
        for (_, number) in events {
            if !first.contains(&number) {
                first.push(number);
            }
        }
        assert!(first.is_sorted(), "{cell}: {first:?}");
        assert_eq!(partitions[&cell].len(), 1, "{cell}");
    }
    assert_eq!(unit.metric("personium_event_bus_lost_total").await, 0);

    // One that the broker refuses.
    post(&unit, "c", &"\u{e9}".repeat(50_000)).await;
    post(&unit, "c", "next").await;
    wait_until("it is set aside", async || {
        unit.metric("personium_event_bus_set_aside_total").await == 1
            && unit.metric("personium_event_bus_waiting").await == 0
    })
    .await;
    let admin = unit.admin();
    let listed = admin.admin_request("GET", "c/__rule/failed").send().await;
    let listed = listed.expect(200).json();
    let status = listed["requests"][0]["Status"].as_str().unwrap();
    assert!(status.contains("MESSAGE_TOO_LARGE"), "{status}");
    loop {
        let record = tokio::task::block_in_place(|| reader.next());
        if json_of(&record)["Info"] == "next" {
            break;
        }
    }
}

#[tokio::test]
async fn settings_of_kafka_that_cannot_be_used_end_the_start_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing").display().to_string();
    let kafka = "eventbus.mq=kafka".to_owned();
    let encrypted = "eventbus.broker=ssl://localhost:9093".to_owned();
    for (settings, reason) in [
        (
            vec![
                kafka.clone(),
                "eventbus.username=unit".to_owned(),
                format!("eventbus.passwordFile={missing}"),
            ],
            "eventbus.passwordFile",
        ),
        (
            vec![
                kafka.clone(),
                encrypted.clone(),
                format!("eventbus.broker.caFile={missing}"),
            ],
            "eventbus.broker",
        ),
        (
            vec![
                kafka,
                encrypted,
                format!("eventbus.broker.certificateFile={missing}"),
                format!("eventbus.broker.keyFile={missing}"),
            ],
            "eventbus.broker",
        ),
    ] {
        expect_refused_start(&folder.path().join("data"), &settings, reason);
    }
}
