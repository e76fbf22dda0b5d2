//! Starts units for tests and sends requests to them.
//!
//! | Unit | Runs | Feature |
//! |---|---|---|
//! | `ModelUnit` | the model on stores in memory, whose commits can be interrupted | `model` |
//! | `TestUnit` | the API service on stores in memory | `api` |
//! | `ServerUnit` | the server in the process of the test, on a free port | `server` |
//! | [`ProcessUnit`] | a built program in a process of its own | - |
//!
//! `Nginx` (feature `tls`) runs the web layer of `deploy/nginx` in front of units, or of a [`StubNode`].
//!
//! All but the first give a [`TestClient`], which builds a [`TestRequest`] and returns a [`TestResponse`]. Cells, accounts, roles,
//! boxes and tokens are created by the functions of [`TestClient`]. [`RawConnection`] sends bytes that are not valid HTTP. [`PostgresCluster`] is
//! a database server of the tests' own.
//!
//! ```no_run
//! # async fn test() {
//! let unit = personium_testkit::ProcessUnit::builder("target/debug/personium").start();
//! let owner = unit.create_cell_with_owner("alice").await;
//! let response = owner.request("GET", "/alice/box").send().await;
//! assert_eq!(response.expect(200).json()["box"]["name"], "box");
//! # }
//! ```
//!
//! Everything here panics where something is not as the test needs it.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

mod activemq;
mod client;
mod credentials;
mod event_stream;
mod fixtures;
mod form;
#[cfg(feature = "model")]
mod interruptible_records;
mod kafka;
mod kafka_load;
mod link_proxy;
mod memcached;
#[cfg(feature = "api")]
mod memory_unit;
#[cfg(feature = "model")]
mod model_unit;
#[cfg(feature = "tls")]
mod nginx;
mod patroni_cluster;
mod polling;
mod postgres_cluster;
mod process;
mod process_unit;
mod raw_connection;
#[cfg(feature = "answers")]
mod recorded_answers;
mod request;
mod response;
mod s3_proxy;
mod s3_server;
#[cfg(feature = "server")]
mod server_unit;
mod slapd;
mod split_mix64;
mod stub_node;
mod stub_server;
#[cfg(feature = "model")]
mod ticking_clock;
mod tokens;
mod transport;
mod unit_database;
mod unit_layers;
mod xml;

pub use activemq::{ActiveMq, OnFullStore};
pub use client::TestClient;
pub use credentials::{MASTER_TOKEN, PASSWORD};
pub use event_stream::{EventStream, StreamedEvent};
pub use form::{encode_form, escape, text_member};
#[cfg(feature = "model")]
pub use interruptible_records::InterruptibleRecords;
pub use kafka::{Kafka, KafkaBuilder, KafkaReader, KafkaRecord};
pub use kafka_load::KafkaCounter;
pub use link_proxy::{Link, LinkProxy};
pub use memcached::Memcached;
#[cfg(feature = "api")]
pub use memory_unit::{
    PENDING_SETTING, RELOADED_TOP_MAX, TestUnit, UNIT_SECRET, UNIT_URL, cell_url,
};
#[cfg(feature = "model")]
pub use model_unit::{
    ModelUnit, box_removal_permit, cell_permit, create, model_on, server_authority,
};
#[cfg(feature = "tls")]
pub use nginx::{Nginx, NginxBuilder, WEB_HOST};
pub use patroni_cluster::PatroniCluster;
pub use polling::{wait_until, wait_until_within};
pub use postgres_cluster::{PostgresCluster, PostgresFiles};
pub use process::{OnDrop, Process, built_program, free_port};
pub use process_unit::{ProcessUnit, ProcessUnitBuilder};
pub use raw_connection::{RawBody, RawConnection, RawReader, RawResponse, request_bytes};
#[cfg(feature = "answers")]
pub use recorded_answers::{
    answer_difference, artifacts_folder, compare_answers, expect_recorded_answers, json_form,
    recorded_answers, xml_form,
};
pub use request::TestRequest;
pub use response::{Outcome, TestResponse, refused, success};
pub use s3_proxy::{Disturbance, S3Proxy};
pub use s3_server::{S3Program, S3Server};
#[cfg(feature = "server")]
pub use server_unit::ServerUnit;
pub use slapd::{DIRECTORY_BASE, READER_PASSWORD, Slapd};
pub use split_mix64::SplitMix64;
pub use stub_node::{StubBehaviour, StubNode};
pub use stub_server::{ReceivedRequest, StubServer};
#[cfg(feature = "model")]
pub use ticking_clock::{CLOCK_START_MS, NodeClock, TickingClock};
pub use tokens::SAML_GRANT;
pub use transport::{Body, BoxError};
pub use unit_database::create_unit_database;
pub use unit_layers::{UnitLayers, make_unit_key};
pub use xml::{ace, acl_body, collection_body, distinct_aces, everybody_ace, privileges};
