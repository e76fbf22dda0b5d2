//! Settings of events and streams.

use std::path::{Path, PathBuf};

use personium_activemq::BrokerAddress;
use personium_kafka::SaslMechanism;
use personium_types::Secret;

use super::config_reader::ConfigReader;
use super::section::section;
use super::value_parser::{FilePath, Number, OneOf, Optional, SecretText, Text, ValueParser};

/// A message broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerKind {
    /// ActiveMQ, over STOMP.
    ActiveMq,
    /// Kafka.
    Kafka,
}

/// The brokers of events for other systems.
const EVENT_BROKERS: OneOf<BrokerKind> = OneOf(&[
    ("activemq", BrokerKind::ActiveMq),
    ("kafka", BrokerKind::Kafka),
]);
const MECHANISMS: OneOf<SaslMechanism> = OneOf(&[
    ("PLAIN", SaslMechanism::Plain),
    ("SCRAM-SHA-256", SaslMechanism::ScramSha256),
    ("SCRAM-SHA-512", SaslMechanism::ScramSha512),
]);

section! {
    /// Settings of events and rules.
    EventConfig "Events" {
        /// The largest number of events that may cause each other in a chain; 0 turns rules off.
        hops_max: u32 = "event.hop.maxnum", "3", Number(0..=100);
        /// The number of seconds for which a request of a rule to a server that does not answer, or answers with a temporary error,
        /// is tried again, after two seconds and then at growing intervals of up to an hour and a quarter. Later requests of the
        /// rule wait meanwhile. With 0, one attempt is made.
        request_secs: u64 = "rule.request.expiresIn", "0", Number(0..=1_209_600);
        /// The number of requests of the rules of a cell that were given up and are kept, to be seen and sent again. When there
        /// are more, the oldest are removed.
        dead_letters_max: u64 = "rule.request.failed.max", "1000", Number(0..=10_000);
        /// The broker that the events of changes in all cells are published to, for other systems. By default they are not published.
        /// All nodes of a unit need the same one.
        broker_kind: Option<BrokerKind> = "eventbus.mq", "", Optional(EVENT_BROKERS);
        /// The address of the STOMP connector of ActiveMQ, as that of stream.broker; by default tcp://localhost:61613. The addresses
        /// of some brokers of a Kafka cluster, which name the others: tcp://host:9092, or with TLS ssl://host:9093; by default
        /// tcp://localhost:9092.
        broker: Option<Vec<BrokerAddress>> = "eventbus.broker", "", Optional(BrokerUrls);
        /// The certificates of the issuers that are trusted to name the broker, in a PEM file; by default, those of the system.
        broker_ca_file: Option<PathBuf> = "eventbus.broker.caFile", "", Optional(FilePath);
        /// The certificate that the unit shows to Kafka over TLS, with its chain, in a PEM file; by default it shows none.
        broker_certificate: Option<PathBuf> = "eventbus.broker.certificateFile", "", Optional(FilePath);
        /// The key of eventbus.broker.certificateFile, in a PEM file.
        broker_key: Option<PathBuf> = "eventbus.broker.keyFile", "", Optional(FilePath);
        /// The number of seconds within which an operation of the broker must end.
        broker_timeout_secs: u64 = "eventbus.broker.timeoutInSec", "10", Number(1..=60);
        /// The user name at the broker; it needs a password too.
        username: Option<String> = "eventbus.username", "", Optional(Text);
        /// The password at the broker.
        password: Option<Secret<String>> = "eventbus.password", "", Optional(SecretText { min_bytes: 1 });
        /// The file with the password at the broker, instead of eventbus.password.
        password_file: Option<PathBuf> = "eventbus.passwordFile", "", Optional(FilePath);
        /// How the password is proved to Kafka (SASL). PLAIN sends it as it is: it needs TLS, or a network of its own.
        sasl: SaslMechanism = "eventbus.saslMechanism", "PLAIN", MECHANISMS;
        /// The name of the topic that events are published to.
        topic: String = "eventbus.topic.all", "personium_event_topic", TopicName;
        /// The largest number of events of a cell that wait to be published. Further ones are lost to the broker.
        published_max: u64 = "eventbus.waiting.max", "100000", Number(1..=100_000_000);
        /// The name of the queue of events between nodes.
        _queue: String = "eventbus.queue", "personium_event_queue", Text;
        /// The name of the topic of rule changes.
        _topic_rule: String = "eventbus.topic.rule", "personium_event_topic_rule", Text;
        /// The number of event consumers in this process.
        _consumers: usize = "eventbus.eventProcessing.thread.num", "1", Number(1..=1024);
        /// Whether this process fires the timers of rules: 0 means that it does not; if no other process can share the store, rules with
        /// timers are refused then. Other numbers have the same effect as 1.
        timer_threads: usize = "rule.timerEvent.thread.num", "1", Number(0..=1024);
    }
}

/// A broker that keeps queues.
#[derive(Debug)]
pub struct QueueBroker;

impl ValueParser<BrokerKind> for QueueBroker {
    fn parse(&self, text: &str, _folder: &Path) -> Option<BrokerKind> {
        let is_activemq = text.trim().eq_ignore_ascii_case("activemq");
        is_activemq.then_some(BrokerKind::ActiveMq)
    }

    fn permitted(&self) -> String {
        "activemq (not kafka: it cannot acknowledge single messages and keep their order)".into()
    }
}

/// The name of a topic at a broker.
#[derive(Debug)]
pub struct TopicName;

impl ValueParser<String> for TopicName {
    fn parse(&self, text: &str, _folder: &Path) -> Option<String> {
        // Commas, `*`, `>` and `?` have a meaning for the broker.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
        let is_name = !text.is_empty() && text.len() <= 200 && text.chars().all(is_plain);
        is_name.then(|| text.to_owned())
    }

    fn permitted(&self) -> String {
        "at most 200 letters, digits, dots, slashes, hyphens and underscores".into()
    }
}

/// The addresses of a broker, as clients of ActiveMQ write them.
#[derive(Debug)]
pub struct BrokerUrls;

impl ValueParser<Vec<BrokerAddress>> for BrokerUrls {
    fn parse(&self, text: &str, _folder: &Path) -> Option<Vec<BrokerAddress>> {
        BrokerAddress::parse_list(text)
    }

    fn permitted(&self) -> String {
        "tcp:// or stomp://, or with TLS ssl:// or stomp+ssl://, a host and a port; several separated by commas, also in failover:(...)".into()
    }
}

section! {
    /// Settings of the queues and topics of stream collections.
    StreamConfig "Streams" {
        /// The broker of their messages, which all nodes of a unit share. By default the messages are in the records of the cells.
        broker_kind: Option<BrokerKind> = "stream.mq", "", Optional(QueueBroker);
        /// The address of the STOMP connector of the broker; by default tcp://localhost:61613. Of several, the first that accepts a
        /// connection is used: they must be one broker and its stand-ins.
        broker: Option<Vec<BrokerAddress>> = "stream.broker", "", Optional(BrokerUrls);
        /// The certificates of the issuers that are trusted to name the broker, in a PEM file; by default, those of the system.
        broker_ca_file: Option<PathBuf> = "stream.broker.caFile", "", Optional(FilePath);
        /// The number of seconds within which an operation of the broker must end.
        broker_timeout_secs: u64 = "stream.broker.timeoutInSec", "10", Number(1..=60);
        /// The user name at the broker; it needs a password too.
        username: Option<String> = "stream.username", "", Optional(Text);
        /// The password at the broker.
        password: Option<Secret<String>> = "stream.password", "", Optional(SecretText { min_bytes: 1 });
        /// The file with the password at the broker, instead of stream.password.
        password_file: Option<PathBuf> = "stream.passwordFile", "", Optional(FilePath);
        /// The number of seconds for which a message is kept.
        retention_secs: u64 = "stream.expiresIn", "3600", Number(1..=31_536_000);
        /// The largest size of a message in bytes.
        message_max_bytes: usize = "stream.message.maxBytes", "262144", Number(1..=16_777_216);
        /// The largest number of messages of a queue or topic in the records. A queue that is full takes no more; a topic loses its
        /// oldest ones.
        queue_messages_max: u64 = "stream.queue.maxMessages", "10000", Number(1..=100_000_000);
        /// The largest total size of the messages of a queue or topic in the records, in bytes.
        queue_max_bytes: u64 = "stream.queue.maxBytes", "67108864", Number(16_777_216..=1_099_511_627_776);
    }
}

impl EventConfig {
    /// Checks conditions on several keys.
    pub(super) fn check(&self, reader: &mut ConfigReader) {
        let passwords = (self.password.is_some(), self.password_file.is_some());
        check_credentials(reader, "eventbus", self.username.is_some(), passwords);
        let own = (self.broker_certificate.is_some(), self.broker_key.is_some());
        if own.0 != own.1 {
            let problem = "must be given together with eventbus.broker.keyFile";
            reader.add_key_problem("eventbus.broker.certificateFile", problem);
        }
        if self.broker_kind == Some(BrokerKind::Kafka) {
            check_kafka_addresses(reader, "eventbus.broker", self.broker.as_deref());
            check_kafka_topic(reader, "eventbus.topic.all", &self.topic);
        } else if own.0 || own.1 {
            let problem = "has an effect with eventbus.mq = kafka only";
            reader.add_key_problem("eventbus.broker.certificateFile", problem);
        }
    }
}

/// Checks that the addresses are those of one Kafka cluster that the client can use.
fn check_kafka_addresses(
    reader: &mut ConfigReader,
    key: &str,
    addresses: Option<&[BrokerAddress]>,
) {
    let addresses = addresses.unwrap_or_default();
    let encrypted = addresses.iter().filter(|it| it.is_encrypted).count();
    if encrypted != 0 && encrypted != addresses.len() {
        reader.add_key_problem(key, "all must be tcp:// or all ssl:// with Kafka");
    }
}

/// Checks that Kafka accepts the name of a topic.
fn check_kafka_topic(reader: &mut ConfigReader, key: &str, name: &str) {
    if name.contains('/') || [".", ".."].contains(&name) {
        reader.add_key_problem(
            key,
            "must be letters, digits, dots, hyphens and underscores for Kafka",
        );
    }
}

impl StreamConfig {
    /// Checks conditions on several keys.
    pub(super) fn check(&self, reader: &mut ConfigReader) {
        let passwords = (self.password.is_some(), self.password_file.is_some());
        check_credentials(reader, "stream", self.username.is_some(), passwords);
    }
}

/// Checks that a user name comes with one password, as text or in a file.
fn check_credentials(
    reader: &mut ConfigReader,
    section: &str,
    has_name: bool,
    passwords: (bool, bool),
) {
    if passwords == (true, true) {
        let problem = format!("must not be given together with {section}.passwordFile");
        reader.add_key_problem(&format!("{section}.password"), &problem);
    }
    if has_name != (passwords.0 || passwords.1) {
        let problem = "must be given together with a password";
        reader.add_key_problem(&format!("{section}.username"), problem);
    }
}
