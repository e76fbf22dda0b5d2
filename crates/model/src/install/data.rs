//! The entities of an OData collection of an archive, and the links between them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use personium_archive::json::{self, EntityLink};
use personium_odata::body::{Intent, Route};
use personium_odata::key::EntityKey;
use personium_types::{Code, Error, Result};
use serde_json::Value;

use super::Installer;
use super::failure::{At, Failure, Fault, Outcome};
use super::package::BarEntry;
use crate::odata::{self, Creation, ServiceRoot};

/// The schema of a collection.
const METADATA: &str = "00_$metadata.xml";
/// The links between its entities.
const LINKS: &str = "10_odatarelations.json";
/// The folder with its entities.
const DATA: &str = "90_data";

/// What an archive has for a collection.
#[derive(Default)]
struct Collection {
    metadata: Option<BarEntry>,
    links: Option<BarEntry>,
    /// Entity type and entry, in the order of names.
    data: Vec<(String, BarEntry)>,
}

/// Entities that are made together.
#[derive(Default)]
struct Bulk {
    creations: Vec<Creation>,
    entries: Vec<BarEntry>,
}

impl Installer {
    /// Makes the schema of a collection, then its entities and links.
    pub(super) async fn install_odata(
        &self,
        path: &[String],
        entries: Vec<(Vec<String>, BarEntry)>,
    ) -> Outcome {
        let mut found = Collection::default();
        let mut misplaced = None;
        let mut entries = entries;
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (rest, entry) in entries {
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            match rest.as_slice() {
                [METADATA] => found.metadata = Some(entry),
                [LINKS] => found.links = Some(entry),
                [DATA, entity_type, _] => found.data.push(((*entity_type).to_owned(), entry)),
                _ => misplaced = misplaced.or(Some(entry)),
            }
        }
        let Some(metadata) = &found.metadata else {
            let missing = format!("{}/{METADATA}", path.join("/"));
            return Err(Failure::new(Fault::Place, &missing, "missing"));
        };
        self.install_schema(path, metadata).await?;
        if let Some(entry) = misplaced {
            return Err(Failure::new(Fault::Place, entry.name(), "not known"));
        }
        let before = self.done.load(Ordering::Acquire);
        let links = self.check_data(path, &found).await?;
        self.done.store(before, Ordering::Release);
        self.fill(path, &found).await?;
        if let Some((entry, links)) = links {
            self.begin_entry(&entry).await;
            self.link_entities(path, &entry, &links).await?;
            self.end_entry(&entry).await;
        }
        Ok(())
    }

    /// The data of the collection as it is now.
    async fn data_root(&self, path: &[String]) -> Result<ServiceRoot> {
        let resource = self.resource(path).await?;
        let target = resource.locate().await?;
        let (unit, context) = (Arc::clone(&self.unit), Arc::clone(&resource.context));
        ServiceRoot::of_data(unit, context, target.node()).await
    }

    /// Looks at all data before any of it is stored; the links.
    async fn check_data(
        &self,
        path: &[String],
        found: &Collection,
    ) -> Outcome<Option<(BarEntry, Vec<EntityLink>)>> {
        let links = match &found.links {
            None => None,
            Some(entry) => {
                self.done.fetch_add(1, Ordering::AcqRel);
                let parsed = self
                    .package
                    .read_as(entry, |bytes| json::entity_links(&bytes));
                let links = parsed
                    .await?
                    .map_err(|fault| Failure::new(Fault::Syntax, entry.name(), fault))?;
                Some((entry.clone(), links))
            }
        };
        let mut known = HashSet::new();
        for (entity_type, entry) in &found.data {
            self.done.fetch_add(1, Ordering::AcqRel);
            let name = entry.path().rsplit('/').next().unwrap_or_default();
            let digits = name.strip_suffix(".json").unwrap_or_default();
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Failure::new(
                    Fault::Place,
                    entry.name(),
                    "not digits and .json",
                ));
            }
            let root = self.data_root(path).await.at(entry)?;
            root.set(entity_type).at(entry)?;
            let parsed = self
                .package
                .read_as(entry, |bytes| serde_json::from_slice(&bytes));
            let entity: BTreeMap<String, Value> = parsed
                .await?
                .map_err(|fault| Failure::new(Fault::Syntax, entry.name(), fault))?;
            if let Some(Value::String(id)) = entity.get("__id")
                && !known.insert((entity_type.clone(), id.clone()))
            {
                let twice = Error::new(Code::EntityExists);
                return Err(Failure::refused(entry, &twice));
            }
        }
        Ok(links)
    }

    /// Stores the entities.
    async fn fill(&self, path: &[String], found: &Collection) -> Outcome {
        let mut bulk = Bulk::default();
        for (entity_type, entry) in &found.data {
            self.begin_entry(entry).await;
            let bytes = self.package.read(entry).await?;
            let root = self.data_root(path).await.at(entry)?;
            let set = root.set(entity_type).at(entry)?;
            let body = odata::validate(&root, &set, &bytes, Intent::Create, Route::Direct)
                .await
                .at(entry)?;
            // What follows is to be held against the schema with these properties.
            let registers = !body.new_properties.is_empty();
            bulk.creations.push(Creation {
                set,
                body,
                hidden: BTreeMap::new(),
                navigation: None,
                exists: Code::EntityExists,
            });
            bulk.entries.push(entry.clone());
            if registers
                || bulk.creations.len() >= self.unit.settings().archives.entities_per_commit
            {
                self.store_bulk(&root, std::mem::take(&mut bulk)).await?;
            }
        }
        if let Some(last) = bulk.entries.last() {
            let root = self.data_root(path).await.at(last)?;
            self.store_bulk(&root, bulk).await?;
        }
        Ok(())
    }

    async fn store_bulk(&self, root: &ServiceRoot, bulk: Bulk) -> Outcome {
        let Some(first) = bulk.creations.first() else {
            return Ok(());
        };
        let permit = self.authority.permit_write(root, &first.set);
        let made = odata::create(root, &permit, &bulk.creations).await;
        let made = match (made, bulk.entries.first()) {
            (Ok(made), _) => made,
            (Err(error), Some(first)) => return Err(Failure::refused(first, &error)),
            (Err(_), None) => return Ok(()),
        };
        for (entry, made) in bulk.entries.iter().zip(made) {
            made.at(entry)?;
            self.end_entry(entry).await;
        }
        Ok(())
    }

    async fn link_entities(
        &self,
        path: &[String],
        entry: &BarEntry,
        links: &[EntityLink],
    ) -> Outcome {
        let step = self.unit.settings().archives.links_per_update.max(1);
        for (number, link) in links.iter().enumerate() {
            let root = self.data_root(path).await.at(entry)?;
            self.link_entity(&root, link).await.at(entry)?;
            if (number + 1) % step == 0 {
                let about = format!("userDataLinks {} / {}", number + 1, links.len());
                self.tell("PL-BI-1002", &about, "Installation in progress.")
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
