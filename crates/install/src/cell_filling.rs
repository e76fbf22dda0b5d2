//! Fills a new cell with the content of another one, with the functions that requests use, so that nothing is taken without their
//! checks: that of a snapshot, or of a unit that is migrated.

mod acl;
mod links;
mod objects;
mod own_urls;
mod refusals;
mod schema;
mod tree;
mod type_map;
mod user_data;
mod values;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use personium_archive::snapshot::{self, Document};
use personium_model::keys::{self, ControlSet};
use personium_model::new_cell::NewCell;
use personium_model::odata::{EntityHistory, ServiceRoot};
use personium_model::transfer::RunningTransfer;
use personium_model::{ServerAuthority, Unit};
use personium_odata::key::EntityKey;
use personium_odata::value::MAX_DATE_MS;
use personium_types::{Code, Error, NodeId, Result};

pub(crate) use self::acl::{read as read_acl, roles as roles_of_acl};
pub(crate) use self::objects::LINKS;
use self::own_urls::OwnUrls;
pub(crate) use self::refusals::{Refusal, Refusals};
pub(crate) use self::tree::dead_properties;
pub(crate) use self::type_map::TypeMap;
pub(crate) use self::user_data::{USER_DATA, validated};
pub(crate) use self::values::entity_body;
use crate::cell_source::CellSource;
use crate::snapshot_package::invalid;

/// The steps that the progress is counted by: nine sets of control objects, the tree, schemas, user data, its links, and the end.
pub(crate) const STEPS: u64 = 14;
/// The largest number of entities of one commit, and of the objects whose ids are kept in memory.
const MAX_OBJECTS: usize = 500_000;

/// An object that was created.
struct ImportedObject {
    set: ControlSet,
    id: String,
    key: EntityKey,
    name: String,
    box_name: Option<String>,
}

/// An OData collection that was created: the member `name` of `parent`.
struct ImportedCollection {
    parent: NodeId,
    name: String,
}

/// The outcome of a filling.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    /// The ids of accounts, by those in the source.
    pub accounts: HashMap<String, String>,
    /// The objects that were refused and left out.
    pub refused: Vec<Refusal>,
    /// The number of all that was refused.
    pub refusals: u64,
}

/// A cell that is being filled.
pub(crate) struct CellFilling<'f> {
    new: &'f NewCell,
    authority: &'f ServerAuthority,
    source: &'f CellSource,
    /// Where the progress is shown, and what can be lost to another server node.
    transfer: Option<&'f RunningTransfer>,
    refusals: Refusals,
    /// The properties that the cell gets instead of those of the source.
    kept_properties: Option<BTreeMap<String, String>>,
    urls: OwnUrls,
    /// Control and schema objects by their ids in the source.
    objects: HashMap<String, ImportedObject>,
    /// By their ids in the source.
    collections: HashMap<String, ImportedCollection>,
    types: TypeMap,
    done: u64,
}

impl<'f> CellFilling<'f> {
    /// Prepares to fill a new cell, with the authority of the server.
    pub fn new(
        (new, authority): (&'f NewCell, &'f ServerAuthority),
        source: &'f CellSource,
        transfer: Option<&'f RunningTransfer>,
        refusals: Refusals,
    ) -> Self {
        let urls = match source {
            CellSource::Snapshot(package) => {
                OwnUrls::new(new.unit().urls(), package, &new.cell().name)
            }
            CellSource::Original(_) => OwnUrls::unchanged(),
        };
        Self {
            urls,
            new,
            authority,
            source,
            transfer,
            refusals,
            kept_properties: None,
            objects: HashMap::new(),
            collections: HashMap::new(),
            types: TypeMap::default(),
            done: 0,
        }
    }

    /// Gives the cell these properties instead of those of the source.
    pub fn keeping(mut self, properties: Option<BTreeMap<String, String>>) -> Self {
        self.kept_properties = properties;
        self
    }

    /// Fills the cell.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`] for what is not valid, unless that is left out; failures of the store.
    pub async fn fill(mut self) -> Result<Filled> {
        for (kind, path) in snapshot::DOCUMENTS {
            match ControlSet::named(kind) {
                Some(set) if !crate::cell_export::is_of_schema(set) => {
                    Box::pin(self.import_objects(set, path)).await?;
                    self.end_step().await?;
                }
                _ => {}
            }
        }
        Box::pin(self.import_object_links()).await?;
        Box::pin(self.import_tree()).await?;
        self.end_step().await?;
        Box::pin(self.import_schemas()).await?;
        self.end_step().await?;
        Box::pin(self.import_user_data()).await?;
        self.end_step().await?;
        Box::pin(self.import_entity_links()).await?;
        self.end_step().await?;
        let records = self.new.records();
        records.remove_range(&keys::imported_entities()).await?;
        let accounts = self.objects.into_iter();
        let accounts = accounts.filter(|(_, object)| object.set == ControlSet::Account);
        let (refused, refusals) = self.refusals.into_noted();
        Ok(Filled {
            accounts: accounts.map(|(id, object)| (id, object.id)).collect(),
            refused,
            refusals,
        })
    }

    fn unit(&self) -> &Arc<Unit> {
        self.new.unit()
    }

    /// Counts a step as done.
    ///
    /// # Errors
    /// [`Code::Conflict`] if others have found this process dead.
    async fn end_step(&mut self) -> Result<()> {
        self.done += 1;
        let Some(transfer) = self.transfer else {
            return Ok(());
        };
        transfer.set_progress(self.done, STEPS).await;
        match transfer.is_own().await? {
            true => Ok(()),
            false => Err(Code::Conflict.into()),
        }
    }

    /// Notes what was refused, or ends the filling by it.
    ///
    /// # Errors
    /// The error, unless what is refused is left out.
    fn refuse(&self, entry: &str, id: &str, error: Error) -> Result<()> {
        self.refusals.add(entry, id, error)
    }

    /// The control objects of the new cell, with its structure as it is now.
    async fn cell_root(&self) -> Result<ServiceRoot> {
        let context = self.new.context().await?;
        Ok(ServiceRoot::of_cell(Arc::clone(self.unit()), context))
    }

    /// The object with this id in the source.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`] if the source has none of the set.
    fn object(&self, entry: &str, set: ControlSet, id: &str) -> Result<&ImportedObject> {
        let found = self.objects.get(id).filter(|found| found.set == set);
        found.ok_or_else(|| invalid(entry, format!("it has no {} {id}", set.name())))
    }

    fn add_object(&mut self, entry: &str, id: String, object: ImportedObject) -> Result<()> {
        if self.objects.len() >= MAX_OBJECTS {
            return Err(invalid(entry, "it has too many objects"));
        }
        match self.objects.insert(id, object) {
            None => Ok(()),
            Some(_) => Err(invalid(entry, "two objects have the same id")),
        }
    }
}

/// The history of an object, within the times that can be shown. `later` links of it are made afterwards, each of which counts as a
/// change.
fn history(document: &Document, later: usize) -> EntityHistory {
    let later = u64::try_from(later).unwrap_or(u64::MAX);
    EntityHistory {
        published: valid_time(document.source.published),
        updated: valid_time(document.source.updated),
        version: match document.version {
            Some(version) => version.min(u64::from(u32::MAX)).saturating_sub(later),
            None => 1,
        },
    }
}

pub(crate) fn valid_time(ms: i64) -> i64 {
    ms.clamp(0, MAX_DATE_MS)
}
