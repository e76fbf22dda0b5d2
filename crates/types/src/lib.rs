//! Types of the domain: ids, names, privileges, operations, entity tags, times, and the error with its table of codes.
//!
//! This crate does no I/O. It knows neither HTTP nor the storage.

pub mod code;
pub mod error;
pub mod etag;
pub mod extension_value;
pub mod hex;
pub mod id;
pub mod name;
pub mod network;
pub mod operation;
pub mod preconditions;
pub mod privilege;
pub mod random;
pub mod script_limits;
pub mod secret;
pub mod time;

pub use code::Code;
pub use error::{Error, Result};
pub use etag::ETag;
pub use extension_value::ExtensionValue;
pub use id::{BlobId, CellId, NodeId, ServerNodeId};
pub use operation::{Need, Operation, TargetLevel};
pub use preconditions::Preconditions;
pub use privilege::Privilege;
pub use random::{Random, RandomError, SystemRandom};
pub use script_limits::ScriptLimits;
pub use secret::Secret;
pub use time::{Clock, SystemClock};
