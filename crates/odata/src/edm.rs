//! The entity data model: one structure for the fixed control schemas and for schemas that users define.
//!
//! A [`Schema`] is immutable once built; user schemas are rebuilt when a schema entity changes.

pub(crate) mod multiplicity;
mod schema;

pub use multiplicity::Multiplicity;
pub use schema::{NewAssociationEnd, Schema};

use std::collections::HashMap;
use std::sync::Arc;

use crate::constraint::Format;

/// Name of the property that holds the time of creation on every entity.
pub const PUBLISHED: &str = "__published";
/// Name of the property that holds the time of the last change on every entity.
pub const UPDATED: &str = "__updated";
/// Name of the key property of user data and messages.
pub const ID: &str = "__id";
/// Default literal that stands for a generated 32-digit identifier.
pub const DEFAULT_UUID: &str = "UUID()";
/// Default literal (and body text) that stands for the time of the request.
pub const DEFAULT_NOW: &str = "SYSUTCDATETIME()";
/// Default literal that stands for null.
pub const DEFAULT_NULL: &str = "null";

/// A primitive type of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SimpleType {
    /// `Edm.String`
    String,
    /// `Edm.Boolean`
    Boolean,
    /// `Edm.Int32`
    Int32,
    /// `Edm.Single`
    Single,
    /// `Edm.Double`
    Double,
    /// `Edm.DateTime`, milliseconds since 1970
    DateTime,
}

impl SimpleType {
    /// The name as schemas write it, such as `Edm.String`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "Edm.String",
            Self::Boolean => "Edm.Boolean",
            Self::Int32 => "Edm.Int32",
            Self::Single => "Edm.Single",
            Self::Double => "Edm.Double",
            Self::DateTime => "Edm.DateTime",
        }
    }

    /// The type of that name, `None` for a name that is no primitive type.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "Edm.String" => Self::String,
            "Edm.Boolean" => Self::Boolean,
            "Edm.Int32" => Self::Int32,
            "Edm.Single" => Self::Single,
            "Edm.Double" => Self::Double,
            "Edm.DateTime" => Self::DateTime,
            _ => return None,
        })
    }
}

/// What a property holds: a primitive value or a complex value of the named [`ComplexType`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A primitive value.
    Simple(SimpleType),
    /// A complex value; the name is looked up with [`Schema::complex_type`].
    Complex(Arc<str>),
}

impl ValueType {
    /// The primitive type, `None` for complex ones.
    #[must_use]
    pub fn simple(&self) -> Option<SimpleType> {
        match self {
            Self::Simple(simple) => Some(*simple),
            Self::Complex(_) => None,
        }
    }
}

/// Whether a property holds one value or a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CollectionKind {
    /// One value.
    #[default]
    None,
    /// An ordered list of values.
    List,
}

/// Whether a property was declared by a schema or registered by first use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PropertyOrigin {
    /// Part of a fixed schema, or one of the system properties of user data.
    #[default]
    System,
    /// Declared by a user through the schema sets.
    Declared,
    /// Registered by the first entity that used the name.
    Dynamic,
}

/// One property of an entity or complex type.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Name on the wire.
    pub name: Arc<str>,
    /// Type of one value.
    pub value_type: ValueType,
    /// False when null and absence are refused (unless a default applies).
    pub nullable: bool,
    /// Default literal as the schema writes it; see [`DEFAULT_UUID`], [`DEFAULT_NOW`], [`DEFAULT_NULL`].
    pub default: Option<Arc<str>>,
    /// One value or a list.
    pub collection_kind: CollectionKind,
    /// Precision attribute, set on dates.
    pub precision: Option<u8>,
    /// Named value constraint.
    pub format: Option<Format>,
    /// Name of a unique constraint over the set, null values exempt.
    pub unique: Option<Arc<str>>,
    /// Where the property comes from.
    pub origin: PropertyOrigin,
    /// Name under which values are stored when it is not `name` (after a rename).
    pub alias: Option<Arc<str>>,
}

impl Property {
    /// A nullable single-valued property of a primitive type without default or format.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, simple: SimpleType) -> Self {
        Self {
            name: name.into(),
            value_type: ValueType::Simple(simple),
            nullable: true,
            default: None,
            collection_kind: CollectionKind::None,
            precision: None,
            format: None,
            unique: None,
            origin: PropertyOrigin::System,
            alias: None,
        }
    }

    /// A nullable property that holds values of the named complex type.
    #[must_use]
    pub fn complex(name: impl Into<Arc<str>>, type_name: impl Into<Arc<str>>) -> Self {
        let mut property = Self::new(name, SimpleType::String);
        property.value_type = ValueType::Complex(type_name.into());
        property
    }

    /// The property `__published` or `__updated`.
    #[must_use]
    pub fn timestamp(name: &'static str) -> Self {
        let mut property = Self::new(name, SimpleType::DateTime)
            .required()
            .with_default(DEFAULT_NOW);
        property.precision = Some(3);
        property
    }

    /// Refuses null.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// Sets the default literal.
    #[must_use]
    pub fn with_default(mut self, literal: impl Into<Arc<str>>) -> Self {
        self.default = Some(literal.into());
        self
    }

    /// Sets the value constraint.
    #[must_use]
    pub fn with_format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Makes the property a list.
    #[must_use]
    pub fn list(mut self) -> Self {
        self.collection_kind = CollectionKind::List;
        self
    }

    /// Sets where the property comes from.
    #[must_use]
    pub fn with_origin(mut self, origin: PropertyOrigin) -> Self {
        self.origin = origin;
        self
    }

    /// Name under which values are stored.
    #[must_use]
    pub fn stored_name(&self) -> &Arc<str> {
        self.alias.as_ref().unwrap_or(&self.name)
    }

    /// True for `__published` and `__updated`, which the server sets.
    #[must_use]
    pub fn is_timestamp(&self) -> bool {
        &*self.name == PUBLISHED || &*self.name == UPDATED
    }

    /// True for properties registered by first use.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.origin == PropertyOrigin::Dynamic
    }

    /// True when the property is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.collection_kind == CollectionKind::List
    }
}

/// Properties of one type in schema order, found by name in constant time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PropertyList {
    ordered: Vec<Property>,
    index: HashMap<Arc<str>, usize>,
}

impl PropertyList {
    /// Takes the properties in schema order; of two with one name the later is found by name.
    #[must_use]
    pub fn new(ordered: Vec<Property>) -> Self {
        let index = ordered
            .iter()
            .enumerate()
            .map(|(at, property)| (property.name.clone(), at))
            .collect();
        Self { ordered, index }
    }

    /// The property of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.position(name).and_then(|at| self.ordered.get(at))
    }

    /// Position of the property in schema order.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// All properties in schema order.
    pub fn iter(&self) -> std::slice::Iter<'_, Property> {
        self.ordered.iter()
    }

    /// Number of properties.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ordered.len()
    }

    /// True without properties.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }
}

impl<'a> IntoIterator for &'a PropertyList {
    type Item = &'a Property;
    type IntoIter = std::slice::Iter<'a, Property>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A named group of properties used as the value of another property.
#[derive(Clone, Debug, PartialEq)]
pub struct ComplexType {
    /// Name without namespace.
    pub name: Arc<str>,
    /// Members in schema order.
    pub properties: PropertyList,
}

/// One end of an [`Association`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociationEnd {
    /// Role name, unique in the association except for self relations.
    pub role: Arc<str>,
    /// Entity type at this end.
    pub entity_type: Arc<str>,
    /// How many entities of this type one entity of the other end sees.
    pub multiplicity: Multiplicity,
}

/// A relation between two entity types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// Name such as `Box-Role-assoc`.
    pub name: Arc<str>,
    /// The first end; for a self relation both ends are equal in type.
    pub a: AssociationEnd,
    /// The second end.
    pub b: AssociationEnd,
}

/// A way from one entity type along an association.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NavigationProperty {
    /// Name on the wire, with its leading underscore.
    pub name: Arc<str>,
    /// Name of the association.
    pub association: Arc<str>,
    /// Entity type that is reached.
    pub target: Arc<str>,
    /// Multiplicity of the end on the type that has this property.
    pub from_multiplicity: Multiplicity,
    /// Multiplicity of the target's end: `Many` means that the property leads to a list.
    pub to_multiplicity: Multiplicity,
    /// Role of the end this property starts from.
    pub from_role: Arc<str>,
    /// Role of the end this property leads to.
    pub to_role: Arc<str>,
}

/// Whether undeclared members may appear in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Openness {
    /// Undeclared members are refused.
    #[default]
    Closed,
    /// Undeclared members become dynamic properties.
    Open,
}

/// Which checks across several members apply to a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntityRules {
    /// No further check.
    #[default]
    None,
    /// Event, action and target of a rule fit together.
    Rule,
    /// Default value, collection kind and type of a schema property fit together.
    SchemaProperty,
}

/// An entity type; its set has the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityType {
    /// Name of type and set.
    pub name: Arc<str>,
    /// Key property names in schema order.
    pub key: Vec<Arc<str>>,
    /// Properties in schema order.
    pub properties: PropertyList,
    /// Open (user data) or closed (control and schema sets).
    pub openness: Openness,
    /// Navigation properties in schema order.
    pub navigation: Vec<NavigationProperty>,
    /// Checks across members.
    pub entity_rules: EntityRules,
    /// Key members that a MERGE body has to name although the URL names them too.
    pub required_in_merge: Vec<Arc<str>>,
}

impl EntityType {
    /// A closed type without navigation properties.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, key: &[&str], properties: Vec<Property>) -> Self {
        Self {
            name: name.into(),
            key: key.iter().map(|part| Arc::from(*part)).collect(),
            properties: PropertyList::new(properties),
            openness: Openness::Closed,
            navigation: Vec::new(),
            entity_rules: EntityRules::None,
            required_in_merge: Vec::new(),
        }
    }

    /// A user-data type: key `__id`, the two stamps, then the given properties ordered by name.
    #[must_use]
    pub fn user_data(name: impl Into<Arc<str>>, mut properties: Vec<Property>) -> Self {
        properties.sort_by(|a, b| a.name.cmp(&b.name));
        let mut all = vec![
            Property::new(ID, SimpleType::String)
                .required()
                .with_default(DEFAULT_UUID)
                .with_format(Format::EntityId),
            Property::timestamp(PUBLISHED),
            Property::timestamp(UPDATED),
        ];
        all.append(&mut properties);
        let mut made = Self::new(name, &[ID], all);
        made.openness = Openness::Open;
        made
    }

    /// True when undeclared members become dynamic properties.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.openness == Openness::Open
    }

    /// The navigation property of that name.
    #[must_use]
    pub fn navigation(&self, name: &str) -> Option<&NavigationProperty> {
        self.navigation
            .iter()
            .find(|navigation| &*navigation.name == name)
    }

    /// True when the property is part of the key.
    #[must_use]
    pub fn is_key(&self, name: &str) -> bool {
        self.key.iter().any(|part| &**part == name)
    }
}
