//! Boxes, collections and files as they are stored.

use std::collections::BTreeMap;

use personium_dav::multistatus::ResourceKind;
use personium_store::Batch;
use personium_types::{BlobId, ETag, NodeId};
use serde::{Deserialize, Serialize};

use crate::acl::Acl;
use crate::keys;
use crate::usage;

/// The kind of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NodeKind {
    /// The cell itself.
    Cell,
    /// A box.
    Box,
    /// A plain WebDAV collection.
    Collection,
    /// A collection of OData entities.
    Odata,
    /// A collection of services with their source collection `__src`.
    Service,
    /// A collection of queues and topics.
    Stream,
    /// A file.
    File,
}

impl From<NodeKind> for ResourceKind {
    fn from(kind: NodeKind) -> Self {
        match kind {
            NodeKind::Cell | NodeKind::Box | NodeKind::Collection => Self::Collection,
            NodeKind::Odata => Self::OData,
            NodeKind::Service => Self::Service,
            NodeKind::Stream => Self::Stream,
            NodeKind::File => Self::File,
        }
    }
}

/// The name of the collection that holds the scripts of a service collection.
pub const SERVICE_SOURCE: &str = "__src";

/// The memory of a dead property besides its texts.
const PROPERTY_BYTES: usize = 64;

/// A box, collection or file. Its name and parent are its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Stays the same when it is moved.
    #[serde(rename = "i")]
    pub id: NodeId,
    /// Its kind.
    #[serde(rename = "k")]
    pub kind: NodeKind,
    /// Counts every change, from 1; the first part of its ETag.
    #[serde(rename = "v")]
    pub version: u64,
    /// When it was created, milliseconds since 1970.
    #[serde(rename = "p")]
    pub created: i64,
    /// When its content or properties last changed, milliseconds since 1970; the second part of its ETag.
    #[serde(rename = "u")]
    pub updated: i64,
    /// The body and its media type; files only.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileBody>,
    /// Its own access control list.
    #[serde(rename = "a", default)]
    pub acl: Acl,
    /// Dead properties: `local@namespace` to the serialised element.
    #[serde(rename = "d", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// The body of a file: where it is stored, its length and media type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileBody {
    /// Its id.
    #[serde(rename = "b")]
    pub blob: BlobId,
    /// Whether it is stored as a record rather than in the blob store.
    #[serde(rename = "r", default)]
    pub inline: bool,
    /// The salt of its encryption; `None` if it is not encrypted.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub salt: Option<String>,
    /// Its length in bytes.
    #[serde(rename = "n")]
    pub length: u64,
    /// The media type as the client sent it.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The content encoding as the client sent it. The body and its length are those of the encoded content.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
}

impl FileBody {
    /// Adds to a batch that the record of the body, or the one that names it, is deleted.
    pub fn delete_record(&self, batch: &mut Batch) {
        usage::add_files(batch, 0_i64.saturating_sub_unsigned(self.length));
        batch.delete(if self.inline {
            keys::inline_body(&self.blob)
        } else {
            keys::blob_reference(&self.blob)
        });
    }
}

impl Node {
    /// A new node without content, properties or access control list.
    #[must_use]
    pub fn new(id: NodeId, kind: NodeKind, now_ms: i64) -> Self {
        Self {
            id,
            kind,
            version: 1,
            created: now_ms,
            updated: now_ms,
            file: None,
            acl: Acl::default(),
            properties: BTreeMap::new(),
        }
    }

    /// The bytes that are counted of its value besides its body: the names and texts of its dead properties, and its access control list.
    #[must_use]
    pub fn counted_bytes(&self) -> i64 {
        let properties = self.properties.iter();
        let bytes: usize = properties.map(|(name, xml)| name.len() + xml.len()).sum();
        let bytes = bytes.saturating_add(self.acl.counted_bytes());
        i64::try_from(bytes).unwrap_or(i64::MAX)
    }

    /// Adds to a batch that it is stored in the place of another node, or of none.
    pub fn count_put(&self, before: Option<&Self>, batch: &mut Batch) {
        let before = before.map_or(0, Self::counted_bytes);
        usage::add_properties(batch, self.counted_bytes().saturating_sub(before));
    }

    /// Adds to a batch that its record is removed.
    pub fn count_removal(&self, batch: &mut Batch) {
        usage::add_properties(batch, 0_i64.saturating_sub(self.counted_bytes()));
    }

    /// Its approximate memory in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let properties = self.properties.iter();
        let properties = properties.map(|(name, xml)| PROPERTY_BYTES + name.len() + xml.len());
        size_of::<Self>() + self.acl.memory_bytes() + properties.sum::<usize>()
    }

    /// The entity tag.
    #[must_use]
    pub fn etag(&self) -> ETag {
        ETag {
            version: self.version,
            updated_ms: self.updated,
        }
    }
}
