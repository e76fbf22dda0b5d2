//! Settings of events and streams.

use personium_types::Secret;

use super::section::section;
use super::value_parser::{Number, OneOf, Optional, SecretText, Text};

/// A kind of message broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerKind {
    /// ActiveMQ.
    ActiveMq,
    /// Kafka.
    Kafka,
}

const BROKERS: OneOf<BrokerKind> = OneOf(&[
    ("activemq", BrokerKind::ActiveMq),
    ("kafka", BrokerKind::Kafka),
]);

section! {
    /// Settings of events and rules. This version has no message broker.
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
        /// The kind of broker between the nodes of a unit.
        _broker_kind: BrokerKind = "eventbus.mq", "activemq", BROKERS;
        /// The address of the broker.
        _broker: String = "eventbus.broker", "tcp://localhost:61616", Text;
        /// The name of the queue of events.
        _queue: String = "eventbus.queue", "personium_event_queue", Text;
        /// The name of the topic of all events.
        _topic_all: String = "eventbus.topic.all", "personium_event_topic", Text;
        /// The name of the topic of rule changes.
        _topic_rule: String = "eventbus.topic.rule", "personium_event_topic_rule", Text;
        /// The number of event consumers in this process.
        _consumers: usize = "eventbus.eventProcessing.thread.num", "1", Number(1..=1024);
        /// Whether this process fires the timers of rules: 0 means that it does not. Other numbers have the same effect as 1.
        timer_threads: usize = "rule.timerEvent.thread.num", "1", Number(0..=1024);
    }
}

section! {
    /// Settings of the queues and topics of stream collections. Their messages are in the records of the cells.
    StreamConfig "Streams" {
        /// The kind of broker; by default, there is none.
        _broker_kind: Option<BrokerKind> = "stream.mq", "", Optional(BROKERS);
        /// The address of the broker.
        _broker: Option<String> = "stream.broker", "", Optional(Text);
        /// The user name at the broker.
        _username: Option<String> = "stream.username", "", Optional(Text);
        /// The password at the broker.
        _password: Option<Secret<String>> = "stream.password", "", Optional(SecretText { min_bytes: 1 });
        /// The number of seconds for which a message is kept.
        retention_secs: u64 = "stream.expiresIn", "3600", Number(1..=31_536_000);
        /// The largest size of a message in bytes.
        message_max_bytes: usize = "stream.message.maxBytes", "262144", Number(1..=16_777_216);
        /// The largest number of messages of a queue or topic. A queue that is full takes no more; a topic loses its oldest ones.
        queue_messages_max: u64 = "stream.queue.maxMessages", "10000", Number(1..=100_000_000);
        /// The largest total size of the messages of a queue or topic in bytes.
        queue_max_bytes: u64 = "stream.queue.maxBytes", "67108864", Number(16_777_216..=1_099_511_627_776);
    }
}
