//! Imports the entities of OData collections.

use std::collections::{BTreeMap, HashSet};

use personium_archive::snapshot::Document;
use personium_model::keys;
use personium_model::odata::{self, Creation, ServiceRoot, SetRef};
use personium_model::records::{self, store_error};
use personium_odata::body::{Intent, Route, ValidatedBody};
use personium_odata::edm::ID;
use personium_store::Batch;
use personium_types::error::chain;
use personium_types::{Code, Result};

use super::objects::in_entry;
use super::values::entity_body;
use super::{CellFilling, history};
use crate::snapshot_package::invalid;

/// The file of entities.
pub(crate) const USER_DATA: &str = "10_odata/70_userdata.pjson";
/// The size of the bodies of one commit from which on it ends.
const MAX_COMMIT_BYTES: usize = 4 << 20;

/// An entity as a request would create it.
struct EntityBody {
    document: String,
    type_id: String,
    type_name: String,
    id: String,
    text: String,
    names: HashSet<String>,
    history: odata::EntityHistory,
}

impl CellFilling<'_> {
    /// Creates all entities, without links. Notes in the new cell which one has which id in the snapshot.
    pub(super) async fn import_user_data(&self) -> Result<()> {
        let max = self.unit().settings().archives.entities_per_commit.max(1);
        let mut lines = self.source.lines(USER_DATA).await?;
        let (mut bodies, mut bytes) = (Vec::new(), 0);
        let mut collection = String::new();
        while let Some(document) = lines.next().await? {
            let place = document.source.collection.clone().unwrap_or_default();
            if place != collection || bodies.len() >= max || bytes >= MAX_COMMIT_BYTES {
                self.create_entities(&collection, std::mem::take(&mut bodies))
                    .await?;
                (collection, bytes) = (place, 0);
            }
            let id = document.id.clone();
            match self.entity(document) {
                Ok(body) => {
                    bytes += body.text.len();
                    bodies.push(body);
                }
                Err(error) => self.refuse("UserData", &id, error)?,
            }
        }
        self.create_entities(&collection, bodies).await
    }

    fn entity(&self, document: Document) -> Result<EntityBody> {
        let links = document.source.entity_links.as_ref();
        let history = history(&document, links.map_or(0, Vec::len));
        let source = document.source;
        let type_id = source.entity_type.unwrap_or_default();
        let properties = source.properties.unwrap_or_default();
        let body = entity_body(&self.types.types, &type_id, &properties);
        let (text, names) = body.map_err(|reason| invalid(USER_DATA, reason))?;
        let known = self
            .types
            .types
            .get(&type_id)
            .map(|known| known.name.clone());
        let id = properties.get(ID).and_then(|id| id.as_str());
        Ok(EntityBody {
            document: document.id,
            type_name: known.unwrap_or_default(),
            id: id.unwrap_or_default().to_owned(),
            type_id,
            text,
            names,
            history,
        })
    }

    async fn create_entities(&self, collection: &str, bodies: Vec<EntityBody>) -> Result<()> {
        if bodies.is_empty() {
            return Ok(());
        }
        let root = match self.data_root(USER_DATA, collection).await {
            Ok(root) => root,
            Err(error) if error.code().is_server_error() => return Err(error),
            Err(error) => {
                return bodies.iter().try_for_each(|body| {
                    let error = invalid(USER_DATA, chain(&error));
                    self.refuse("UserData", &body.document, error)
                });
            }
        };
        let mut creations = Vec::with_capacity(bodies.len());
        let mut created = Vec::with_capacity(bodies.len());
        for body in bodies {
            match creation(&root, &body).await {
                Ok(creation) => {
                    creations.push(creation);
                    created.push((body.document, (body.type_id, body.id)));
                }
                Err(error) => {
                    self.refuse("UserData", &body.document, in_entry(USER_DATA, error))?
                }
            }
        }
        let Some(first) = creations.first() else {
            return Ok(());
        };
        let permit = self.authority.permit_write(&root, &first.set);
        let entities = odata::create(&root, &permit, &creations).await?;
        let mut noted = Batch::new();
        for ((document, place), entity) in created.into_iter().zip(entities) {
            match entity {
                Ok(_) => records::put(&mut noted, keys::imported_entity(&document), &place)?,
                Err(error) => self.refuse("UserData", &document, in_entry(USER_DATA, error))?,
            }
        }
        let committed = self.new.records().commit(noted).await;
        committed.map_err(store_error).map(drop)
    }
}

/// The set and the values of an entity with this body, of which it has the properties with these names.
pub(crate) async fn validated(
    root: &ServiceRoot,
    type_name: &str,
    (text, names): (&str, &HashSet<String>),
) -> Result<(SetRef, ValidatedBody)> {
    let set = root.set(type_name)?;
    let text = text.as_bytes();
    let mut validated = odata::validate(root, &set, text, Intent::Create, Route::Direct).await?;
    if !validated.new_properties.is_empty() {
        return Err(invalid(USER_DATA, "an entity has an unknown property"));
    }
    // A property that was null stays null, also if it has a default value.
    validated.properties.retain(|name| names.contains(name));
    Ok((set, validated))
}

async fn creation(root: &ServiceRoot, body: &EntityBody) -> Result<Creation> {
    let text = (&*body.text, &body.names);
    let (set, validated) = validated(root, &body.type_name, text).await?;
    Ok(Creation {
        set,
        body: validated,
        hidden: BTreeMap::new(),
        navigation: None,
        exists: Code::EntityExists,
        history: Some(body.history),
    })
}
