//! The parser of metadata documents.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use personium_xml::{Element, LocatedXmlError, XmlLimits};

use super::{EDM_NAMESPACE, EDMX_NAMESPACE, PERSONIUM_NAMESPACE};
use crate::edm::Multiplicity;

/// The namespaces of the schema language (CSDL): the one of [`super::document`], and those of the other versions.
const EDM_NAMESPACES: [&str; 5] = [
    EDM_NAMESPACE,
    "http://schemas.microsoft.com/ado/2007/05/edm",
    "http://schemas.microsoft.com/ado/2008/01/edm",
    "http://schemas.microsoft.com/ado/2008/09/edm",
    "http://schemas.microsoft.com/ado/2009/11/edm",
];

/// The definitions of a metadata document, each list in the order of the document.
///
/// Names and values are those of the document. They are not validated, and may repeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions {
    /// The names of the complex types.
    pub complex_types: Vec<String>,
    /// The properties of the complex types.
    pub complex_properties: Vec<PropertyDefinition>,
    /// The names of the entity types.
    pub entity_types: Vec<String>,
    /// The properties of the entity types, without system properties, whose names begin with `_`.
    pub properties: Vec<PropertyDefinition>,
    /// The two ends of each association. An error is that of one association; the other definitions are valid without it.
    pub associations: Vec<Result<[EndDefinition; 2], EdmxError>>,
    /// The lines of types and properties.
    pub lines: DefinitionLines,
}

/// The lines of the definitions of a document. They are no part of its value: all are equal.
#[derive(Clone, Debug, Default)]
pub struct DefinitionLines(HashMap<(String, String), u32>);

impl DefinitionLines {
    /// The line of a property of a type; of the type itself if `property` is empty.
    #[must_use]
    pub fn find(&self, owner: &str, property: &str) -> Option<u32> {
        let key = (owner.to_owned(), property.to_owned());
        self.0.get(&key).copied()
    }

    fn insert(&mut self, owner: &str, property: &str, element: &Element) {
        let key = (owner.to_owned(), property.to_owned());
        self.0.insert(key, element.line());
    }
}

impl PartialEq for DefinitionLines {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for DefinitionLines {}

/// The line of an error, as far as it is known. It is no part of the value of an error: all are equal.
#[derive(Clone, Copy, Debug, Default)]
pub struct SourceLine(Option<u32>);

impl PartialEq for SourceLine {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SourceLine {}

/// The definition of a property. An absent attribute is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyDefinition {
    /// The name of the complex or entity type.
    pub owner: Arc<str>,
    /// The name of the property.
    pub name: String,
    /// The type: the qualified name of a primitive type, or the name of a complex type of the document without namespace.
    pub r#type: String,
    /// The attribute `Nullable`.
    pub nullable: Option<String>,
    /// The attribute `DefaultValue`.
    pub default: Option<String>,
    /// The attribute `CollectionKind`.
    pub collection_kind: Option<String>,
    /// The attribute `p:IsDeclared`: `false` for a dynamic property.
    pub is_declared: Option<String>,
    /// The attribute `p:Unique`.
    pub unique: Option<String>,
    /// The attribute `p:Unit`.
    pub unit: Option<String>,
}

/// The definition of one end of an association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndDefinition {
    /// The entity type: the part of the role before its first colon.
    pub entity_type: String,
    /// The name of the end: the part of the role after its first colon.
    pub name: String,
    /// The multiplicity of this end.
    pub multiplicity: Multiplicity,
}

/// The reason for which a metadata document is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdmxError {
    /// The document is not well-formed XML, or XML that this unit refuses; the text is the reason.
    #[error("the document is not valid XML: {0}")]
    InvalidXml(String, SourceLine),
    /// An element or attribute is missing or invalid; the text names it.
    #[error("the document is not a valid metadata document: {0}")]
    InvalidDefinition(String, SourceLine),
}

impl From<LocatedXmlError> for EdmxError {
    fn from(error: LocatedXmlError) -> Self {
        Self::InvalidXml(error.error.to_string(), SourceLine(Some(error.line)))
    }
}

impl EdmxError {
    /// The line of the error in the document, counted from 1, as far as it is known.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::InvalidXml(_, line) | Self::InvalidDefinition(_, line) => line.0,
        }
    }
}

/// Parses a metadata document.
///
/// The schemas may have the namespace of any version of the schema language. Keys, navigation properties, containers and
/// other attributes are ignored, but a type or association that they refer to has to be defined in the document. The entity
/// type of an end is part of its role. The caller limits the bytes of the document.
///
/// # Errors
/// [`EdmxError::InvalidXml`] if the document is not well-formed, exceeds [`XmlLimits::ARCHIVE_ENTRY`], or has a document
/// type declaration, a processing instruction, an entity that is not predefined, or an encoding other than UTF-8.
/// [`EdmxError::InvalidDefinition`] if an element, attribute or referenced definition is missing or invalid.
pub fn read(bytes: &[u8]) -> Result<Definitions, EdmxError> {
    let root = Element::parse_located(bytes, &XmlLimits::ARCHIVE_ENTRY)?;
    if !root.is(EDMX_NAMESPACE, "Edmx") {
        let local = root.name().local();
        let reason = format!("the root is {local}, not edmx:Edmx");
        return Err(definition_at(&root, reason));
    }
    let mut reader = MetadataReader::default();
    for services in root.elements_named(EDMX_NAMESPACE, "DataServices") {
        for schema in services.elements().filter(|each| is_edm(each, "Schema")) {
            reader.schema(schema)?;
        }
    }
    reader.finish()
}

/// Returns true for the element with this name in any version of the schema language.
fn is_edm(element: &Element, local: &str) -> bool {
    let name = element.name();
    name.local() == local && EDM_NAMESPACES.contains(&name.namespace())
}

/// Collects the definitions of a document, and the references between them.
#[derive(Default)]
struct MetadataReader {
    namespaces: HashSet<String>,
    definitions: Definitions,
    /// The names of the associations.
    associations: Vec<String>,
    /// The names that have to be defined in the document.
    references: Vec<Reference>,
}

/// A name that has to be defined in the document.
#[derive(Debug)]
struct Reference {
    kind: ReferenceKind,
    name: String,
    line: u32,
}

/// The kind of definition that a reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum ReferenceKind {
    ComplexType,
    EntityType,
    Association,
}

impl MetadataReader {
    fn schema(&mut self, schema: &Element) -> Result<(), EdmxError> {
        let namespace = required(schema, "Namespace", || "a Schema".to_owned())?;
        self.namespaces.insert(namespace);
        for element in schema.elements() {
            if is_edm(element, "ComplexType") {
                self.complex_type(element)?;
            } else if is_edm(element, "EntityType") {
                self.entity_type(element)?;
            } else if is_edm(element, "Association") {
                self.association(element)?;
            } else if is_edm(element, "EntityContainer") {
                self.container(element);
            }
        }
        Ok(())
    }

    fn complex_type(&mut self, element: &Element) -> Result<(), EdmxError> {
        let owner = required(element, "Name", || "a ComplexType".to_owned())?;
        let mut properties = self.properties(element, &owner, |_| true)?;
        self.definitions.complex_properties.append(&mut properties);
        self.definitions.lines.insert(&owner, "", element);
        self.definitions.complex_types.push(owner);
        Ok(())
    }

    fn entity_type(&mut self, element: &Element) -> Result<(), EdmxError> {
        let owner = required(element, "Name", || "an EntityType".to_owned())?;
        let mut properties = self.properties(element, &owner, |name| !name.starts_with('_'))?;
        self.definitions.properties.append(&mut properties);
        self.definitions.lines.insert(&owner, "", element);
        self.definitions.entity_types.push(owner);
        Ok(())
    }

    /// The properties of a type whose names `is_wanted` accepts. References of the others are collected too.
    fn properties(
        &mut self,
        element: &Element,
        owner: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<PropertyDefinition>, EdmxError> {
        let owner: Arc<str> = Arc::from(owner);
        let mut found = Vec::new();
        for element in element.elements().filter(|each| is_edm(each, "Property")) {
            self.collect_reference(element, "Type", ReferenceKind::ComplexType);
            let name = required(element, "Name", || format!("a Property of {owner:?}"))?;
            if is_wanted(&name) {
                self.definitions.lines.insert(&owner, &name, element);
                found.push(property(element, &owner, name)?);
            }
        }
        Ok(found)
    }

    fn association(&mut self, element: &Element) -> Result<(), EdmxError> {
        let name = required(element, "Name", || "an Association".to_owned())?;
        let mut ends = Vec::with_capacity(2);
        for element in element.elements().filter(|each| is_edm(each, "End")) {
            self.collect_reference(element, "Type", ReferenceKind::EntityType);
            ends.push(end(element, &name));
        }
        let ends = ends.into_iter().collect::<Result<Vec<_>, _>>();
        let two =
            |ends| <[EndDefinition; 2]>::try_from(ends).map_err(|_| not_two_ends(element, &name));
        self.definitions.associations.push(ends.and_then(two));
        self.associations.push(name);
        Ok(())
    }

    fn container(&mut self, element: &Element) {
        for element in element.elements() {
            if is_edm(element, "EntitySet") {
                self.collect_reference(element, "EntityType", ReferenceKind::EntityType);
            } else if is_edm(element, "AssociationSet") {
                self.collect_reference(element, "Association", ReferenceKind::Association);
            }
        }
    }

    /// Collects the reference in an attribute, if it is present.
    fn collect_reference(&mut self, element: &Element, attribute: &str, kind: ReferenceKind) {
        let name = element.attribute("", attribute);
        self.references.extend(name.map(|name| Reference {
            kind,
            name: name.to_owned(),
            line: element.line(),
        }));
    }

    /// Checks the references and returns the definitions. A reference may precede its definition, so this comes last.
    fn finish(mut self) -> Result<Definitions, EdmxError> {
        if self.namespaces.is_empty() {
            return Err(definition(
                "there is no Schema of a known namespace".to_owned(),
            ));
        }
        self.check_references()?;
        let definitions = &mut self.definitions;
        let properties = &mut definitions.properties;
        for property in definitions.complex_properties.iter_mut().chain(properties) {
            let local = local_name(&self.namespaces, &property.r#type).map(str::to_owned);
            if let Some(name) = local {
                property.r#type = name;
            }
        }
        Ok(self.definitions)
    }

    /// Checks that all references are defined.
    fn check_references(&self) -> Result<(), EdmxError> {
        let definitions = &self.definitions;
        let defined = [
            (ReferenceKind::ComplexType, &definitions.complex_types),
            (ReferenceKind::EntityType, &definitions.entity_types),
            (ReferenceKind::Association, &self.associations),
        ]
        .into_iter()
        .flat_map(|(kind, names)| names.iter().map(move |name| (kind, name.as_str())));
        let is_simple = |kind: ReferenceKind, name: &str| {
            kind == ReferenceKind::ComplexType && name.starts_with("Edm.")
        };
        let references = self
            .references
            .iter()
            .filter(|reference| !is_simple(reference.kind, &reference.name))
            .map(|reference| {
                let local = local_name(&self.namespaces, &reference.name);
                (reference, local.map(|local| (reference.kind, local)))
            });
        match find_undefined(defined, references) {
            Some(Reference { kind, name, line }) => Err(EdmxError::InvalidDefinition(
                format!("{kind:?} {name:?} is not defined"),
                SourceLine(Some(*line)),
            )),
            None => Ok(()),
        }
    }
}

/// The first reference that has no key, or whose key is not defined. A document may have hundreds of thousands of
/// definitions and references, so the keys are looked up in a set.
fn find_undefined<'r, K: Eq + Hash, R>(
    defined: impl Iterator<Item = K>,
    mut references: impl Iterator<Item = (&'r R, Option<K>)>,
) -> Option<&'r R> {
    let defined: HashSet<K> = defined.collect();
    references
        .find(|(_, key)| !key.as_ref().is_some_and(|key| defined.contains(key)))
        .map(|(reference, _)| reference)
}

/// The name without the namespace of one of the schemas; `None` for a name in another namespace.
fn local_name<'n>(namespaces: &HashSet<String>, name: &'n str) -> Option<&'n str> {
    match name.rsplit_once('.') {
        None => Some(name),
        Some((namespace, local)) if namespace != "Edm" && namespaces.contains(namespace) => {
            Some(local)
        }
        Some(_) => None,
    }
}

fn definition(reason: String) -> EdmxError {
    EdmxError::InvalidDefinition(reason, SourceLine(None))
}

fn definition_at(element: &Element, reason: String) -> EdmxError {
    EdmxError::InvalidDefinition(reason, SourceLine(Some(element.line())))
}

fn not_two_ends(element: &Element, association: &str) -> EdmxError {
    let reason = format!("Association {association:?} does not have two End elements");
    definition_at(element, reason)
}

/// The value of an attribute; `what` describes the element in the error.
fn required(
    element: &Element,
    attribute: &str,
    what: impl FnOnce() -> String,
) -> Result<String, EdmxError> {
    let value = element.attribute("", attribute).map(str::to_owned);
    value.ok_or_else(|| definition_at(element, format!("{} has no {attribute}", what())))
}

fn property(
    element: &Element,
    owner: &Arc<str>,
    name: String,
) -> Result<PropertyDefinition, EdmxError> {
    let plain = |attribute| element.attribute("", attribute).map(str::to_owned);
    let extension = |attribute| {
        element
            .attribute(PERSONIUM_NAMESPACE, attribute)
            .map(str::to_owned)
    };
    Ok(PropertyDefinition {
        r#type: required(element, "Type", || {
            format!("Property {name:?} of {owner:?}")
        })?,
        owner: Arc::clone(owner),
        name,
        nullable: plain("Nullable"),
        default: plain("DefaultValue"),
        collection_kind: plain("CollectionKind"),
        is_declared: extension("IsDeclared"),
        unique: extension("Unique"),
        unit: extension("Unit"),
    })
}

fn end(element: &Element, association: &str) -> Result<EndDefinition, EdmxError> {
    let what = || format!("an End of Association {association:?}");
    let role = required(element, "Role", what)?;
    let (entity_type, name) = role
        .split_once(':')
        .filter(|(entity_type, name)| !entity_type.is_empty() && !name.is_empty())
        .ok_or_else(|| definition_at(element, format!("{} has the Role {role:?}", what())))?;
    let multiplicity = required(element, "Multiplicity", what)?;
    Ok(EndDefinition {
        entity_type: entity_type.to_owned(),
        name: name.to_owned(),
        multiplicity: Multiplicity::parse(&multiplicity).ok_or_else(|| {
            let reason = format!("{} has the Multiplicity {multiplicity:?}", what());
            definition_at(element, reason)
        })?,
    })
}

#[cfg(test)]
mod tests;
