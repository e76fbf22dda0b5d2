//! Kafka as the bus, read by another system with Kafka's own client.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use personium_testkit::{Kafka, KafkaReader, ProcessUnitBuilder};
use serde_json::Value;

use super::BusEvent;
use super::broker::{Broker, WAITING_MAX, published};
use crate::program::expect_refused_start;

const TOPIC: &str = "personium_event_topic";

/// A cluster, with a reader.
pub(super) struct KafkaBus {
    broker: Kafka,
    reader: Option<KafkaReader>,
    /// The partitions of the cells.
    partitions: BTreeMap<String, u32>,
}

impl KafkaBus {
    /// Starts a cluster that speaks TLS, knows one user with a certificate, and takes no large messages.
    pub(super) fn start() -> Self {
        let broker = Kafka::builder()
            .with_client_certificate()
            .user("unit", "pass:word")
            .setting("message.max.bytes", "65536")
            .start();
        Self {
            broker,
            reader: None,
            partitions: BTreeMap::new(),
        }
    }
}

impl Broker for KafkaBus {
    fn configure(&self, unit: ProcessUnitBuilder) -> ProcessUnitBuilder {
        let (certificate, key) = self.broker.client_certificate();
        let password = self.broker.certificate().with_file_name("password");
        fs::write(&password, "pass:word\n").unwrap();
        let file = |path: &Path| path.display().to_string();
        let settings = [
            ("mq", "kafka".to_owned()),
            ("broker", self.broker.url()),
            ("broker.timeoutInSec", "2".to_owned()),
            ("broker.caFile", file(&self.broker.certificate())),
            ("broker.certificateFile", file(&certificate)),
            ("broker.keyFile", file(&key)),
            ("username", "unit".to_owned()),
            ("passwordFile", file(&password)),
            ("saslMechanism", "SCRAM-SHA-512".to_owned()),
            ("waiting.max", WAITING_MAX.to_string()),
        ];
        settings.into_iter().fold(unit, |unit, (name, value)| {
            unit.setting(&format!("io.personium.core.eventbus.{name}"), value)
        })
    }

    /// A reader begins with the first event; the topic is made with it.
    async fn listen(&mut self) {}

    async fn next(&mut self) -> BusEvent {
        let Self { broker, reader, .. } = self;
        let reader = reader.get_or_insert_with(|| broker.reader(TOPIC));
        let record = tokio::task::block_in_place(|| reader.next());
        let event: Value = serde_json::from_str(&record.value).unwrap();
        for (header, member) in [
            ("personium-id", "Id"),
            ("personium-cell", "Cell"),
            ("personium-type", "Type"),
        ] {
            assert_eq!(record.headers[header], event[member]);
        }
        assert_eq!(record.key, event["Cell"]);
        // All events of a cell are in one partition.
        let of_cell = self.partitions.entry(record.key);
        assert_eq!(*of_cell.or_insert(record.partition), record.partition);
        published(&event)
    }

    fn kill(&mut self) {
        self.broker.kill();
    }

    fn start_again(&mut self) {
        self.broker.start_again();
    }

    fn pause(&self) {
        self.broker.pause();
    }

    fn resume(&self) {
        self.broker.resume();
    }

    fn refusal(&self) -> &'static str {
        "MESSAGE_TOO_LARGE"
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
