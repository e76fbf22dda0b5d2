//! OData entities: control objects of unit and cells, schemas of collections, and user data, by one set of functions.
//!
//! A [`Root`] is a service root. Its sets are described by a [`personium_odata::edm::Schema`], fixed or made from
//! what users declared. What is special about a set is in `rules.rs`; everything else is the same for all of them.

mod accept;
mod association;
mod create;
mod delete;
mod index;
mod link;
mod list;
mod load;
pub mod message;
mod operations;
mod page_collector;
mod pending_entity;
mod plan;
mod query_budget;
mod removal;
mod root;
mod rules;
mod schema_rules;
mod update;
mod user_schema;

pub use accept::{accept, body_error};
pub use association::{Association, Cardinality};
pub use create::{Creation, NavigationSource, create};
pub use delete::delete;
pub use link::{add_link, list_links, remove_link};
pub use list::{ListQuery, Page, expand, list, navigate};
pub use load::{Entity, find};
pub use operations::AccessKind;
pub use removal::{remove_box, remove_cell};
pub use root::{RootScope, ServiceRoot, SetRef};
pub(crate) use update::store_change;
pub use update::{Change, Update, update};
pub use user_schema::UserSchema;
