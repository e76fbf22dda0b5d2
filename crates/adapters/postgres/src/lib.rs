//! A record store in a PostgreSQL database, which several processes can share.
//!
//! There is one table of records and one of spaces. Each statement names one space, so that a database that is distributed by
//! space needs one of its parts for each. A read is one statement; reads by keys that come at the same time share round trips. A
//! commit is one transaction of two round trips, in which waiting batches of a space are merged.

mod connections;
mod error;
mod group_commit;
mod news;
mod pipeline;
mod read;
mod read_queue;
mod schema;
mod server_facts;
mod settings;
mod snapshot;
mod space_key;
mod statement;
mod store;
mod tls;
mod transaction;
mod write_queue;
mod writer;
mod writes;

pub use schema::{SCHEMA_VERSION, SchemaError};
pub use server_facts::ServerFacts;
pub use settings::{PostgresHost, PostgresSettings, TlsMode};
pub use store::PostgresStore;
