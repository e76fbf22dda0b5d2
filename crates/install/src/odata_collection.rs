//! Creates the entities of an OData collection, and the links between them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use personium_archive::json::{self, EntityLink, Listed};
use personium_archive::{BarEntry, paths};
use personium_model::odata::{self, Creation, NewLink, ServiceRoot};
use personium_odata::body::{Intent, Route};
use personium_odata::key::EntityKey;
use personium_types::{Code, Error, Result};
use serde_json::Value;

use crate::control_objects::{first_refusal, new_links, syntax_error};
use crate::error::{InEntry, InstallError, InstallReason, InstallResult, Remains};
use crate::installer::{Installer, LINKS_PER_COMMIT};

/// The size of the entities of one commit, in bytes, from which on it ends. The last one may exceed it.
const MAX_COMMIT_BYTES: usize = 4 << 20;

/// The number of entities that are read together, with one state of the cell and the schema, and their size in bytes from which on no
/// more are added. Before they are stored, the state is read anew.
const ENTITIES_PER_GROUP: usize = 100;
const GROUP_BYTES: u64 = 1 << 20;

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

/// The next entities that are read together; empty at the end.
fn next_group<'e>(rest: &mut &'e [(String, BarEntry)]) -> &'e [(String, BarEntry)] {
    let (mut count, mut bytes) = (0, 0);
    for (_, entry) in rest.iter().take(ENTITIES_PER_GROUP) {
        if bytes >= GROUP_BYTES {
            break;
        }
        (count, bytes) = (count + 1, bytes + entry.size());
    }
    let (group, after) = rest.split_at(count);
    *rest = after;
    group
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
        let folder = format!("{}/{}/", paths::CONTENTS, path.join("/"));
        if !self.package.is_legacy() {
            self.start_folder(&folder).await;
        }
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
            self.start_odata_entries(&[&entry]).await;
            self.link_entities(path, &entry, &links).await?;
            self.end_entry(&entry).await;
            self.report_step(&format!("userDataLinks {0} / {0}", links.len()))
                .await;
        }
        if !self.package.is_legacy() {
            self.end_folder(&folder).await;
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
        let mut rest = found.data.as_slice();
        loop {
            let group = next_group(&mut rest);
            let Some((_, first)) = group.first() else {
                return Ok(());
            };
            let root = self.data_root(path).await.in_entry(first)?;
            let entries: Vec<&BarEntry> = group.iter().map(|(_, entry)| entry).collect();
            let read = self.package.read_all(&entries, |bytes| read_id(&bytes));
            for ((entity_type, entry), id) in group.iter().zip(read.await) {
                self.count_entry();
                check_entry_name(entry)?;
                root.set(entity_type).in_entry(entry)?;
                let id = id?.map_err(|error| {
                    let line = Some(error.line().max(1));
                    InstallError::new(InstallReason::Syntax, entry.name(), error).at_line(line)
                })?;
                if let Some(id) = id
                    && !ids.insert((entity_type.clone(), id))
                {
                    let duplicate = Error::new(Code::EntityExists);
                    return Err(InstallError::refused(entry, &duplicate));
                }
            }
        }
    }

    async fn create_entities(&self, path: &[String], found: &CollectionEntries) -> InstallResult {
        let mut batch = EntityBatch::default();
        let mut rest = found.data.as_slice();
        loop {
            let group = next_group(&mut rest);
            if group.is_empty() {
                break;
            }
            // What began before a failure is reported, and nothing else.
            let mut begun = Vec::with_capacity(group.len());
            let added = self.add_group(path, group, (&mut batch, &mut begun)).await;
            self.start_odata_entries(&begun).await;
            added?;
        }
        if let Some(last) = batch.entries.last() {
            let root = self.data_root(path).await.in_entry(last)?;
            self.store_batch(&root, batch).await?;
        }
        Ok(())
    }

    /// Adds entities to a batch, which is stored when it is full. `begun` are those whose begin was not reported yet.
    async fn add_group<'e>(
        &self,
        path: &[String],
        group: &'e [(String, BarEntry)],
        (batch, begun): (&mut EntityBatch, &mut Vec<&'e BarEntry>),
    ) -> InstallResult {
        let max = self.unit.settings().archives.entities_per_commit;
        let entries: Vec<&BarEntry> = group.iter().map(|(_, entry)| entry).collect();
        let read = self.package.read_all(&entries, std::convert::identity);
        let mut known = None;
        for ((entity_type, entry), bytes) in group.iter().zip(read.await) {
            begun.push(entry);
            let bytes = bytes?;
            batch.bytes += bytes.len();
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
                self.start_odata_entries(&std::mem::take(begun)).await;
                let root = self.data_root(path).await.in_entry(entry)?;
                self.store_batch(&root, std::mem::take(batch)).await?;
                known = None;
            }
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
        let mut count = 0;
        for group in links.chunks(LINKS_PER_COMMIT) {
            let (made, outcome) = Box::pin(self.link_group(path, entry, group)).await;
            let counts = count + 1..=count + made;
            let steps = counts.filter(|count| count % links_per_update == 0);
            let steps = steps.map(|count| format!("userDataLinks {count} / {}", links.len()));
            self.report_steps(&steps.collect::<Vec<_>>()).await;
            count += made;
            outcome?;
        }
        Ok(())
    }

    /// Makes links by one commit. Returns the number of those before the first one that was refused.
    async fn link_group(
        &self,
        path: &[String],
        entry: &BarEntry,
        group: &[Listed<EntityLink>],
    ) -> (usize, InstallResult) {
        let mut refused = None;
        let added = async {
            let root = self.data_root(path).await?;
            let links = new_links(group, |link| self.new_entity_link(&root, link));
            refused = links.1;
            odata::add_links(&root, &links.0).await
        };
        match added.await {
            Ok(added) => first_refusal(entry, group, added, refused),
            Err(error) => (0, Err(error).in_entry(entry)),
        }
    }

    fn new_entity_link(&self, root: &ServiceRoot, link: &EntityLink) -> Result<NewLink> {
        let set = root.set(&link.from.entity_type)?;
        let navigation = format!("_{}", link.to.entity_type);
        let association = root
            .association(&set, &navigation)
            .ok_or(Code::NoSuchAssociation)?;
        Ok(NewLink {
            source: EntityKey::single(&link.from.id),
            target: EntityKey::single(&link.to.id),
            permit: self.authority.permit_link(root, &association),
            association,
        })
    }
}

/// Checks that the name of an entry is digits and `.json`.
fn check_entry_name(entry: &BarEntry) -> InstallResult {
    let name = entry.path().rsplit('/').next().unwrap_or_default();
    let digits = name.strip_suffix(".json").unwrap_or_default();
    match !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok(()),
        false => {
            let reason = InstallReason::Misplaced;
            let detail = "not digits and .json";
            Err(InstallError::new(reason, entry.name(), detail))
        }
    }
}

/// The `__id` of an entity, if it has one that is text.
fn read_id(bytes: &[u8]) -> serde_json::Result<Option<String>> {
    let mut entity: BTreeMap<String, Value> = serde_json::from_slice(bytes)?;
    Ok(match entity.remove("__id") {
        Some(Value::String(id)) => Some(id),
        _ => None,
    })
}
