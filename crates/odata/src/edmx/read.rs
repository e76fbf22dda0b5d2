//! Reading a metadata document into the definitions it holds.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use personium_xml::{Element, XmlError, XmlLimits};

use super::{EDM_NAMESPACE, EDMX_NAMESPACE, PERSONIUM_NAMESPACE};
use crate::edm::Multiplicity;

/// Namespaces of schemas: the one that is written, and those of the other versions of the language.
const EDM_NAMESPACES: [&str; 5] = [
    EDM_NAMESPACE,
    "http://schemas.microsoft.com/ado/2007/05/edm",
    "http://schemas.microsoft.com/ado/2008/01/edm",
    "http://schemas.microsoft.com/ado/2008/09/edm",
    "http://schemas.microsoft.com/ado/2009/11/edm",
];

/// What a metadata document defines, each list in the order of the document.
///
/// Names and values are as written: whether they are acceptable, and whether one is given twice, is not judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Definitions {
    /// Names of the complex types.
    pub complex_types: Vec<String>,
    /// Properties of the complex types.
    pub complex_properties: Vec<PropertyDefinition>,
    /// Names of the entity types.
    pub entity_types: Vec<String>,
    /// Properties of the entity types, without those whose names begin with `_`, which are the system's.
    pub properties: Vec<PropertyDefinition>,
    /// The two ends of each association, or why they cannot be told: the types stand without it.
    pub associations: Vec<Result<[EndDefinition; 2], EdmxError>>,
}

/// A property as a metadata document defines it. Attributes that are absent are `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyDefinition {
    /// Name of the complex or entity type it belongs to.
    pub owner: Arc<str>,
    /// Its name.
    pub name: String,
    /// Such as `Edm.String`; a complex type of the document is its name without namespace.
    pub r#type: String,
    /// `Nullable`.
    pub nullable: Option<String>,
    /// `DefaultValue`.
    pub default: Option<String>,
    /// `CollectionKind`.
    pub collection_kind: Option<String>,
    /// `p:IsDeclared`; `false` stands for a property that its first use registered.
    pub is_declared: Option<String>,
    /// `p:Unique`.
    pub unique: Option<String>,
    /// `p:Unit`.
    pub unit: Option<String>,
}

/// One end of an association as a metadata document defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndDefinition {
    /// The part of the role before its first colon.
    pub entity_type: String,
    /// The part of the role after its first colon.
    pub name: String,
    /// How many entities of this type one entity of the other end sees.
    pub multiplicity: Multiplicity,
}

/// Why a metadata document cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EdmxError {
    /// Not well-formed, or XML that is not accepted; says why.
    #[error("the document is not acceptable XML: {0}")]
    InvalidXml(String),
    /// Well-formed, but an element or attribute is missing or wrong; names it.
    #[error("the document is no metadata document: {0}")]
    InvalidDefinition(String),
}

impl From<XmlError> for EdmxError {
    fn from(error: XmlError) -> Self {
        Self::InvalidXml(error.to_string())
    }
}

/// Reads a metadata document.
///
/// Schemas in the namespaces of any version of the language are read. What is not defined by [`Definitions`]
/// (keys, navigation properties, containers, other attributes) is passed over. The entity type of an end is taken
/// from its role alone. An association that cannot be understood leaves the rest as it is. A type or association that is
/// named must be defined in the document.
///
/// # Errors
/// [`EdmxError::NotXml`] also for document type declarations, processing instructions, entities that XML does not
/// predefine, encodings other than UTF-8, and what exceeds [`Limits::ENTRY`]. The number of bytes is for the
/// caller to bound.
pub fn read(bytes: &[u8]) -> Result<Definitions, EdmxError> {
    let root = Element::parse(bytes, &XmlLimits::ENTRY)?;
    if !root.is(EDMX_NAMESPACE, "Edmx") {
        let local = root.name().local();
        return Err(definition(format!("the root is {local}, not edmx:Edmx")));
    }
    let mut reading = MetadataReader::default();
    for services in root.elements_named(EDMX_NAMESPACE, "DataServices") {
        for schema in services.elements().filter(|e| is_edm(e, "Schema")) {
            reading.schema(schema)?;
        }
    }
    reading.finish()
}

/// Whether this is the element of the schema language, in any of its versions.
fn is_edm(element: &Element, local: &str) -> bool {
    let name = element.name();
    name.local() == local && EDM_NAMESPACES.contains(&name.namespace())
}

/// What was read so far.
#[derive(Default)]
struct MetadataReader {
    namespaces: HashSet<String>,
    definitions: Definitions,
    /// Names of the associations.
    associations: Vec<String>,
    /// What is named and must be defined somewhere in the document.
    references: Vec<(ReferenceKind, String)>,
}

/// The kinds of definitions that others name.
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
        self.definitions.complex_types.push(owner);
        Ok(())
    }

    fn entity_type(&mut self, element: &Element) -> Result<(), EdmxError> {
        let owner = required(element, "Name", || "an EntityType".to_owned())?;
        let mut properties = self.properties(element, &owner, |name| !name.starts_with('_'))?;
        self.definitions.properties.append(&mut properties);
        self.definitions.entity_types.push(owner);
        Ok(())
    }

    /// The properties of a type whose names are wanted. What any of them names is noted.
    fn properties(
        &mut self,
        element: &Element,
        owner: &str,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<PropertyDefinition>, EdmxError> {
        let owner = Arc::from(owner);
        let mut found = Vec::new();
        for element in element.elements().filter(|e| is_edm(e, "Property")) {
            self.refer(element, "Type", ReferenceKind::ComplexType);
            let name = required(element, "Name", || format!("a Property of {owner:?}"))?;
            if is_wanted(&name) {
                found.push(property(element, &owner, name)?);
            }
        }
        Ok(found)
    }

    fn association(&mut self, element: &Element) -> Result<(), EdmxError> {
        let name = required(element, "Name", || "an Association".to_owned())?;
        let mut ends = Vec::with_capacity(2);
        for element in element.elements().filter(|e| is_edm(e, "End")) {
            self.refer(element, "Type", ReferenceKind::EntityType);
            ends.push(end(element, &name));
        }
        let ends = ends.into_iter().collect::<Result<Vec<_>, _>>();
        let two = |ends| <[EndDefinition; 2]>::try_from(ends).map_err(|_| not_two_ends(&name));
        self.definitions.associations.push(ends.and_then(two));
        self.associations.push(name);
        Ok(())
    }

    fn container(&mut self, element: &Element) {
        for element in element.elements() {
            if is_edm(element, "EntitySet") {
                self.refer(element, "EntityType", ReferenceKind::EntityType);
            } else if is_edm(element, "AssociationSet") {
                self.refer(element, "Association", ReferenceKind::Association);
            }
        }
    }

    /// Notes what an attribute names, if it is there.
    fn refer(&mut self, element: &Element, attribute: &str, kind: ReferenceKind) {
        let name = element.attribute("", attribute);
        self.references
            .extend(name.map(|name| (kind, name.to_owned())));
    }

    /// The definitions; a type may name a schema that stands further down, so that types are looked at last.
    fn finish(mut self) -> Result<Definitions, EdmxError> {
        if self.namespaces.is_empty() {
            return Err(definition(
                "there is no Schema of a known namespace".to_owned(),
            ));
        }
        self.check_references()?;
        let out = &mut self.definitions;
        for property in out.complex_properties.iter_mut().chain(&mut out.properties) {
            let local = local_name(&self.namespaces, &property.r#type).map(str::to_owned);
            if let Some(name) = local {
                property.r#type = name;
            }
        }
        Ok(self.definitions)
    }

    /// Whether everything that is named is defined.
    fn check_references(&self) -> Result<(), EdmxError> {
        let out = &self.definitions;
        let defined = [
            (ReferenceKind::ComplexType, &out.complex_types),
            (ReferenceKind::EntityType, &out.entity_types),
            (ReferenceKind::Association, &self.associations),
        ]
        .into_iter()
        .flat_map(|(kind, names)| names.iter().map(move |name| (kind, name.as_str())));
        let is_simple = |kind: ReferenceKind, name: &str| {
            kind == ReferenceKind::ComplexType && name.starts_with("Edm.")
        };
        let named = self
            .references
            .iter()
            .filter(|(kind, name)| !is_simple(*kind, name))
            .map(|reference| {
                let (kind, name) = reference;
                let local = local_name(&self.namespaces, name);
                (reference, local.map(|local| (*kind, local)))
            });
        match find_undefined(defined, named) {
            Some((kind, name)) => Err(definition(format!("{kind:?} {name:?} is not defined"))),
            None => Ok(()),
        }
    }
}

/// The first reference whose key is not defined, or that has none. Definitions and references may be hundreds of
/// thousands, so that each key is looked up in a set.
fn find_undefined<'r, K: Eq + Hash, R>(
    defined: impl Iterator<Item = K>,
    mut named: impl Iterator<Item = (&'r R, Option<K>)>,
) -> Option<&'r R> {
    let defined: HashSet<K> = defined.collect();
    named
        .find(|(_, key)| !key.as_ref().is_some_and(|key| defined.contains(key)))
        .map(|(reference, _)| reference)
}

/// The name in one of the schemas; `None` for names of other schemas.
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
    EdmxError::InvalidDefinition(reason)
}

fn not_two_ends(association: &str) -> EdmxError {
    definition(format!("Association {association:?} has not two of End"))
}

/// The value of an attribute of `what`.
fn required(
    element: &Element,
    attribute: &str,
    what: impl FnOnce() -> String,
) -> Result<String, EdmxError> {
    let value = element.attribute("", attribute).map(str::to_owned);
    value.ok_or_else(|| definition(format!("{} has no {attribute}", what())))
}

fn property(
    element: &Element,
    owner: &Arc<str>,
    name: String,
) -> Result<PropertyDefinition, EdmxError> {
    let plain = |attribute| element.attribute("", attribute).map(str::to_owned);
    let own = |attribute| {
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
        is_declared: own("IsDeclared"),
        unique: own("Unique"),
        unit: own("Unit"),
    })
}

fn end(element: &Element, association: &str) -> Result<EndDefinition, EdmxError> {
    let what = || format!("an End of Association {association:?}");
    let role = required(element, "Role", what)?;
    let (entity_type, name) = role
        .split_once(':')
        .filter(|(entity_type, name)| !entity_type.is_empty() && !name.is_empty())
        .ok_or_else(|| definition(format!("{} has the Role {role:?}", what())))?;
    let multiplicity = required(element, "Multiplicity", what)?;
    Ok(EndDefinition {
        entity_type: entity_type.to_owned(),
        name: name.to_owned(),
        multiplicity: Multiplicity::parse(&multiplicity).ok_or_else(|| {
            definition(format!("{} has the Multiplicity {multiplicity:?}", what()))
        })?,
    })
}

#[cfg(test)]
mod tests;
