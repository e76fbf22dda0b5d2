//! Writes the entities of OData collections, and the links between them.

use personium_archive::snapshot::{Document, Source};
use personium_model::entity::EntityPages;
use personium_model::keys::SetKey;
use personium_model::odata::CollectionReader;
use personium_types::{NodeId, Result, hex};
use serde_json::Map;

use super::documents::link_document;
use super::lines::Lines;
use super::{CellExport, ODataPlace};

/// The id of an entity in documents. Unlike `__id`, no other entity of the cell has it, and none is the beginning of another.
fn document_id(entity_type: &NodeId, id: &str) -> String {
    format!("{entity_type}.{}.", hex::encode(id.as_bytes()))
}

impl CellExport<'_> {
    /// Writes the entities of all collections.
    pub(super) async fn write_user_data(&self, lines: &mut Lines) -> Result<()> {
        for place in &self.collections {
            let reader = CollectionReader::open(&self.records, place.id).await?;
            for entity_type in reader.edm().entity_types() {
                if let Some(id) = reader.type_id(&entity_type.name) {
                    self.write_type(lines, place, (&reader, &entity_type.name, id))
                        .await?;
                }
            }
        }
        Ok(())
    }

    async fn write_type(
        &self,
        lines: &mut Lines,
        place: &ODataPlace,
        (reader, type_name, type_id): (&CollectionReader, &str, NodeId),
    ) -> Result<()> {
        let targets = reader.to_one_targets(type_name);
        let names = self.names.get(&place.id);
        let set = SetKey::data(&place.id, &type_id);
        let mut pages = EntityPages::of(&self.records, &set);
        loop {
            let page = pages.next_page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for (id, stored) in page {
                let document = names.map(|names| names.document(&type_id.to_string(), &stored.doc));
                let mut properties = document.unwrap_or_default();
                properties.insert("__id".to_owned(), id.clone().into());
                let links = stored.links.iter().filter_map(|(field, other)| {
                    let target = targets.get(field)?;
                    Some(format!("{target}:{}", document_id(target, other)))
                });
                let source = Source {
                    published: stored.published,
                    updated: stored.updated,
                    entity_type: Some(type_id.to_string()),
                    properties: Some(properties),
                    hidden: Some(Map::new()),
                    entity_links: Some(links.collect()),
                    ..self.source("UserData", Some(place))
                };
                let document = Document {
                    index: "u0_anon.userdata".to_owned(),
                    kind: "UserData".to_owned(),
                    id: document_id(&type_id, &id),
                    version: None,
                    source,
                };
                lines.push(&document).await?;
            }
        }
    }

    /// Writes the links between entities of which both may have many.
    pub(super) async fn write_entity_links(&self, lines: &mut Lines) -> Result<()> {
        for place in &self.collections {
            let reader = CollectionReader::open(&self.records, place.id).await?;
            for entity_type in reader.edm().entity_types() {
                let own = reader.type_id(&entity_type.name);
                let (Some(mut pages), Some(own)) = (reader.many_to_many_links(entity_type), own)
                else {
                    continue;
                };
                while let Some(page) = pages.next_page().await? {
                    for link in page {
                        let Some(other) = reader.type_id(link.target_type) else {
                            continue;
                        };
                        let source = Source {
                            first_kind: Some(own.to_string()),
                            second_kind: Some(other.to_string()),
                            ..self.source("link", Some(place))
                        };
                        let first = document_id(&own, &link.source);
                        let second = document_id(&other, &link.target);
                        lines.push(&link_document(source, first, second)).await?;
                    }
                }
            }
        }
        Ok(())
    }
}
