//! Writes an OData collection: its schema, its entities and the links between them.

use std::collections::HashSet;

use bytes::Bytes;
use personium_archive::json::{
    ENTITY_LINKS_END, ENTITY_LINKS_START, EntityLink, EntityRef, push_entity_link,
};
use personium_archive::paths;
use personium_model::odata::CollectionReader;
use personium_model::temp_file::TempFile;
use personium_model::temp_folder::TempFolder;
use personium_odata::edm::EntityType;
use personium_odata::edmx;
use personium_odata::entity_view::EntityShape;
use personium_odata::json::JsonWriter;
use personium_types::{Code, NodeId, Result};

use super::Export;

/// The size from which on the links are written to their file.
const LINKS_BYTES: usize = 128 << 10;
/// The memory of the id of an entity that was written, besides its text.
const ID_BYTES: usize = 64;

/// The ids of the entities that were written, with the positions of their entity types.
type WrittenEntities = HashSet<(usize, String)>;

/// The file with the links, whose begin may be in a temporary file.
#[derive(Default)]
struct LinkList {
    /// The text that was not written to the temporary file yet.
    text: String,
    spool: Option<TempFile>,
}

impl LinkList {
    fn push(&mut self, from: EntityRef, to: EntityRef) {
        let is_first = self.text.is_empty() && self.spool.is_none();
        let separator = if is_first { ENTITY_LINKS_START } else { "," };
        self.text.push_str(separator);
        push_entity_link(&mut self.text, &EntityLink { from, to });
    }

    /// Writes the text to the temporary file if it has become long.
    async fn spill(&mut self, folder: &TempFolder) -> Result<()> {
        if self.text.len() < LINKS_BYTES {
            return Ok(());
        }
        let file = match &mut self.spool {
            Some(file) => file,
            None => self.spool.insert(TempFile::create(folder).await?),
        };
        file.append(std::mem::take(&mut self.text).into()).await
    }
}

fn entity_ref(entity_type: &str, id: String) -> EntityRef {
    EntityRef {
        entity_type: entity_type.to_owned(),
        id,
    }
}

impl Export<'_> {
    /// Writes a collection whose folder in the archive has this path.
    ///
    /// # Errors
    /// [`Code::Conflict`] if its schema was changed meanwhile.
    pub(super) async fn write_odata_collection(&mut self, path: &str, id: &NodeId) -> Result<()> {
        let records = self.records.clone();
        let reader = CollectionReader::open(&records, *id).await?;
        let metadata = Bytes::from(edmx::document(reader.edm()));
        self.memory.wait_to_hold(metadata.len()).await?;
        let length = metadata.len();
        self.out
            .file(&format!("{path}/{}", paths::ODATA_METADATA), metadata)
            .await?;
        let mut written = WrittenEntities::new();
        let mut held = length;
        for (at, entity_type) in reader.edm().entity_types().iter().enumerate() {
            let ids = self.write_entities(path, &reader, entity_type).await?;
            held += ids.iter().map(|id| ID_BYTES + id.len()).sum::<usize>();
            written.extend(ids.into_iter().map(|id| (at, id)));
        }
        self.write_links(path, &reader, &written).await?;
        if reader.is_stale().await? {
            return Err(Code::Conflict.into());
        }
        self.memory.free(held);
        Ok(())
    }

    /// Writes the entities of a type. Returns their ids.
    async fn write_entities(
        &mut self,
        path: &str,
        reader: &CollectionReader,
        entity_type: &EntityType,
    ) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        let Some(mut pages) = reader.entities(entity_type) else {
            return Ok(ids);
        };
        // The dialect with numbers that no double is equal to.
        let dialect = personium_odata::dialect::Dialect::Standard;
        let writer = JsonWriter::new(reader.edm(), "", EntityShape::Read).dialect(dialect);
        loop {
            let page = pages.next_page().await?;
            if page.is_empty() {
                return Ok(ids);
            }
            for entity in page {
                let mut body = String::new();
                writer.push_body(&mut body, entity_type, &entity.properties);
                let folder = format!("{path}/{}/{}", paths::ODATA_DATA, entity_type.name);
                let entry = format!("{folder}/{}.json", ids.len() + 1);
                self.out.file(&entry, body.into()).await?;
                self.memory.wait_to_hold(ID_BYTES + entity.id.len()).await?;
                ids.push(entity.id);
            }
        }
    }

    /// Writes the links between entities that were written.
    async fn write_links(
        &mut self,
        path: &str,
        reader: &CollectionReader,
        written: &WrittenEntities,
    ) -> Result<()> {
        let folder = &self.subject.unit.settings().archives.temp_dir;
        let types = reader.edm().entity_types();
        let position = |name: &str| types.iter().position(|found| *found.name == *name);
        let mut list = LinkList::default();
        for (at, entity_type) in types.iter().enumerate() {
            let Some(mut pages) = reader.links(entity_type) else {
                continue;
            };
            while let Some(page) = pages.next_page().await? {
                for link in page {
                    let Some(target_at) = position(link.target_type) else {
                        continue;
                    };
                    let (source, target) = ((at, link.source), (target_at, link.target));
                    if written.contains(&source) && written.contains(&target) {
                        let source = entity_ref(&entity_type.name, source.1);
                        list.push(source, entity_ref(link.target_type, target.1));
                    }
                }
                list.spill(folder).await?;
            }
        }
        if list.text.is_empty() && list.spool.is_none() {
            return Ok(());
        }
        list.text.push_str(ENTITY_LINKS_END);
        let entry = format!("{path}/{}", paths::ODATA_LINKS);
        self.write_spooled(&entry, list.spool, list.text).await
    }

    /// Writes a file from what was spooled of it, if anything was, and its end.
    async fn write_spooled(
        &mut self,
        entry: &str,
        spool: Option<TempFile>,
        end: String,
    ) -> Result<()> {
        let Some(mut spool) = spool else {
            return self.out.file(entry, end.into()).await;
        };
        spool.append(end.into()).await?;
        self.out.start_file(entry, spool.length()).await?;
        self.copy(Box::new(spool)).await
    }
}
