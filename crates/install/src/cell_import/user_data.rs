//! Imports the entities of OData collections.

use std::collections::{BTreeMap, HashSet};

use personium_archive::snapshot::Document;
use personium_model::keys;
use personium_model::odata::{self, Creation};
use personium_model::records::{self, store_error};
use personium_odata::body::{Intent, Route};
use personium_odata::edm::ID;
use personium_store::Batch;
use personium_types::{Code, Result};

use super::objects::in_entry;
use super::values::entity_body;
use super::{CellImport, times};
use crate::snapshot_package::invalid;

/// The file of entities.
pub(super) const USER_DATA: &str = "10_odata/70_userdata.pjson";
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
    times: odata::EntityTimes,
}

impl CellImport<'_> {
    /// Creates all entities, without links. Notes in the new cell which one has which id in the snapshot.
    pub(super) async fn import_user_data(&self) -> Result<()> {
        let max = self.unit().settings().archives.entities_per_commit.max(1);
        let mut lines = self.package().lines(USER_DATA).await?;
        let (mut bodies, mut bytes) = (Vec::new(), 0);
        let mut collection = String::new();
        while let Some(document) = lines.next().await? {
            let place = document.source.collection.clone().unwrap_or_default();
            if place != collection || bodies.len() >= max || bytes >= MAX_COMMIT_BYTES {
                self.create_entities(&collection, std::mem::take(&mut bodies))
                    .await?;
                (collection, bytes) = (place, 0);
            }
            let body = self.entity(document)?;
            bytes += body.text.len();
            bodies.push(body);
        }
        self.create_entities(&collection, bodies).await
    }

    fn entity(&self, document: Document) -> Result<EntityBody> {
        let times = times(&document);
        let source = document.source;
        let type_id = source.entity_type.unwrap_or_default();
        let properties = source.properties.unwrap_or_default();
        let body = entity_body(&self.types, &type_id, &properties);
        let (text, names) = body.map_err(|reason| invalid(USER_DATA, reason))?;
        let known = self.types.get(&type_id).map(|known| known.name.clone());
        let id = properties.get(ID).and_then(|id| id.as_str());
        Ok(EntityBody {
            document: document.id,
            type_name: known.unwrap_or_default(),
            id: id.unwrap_or_default().to_owned(),
            type_id,
            text,
            names,
            times,
        })
    }

    async fn create_entities(&self, collection: &str, bodies: Vec<EntityBody>) -> Result<()> {
        if bodies.is_empty() {
            return Ok(());
        }
        let root = self.data_root(USER_DATA, collection).await?;
        let refused = |error| in_entry(USER_DATA, error);
        let mut creations = Vec::with_capacity(bodies.len());
        let mut noted = Batch::new();
        for body in bodies {
            let set = root.set(&body.type_name).map_err(refused)?;
            let text = body.text.as_bytes();
            let validated = odata::validate(&root, &set, text, Intent::Create, Route::Direct).await;
            let mut validated = validated.map_err(refused)?;
            if !validated.new_properties.is_empty() {
                return Err(invalid(USER_DATA, "an entity has an unknown property"));
            }
            // A property that was null stays null, also if it has a default value.
            validated
                .properties
                .retain(|name| body.names.contains(name));
            creations.push(Creation {
                set,
                body: validated,
                hidden: BTreeMap::new(),
                navigation: None,
                exists: Code::EntityExists,
                times: Some(body.times),
            });
            let key = keys::imported_entity(&body.document);
            records::put(&mut noted, key, &(body.type_id, body.id))?;
        }
        let Some(first) = creations.first() else {
            return Ok(());
        };
        let permit = self.importer.authority.permit_write(&root, &first.set);
        for created in odata::create(&root, &permit, &creations).await? {
            created.map_err(refused)?;
        }
        let committed = self.new.records().commit(noted).await;
        committed.map_err(store_error).map(drop)
    }
}
