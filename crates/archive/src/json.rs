//! The JSON files of a bar file. Every key must be known, and given once.
//!
//! Names are not judged here, nor whether they are those of something that exists.

use std::collections::BTreeMap;

use serde::Deserialize;

mod object;
pub(crate) use object::object;
use object::{IdMap, Object, TextMap};

/// A file does not have its form.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the JSON file")]
pub struct BarJsonError(#[source] serde_json::Error);

/// A relation to make in the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarRelation {
    /// Its name.
    pub name: String,
}

/// A role to make in the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarRole {
    /// Its name.
    pub name: String,
}

/// An external role to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarExtRole {
    /// The URL of the role in another cell.
    pub url: String,
    /// The name of the relation that it belongs to.
    pub relation: String,
}

/// A rule to make in the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarRule {
    /// Whether it is about events that come from outside.
    pub event_external: Option<bool>,
    /// The subject of the events.
    pub event_subject: Option<String>,
    /// The type of the events.
    pub event_type: Option<String>,
    /// The object of the events.
    pub event_object: Option<String>,
    /// The information of the events.
    pub event_info: Option<String>,
    /// What is done.
    pub action: String,
    /// What it is done with.
    pub target_url: Option<String>,
}

/// A link between two entities of the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarLink {
    /// One end.
    pub from: BarLinkEnd,
    /// The other end.
    pub to: BarLinkEnd,
}

/// An end of a [`Link`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarLinkEnd {
    /// The type of the entity, such as `Role`.
    pub entity_type: String,
    /// The names that are its key.
    pub names: BTreeMap<String, String>,
}

/// A link between two entities of an OData collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityLink {
    /// One end.
    pub from: EntityRef,
    /// The other end.
    pub to: EntityRef,
}

/// An end of an [`EntityLink`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityRef {
    /// The type of the entity.
    pub entity_type: String,
    /// Its id.
    pub id: String,
}

/// Reads `00_meta/10_relations.json`.
///
/// # Errors
/// Fails if it does not have the form.
pub fn relations(bytes: &[u8]) -> Result<Vec<BarRelation>, BarJsonError> {
    let file: RelationsFile = object(bytes)?;
    Ok(convert_all(file.list, |named: Named| BarRelation {
        name: named.name,
    }))
}

/// Reads `00_meta/20_roles.json`.
///
/// # Errors
/// Fails if it does not have the form.
pub fn roles(bytes: &[u8]) -> Result<Vec<BarRole>, BarJsonError> {
    let file: RolesFile = object(bytes)?;
    Ok(convert_all(file.list, |named: Named| BarRole {
        name: named.name,
    }))
}

/// Reads `00_meta/30_extroles.json`.
///
/// # Errors
/// Fails if it does not have the form.
pub fn ext_roles(bytes: &[u8]) -> Result<Vec<BarExtRole>, BarJsonError> {
    let file: ExtRolesFile = object(bytes)?;
    Ok(convert_all(file.list, |wire: WireExtRole| BarExtRole {
        url: wire.url,
        relation: wire.relation,
    }))
}

/// Reads `00_meta/50_rules.json`.
///
/// # Errors
/// Fails if it does not have the form.
pub fn rules(bytes: &[u8]) -> Result<Vec<BarRule>, BarJsonError> {
    let file: RulesFile = object(bytes)?;
    Ok(convert_all(file.list, |wire: WireRule| BarRule {
        event_external: wire.event_external,
        event_subject: wire.event_subject,
        event_type: wire.event_type,
        event_object: wire.event_object,
        event_info: wire.event_info,
        action: wire.action,
        target_url: wire.target_url,
    }))
}

/// Reads `00_meta/70_$links.json`.
///
/// # Errors
/// Fails if it does not have the form.
pub fn links(bytes: &[u8]) -> Result<Vec<BarLink>, BarJsonError> {
    let file: LinksFile = object(bytes)?;
    let end = |entity_type, TextMap(names)| BarLinkEnd { entity_type, names };
    Ok(convert_all(file.list, |wire: WireLink| BarLink {
        from: end(wire.from_type, wire.from_name),
        to: end(wire.to_type, wire.to_name),
    }))
}

/// Reads the `10_odatarelations.json` of an OData collection. Of each map of ids, the first value counts.
///
/// # Errors
/// Fails if it does not have the form, or if a map of ids is empty.
pub fn entity_links(bytes: &[u8]) -> Result<Vec<EntityLink>, BarJsonError> {
    let file: EntityLinksFile = object(bytes)?;
    let end = |entity_type, IdMap(id)| EntityRef { entity_type, id };
    Ok(convert_all(file.list, |wire: WireEntityLink| EntityLink {
        from: end(wire.from_type, wire.from_id),
        to: end(wire.to_type, wire.to_id),
    }))
}

fn convert_all<W, T>(list: Vec<Object<W>>, convert: impl Fn(W) -> T) -> Vec<T> {
    list.into_iter().map(|Object(wire)| convert(wire)).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RelationsFile {
    #[serde(rename = "Relations")]
    list: Vec<Object<Named>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RolesFile {
    #[serde(rename = "Roles")]
    list: Vec<Object<Named>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    #[serde(rename = "Name")]
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtRolesFile {
    #[serde(rename = "ExtRoles")]
    list: Vec<Object<WireExtRole>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WireExtRole {
    #[serde(rename = "ExtRole")]
    url: String,
    #[serde(rename = "_Relation.Name")]
    relation: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile {
    #[serde(rename = "Rules")]
    list: Vec<Object<WireRule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct WireRule {
    event_external: Option<bool>,
    event_subject: Option<String>,
    event_type: Option<String>,
    event_object: Option<String>,
    event_info: Option<String>,
    action: String,
    target_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinksFile {
    #[serde(rename = "Links")]
    list: Vec<Object<WireLink>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct WireLink {
    from_type: String,
    from_name: TextMap,
    to_type: String,
    to_name: TextMap,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntityLinksFile {
    #[serde(rename = "Links")]
    list: Vec<Object<WireEntityLink>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct WireEntityLink {
    from_type: String,
    from_id: IdMap,
    to_type: String,
    to_id: IdMap,
}

#[cfg(test)]
mod tests;
