//! Inner paths of a bar file. They are the same for both versions.

/// Whether a name is that of a file which a desktop system or a repository has in folders: it is no part of the application
/// unless `90_rootprops.xml` describes it.
#[must_use]
pub fn is_system_file(name: &str) -> bool {
    let names = [
        ".DS_Store",
        "Thumbs.db",
        "desktop.ini",
        "Desktop.ini",
        "__MACOSX",
        ".gitkeep",
    ];
    names.contains(&name) || name.starts_with("._")
}

/// The folder of the metadata.
pub const META: &str = "00_meta";
/// The manifest with version, schema and default name. Required.
pub const MANIFEST: &str = "00_meta/00_manifest.json";
/// The relations; see [`crate::json::relations`].
pub const RELATIONS: &str = "00_meta/10_relations.json";
/// The roles; see [`crate::json::roles`].
pub const ROLES: &str = "00_meta/20_roles.json";
/// The external roles; see [`crate::json::ext_roles`].
pub const EXT_ROLES: &str = "00_meta/30_extroles.json";
/// The rules; see [`crate::json::rules`].
pub const RULES: &str = "00_meta/50_rules.json";
/// The links between relations, roles and external roles; see [`crate::json::links`].
pub const LINKS: &str = "00_meta/70_$links.json";
/// The description of the collections and files of the box. Required.
pub const ROOT_PROPS: &str = "00_meta/90_rootprops.xml";
/// The folder of the files and OData collections of the box.
pub const CONTENTS: &str = "90_contents";
/// The schema of an OData collection, in the folder of the collection.
pub const ODATA_METADATA: &str = "00_$metadata.xml";
/// The links between entities of an OData collection, in the folder of the collection; see [`crate::json::entity_links`].
pub const ODATA_LINKS: &str = "10_odatarelations.json";
/// The folder of the entities of an OData collection, in the folder of the collection.
pub const ODATA_DATA: &str = "90_data";
