//! OData entities: control objects of unit and cells, schemas of collections, and user data, by one set of functions.
//!
//! A [`ServiceRoot`] has entity sets, which a [`personium_odata::edm::Schema`] describes: a fixed one, or one made from
//! the declarations of users. The rules of single sets are in `rules.rs`; everything else is the same for all sets.

mod association;
mod change_set;
mod collection_guard;
mod collection_reader;
mod commit;
mod create;
mod creation;
mod creation_batch;
mod delete;
pub(crate) mod derived_records;
mod dynamic_properties;
mod events;
mod expand;
mod fetch;
mod index;
mod link;
mod link_cursor;
mod link_writer;
mod list;
mod load;
pub mod message;
mod operations;
pub mod ownership;
mod page;
mod page_collector;
mod pending_entity;
mod plan;
mod property_limits;
mod query_budget;
mod removal;
mod reporter;
mod root;
mod rules;
mod schema_rules;
mod update;
mod user_schema;
mod validate;

pub use association::{Association, AssociationSide, Cardinality, parent_of};
pub use change_set::{ChangeSet, ChangeSetCommit};
pub use collection_reader::{CollectionReader, LinkPages, ReadEntity, ReadLink, TypePages};
pub use create::{create, create_with};
pub use creation::{Creation, EntityHistory, NavigationSource};
pub use delete::delete;
pub use events::ReadKind;
pub use expand::{Expansion, expand};
pub use link::{NewLink, add_link, add_links, list_links, remove_link};
pub use list::{list, navigate};
pub use load::{Entity, EntityCheck, find};
pub use operations::AccessKind;
pub use page::Page;
pub use removal::{erase_cell, remove_box, remove_box_objects, remove_cell};
pub use root::{EntityRef, RootScope, ServiceRoot, SetRef};
pub(crate) use update::store_change;
pub use update::{Change, Update, repointed_links, update};
pub use user_schema::UserSchema;
pub use validate::{body_error, validate};
