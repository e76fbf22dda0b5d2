//! The JSON files of a bar file. Unknown and duplicate keys are refused.
//!
//! Names are not validated, and the existence of the named objects is not checked.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::Deserialize;
use serde_json::value::RawValue;

mod object;
mod print;
pub(crate) mod scalar;
pub(crate) use object::object;
use object::{IdMap, TextMap, line_of};
pub use print::{
    ENTITY_LINKS_END, ENTITY_LINKS_START, print_ext_roles, print_links, print_relations,
    print_roles, print_rules, push_entity_link,
};

/// The file is not valid JSON or has another structure.
#[derive(Debug, thiserror::Error)]
#[error("cannot parse the JSON file: {reason}")]
pub struct BarJsonError {
    /// The line of the error, counted from 1.
    pub line: usize,
    /// The reason, without its place.
    reason: String,
    source: serde_json::Error,
}

impl BarJsonError {
    /// The error of a part of a file that begins after this number of line ends.
    fn new(lines_before: usize, source: serde_json::Error) -> Self {
        let text = source.to_string();
        let place = format!(" at line {} column {}", source.line(), source.column());
        Self {
            line: lines_before + source.line().max(1),
            reason: text.strip_suffix(&place).unwrap_or(&text).to_owned(),
            source,
        }
    }
}

/// An object of a file with its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The line of the beginning of the object, counted from 1.
    pub line: usize,
    /// The object.
    pub item: T,
}

impl<T> Deref for Listed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

/// A relation to create in the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarRelation {
    /// The name.
    pub name: String,
}

/// A role to create in the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarRole {
    /// The name.
    pub name: String,
}

/// An external role to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarExtRole {
    /// The URL of the role in another cell.
    pub url: String,
    /// The name of its relation.
    pub relation: String,
}

/// A rule to create in the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarRule {
    /// Whether the rule matches external events.
    pub event_external: Option<bool>,
    /// The prefix of the subject of matching events.
    pub event_subject: Option<String>,
    /// The prefix of the type of matching events.
    pub event_type: Option<String>,
    /// The prefix of the object of matching events.
    pub event_object: Option<String>,
    /// The prefix of the information of matching events.
    pub event_info: Option<String>,
    /// The action.
    pub action: String,
    /// The target URL of the action.
    pub target_url: Option<String>,
}

/// A link between two control objects of the cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarLink {
    /// One end.
    pub from: BarLinkEnd,
    /// The other end.
    pub to: BarLinkEnd,
}

/// An end of a [`BarLink`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarLinkEnd {
    /// The entity type, such as `Role`.
    pub entity_type: String,
    /// The names that form its key.
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
    /// The entity type.
    pub entity_type: String,
    /// The id of the entity.
    pub id: String,
}

/// Parses `00_meta/10_relations.json`.
///
/// # Errors
/// [`BarJsonError`].
pub fn relations(bytes: &[u8]) -> Result<Vec<Listed<BarRelation>>, BarJsonError> {
    let file: RelationsFile = object(bytes)?;
    convert_all(bytes, file.list, |named: NameDocument| BarRelation {
        name: named.name,
    })
}

/// Parses `00_meta/20_roles.json`.
///
/// # Errors
/// [`BarJsonError`].
pub fn roles(bytes: &[u8]) -> Result<Vec<Listed<BarRole>>, BarJsonError> {
    let file: RolesFile = object(bytes)?;
    convert_all(bytes, file.list, |named: NameDocument| BarRole {
        name: named.name,
    })
}

/// Parses `00_meta/30_extroles.json`.
///
/// # Errors
/// [`BarJsonError`].
pub fn ext_roles(bytes: &[u8]) -> Result<Vec<Listed<BarExtRole>>, BarJsonError> {
    let file: ExtRolesFile = object(bytes)?;
    convert_all(bytes, file.list, |document: ExtRoleDocument| BarExtRole {
        url: document.url,
        relation: document.relation,
    })
}

/// Parses `00_meta/50_rules.json`.
///
/// # Errors
/// [`BarJsonError`].
pub fn rules(bytes: &[u8]) -> Result<Vec<Listed<BarRule>>, BarJsonError> {
    let file: RulesFile = object(bytes)?;
    convert_all(bytes, file.list, |document: RuleDocument| BarRule {
        event_external: document.event_external,
        event_subject: document.event_subject,
        event_type: document.event_type,
        event_object: document.event_object,
        event_info: document.event_info,
        action: document.action,
        target_url: document.target_url,
    })
}

/// Parses `00_meta/70_$links.json`.
///
/// # Errors
/// [`BarJsonError`].
pub fn links(bytes: &[u8]) -> Result<Vec<Listed<BarLink>>, BarJsonError> {
    let file: LinksFile = object(bytes)?;
    let end = |entity_type, TextMap(names)| BarLinkEnd { entity_type, names };
    convert_all(bytes, file.list, |document: LinkDocument| BarLink {
        from: end(document.from_type, document.from_name),
        to: end(document.to_type, document.to_name),
    })
}

/// Parses `10_odatarelations.json` of an OData collection. The first value of each map of ids is used.
///
/// # Errors
/// [`BarJsonError`], also if a map of ids is empty.
pub fn entity_links(bytes: &[u8]) -> Result<Vec<Listed<EntityLink>>, BarJsonError> {
    let file: EntityLinksFile = object(bytes)?;
    let end = |entity_type, IdMap(id)| EntityRef { entity_type, id };
    convert_all(bytes, file.list, |document: EntityLinkDocument| {
        EntityLink {
            from: end(document.from_type, document.from_id),
            to: end(document.to_type, document.to_id),
        }
    })
}

fn convert_all<'de, W: Deserialize<'de>, T>(
    bytes: &[u8],
    items: Vec<&'de RawValue>,
    convert: impl Fn(W) -> T,
) -> Result<Vec<Listed<T>>, BarJsonError> {
    let mut line = line_of(bytes);
    let parse = |raw: &'de RawValue| {
        let line = line(raw);
        let document = object::item(raw).map_err(|error| BarJsonError::new(line - 1, error))?;
        let item = convert(document);
        Ok(Listed { line, item })
    };
    items.into_iter().map(parse).collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RelationsFile<'a> {
    #[serde(rename = "Relations", borrow)]
    list: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RolesFile<'a> {
    #[serde(rename = "Roles", borrow)]
    list: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameDocument {
    #[serde(rename = "Name")]
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtRolesFile<'a> {
    #[serde(rename = "ExtRoles", borrow)]
    list: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExtRoleDocument {
    #[serde(rename = "ExtRole")]
    url: String,
    #[serde(rename = "_Relation.Name")]
    relation: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RulesFile<'a> {
    #[serde(rename = "Rules", borrow)]
    list: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct RuleDocument {
    #[serde(default, deserialize_with = "scalar::truth")]
    event_external: Option<bool>,
    #[serde(default, deserialize_with = "scalar::text")]
    event_subject: Option<String>,
    #[serde(default, deserialize_with = "scalar::text")]
    event_type: Option<String>,
    #[serde(default, deserialize_with = "scalar::text")]
    event_object: Option<String>,
    #[serde(default, deserialize_with = "scalar::text")]
    event_info: Option<String>,
    action: String,
    #[serde(default, deserialize_with = "scalar::text")]
    target_url: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinksFile<'a> {
    #[serde(rename = "Links", borrow)]
    list: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct LinkDocument {
    from_type: String,
    from_name: TextMap,
    to_type: String,
    to_name: TextMap,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntityLinksFile<'a> {
    #[serde(rename = "Links", borrow)]
    list: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase")]
struct EntityLinkDocument {
    from_type: String,
    from_id: IdMap,
    to_type: String,
    to_id: IdMap,
}

#[cfg(test)]
mod tests;
