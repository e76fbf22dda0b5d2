//! Reading a metadata document into the definitions it holds.

use std::collections::HashSet;
use std::sync::Arc;

use super::{EDM_NAMESPACE, EDMX_NAMESPACE, OWN_NAMESPACE};
use crate::edm::Multiplicity;
use crate::xml::read::{Document, Element, NotXml, Step};

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
    pub associations: Vec<Result<[EndDefinition; 2], EdmxFault>>,
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
pub enum EdmxFault {
    /// Not well-formed, or XML that is not accepted; says why.
    #[error("the document is not acceptable XML: {0}")]
    NotXml(String),
    /// Well-formed, but an element or attribute is missing or wrong; names it.
    #[error("the document is no metadata document: {0}")]
    Definition(String),
}

impl From<NotXml> for EdmxFault {
    fn from(NotXml(reason): NotXml) -> Self {
        Self::NotXml(reason)
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
/// [`EdmxFault::NotXml`] also for document type declarations, processing instructions, entities that XML does not
/// predefine, encodings other than UTF-8, and more than 64 levels of elements. The number of bytes is for the
/// caller to bound.
pub fn read(bytes: &[u8]) -> Result<Definitions, EdmxFault> {
    let mut document = Document::new(bytes)?;
    let mut reading = Ok(Reading::default());
    // to the end in any case: that a definition is wrong is said of well-formed documents only
    while let Some(step) = document.next()? {
        reading = reading.and_then(|reading| reading.step(step));
    }
    reading?.finish()
}

/// An open element.
enum Place {
    Edmx,
    DataServices,
    Schema,
    ComplexType(Arc<str>),
    EntityType(Arc<str>),
    Association(String, Result<Vec<EndDefinition>, EdmxFault>),
    Container,
    Other,
}

/// What was read so far.
#[derive(Default)]
struct Reading {
    places: Vec<Place>,
    namespaces: HashSet<String>,
    definitions: Definitions,
    /// Names of the associations.
    associations: HashSet<String>,
    /// What is named and must be defined somewhere in the document.
    references: Vec<(Reference, String)>,
}

/// The kinds of definitions that others name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reference {
    ComplexType,
    EntityType,
    Association,
}

impl Reading {
    fn step(mut self, step: Step) -> Result<Self, EdmxFault> {
        match step {
            Step::Open(element) => {
                let place = self.enter(&element)?;
                self.places.push(place);
            }
            Step::Close => self.leave(),
        }
        Ok(self)
    }

    fn enter(&mut self, element: &Element) -> Result<Place, EdmxFault> {
        let local = element.local();
        let is_edmx = element.namespace() == EDMX_NAMESPACE;
        let is_edm = EDM_NAMESPACES.contains(&element.namespace());
        let out = &mut self.definitions;
        Ok(match self.places.last_mut() {
            None if is_edmx && local == "Edmx" => Place::Edmx,
            None => return Err(definition(format!("the root is {local}, not edmx:Edmx"))),
            Some(Place::Edmx) if is_edmx && local == "DataServices" => Place::DataServices,
            Some(Place::DataServices) if is_edm && local == "Schema" => {
                let namespace = required(element, "Namespace", || "a Schema".to_owned())?;
                self.namespaces.insert(namespace);
                Place::Schema
            }
            Some(Place::Schema) if is_edm => match local {
                "ComplexType" => {
                    let name = required(element, "Name", || "a ComplexType".to_owned())?;
                    out.complex_types.push(name.clone());
                    Place::ComplexType(name.into())
                }
                "EntityType" => {
                    let name = required(element, "Name", || "an EntityType".to_owned())?;
                    out.entity_types.push(name.clone());
                    Place::EntityType(name.into())
                }
                "Association" => {
                    let name = required(element, "Name", || "an Association".to_owned())?;
                    self.associations.insert(name.clone());
                    Place::Association(name, Ok(Vec::with_capacity(2)))
                }
                "EntityContainer" => Place::Container,
                _ => Place::Other,
            },
            Some(Place::Container) if is_edm => {
                self.references.extend(match local {
                    "EntitySet" => reference(element, "EntityType", Reference::EntityType),
                    "AssociationSet" => reference(element, "Association", Reference::Association),
                    _ => None,
                });
                Place::Other
            }
            Some(Place::ComplexType(owner)) if is_edm && local == "Property" => {
                let name = property_name(element, owner)?;
                self.references
                    .extend(reference(element, "Type", Reference::ComplexType));
                out.complex_properties.push(property(element, owner, name)?);
                Place::Other
            }
            Some(Place::EntityType(owner)) if is_edm && local == "Property" => {
                let name = property_name(element, owner)?;
                self.references
                    .extend(reference(element, "Type", Reference::ComplexType));
                if !name.starts_with('_') {
                    out.properties.push(property(element, owner, name)?);
                }
                Place::Other
            }
            Some(Place::Association(name, ends)) if is_edm && local == "End" => {
                self.references
                    .extend(reference(element, "Type", Reference::EntityType));
                if let Ok(known) = ends {
                    match end(element, name) {
                        Ok(_) if known.len() == 2 => *ends = Err(not_two_ends(name)),
                        Ok(end) => known.push(end),
                        Err(fault) => *ends = Err(fault),
                    }
                }
                Place::Other
            }
            Some(_) => Place::Other,
        })
    }

    fn leave(&mut self) {
        if let Some(Place::Association(name, ends)) = self.places.pop() {
            let two = |ends| <[EndDefinition; 2]>::try_from(ends).map_err(|_| not_two_ends(&name));
            self.definitions.associations.push(ends.and_then(two));
        }
    }

    /// The definitions; a type may name a schema that stands further down, so that types are looked at last.
    fn finish(mut self) -> Result<Definitions, EdmxFault> {
        if self.namespaces.is_empty() {
            return Err(definition(
                "there is no Schema of a known namespace".to_owned(),
            ));
        }
        for (kind, name) in &self.references {
            if !self.defines(*kind, name) {
                return Err(definition(format!("{kind:?} {name:?} is not defined")));
            }
        }
        let out = &mut self.definitions;
        for property in out.complex_properties.iter_mut().chain(&mut out.properties) {
            let local = local_name(&self.namespaces, &property.r#type).map(str::to_owned);
            if let Some(name) = local {
                property.r#type = name;
            }
        }
        Ok(self.definitions)
    }

    /// Whether the document defines what is named.
    fn defines(&self, kind: Reference, name: &str) -> bool {
        if kind == Reference::ComplexType && name.starts_with("Edm.") {
            return true;
        }
        let Some(local) = local_name(&self.namespaces, name) else {
            return false;
        };
        let listed = |names: &[String]| names.iter().any(|known| known == local);
        match kind {
            Reference::ComplexType => listed(&self.definitions.complex_types),
            Reference::EntityType => listed(&self.definitions.entity_types),
            Reference::Association => self.associations.contains(local),
        }
    }
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

/// What an attribute names; `None` if it is not there.
fn reference(element: &Element, attribute: &str, kind: Reference) -> Option<(Reference, String)> {
    let name = element.attribute("", attribute)?;
    Some((kind, name.to_owned()))
}

fn definition(reason: String) -> EdmxFault {
    EdmxFault::Definition(reason)
}

fn not_two_ends(association: &str) -> EdmxFault {
    definition(format!("Association {association:?} has not two of End"))
}

/// The value of an attribute of `what`.
fn required(
    element: &Element,
    attribute: &str,
    what: impl FnOnce() -> String,
) -> Result<String, EdmxFault> {
    let value = element.attribute("", attribute).map(str::to_owned);
    value.ok_or_else(|| definition(format!("{} has no {attribute}", what())))
}

fn property_name(element: &Element, owner: &str) -> Result<String, EdmxFault> {
    required(element, "Name", || format!("a Property of {owner:?}"))
}

fn property(
    element: &Element,
    owner: &Arc<str>,
    name: String,
) -> Result<PropertyDefinition, EdmxFault> {
    let plain = |attribute| element.attribute("", attribute).map(str::to_owned);
    let own = |attribute| {
        element
            .attribute(OWN_NAMESPACE, attribute)
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

fn end(element: &Element, association: &str) -> Result<EndDefinition, EdmxFault> {
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
