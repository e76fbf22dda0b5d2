//! Writes the documents of a cell: control objects, schemas, user data and links.

use personium_archive::snapshot::{self, Document, Source};
use personium_model::entity::{EntityPages, StoredEntity};
use personium_model::keys::{self, ControlSet, SetKey};
use personium_odata::control;
use personium_types::{Error, Result};
use serde_json::{Map, Value};

use super::lines::Lines;
use super::stored_names::{StoredNames, plain_members};
use super::{CellExport, ODataPlace};

/// The number of links that are read at once.
const PAGE_LINKS: usize = 1_000;
/// The hidden values that a snapshot has: the others are of no use in another cell.
const HIDDEN: [&str; 3] = ["HashedCredential", "HashAlgorithm", "HashAttributes"];

/// The kind of a document, as its index names it.
fn index(kind: &str) -> String {
    format!("u0_anon.{}", kind.to_lowercase())
}

impl CellExport<'_> {
    /// Writes all documents.
    pub(super) async fn write_documents(&mut self) -> Result<()> {
        self.write_cell().await?;
        for place in std::mem::take(&mut self.collections) {
            let names = StoredNames::read(&self.records, &place.id).await?;
            self.memory.wait_to_hold(names.memory_bytes()).await?;
            self.names.insert(place.id, names);
            self.collections.push(place);
        }
        for (kind, path) in snapshot::DOCUMENTS {
            let folder = self.unit().settings().archives.temp_dir.clone();
            let mut lines = Lines::new(folder);
            match (kind, ControlSet::named(kind)) {
                ("UserData", _) => self.write_user_data(&mut lines).await?,
                ("link", _) => {
                    self.write_links(&mut lines).await?;
                    self.write_entity_links(&mut lines).await?;
                }
                (_, Some(set)) if is_of_schema(set) => {
                    for at in 0..self.collections.len() {
                        self.write_set(&mut lines, set, Some(at)).await?;
                    }
                }
                (_, Some(set)) => self.write_set(&mut lines, set, None).await?,
                (_, None) => {}
            }
            match lines.finish().await? {
                (text, None) => self.out.file(path, text.into()).await?,
                (_, Some(file)) => {
                    self.out.start_file(path, file.length()).await?;
                    self.out.copy(Box::new(file), &mut self.memory).await?;
                }
            }
            self.end_step().await;
        }
        Ok(())
    }

    async fn write_cell(&mut self) -> Result<()> {
        let cell = self.context.cell();
        let mut properties = Map::new();
        properties.insert("Name".to_owned(), cell.name.clone().into());
        let mut hidden = Map::new();
        if let Some(owner) = &cell.owner {
            hidden.insert("Owner".to_owned(), owner.clone().into());
        }
        let document = Document {
            index: "u0_ad.cell".to_owned(),
            kind: "Cell".to_owned(),
            id: cell.id.to_string(),
            version: None,
            source: Source {
                kind: "Cell".to_owned(),
                published: cell.published,
                updated: cell.published,
                properties: Some(properties),
                hidden: Some(hidden),
                links: Some(Default::default()),
                ..Source::default()
            },
        };
        let text = serde_json::to_string(&document).map_err(Error::internal)?;
        self.out.file(snapshot::CELL, text.into()).await
    }

    /// The beginning of a document of this kind, perhaps in an OData collection.
    pub(super) fn source(&self, kind: &str, place: Option<&ODataPlace>) -> Source {
        Source {
            kind: kind.to_owned(),
            cell: Some(self.context.cell().id.to_string()),
            box_id: place.map(|place| place.box_id.clone()),
            collection: place.map(|place| place.id.to_string()),
            ..Source::default()
        }
    }

    /// Writes the objects of a set of the cell, or of the collection at this position.
    async fn write_set(
        &mut self,
        lines: &mut Lines,
        set: ControlSet,
        at: Option<usize>,
    ) -> Result<()> {
        let place = at.and_then(|at| self.collections.get(at));
        let key = match place {
            Some(place) => SetKey::schema(&place.id, set),
            None => SetKey::control(set),
        };
        let mut pages = EntityPages::of(&self.records, &key);
        loop {
            let page = pages.next_page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for (id, stored) in page {
                let document = self.control_document(set, place, id, stored);
                lines.push(&document).await?;
            }
        }
    }

    fn control_document(
        &self,
        set: ControlSet,
        place: Option<&ODataPlace>,
        id: String,
        stored: StoredEntity,
    ) -> Document {
        let mut properties = plain_members(&stored.doc);
        if matches!(set, ControlSet::SentMessage | ControlSet::ReceivedMessage) {
            properties.insert("__id".to_owned(), id.clone().into());
        }
        let mut hidden = Map::new();
        for name in HIDDEN {
            if let Some(value) = stored.hidden.get(name) {
                hidden.insert(name.to_owned(), value.clone().into());
            }
        }
        let names = place.and_then(|place| self.names.get(&place.id));
        if let Some(alias) = names.and_then(|names| names.alias(&id)) {
            hidden.insert("Alias".to_owned(), Value::from(alias));
        }
        Document {
            index: index(set.name()),
            kind: set.name().to_owned(),
            id,
            version: None,
            source: Source {
                published: stored.published,
                updated: stored.updated,
                properties: Some(properties),
                hidden: Some(hidden),
                links: Some(stored.links),
                ..self.source(set.name(), place)
            },
        }
    }

    /// Writes the links between control objects of which both may have many.
    async fn write_links(&self, lines: &mut Lines) -> Result<()> {
        for association in control::cell().associations() {
            let (a, b) = (&association.a, &association.b);
            if !a.multiplicity.is_many() || !b.multiplicity.is_many() {
                continue;
            }
            let sets = (
                ControlSet::named(&a.entity_type),
                ControlSet::named(&b.entity_type),
            );
            let (Some(one), Some(other)) = sets else {
                continue;
            };
            let (one, other) = match one.name() <= other.name() {
                true => (one, other),
                false => (other, one),
            };
            self.write_links_between(lines, one, other).await?;
        }
        Ok(())
    }

    async fn write_links_between(
        &self,
        lines: &mut Lines,
        one: ControlSet,
        other: ControlSet,
    ) -> Result<()> {
        let (set, other_set) = (SetKey::control(one), SetKey::control(other));
        let mut range = keys::links_of_set(&set);
        loop {
            let found = self.records.list_records(&range, PAGE_LINKS).await?;
            for (key, _) in &found {
                match keys::parts_of_link(key, &set) {
                    Some((id, target, target_id)) if target == other_set.as_bytes() => {
                        let source = Source {
                            first_kind: Some(one.name().to_owned()),
                            second_kind: Some(other.name().to_owned()),
                            ..self.source("link", None)
                        };
                        lines.push(&link_document(source, id, target_id)).await?;
                    }
                    _ => {}
                }
            }
            match found.last() {
                Some((last, _)) if found.len() == PAGE_LINKS => range = range.after(last),
                _ => return Ok(()),
            }
        }
    }
}

/// The document of a link between objects with these ids.
pub(super) fn link_document(source: Source, first: String, second: String) -> Document {
    Document {
        index: index("link"),
        kind: "link".to_owned(),
        id: format!("{first}-{second}"),
        version: None,
        source: Source {
            first: Some(first),
            second: Some(second),
            ..source
        },
    }
}

/// Whether the set is one of the schema of an OData collection.
pub(crate) fn is_of_schema(set: ControlSet) -> bool {
    matches!(
        set,
        ControlSet::EntityType
            | ControlSet::Property
            | ControlSet::ComplexType
            | ControlSet::ComplexTypeProperty
            | ControlSet::AssociationEnd
    )
}
