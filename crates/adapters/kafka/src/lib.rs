//! Events for other systems on a Kafka cluster.
//!
//! | Module | Content |
//! |---|---|
//! | [`publisher`] | events for other systems |
//! | `topic` | a topic at the cluster: the leaders of its partitions, connections, and writing |
//! | `connection` | one connection: log-in, requests and answers |
//! | `record_batch` | records as the cluster stores them |
//! | `scram` | the proof of a password |
//! | `wire` | the types of the protocol |
//! | `error` | failures of the cluster, and refusals |
//! | [`partition`] | the partition of a key |
//! | [`settings`] | addresses, credentials, TLS, limits |
//!
//! A cluster that is dead, slow or answers nonsense makes calls fail within a bounded time.

mod connection;
mod error;
pub mod partition;
pub mod publisher;
mod record_batch;
mod scram;
pub mod settings;
mod topic;
mod wire;

pub use publisher::KafkaPublisher;
pub use settings::{BrokerHost, KafkaSettings, SaslMechanism, SaslUser};
