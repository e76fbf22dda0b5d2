//! Imports boxes, accounts, roles and the other control objects of a cell, and the links between them.

use std::collections::BTreeMap;

use personium_archive::snapshot::Document;
use personium_model::keys::ControlSet;
use personium_model::odata::message::{NOT_DELIVERED_BY_COPY, NOT_REACHED, WAITS};
use personium_model::odata::{self, Creation, Entity, NewLink, ServiceRoot, SetRef};
use personium_odata::body::{Intent, Route};
use personium_types::{Code, Result};
use serde_json::{Map, Value};

use super::{CellFilling, ImportedObject, history};
use crate::installer::LINKS_PER_COMMIT;
use crate::snapshot_package::invalid;

/// The file of links.
pub(crate) const LINKS: &str = "10_odata/80_link.pjson";
/// The number of objects of one commit.
const BATCH_OBJECTS: usize = 100;
/// The hidden values of an account that are taken.
const HIDDEN: [&str; 3] = ["HashedCredential", "HashAlgorithm", "HashAttributes"];

impl CellFilling<'_> {
    /// Imports the objects of a set.
    pub(super) async fn import_objects(&mut self, set: ControlSet, path: &str) -> Result<()> {
        let mut lines = self.source.lines(path).await?;
        loop {
            let mut documents = Vec::new();
            while documents.len() < BATCH_OBJECTS {
                match lines.next().await? {
                    Some(document) => documents.push(document),
                    None => break,
                }
            }
            if documents.is_empty() {
                return Ok(());
            }
            let root = self.cell_root().await?;
            self.create_all(&root, set, path, documents).await?;
        }
    }

    /// Creates objects below a root, in one batch.
    pub(super) async fn create_all(
        &mut self,
        root: &ServiceRoot,
        set: ControlSet,
        path: &str,
        documents: Vec<Document>,
    ) -> Result<()> {
        let mut creations = Vec::with_capacity(documents.len());
        let mut created = Vec::with_capacity(documents.len());
        for document in documents {
            match self.creation(root, set, path, &document).await {
                Ok(creation) => {
                    creations.push(creation);
                    created.push(document);
                }
                Err(error) => self.refuse(set.name(), &document.id, in_entry(path, error))?,
            }
        }
        let Some(first) = creations.first() else {
            return Ok(());
        };
        let set_ref = first.set.clone();
        let permit = self.authority.permit_write(root, &set_ref);
        let entities = odata::create(root, &permit, &creations).await?;
        for (document, entity) in created.into_iter().zip(entities) {
            let id = document.id.clone();
            let added = match entity {
                Ok(entity) => self.add_created((set, &set_ref), path, document, &entity),
                Err(error) => Err(in_entry(path, error)),
            };
            if let Err(error) = added {
                self.refuse(set.name(), &id, error)?;
            }
        }
        Ok(())
    }

    fn add_created(
        &mut self,
        (set, set_ref): (ControlSet, &SetRef),
        path: &str,
        document: Document,
        entity: &Entity,
    ) -> Result<()> {
        let text = |name: &str| entity.properties.text(name).map(str::to_owned);
        let object = ImportedObject {
            set,
            key: entity.key(set_ref),
            name: text("Name").unwrap_or_default(),
            box_name: text("_Box.Name"),
            id: entity.id.clone(),
        };
        self.types.note(set, &document, &object.name)?;
        self.add_object(path, document.id, object)
    }

    async fn creation(
        &self,
        root: &ServiceRoot,
        set: ControlSet,
        path: &str,
        document: &Document,
    ) -> Result<Creation> {
        let mut properties = Value::Object(document.source.properties.clone().unwrap_or_default());
        self.urls.adapt(&mut properties);
        let Value::Object(mut body) = properties else {
            return Err(Code::Unknown.into());
        };
        if set == ControlSet::ComplexTypeProperty {
            // All of them are declared.
            body.remove("IsDeclared");
        }
        if set == ControlSet::SentMessage {
            end_deliveries(&mut body);
        }
        self.add_parents(set, path, document, &mut body)?;
        let set_ref = root.set(set.name())?;
        // The types of accounts that this unit does not know are kept, as those of any snapshot.
        let route = match set {
            ControlSet::Account => Route::Navigation,
            _ => Route::Direct,
        };
        let bytes = Value::Object(body).to_string();
        let body = odata::validate(root, &set_ref, bytes.as_bytes(), Intent::Create, route).await?;
        Ok(Creation {
            set: set_ref,
            body,
            hidden: match set {
                ControlSet::Account => hidden(document),
                _ => BTreeMap::new(),
            },
            navigation: None,
            exists: Code::EntityExists,
            history: Some(history(document, later_links(document))),
        })
    }

    /// Adds the names of the objects that an object belongs to.
    fn add_parents(
        &self,
        set: ControlSet,
        path: &str,
        document: &Document,
        body: &mut Map<String, Value>,
    ) -> Result<()> {
        use ControlSet as S;
        let links = document.source.links.as_ref();
        let linked = |parent: S| -> Result<Option<&ImportedObject>> {
            let id = links.and_then(|links| links.get(parent.name()));
            id.map(|id| self.object(path, parent, id)).transpose()
        };
        let name = |found: &ImportedObject| Value::from(found.name.clone());
        match set {
            S::Role | S::Relation | S::Rule | S::SentMessage | S::ReceivedMessage => {
                if let Some(found) = linked(S::Box)? {
                    body.insert("_Box.Name".to_owned(), name(found));
                }
            }
            S::ExtRole => {
                if let Some(found) = linked(S::Relation)? {
                    body.insert("_Relation.Name".to_owned(), name(found));
                    let box_name = found.box_name.clone();
                    body.insert("_Relation._Box.Name".to_owned(), Value::from(box_name));
                }
            }
            S::Property | S::AssociationEnd => {
                if let Some(found) = linked(S::EntityType)? {
                    body.insert("_EntityType.Name".to_owned(), name(found));
                }
            }
            S::ComplexTypeProperty => {
                if let Some(found) = linked(S::ComplexType)? {
                    body.insert("_ComplexType.Name".to_owned(), name(found));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Imports the links between control objects.
    pub(super) async fn import_object_links(&self) -> Result<()> {
        let mut lines = self.source.lines(LINKS).await?;
        let root = self.cell_root().await?;
        let (mut links, mut documents) = (Vec::new(), Vec::new());
        while let Some(document) = lines.next().await? {
            if document.source.collection.is_some() {
                continue;
            }
            match self.new_link_of(&root, &document) {
                Ok(link) => {
                    links.push(link);
                    documents.push(document.id);
                }
                Err(error) => self.refuse("link", &document.id, in_entry(LINKS, error))?,
            }
            if links.len() >= LINKS_PER_COMMIT {
                self.link_objects(&root, &mut links, &mut documents).await?;
            }
        }
        self.link_objects(&root, &mut links, &mut documents).await
    }

    /// Makes links by one commit. There are none afterwards.
    async fn link_objects(
        &self,
        root: &ServiceRoot,
        links: &mut Vec<NewLink>,
        documents: &mut Vec<String>,
    ) -> Result<()> {
        let added = odata::add_links(root, links).await?;
        links.clear();
        for (document, added) in documents.drain(..).zip(added) {
            if let Err(error) = added {
                self.refuse("link", &document, in_entry(LINKS, error))?;
            }
        }
        Ok(())
    }

    fn new_link_of(&self, root: &ServiceRoot, document: &Document) -> Result<NewLink> {
        let source = &document.source;
        let kinds = (source.first_kind.as_deref(), source.second_kind.as_deref());
        let ids = (source.first.as_deref(), source.second.as_deref());
        let ((Some(one), Some(other)), (Some(one_id), Some(other_id))) = (kinds, ids) else {
            return Err(invalid(LINKS, "a link has no ends"));
        };
        let named = (ControlSet::named(one), ControlSet::named(other));
        let (Some(one), Some(other)) = named else {
            return Err(invalid(LINKS, "a link has unknown ends"));
        };
        let one = self.object(LINKS, one, one_id)?;
        let other = self.object(LINKS, other, other_id)?;
        self.new_link(root, one, other)
    }

    /// Links two objects below a root.
    pub(super) async fn link(
        &self,
        root: &ServiceRoot,
        one: &ImportedObject,
        other: &ImportedObject,
    ) -> Result<()> {
        let link = self.new_link(root, one, other)?;
        let (source, target) = (&link.source, &link.target);
        odata::add_link(root, &link.permit, &link.association, source, target).await
    }

    fn new_link(
        &self,
        root: &ServiceRoot,
        one: &ImportedObject,
        other: &ImportedObject,
    ) -> Result<NewLink> {
        let set = root.set(one.set.name())?;
        let mut properties = set.entity_type.navigation.iter();
        let property = properties.find(|property| *property.target == *other.set.name());
        let property = property.ok_or(Code::NoSuchAssociation)?;
        let association = root.link_association(&set, &property.name)?;
        Ok(NewLink {
            permit: self.authority.permit_link(root, &association),
            association,
            source: one.key.clone(),
            target: other.key.clone(),
        })
    }
}

/// Makes results of a sent message final that wait for another attempt: the deliveries are not part of what is imported.
fn end_deliveries(body: &mut Map<String, Value>) {
    let Some(Value::Array(results)) = body.get_mut("Result") else {
        return;
    };
    for result in results.iter_mut().filter_map(Value::as_object_mut) {
        if result.get("Code").and_then(Value::as_str) == Some(WAITS) {
            result.insert("Code".to_owned(), NOT_REACHED.into());
            result.insert("Reason".to_owned(), NOT_DELIVERED_BY_COPY.into());
        }
    }
}

/// The number of links of an object that are made after it is.
fn later_links(document: &Document) -> usize {
    let links = document.source.links.as_ref();
    usize::from(links.is_some_and(|links| {
        document.source.kind == ControlSet::AssociationEnd.name()
            && links.contains_key(ControlSet::AssociationEnd.name())
    }))
}

fn hidden(document: &Document) -> BTreeMap<String, String> {
    let hidden = document.source.hidden.as_ref();
    let values = HIDDEN.into_iter().filter_map(|name| {
        let value = hidden?.get(name)?.as_str()?;
        Some((name.to_owned(), value.to_owned()))
    });
    values.collect()
}

/// The error for an object that was refused, with the entry of the snapshot that has it.
pub(super) fn in_entry(path: &str, error: personium_types::Error) -> personium_types::Error {
    match error.code().is_server_error() || error.code() == Code::SnapshotEntry {
        true => error,
        false => {
            let text = format!("{} {}", error.code().as_str(), error.message());
            invalid(path, text)
        }
    }
}
