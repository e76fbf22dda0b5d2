//! The inner paths of a bar file, the same for both versions.

/// The folder of the files about the box.
pub const META: &str = "00_meta";
/// Version, schema and default name; required.
pub const MANIFEST: &str = "00_meta/00_manifest.json";
/// Relations; see [`crate::json::relations`].
pub const RELATIONS: &str = "00_meta/10_relations.json";
/// Roles; see [`crate::json::roles`].
pub const ROLES: &str = "00_meta/20_roles.json";
/// External roles; see [`crate::json::ext_roles`].
pub const EXT_ROLES: &str = "00_meta/30_extroles.json";
/// Rules; see [`crate::json::rules`].
pub const RULES: &str = "00_meta/50_rules.json";
/// Links between relations, roles and external roles; see [`crate::json::links`].
pub const LINKS: &str = "00_meta/70_$links.json";
/// The collections and files of the box with their properties; required.
pub const ROOT_PROPS: &str = "00_meta/90_rootprops.xml";
/// The folder of the files and OData collections of the box.
pub const CONTENTS: &str = "90_contents";
/// In the folder of an OData collection: its schema.
pub const ODATA_METADATA: &str = "00_$metadata.xml";
/// In the folder of an OData collection: links between entities; see [`crate::json::entity_links`].
pub const ODATA_LINKS: &str = "10_odatarelations.json";
/// In the folder of an OData collection: the folder of the entities.
pub const ODATA_DATA: &str = "90_data";
