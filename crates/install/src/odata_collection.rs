//! Creates the entities of an OData collection, and the links between them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use personium_archive::json::{self, EntityLink, Listed};
use personium_archive::{BarEntry, paths};
use personium_model::odata::{self, Creation, ServiceRoot};
use personium_odata::body::{Intent, Route};
use personium_odata::key::EntityKey;
use personium_types::{Code, Error, Result};
use serde_json::Value;

use crate::control_objects::syntax_error;
use crate::error::{InEntry, InstallError, InstallReason, InstallResult, Remains};
use crate::installer::Installer;

/// The size of the entities of one commit, in bytes, from which on it ends. The last one may exceed it.
const MAX_COMMIT_BYTES: usize = 4 << 20;

/// The number of entities that are read with one state of the cell and the schema. Before they are stored, it is read anew.
const ENTITIES_PER_ROOT: usize = 100;

/// The entries of the archive for a collection.
#[derive(Default)]
struct CollectionEntries {
    metadata: Option<BarEntry>,
    links: Option<BarEntry>,
    /// Entity types with their entries, in the order of names.
    data: Vec<(String, BarEntry)>,
    /// The first entry that does not belong into a collection.
    misplaced: Option<BarEntry>,
}

impl CollectionEntries {
    /// Sorts entries by their path in the collection.
    fn new(mut entries: Vec<(Vec<String>, BarEntry)>) -> Self {
        let mut out = Self::default();
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (path, entry) in entries {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            match path.as_slice() {
                [paths::ODATA_METADATA] => out.metadata = Some(entry),
                [paths::ODATA_LINKS] => out.links = Some(entry),
                [paths::ODATA_DATA, entity_type, _] => {
                    out.data.push(((*entity_type).to_owned(), entry));
                }
                _ => out.misplaced = out.misplaced.or(Some(entry)),
            }
        }
        out
    }
}

/// Entities that are created in one batch, with their entries.
#[derive(Default)]
struct EntityBatch {
    creations: Vec<Creation>,
    entries: Vec<BarEntry>,
    /// The sum of the sizes of the entries.
    bytes: usize,
}

impl Installer {
    /// Creates the schema of a collection, then its entities and their links.
    ///
    /// A failure in an archive of the legacy version leaves what was created of the collections: its clients remove them one
    /// by one.
    pub(crate) async fn install_odata_collection(
        &self,
        path: &[String],
        entries: Vec<(Vec<String>, BarEntry)>,
    ) -> InstallResult {
        let installed = self.fill_odata_collection(path, entries).await;
        installed.map_err(|error| InstallError {
            remains: match self.package.is_legacy() {
                true => Remains::Collections,
                false => error.remains,
            },
            ..error
        })
    }

    async fn fill_odata_collection(
        &self,
        path: &[String],
        entries: Vec<(Vec<String>, BarEntry)>,
    ) -> InstallResult {
        let found = CollectionEntries::new(entries);
        let Some(metadata) = &found.metadata else {
            let missing = format!("{}/{}", path.join("/"), paths::ODATA_METADATA);
            let reason = InstallReason::Misplaced;
            return Err(InstallError::new(reason, &missing, "missing"));
        };
        self.install_schema(path, metadata).await?;
        if let Some(entry) = &found.misplaced {
            let reason = InstallReason::Misplaced;
            return Err(InstallError::new(reason, entry.name(), "not known"));
        }
        // All data are checked before any of them is stored. The check counts entries for the progress, but only while it
        // runs.
        let done_before = self.done_entries();
        let links = self.read_entity_links(&found).await?;
        self.check_entities(path, &found).await?;
        self.set_done_entries(done_before);
        self.create_entities(path, &found).await?;
        if let Some((entry, links)) = links {
            self.start_entry(&entry).await;
            self.link_entities(path, &entry, &links).await?;
            self.end_entry(&entry).await;
        }
        Ok(())
    }

    /// The service root of the collection, with its current schema.
    async fn data_root(&self, path: &[String]) -> Result<ServiceRoot> {
        let resource = self.resource(path).await?;
        let target = resource.locate().await?;
        let (unit, context) = (Arc::clone(&self.unit), Arc::clone(&resource.context));
        ServiceRoot::of_data(unit, context, target.node()).await
    }

    async fn read_entity_links(
        &self,
        found: &CollectionEntries,
    ) -> InstallResult<Option<(BarEntry, Vec<Listed<EntityLink>>)>> {
        let Some(entry) = &found.links else {
            return Ok(None);
        };
        self.count_entry();
        let parsed = self
            .package
            .read_as(entry, |bytes| json::entity_links(&bytes));
        let links = parsed.await?.map_err(|error| syntax_error(entry, &error))?;
        Ok(Some((entry.clone(), links)))
    }

    /// Checks names, entity types, syntax and ids of all entities.
    async fn check_entities(&self, path: &[String], found: &CollectionEntries) -> InstallResult {
        let mut ids = HashSet::new();
        let mut root = None;
        for (number, (entity_type, entry)) in found.data.iter().enumerate() {
            self.count_entry();
            if number % ENTITIES_PER_ROOT == 0 {
                root = None;
            }
            let name = entry.path().rsplit('/').next().unwrap_or_default();
            let digits = name.strip_suffix(".json").unwrap_or_default();
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                let reason = InstallReason::Misplaced;
                return Err(InstallError::new(
                    reason,
                    entry.name(),
                    "not digits and .json",
                ));
            }
            let root = match &mut root {
                Some(root) => root,
                None => root.insert(self.data_root(path).await.in_entry(entry)?),
            };
            root.set(entity_type).in_entry(entry)?;
            let parsed = self
                .package
                .read_as(entry, |bytes| serde_json::from_slice(&bytes));
            let entity: BTreeMap<String, Value> =
                parsed.await?.map_err(|error: serde_json::Error| {
                    let line = Some(error.line().max(1));
                    InstallError::new(InstallReason::Syntax, entry.name(), error).at_line(line)
                })?;
            if let Some(Value::String(id)) = entity.get("__id")
                && !ids.insert((entity_type.clone(), id.clone()))
            {
                let duplicate = Error::new(Code::EntityExists);
                return Err(InstallError::refused(entry, &duplicate));
            }
        }
        Ok(())
    }

    async fn create_entities(&self, path: &[String], found: &CollectionEntries) -> InstallResult {
        let max = self.unit.settings().archives.entities_per_commit;
        let mut batch = EntityBatch::default();
        let mut known = None;
        for (number, (entity_type, entry)) in found.data.iter().enumerate() {
            self.start_entry(entry).await;
            let bytes = self.package.read(entry).await?;
            batch.bytes += bytes.len();
            if number % ENTITIES_PER_ROOT == 0 {
                known = None;
            }
            let root = match &mut known {
                Some(root) => root,
                None => known.insert(self.data_root(path).await.in_entry(entry)?),
            };
            let set = root.set(entity_type).in_entry(entry)?;
            let body = odata::validate(root, &set, &bytes, Intent::Create, Route::Direct)
                .await
                .in_entry(entry)?;
            // Later entities must be validated against a schema with the new dynamic properties.
            let changes_schema = !body.new_properties.is_empty();
            batch.creations.push(Creation {
                set,
                body,
                hidden: BTreeMap::new(),
                navigation: None,
                exists: Code::EntityExists,
                history: None,
            });
            batch.entries.push(entry.clone());
            let is_full = batch.creations.len() >= max || batch.bytes >= MAX_COMMIT_BYTES;
            if changes_schema || is_full {
                let root = self.data_root(path).await.in_entry(entry)?;
                self.store_batch(&root, std::mem::take(&mut batch)).await?;
                known = None;
            }
        }
        if let Some(last) = batch.entries.last() {
            let root = self.data_root(path).await.in_entry(last)?;
            self.store_batch(&root, batch).await?;
        }
        Ok(())
    }

    async fn store_batch(&self, root: &ServiceRoot, batch: EntityBatch) -> InstallResult {
        let (Some(first), Some(first_entry)) = (batch.creations.first(), batch.entries.first())
        else {
            return Ok(());
        };
        let permit = self.authority.permit_write(root, &first.set);
        let created = odata::create(root, &permit, &batch.creations).await;
        let created = created.in_entry(first_entry)?;
        let mut ended = Vec::with_capacity(batch.entries.len());
        for (entry, created) in batch.entries.iter().zip(created) {
            if let Err(refused) = created.in_entry(entry) {
                self.end_entries(&ended).await;
                return Err(refused);
            }
            ended.push(entry);
        }
        self.end_entries(&ended).await;
        Ok(())
    }

    async fn link_entities(
        &self,
        path: &[String],
        entry: &BarEntry,
        links: &[Listed<EntityLink>],
    ) -> InstallResult {
        let links_per_update = self.unit.settings().archives.links_per_update.max(1);
        for (index, link) in links.iter().enumerate() {
            let root = self.data_root(path).await.in_entry(entry)?;
            let created = self.link_entity(&root, link).await;
            created.at_line(entry, Some(link.line))?;
            let count = index + 1;
            if count % links_per_update == 0 {
                let object = format!("userDataLinks {count} / {}", links.len());
                self.post_event("PL-BI-1002", &object, "Installation in progress.")
                    .await;
            }
        }
        Ok(())
    }

    async fn link_entity(&self, root: &ServiceRoot, link: &EntityLink) -> Result<()> {
        let set = root.set(&link.from.entity_type)?;
        let navigation = format!("_{}", link.to.entity_type);
        let association = root
            .association(&set, &navigation)
            .ok_or(Code::NoSuchAssociation)?;
        let (from, to) = (
            EntityKey::single(&link.from.id),
            EntityKey::single(&link.to.id),
        );
        let permit = self.authority.permit_link(root, &association);
        odata::add_link(root, &permit, &association, &from, &to).await
    }
}
