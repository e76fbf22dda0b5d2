//! Imports of snapshots: the content of a cell is replaced by that of a snapshot, all at once.
//!
//! Everything is created in a new cell that nobody sees, with the functions that requests use, so that nothing in a snapshot
//! is taken without their checks. Then that cell takes the place of the old one ([`CellReplacement`]). If anything
//! fails, or the server stops, the old cell is as it was.

mod acl;
mod links;
mod objects;
mod own_urls;
mod schema;
mod tree;
mod user_data;
mod values;

use std::collections::HashMap;
use std::sync::Arc;

use personium_archive::snapshot::{self, Document};
use personium_model::cell_replacement::CellReplacement;
use personium_model::keys::{self, ControlSet};
use personium_model::odata::{EntityTimes, ServiceRoot};
use personium_model::transfer::{self, RunningTransfer, TransferFailure, TransferKind};
use personium_model::{CellContext, Permit, ServerAuthority, Unit};
use personium_odata::key::EntityKey;
use personium_odata::value::MAX_DATE_MS;
use personium_types::error::chain;
use personium_types::{CellId, Code, NodeId, Result};

use self::own_urls::OwnUrls;
use self::values::ImportedType;
use crate::snapshot_package::{SnapshotPackage, invalid};
use crate::{cell_event, own_task, progress};

/// The steps that the progress is counted by: nine sets of control objects, the tree, schemas, user data, its links, and snapshots.
const STEPS: u64 = 14;
/// The largest number of entities of one commit, and of the objects whose ids are kept in memory.
const MAX_OBJECTS: usize = 500_000;

/// An import that was begun.
pub struct CellImporter {
    transfer: RunningTransfer,
    authority: ServerAuthority,
    context: Arc<CellContext>,
    package: SnapshotPackage,
    request_key: String,
}

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

/// An import that runs.
struct CellImport<'i> {
    importer: &'i CellImporter,
    new: &'i CellReplacement,
    urls: OwnUrls,
    /// Control and schema objects by their ids in the snapshot.
    objects: HashMap<String, ImportedObject>,
    /// By their ids in the snapshot.
    collections: HashMap<String, ImportedCollection>,
    /// Entity types and complex types by their ids in the snapshot.
    types: HashMap<String, ImportedType>,
    /// The ids of complex types in the snapshot, by their collections and names.
    complex_types: HashMap<(String, String), String>,
    done: u64,
}

impl CellImporter {
    /// Opens a snapshot of a cell and begins to import it. [`Self::run`] does that.
    ///
    /// # Errors
    /// The refusals of [`SnapshotPackage::open`]; [`Code::CellBusyWithJob`] if the cell is exported or imported;
    /// [`Code::CellBusy`] while a box of it is installed; an internal error if the permit is not for it; failures of the
    /// store.
    pub async fn begin(
        unit: &Arc<Unit>,
        context: &Arc<CellContext>,
        authority: &crate::InstallAuthority,
        (permit, name, request_key): (&Permit, &str, &str),
    ) -> Result<Self> {
        progress::check_not_installing(unit, context).await?;
        let records = unit.cell_records(&context.cell().id);
        let package = SnapshotPackage::open(unit, &records, name).await?;
        let kind = TransferKind::Import;
        Ok(Self {
            transfer: transfer::begin(unit, context, permit, (kind, name)).await?,
            authority: authority.0.clone(),
            context: Arc::clone(context),
            package,
            request_key: request_key.to_owned(),
        })
    }

    /// Imports the snapshot. If that fails, the cell is as it was, and its state tells why.
    pub async fn run(self) {
        let importer = Arc::new(self);
        let running = Arc::clone(&importer);
        let imported = own_task::run(async move { Box::pin(running.import()).await }).await;
        if let Some(importer) = Arc::into_inner(importer) {
            importer.finish(imported).await;
        }
    }

    async fn finish(self, imported: Result<CellId>) {
        let unit = Arc::clone(self.transfer.unit());
        let old = self.context.cell().id;
        let (cell, failure) = match imported {
            Ok(new) => (new, None),
            Err(error) => {
                tracing::warn!(cell.id = %old, error = %chain(&error), "failed to import a snapshot");
                (old, Some(TransferFailure::of(&error)))
            }
        };
        if failure.is_some()
            && let Err(error) = self.transfer.end(failure).await
        {
            tracing::warn!(cell.id = %old, error = %chain(&error), "failed to end an import");
        }
        let event = ("cell.import", "__import");
        cell_event::post(&unit, &self.authority, &cell, event, &self.request_key).await;
    }

    /// Fills a new cell and puts it in the place of the old one. Returns its id.
    async fn import(&self) -> Result<CellId> {
        let unit = self.transfer.unit();
        let new = CellReplacement::begin(unit, &self.context).await?;
        let mut outcome = {
            let mut import = CellImport {
                importer: self,
                urls: OwnUrls::new(unit.urls(), &self.package, &new.cell().name),
                new: &new,
                objects: HashMap::new(),
                collections: HashMap::new(),
                types: HashMap::new(),
                complex_types: HashMap::new(),
                done: 0,
            };
            Box::pin(import.fill()).await
        };
        if outcome.is_ok() {
            outcome = Box::pin(new.complete(&self.transfer)).await;
        }
        match outcome {
            Ok(()) => Ok(new.cell().id),
            Err(error) => {
                new.abandon().await;
                Err(error)
            }
        }
    }
}

impl CellImport<'_> {
    fn unit(&self) -> &Arc<Unit> {
        self.importer.transfer.unit()
    }

    fn package(&self) -> &SnapshotPackage {
        &self.importer.package
    }

    async fn fill(&mut self) -> Result<()> {
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
        self.new.copy_snapshots().await?;
        self.end_step().await
    }

    /// Counts a step as done.
    ///
    /// # Errors
    /// [`Code::Conflict`] if others have found this process dead.
    async fn end_step(&mut self) -> Result<()> {
        self.done += 1;
        self.importer.transfer.set_progress(self.done, STEPS).await;
        match self.importer.transfer.is_own().await? {
            true => Ok(()),
            false => Err(Code::Conflict.into()),
        }
    }

    /// The control objects of the new cell, with its structure as it is now.
    async fn cell_root(&self) -> Result<ServiceRoot> {
        let context = self.new.context().await?;
        Ok(ServiceRoot::of_cell(Arc::clone(self.unit()), context))
    }

    /// The object with this id in the snapshot.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`] if the snapshot has none of the set.
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

/// The times of an object, within the times that can be shown.
fn times(document: &Document) -> EntityTimes {
    EntityTimes {
        published: valid_time(document.source.published),
        updated: valid_time(document.source.updated),
    }
}

fn valid_time(ms: i64) -> i64 {
    ms.clamp(0, MAX_DATE_MS)
}
