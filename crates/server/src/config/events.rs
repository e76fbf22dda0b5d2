//! Events, streams, and who may ask about tokens.

use personium_types::Secret;

use super::rule::{Maybe, Number, OneOf, SecretText, Text};
use super::section::section;

/// A kind of message broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broker {
    /// ActiveMQ.
    ActiveMq,
    /// Kafka.
    Kafka,
}

const BROKERS: OneOf<Broker> = OneOf(&[("activemq", Broker::ActiveMq), ("kafka", Broker::Kafka)]);

section! {
    /// Events and rules.
    EventBus "Events" {
        /// How often an event may beget another; 0 stops the processing of rules.
        hops: u32 = "event.hop.maxnum", "3", Number(0..=100);
        /// The broker between the nodes of a unit.
        _broker_kind: Broker = "eventbus.mq", "activemq", BROKERS;
        /// Its address.
        _broker: String = "eventbus.broker", "tcp://localhost:61616", Text;
        /// The name of the queue of events.
        _queue: String = "eventbus.queue", "personium_event_queue", Text;
        /// The name of the topic that carries all events.
        _topic_all: String = "eventbus.topic.all", "personium_event_topic", Text;
        /// The name of the topic that carries changes of rules.
        _topic_rule: String = "eventbus.topic.rule", "personium_event_topic_rule", Text;
        /// Consumers of events in this process.
        _threads: usize = "eventbus.eventProcessing.thread.num", "1", Number(1..=1024);
        /// Threads for timed events in this process; 0 is none.
        _timer_threads: usize = "rule.timerEvent.thread.num", "1", Number(0..=1024);
    }
}

section! {
    /// Collections whose content is a stream of messages.
    Stream "Streams" {
        /// The broker of streams; without a value there are none.
        _broker_kind: Option<Broker> = "stream.mq", "", Maybe(BROKERS);
        /// Its address.
        _broker: Option<String> = "stream.broker", "", Maybe(Text);
        /// The user name there.
        _username: Option<String> = "stream.username", "", Maybe(Text);
        /// The password there.
        _password: Option<Secret<String>> = "stream.password", "", Maybe(SecretText { min_bytes: 1 });
        /// Seconds that messages are kept.
        _expires: u64 = "stream.expiresIn", "3600", Number(1..=31_536_000);
    }
}

section! {
    /// The credential with which a service may ask about tokens of every cell.
    Introspect "Introspection" {
        /// The user name; without a value there is none.
        username: Option<String> = "introspect.username", "", Maybe(Text);
        /// The password.
        password: Option<Secret<String>> = "introspect.password", "", Maybe(SecretText { min_bytes: 1 });
    }
}
