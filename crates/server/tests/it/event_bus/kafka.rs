//! Kafka as the bus, read by another system with Kafka's own client.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use personium_testkit::{Kafka, KafkaBuilder, KafkaReader, ProcessUnitBuilder};
use serde_json::Value;
use tempfile::TempDir;

use super::BusEvent;
use super::broker::{Broker, WAITING_MAX, published};
use super::full_broker::FullBroker;
use crate::full_disk::{Kind, Mount, empty, fill};
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
    /// Starts a cluster that takes no large messages.
    pub(super) fn start() -> Self {
        Self::start_with(|broker| broker.setting("message.max.bytes", "65536"))
    }

    /// Starts a cluster that speaks TLS and knows one user with a certificate, with further settings.
    fn start_with(change: impl FnOnce(KafkaBuilder) -> KafkaBuilder) -> Self {
        let broker = Kafka::builder()
            .with_client_certificate()
            .user("unit", "pass:word");
        Self {
            broker: change(broker).start(),
            reader: None,
            partitions: BTreeMap::new(),
        }
    }
}

/// A cluster whose data is on a disk of its own.
pub(super) struct KafkaOnDisk {
    kafka: KafkaBus,
    disk: PathBuf,
    _mount: Mount,
    _folder: TempDir,
}

impl KafkaOnDisk {
    /// Starts it with this many MiB. Returns nothing where a disk cannot be mounted.
    pub(super) fn start(mib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("disk");
        let mount = Mount::new(Kind::Tmpfs, &disk, mib)?;
        let data = disk.join("data");
        let data = data.to_str().unwrap();
        let kafka = KafkaBus::start_with(|broker| broker.setting("log.dirs", data));
        Some(Self {
            kafka,
            disk,
            _mount: mount,
            _folder: folder,
        })
    }
}

impl FullBroker for KafkaOnDisk {
    fn fill(&mut self) {
        fill(&self.disk);
    }

    /// A broker that could not write has ended by itself.
    fn make_room(&mut self) {
        empty(&self.disk);
        self.kafka.kill();
        self.kafka.start_again();
    }
}

impl Broker for KafkaOnDisk {
    fn configure(&self, unit: ProcessUnitBuilder) -> ProcessUnitBuilder {
        self.kafka.configure(unit)
    }

    async fn listen(&mut self) {
        self.kafka.listen().await;
    }

    async fn next(&mut self) -> BusEvent {
        self.kafka.next().await
    }

    fn kill(&mut self) {
        self.kafka.kill();
    }

    fn start_again(&mut self) {
        self.kafka.start_again();
    }

    fn pause(&self) {
        self.kafka.pause();
    }

    fn resume(&self) {
        self.kafka.resume();
    }

    fn refusal(&self) -> &'static str {
        self.kafka.refusal()
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
