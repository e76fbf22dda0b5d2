//! Snapshots: zip archives with everything in a cell (`export_version` 2).
//!
//! | Entry | Content |
//! |---|---|
//! | [`MANIFEST`] | [`SnapshotManifest`] |
//! | [`CELL`] | the [`Document`] of the cell |
//! | [`DOCUMENTS`] | one [`Document`] in each line: control objects, schemas, user data and links |
//! | `20_webdav/` | [`CELL_META`]; a folder for each box, named by its id, that of the main box `__`; in it a folder for each collection and file, with [`META`], and [`CONTENT`] for files |

use std::collections::BTreeMap;
use std::io::{Read, Seek, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::checked_zip::{ArchiveLimits, CheckedZip};
use crate::entries::BarEntry;
use crate::error::{BarError, ReadError};

/// The version of the format.
pub const VERSION: i64 = 2;
/// The manifest.
pub const MANIFEST: &str = "00_manifest.json";
/// The document of the cell.
pub const CELL: &str = "10_odata/00_cell.json";
/// The folder of the documents.
pub const DOCUMENT_FOLDER: &str = "10_odata";
/// The folder of boxes, collections and files.
pub const TREE: &str = "20_webdav";
/// The description of the cell as a resource.
pub const CELL_META: &str = "20_webdav/.pmeta";
/// The name of the description in the folder of a box, collection or file.
pub const META: &str = ".pmeta";
/// The name of the content in the folder of a file.
pub const CONTENT: &str = "content";
/// The name of the folder of the main box.
pub const MAIN_BOX: &str = "__";
/// The kinds of documents with the files that hold them, in the order in which these are read.
pub const DOCUMENTS: [(&str, &str); 16] = [
    ("Box", "10_odata/10_box.pjson"),
    ("Account", "10_odata/11_account.pjson"),
    ("ExtCell", "10_odata/12_extcell.pjson"),
    ("Role", "10_odata/20_role.pjson"),
    ("Rule", "10_odata/21_rule.pjson"),
    ("Relation", "10_odata/22_relation.pjson"),
    ("SentMessage", "10_odata/23_sentmessage.pjson"),
    ("ReceivedMessage", "10_odata/24_receivedmessage.pjson"),
    ("ExtRole", "10_odata/30_extrole.pjson"),
    ("EntityType", "10_odata/40_entitytype.pjson"),
    ("ComplexType", "10_odata/41_complextype.pjson"),
    ("Property", "10_odata/50_property.pjson"),
    (
        "ComplexTypeProperty",
        "10_odata/51_complextypeproperty.pjson",
    ),
    ("AssociationEnd", "10_odata/60_associationend.pjson"),
    ("UserData", "10_odata/70_userdata.pjson"),
    ("link", "10_odata/80_link.pjson"),
];

/// The manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotManifest {
    /// The version of the format, of whatever type; null if there is none.
    #[serde(default)]
    pub export_version: Value,
    /// The URL of the unit of the cell.
    #[serde(default)]
    pub unit_url: Option<String>,
    /// When it was written, milliseconds since 1970.
    #[serde(default)]
    pub create_date: Option<i64>,
}

/// An object of a cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Where the original stores it.
    #[serde(rename = "_index", default)]
    pub index: String,
    /// Its kind.
    #[serde(rename = "_type", default)]
    pub kind: String,
    /// Its id.
    #[serde(rename = "_id")]
    pub id: String,
    /// The number of its changes, which is not in snapshots.
    #[serde(skip)]
    pub version: Option<u64>,
    /// Its content.
    #[serde(rename = "_source")]
    pub source: Source,
}

/// The content of a [`Document`]. Members that only some kinds have are `None` in others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// The kind of the object.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// When it was created, milliseconds since 1970.
    #[serde(rename = "p", default)]
    pub published: i64,
    /// When it was last changed, milliseconds since 1970.
    #[serde(rename = "u", default)]
    pub updated: i64,
    /// The id of the cell.
    #[serde(rename = "c", default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<String>,
    /// The id of the box of an OData collection.
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    pub box_id: Option<String>,
    /// The id of the OData collection.
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// The id of the entity type of user data.
    #[serde(rename = "t", default, skip_serializing_if = "Option::is_none")]
    pub entity_type: Option<String>,
    /// The properties that are not null.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<Map<String, Value>>,
    /// Values that clients do not see.
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Map<String, Value>>,
    /// The ids of the objects that it is linked to, one of each kind.
    #[serde(rename = "l", default, skip_serializing_if = "Option::is_none")]
    pub links: Option<BTreeMap<String, String>>,
    /// User data: the entities that it is linked to, one along each association: entity type, `:`, entity.
    #[serde(rename = "ll", default, skip_serializing_if = "Option::is_none")]
    pub entity_links: Option<Vec<String>>,
    /// A link: the first object.
    #[serde(rename = "k1", default, skip_serializing_if = "Option::is_none")]
    pub first: Option<String>,
    /// A link: the second object.
    #[serde(rename = "k2", default, skip_serializing_if = "Option::is_none")]
    pub second: Option<String>,
    /// A link: the kind of the first object, or its entity type.
    #[serde(rename = "t1", default, skip_serializing_if = "Option::is_none")]
    pub first_kind: Option<String>,
    /// A link: the kind of the second object, or its entity type.
    #[serde(rename = "t2", default, skip_serializing_if = "Option::is_none")]
    pub second_kind: Option<String>,
}

/// The description of a cell, box, collection or file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeMeta {
    /// Its id.
    #[serde(rename = "i")]
    pub id: String,
    /// Its kind: `Cell`, `col.box`, `col.webdav`, `col.odata`, `col.svc`, `col.stream` or `dav.file`.
    #[serde(rename = "t")]
    pub kind: String,
    /// When it was created, milliseconds since 1970.
    #[serde(rename = "p", default)]
    pub created: i64,
    /// When it was last changed, milliseconds since 1970.
    #[serde(rename = "u", default)]
    pub updated: i64,
    /// The number of its changes.
    #[serde(rename = "v", default)]
    pub version: u64,
    /// Its access control list.
    #[serde(rename = "a", default)]
    pub acl: Value,
    /// Its dead properties: local name, `@`, namespace to the element.
    #[serde(rename = "d", default)]
    pub properties: BTreeMap<String, String>,
    /// The media type of a file.
    #[serde(rename = "ct", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The length of a file in bytes.
    #[serde(rename = "cl", default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
    /// How the content in the snapshot is encrypted: not at all.
    #[serde(rename = "et", default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<String>,
    /// The state of a cell.
    #[serde(rename = "cs", default, skip_serializing_if = "Option::is_none")]
    pub cell_status: Option<String>,
    /// The content encoding of a file, which other units do not know.
    #[serde(rename = "ce", default, skip_serializing_if = "Option::is_none")]
    pub content_encoding: Option<String>,
    /// Its name if its folder has another one, which other units do not know.
    #[serde(rename = "nm", default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// An opened snapshot. Its structure was validated, and that it has every required entry.
#[derive(Debug)]
pub struct Snapshot<R> {
    zip: CheckedZip<R>,
}

impl<R: Read + Seek> Snapshot<R> {
    /// Opens and validates a snapshot. The content of the entries may be damaged.
    ///
    /// # Errors
    /// [`BarError::Missing`] if a required entry is; the errors of its structure.
    pub fn open(reader: R, limits: ArchiveLimits) -> Result<Self, BarError> {
        let zip = CheckedZip::open(reader, limits)?;
        let documents = DOCUMENTS.iter().map(|(_, path)| *path);
        let required = [MANIFEST, CELL].into_iter().chain(documents);
        let mut missing: Vec<String> = required
            .filter(|path| zip.entries.find(path).is_none())
            .map(str::to_owned)
            .collect();
        if !zip.entries.has_folder(TREE) {
            missing.push(TREE.to_owned());
        }
        match missing.is_empty() {
            true => Ok(Self { zip }),
            false => Err(BarError::Missing(missing)),
        }
    }

    /// The files in the order of the archive, without folders.
    pub fn entries(&self) -> &[BarEntry] {
        self.zip.entries.files()
    }

    /// The entry with this name.
    pub fn find(&self, name: &str) -> Option<&BarEntry> {
        self.zip.entries.find(name)
    }

    /// Writes the content of an entry to `out`; see [`crate::Bar::copy`].
    ///
    /// # Errors
    /// [`ReadError::Damaged`], [`ReadError::Io`].
    pub fn copy(&mut self, entry: &BarEntry, out: &mut impl Write) -> Result<(), ReadError> {
        self.zip.copy(entry, out)
    }
}
