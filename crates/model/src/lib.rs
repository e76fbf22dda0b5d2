//! The domain model of a unit: cells, boxes, collections, files, entities and their links, events, access control.
//!
//! All data are records of the [`personium_store::RecordStore`] port; a request changes them by one batch. This crate depends
//! neither on HTTP nor on an engine.

pub mod access;
pub mod acl;
pub mod administrator_cells;
pub mod answer_memory;
pub mod auth;
pub mod cell;
mod cell_announcement;
pub mod cell_context;
mod cell_deletion;
pub mod cell_policy;
pub mod cell_replacement;
pub mod cell_restoration;
pub mod cell_usage;
pub mod collection;
pub mod commit;
pub mod concurrency_limiter;
pub mod credentials;
pub mod entity;
pub mod event;
pub mod event_feed;
pub mod file;
pub mod garbage_collection;
pub mod keys;
mod known_maintenance;
mod known_orphans;
mod known_quotas;
pub mod listing;
pub mod locate;
pub mod maintenance;
pub mod memory_budget;
pub mod message_news;
pub mod message_queue;
mod monotonic_ids;
pub mod node;
pub mod odata;
pub mod outbox_queue;
pub mod posted_event;
pub mod properties;
pub mod quota;
pub mod records;
pub mod relocation;
pub mod resource;
pub mod roles;
pub mod server_node;
mod server_node_state;
pub mod settings;
mod staged_records;
pub mod stream;
mod structure_view;
pub mod temp_file;
pub mod timer_index;
pub mod transfer;
pub mod unfinished_copy;
pub mod unit;
pub mod unit_mark;
pub mod url;
mod usage;
pub mod verification;

pub use access::{Access, Identity, Permit, PermitTarget, ServerAuthority, UnitRole};
pub use acl::{Ace, Acl, Principal, SchemaLevel};
pub use answer_memory::{AnswerMemory, AnswerReservation, AnswerShare};
pub use cell::Cell;
pub use cell_context::{BoxInfo, CellContext, RoleInfo};
pub use commit::PostCommit;
pub use memory_budget::{MemoryBudget, Reservation};
/// A reader of a stored body.
pub use personium_store::BlobReader;
pub use posted_event::PostedEvent;
pub use resource::Resource;
pub use settings::Settings;
pub use unit::Unit;
pub use url::UnitUrls;
