//! What a unit holds: cells, boxes, collections, files, entities and their links, access control.
//!
//! Everything is kept as records of the [`personium_store::RecordStore`] port; a request changes data by one batch.
//! This crate knows neither HTTP nor any engine.

pub mod access;
pub mod acl;
pub mod auth;
pub mod cell;
pub mod cell_context;
pub mod collection;
pub mod concurrency_limiter;
pub mod credentials;
pub mod entity;
pub mod event;
pub mod file;
pub mod install;
pub mod keys;
pub mod listing;
pub mod locate;
pub mod memory_budget;
pub mod node;
pub mod odata;
pub mod post_commit;
pub mod properties;
pub mod records;
pub mod relocation;
pub mod resource;
pub mod roles;
pub mod settings;
pub mod sweep;
pub mod unit;
pub mod url;

pub use access::{Access, Identity, Permit, PermitTarget, ServerAuthority, UnitRole};
pub use acl::{Ace, Acl, Principal, SchemaLevel};
pub use cell::Cell;
pub use cell_context::{BoxInfo, CellContext, RoleInfo};
pub use memory_budget::{MemoryBudget, Reservation};
/// A stored body being read.
pub use personium_store::BlobReader;
pub use post_commit::PostCommit;
pub use resource::Resource;
pub use settings::Settings;
pub use unit::Unit;
pub use url::UnitUrls;
