//! The port of messages on ActiveMQ, over STOMP 1.2.
//!
//! | Module | Content |
//! |---|---|
//! | [`queue`] | queues and topics: deliveries, subscriptions |
//! | [`publisher`] | events for other systems |
//! | `pool` | connections that are used one after the other, and what is known of their broker |
//! | `prompt_stream` | the bytes of a connection without TLS |
//! | `connection` | one connection: sends frames and reads them, within time-outs |
//! | `message` | messages as frames |
//! | [`frame`] | the text of frames |
//! | [`settings`] | addresses, credentials, TLS, limits |
//!
//! A broker that is dead, slow or answers nonsense makes calls fail within a bounded time. A message in the hands of a receiver keeps a
//! connection of its own; if that ends, the broker delivers the message again.

mod connection;
pub mod frame;
mod message;
mod pool;
mod prompt_stream;
pub mod publisher;
pub mod queue;
pub mod settings;

pub use pool::BrokerState;
pub use publisher::ActiveMqPublisher;
pub use queue::ActiveMqQueue;
pub use settings::{BrokerAddress, BrokerSettings};
