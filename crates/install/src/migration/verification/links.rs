//! Compares the links between control objects, between association ends, and between entities. Those here that the original does not
//! have are found too: all of the original are noted by their keys here.

use std::collections::BTreeSet;

use personium_archive::snapshot::{self, Document};
use personium_model::keys::{self, ControlSet, SetKey, SetParts};
use personium_model::odata::{self, Association, CollectionReader, ServiceRoot};
use personium_odata::edm::ID;
use personium_store::{Key, KeyRange};
use personium_types::{NodeId, Result};

use super::Comparison;
use crate::cell_export::is_of_schema;
use crate::cell_filling::{LINKS, TypeMap, USER_DATA};
use crate::original::NoteKind;

/// The number of links that are read at once.
const PAGE_LINKS: usize = 500;

/// An entity of the original as it is noted: its entity type, its id.
type NotedEntity = (String, String);

/// A link of the original: its document, and the ids of its ends there.
struct LinkThere<'l> {
    document: &'l str,
    ends: (&'l str, &'l str),
}

impl Comparison<'_> {
    /// Compares the links between control objects, which were noted before.
    pub(super) async fn compare_object_links(&mut self) -> Result<()> {
        let mut documents = self.source.documents(LINKS);
        while let Some(document) = documents.next().await? {
            let source = &document.source;
            if source.collection.is_some() {
                continue;
            }
            let (Some(one), Some(other)) = (&source.first, &source.second) else {
                continue;
            };
            let ends = (
                self.noted_object(one).await?,
                self.noted_object(other).await?,
            );
            let (Some(one), Some(other)) = ends else {
                // Objects that are missing are differences themselves, or were refused.
                continue;
            };
            let sets = (ControlSet::named(&one.0), ControlSet::named(&other.0));
            let (Some(one_set), Some(other_set)) = sets else {
                continue;
            };
            let (one_set, other_set) = (SetKey::control(one_set), SetKey::control(other_set));
            let keys = [
                keys::link(&one_set, &one.1, &other_set, &other.1),
                keys::link(&other_set, &other.1, &one_set, &one.1),
            ];
            let what = format!("{} {} to {} {}", one.0, one.2, other.0, other.2);
            self.compare_link(&document.id, keys, &what).await?;
        }
        self.notes.flush().await?;
        for (kind, _) in snapshot::DOCUMENTS {
            if let Some(set) = ControlSet::named(kind).filter(|set| !is_of_schema(*set)) {
                self.find_other_links(&SetKey::control(set), kind, |other| {
                    matches!(other, SetParts::Control(other) if set as u8 <= *other as u8 && !are_parents(set, *other))
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Compares the associations of the collections: the links between their ends.
    pub(super) async fn compare_associations(&mut self) -> Result<()> {
        const ENDS: ControlSet = ControlSet::AssociationEnd;
        let path = snapshot::DOCUMENTS
            .iter()
            .find(|(kind, _)| *kind == ENDS.name());
        let mut documents = self.source.documents(path.map_or("", |(_, path)| path));
        while let Some(document) = documents.next().await? {
            let source = &document.source;
            let links = source.links.as_ref();
            let other = links.and_then(|links| links.get(ENDS.name()));
            let collection = source.collection.as_deref().unwrap_or_default();
            let (Some(other), Some((.., node))) = (other, self.collections.get(collection)) else {
                continue;
            };
            let set = SetKey::schema(node, ENDS);
            let ends = (
                self.noted_object(&document.id).await?,
                self.noted_object(other).await?,
            );
            let (Some(one), Some(other)) = ends else {
                continue;
            };
            let keys = [
                keys::link(&set, &one.1, &set, &other.1),
                keys::link(&set, &other.1, &set, &one.1),
            ];
            let what = format!("{} {} to {} {}", one.0, one.2, other.0, other.2);
            self.compare_link(&document.id, keys, &what).await?;
        }
        self.notes.flush().await?;
        for node in self.nodes() {
            let set = SetKey::schema(&node, ENDS);
            self.find_other_links(&set, ENDS.name(), |other| {
                matches!(other, SetParts::Schema(_, ENDS))
            })
            .await?;
        }
        Ok(())
    }

    /// Compares the links between entities.
    pub(super) async fn compare_entity_links(&mut self, types: &TypeMap) -> Result<()> {
        if self.has_entity_links().await? {
            self.note_entities(types).await?;
            let mut roots = LastRoot::default();
            let mut documents = self.source.documents(USER_DATA);
            while let Some(Document { id, source, .. }) = documents.next().await? {
                let collection = source.collection.unwrap_or_default();
                for link in source.entity_links.unwrap_or_default() {
                    if let Some((_, other)) = link.split_once(':') {
                        let ends = (&*id, other);
                        let link = LinkThere {
                            document: &id,
                            ends,
                        };
                        self.compare_entity_link(&mut roots, &collection, link)
                            .await?;
                    }
                }
            }
            let mut documents = self.source.documents(LINKS);
            while let Some(Document { id, source, .. }) = documents.next().await? {
                if let (Some(collection), Some(one), Some(other)) =
                    (&source.collection, &source.first, &source.second)
                {
                    let ends = (&**one, &**other);
                    let link = LinkThere {
                        document: &id,
                        ends,
                    };
                    self.compare_entity_link(&mut roots, collection, link)
                        .await?;
                }
            }
            self.notes.flush().await?;
        }
        for node in self.nodes() {
            let reader = CollectionReader::open(&self.records, node).await?;
            for entity_type in reader.edm().entity_types() {
                if let Some(id) = reader.type_id(&entity_type.name) {
                    let set = SetKey::data(&node, &id);
                    self.find_other_links(&set, &entity_type.name, |other| {
                        matches!(other, SetParts::Association(_))
                    })
                    .await?;
                }
            }
        }
        Ok(())
    }

    /// Whether the original has links between entities of the cell.
    async fn has_entity_links(&self) -> Result<bool> {
        let mut links = self.source.documents(LINKS);
        while let Some(document) = links.next().await? {
            if document.source.collection.is_some() {
                return Ok(true);
            }
        }
        let mut entities = self.source.documents(USER_DATA);
        while let Some(document) = entities.next().await? {
            if document
                .source
                .entity_links
                .is_some_and(|links| !links.is_empty())
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Notes entity type and id of each entity.
    async fn note_entities(&mut self, types: &TypeMap) -> Result<()> {
        let mut documents = self.source.documents(USER_DATA);
        while let Some(Document { id, source, .. }) = documents.next().await? {
            let known = types.types.get(&source.entity_type.unwrap_or_default());
            let properties = source.properties.unwrap_or_default();
            let key = properties.get(ID).and_then(|id| id.as_str());
            if let (Some(known), Some(key)) = (known, key) {
                let noted: NotedEntity = (known.name.clone(), key.to_owned());
                self.notes
                    .put(NoteKind::Entity, id.as_bytes(), &noted)
                    .await?;
            }
        }
        self.notes.flush().await
    }

    async fn compare_entity_link(
        &mut self,
        roots: &mut LastRoot,
        collection: &str,
        LinkThere { document, ends }: LinkThere<'_>,
    ) -> Result<()> {
        let find = async |there: &str| {
            let noted = self
                .notes
                .find::<NotedEntity>(NoteKind::Entity, there.as_bytes());
            noted.await
        };
        let (Some(one), Some(other)) = (find(ends.0).await?, find(ends.1).await?) else {
            return Ok(());
        };
        if roots.collection.as_deref() != Some(collection) {
            roots.root = self.root(collection).await?;
            roots.collection = Some(collection.to_owned());
        }
        let what = format!("{}('{}') to {}('{}')", one.0, one.1, other.0, other.1);
        let association = roots
            .root
            .as_ref()
            .and_then(|root| association(root, &one.0, &other.0));
        let Some(association) = association else {
            if !self.is_refused("link", document) {
                self.found
                    .differ(format!("there is no association for the link from {what}"));
            }
            return Ok(());
        };
        let (from, to) = (&association.source, &association.target);
        let keys = [
            keys::link(&from.set.key, &one.1, &to.tag, &other.1),
            keys::link(&to.set.key, &other.1, &from.tag, &one.1),
        ];
        self.compare_link(document, keys, &what).await
    }

    /// Compares a link whose two records have these keys here, and notes it.
    async fn compare_link(&mut self, document: &str, keys: [Key; 2], what: &str) -> Result<()> {
        let present = self.records.are_present(&keys).await?;
        self.found.links += 1;
        if present.contains(&false) && !self.is_refused("link", document) {
            self.found
                .differ(format!("the link from {what} is missing"));
        }
        for key in &keys {
            self.notes.put(NoteKind::Link, key.as_bytes(), &()).await?;
        }
        Ok(())
    }

    /// Finds the links from the objects of a set to those of wanted other sets that the original does not have.
    async fn find_other_links(
        &mut self,
        set: &SetKey,
        kind: &str,
        is_wanted: impl Fn(&SetParts) -> bool,
    ) -> Result<()> {
        let mut rest: Option<KeyRange> = Some(keys::links_of_set(set));
        while let Some(range) = rest.take() {
            let page = self.records.list_bytes(&range, PAGE_LINKS).await?;
            if page.len() >= PAGE_LINKS {
                rest = page.last().map(|(last, _)| range.after(last));
            }
            let ids: Vec<&[u8]> = page.iter().map(|(key, _)| key.as_bytes()).collect();
            let noted = self.notes.are_present(NoteKind::Link, &ids).await?;
            for ((key, _), is_noted) in page.iter().zip(noted) {
                let Some((id, tag, other)) = keys::parts_of_link(key, set) else {
                    continue;
                };
                let is_wanted = SetKey::parse(&tag).is_some_and(|(_, parts)| is_wanted(&parts));
                if is_wanted && !is_noted {
                    let text = format!("the original has no link from {kind} {id} to {other}");
                    self.found.differ(text);
                }
            }
        }
        Ok(())
    }

    /// The OData collections here.
    fn nodes(&self) -> BTreeSet<NodeId> {
        self.collections.values().map(|(.., node)| *node).collect()
    }
}

/// The root of the collection that was used last.
#[derive(Default)]
struct LastRoot {
    collection: Option<String>,
    root: Option<ServiceRoot>,
}

/// Whether an object of one of these sets has one of the other in its key. Such a link is compared with the key.
fn are_parents(one: ControlSet, other: ControlSet) -> bool {
    let is_parent =
        |of, of_which| odata::parent_of(of).is_some_and(|(parent, _)| parent == of_which);
    is_parent(one, other) || is_parent(other, one)
}

fn association(root: &ServiceRoot, one: &str, other: &str) -> Option<Association> {
    let set = root.set(one).ok()?;
    root.association(&set, &format!("_{other}"))
}
