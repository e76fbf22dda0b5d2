//! The entity data model (EDM): entity types, properties and associations.
//!
//! The fixed schemas of [`crate::control`] and the schemas that users define have the same structure. A schema does not
//! change after it was built: a change of a schema entity builds a new one.
//!
//! ```
//! use personium_odata::edm::{
//!     EntityType, Multiplicity, NewAssociationEnd, Property, Schema, SimpleType,
//! };
//!
//! let mut schema = Schema::new("UserData");
//! schema.add_type(EntityType::user_data("Author", vec![]));
//! let title = Property::new("title", SimpleType::String).required();
//! schema.add_type(EntityType::user_data("Book", vec![title]));
//! schema.add_association(
//!     NewAssociationEnd::new("Author", Multiplicity::One, "_Book"),
//!     NewAssociationEnd::new("Book", Multiplicity::Many, "_Author"),
//! );
//!
//! let book = schema.entity_type("Book").unwrap();
//! assert_eq!(book.properties.position("title"), Some(3), "after __id, __published, __updated");
//! let author = book.navigation("_Author").unwrap();
//! assert_eq!((&*author.target, author.to_multiplicity), ("Author", Multiplicity::One));
//! assert_eq!(&*schema.associations()[0].name, "Author-Book-assoc");
//! ```

mod schema;

pub use crate::multiplicity::Multiplicity;
pub use schema::{NewAssociationEnd, Schema};

use std::collections::HashMap;
use std::sync::Arc;

use crate::constraint::Format;

/// The property of every entity with the time of its creation.
pub const PUBLISHED: &str = "__published";
/// The property of every entity with the time of its last change.
pub const UPDATED: &str = "__updated";
/// The key property of user data and messages.
pub const ID: &str = "__id";
/// The default literal for a generated identifier of 32 hexadecimal digits.
pub const DEFAULT_UUID: &str = "UUID()";
/// The default literal for the time of the request. Bodies may use it too.
pub const DEFAULT_NOW: &str = "SYSUTCDATETIME()";
/// The default literal for null.
pub const DEFAULT_NULL: &str = "null";

/// A primitive type (EDMSimpleType).
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
    /// The qualified name, such as `Edm.String`.
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

    /// The type with this qualified name, `None` if no primitive type has it.
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

/// The type of the values of a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A primitive type.
    Simple(SimpleType),
    /// The complex type with this name, see [`Schema::complex_type`].
    Complex(Arc<str>),
}

impl ValueType {
    /// The primitive type, `None` for a complex type.
    #[must_use]
    pub fn simple(&self) -> Option<SimpleType> {
        match self {
            Self::Simple(simple) => Some(*simple),
            Self::Complex(_) => None,
        }
    }
}

/// The number of values that a property holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CollectionKind {
    /// One value.
    #[default]
    None,
    /// An ordered list of values.
    List,
}

/// The origin of a property.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PropertyOrigin {
    /// A fixed schema has the property, or it is a system property of user data.
    #[default]
    System,
    /// A user declared the property through the schema sets.
    Declared,
    /// The first entity with the property registered it.
    Dynamic,
}

/// A property of an entity type or complex type.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// The name in requests and responses.
    pub name: Arc<str>,
    /// The type of one value.
    pub value_type: ValueType,
    /// Whether null and absence are accepted. A default value applies first.
    pub nullable: bool,
    /// The literal of the default value; [`DEFAULT_UUID`], [`DEFAULT_NOW`] and [`DEFAULT_NULL`] have a meaning.
    pub default: Option<Arc<str>>,
    /// Whether the property holds one value or a list.
    pub collection_kind: CollectionKind,
    /// The precision of a date, in digits of the second.
    pub precision: Option<u8>,
    /// The format of the values.
    pub format: Option<Format>,
    /// The name of a unique constraint over the set. Null values may repeat.
    pub unique: Option<Arc<str>>,
    /// The origin of the property.
    pub origin: PropertyOrigin,
    /// The name in stored entities, if the property was renamed.
    pub alias: Option<Arc<str>>,
}

impl Property {
    /// A nullable property of a primitive type, with one value, without default and format.
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

    /// A nullable property of a complex type, with one value.
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

    /// Makes the property refuse null.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.nullable = false;
        self
    }

    /// Sets the literal of the default value.
    #[must_use]
    pub fn with_default(mut self, literal: impl Into<Arc<str>>) -> Self {
        self.default = Some(literal.into());
        self
    }

    /// Sets the format.
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

    /// Sets the origin.
    #[must_use]
    pub fn with_origin(mut self, origin: PropertyOrigin) -> Self {
        self.origin = origin;
        self
    }

    /// The name in stored entities.
    #[must_use]
    pub fn stored_name(&self) -> &Arc<str> {
        self.alias.as_ref().unwrap_or(&self.name)
    }

    /// Returns true for `__published` and `__updated`, which the unit sets.
    #[must_use]
    pub fn is_timestamp(&self) -> bool {
        &*self.name == PUBLISHED || &*self.name == UPDATED
    }

    /// Returns true if the first entity with the property registered it.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        self.origin == PropertyOrigin::Dynamic
    }

    /// Returns true if the property holds a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.collection_kind == CollectionKind::List
    }
}

/// The properties of one type in schema order, with an index by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PropertyList {
    ordered: Vec<Property>,
    index: HashMap<Arc<str>, usize>,
}

impl PropertyList {
    /// A list of these properties in schema order. Of two properties with one name the index has the last.
    #[must_use]
    pub fn new(ordered: Vec<Property>) -> Self {
        let index = ordered
            .iter()
            .enumerate()
            .map(|(at, property)| (property.name.clone(), at))
            .collect();
        Self { ordered, index }
    }

    /// The property with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Property> {
        self.position(name).and_then(|at| self.ordered.get(at))
    }

    /// The position of the property with this name in schema order.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The properties in schema order.
    pub fn iter(&self) -> std::slice::Iter<'_, Property> {
        self.ordered.iter()
    }

    /// The number of properties.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ordered.len()
    }

    /// Returns true if there are no properties.
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

/// A complex type: a group of members that is the type of a property.
#[derive(Clone, Debug, PartialEq)]
pub struct ComplexType {
    /// The name without namespace.
    pub name: Arc<str>,
    /// The members in schema order.
    pub properties: PropertyList,
}

/// One end of an [`Association`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociationEnd {
    /// The role. It is unique in the association unless a type is associated with itself.
    pub role: Arc<str>,
    /// The entity type at this end.
    pub entity_type: Arc<str>,
    /// The number of entities of this type that one entity of the other end is linked to.
    pub multiplicity: Multiplicity,
}

/// An association between two entity types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Association {
    /// The name, such as `Box-Role-assoc`.
    pub name: Arc<str>,
    /// The first end.
    pub a: AssociationEnd,
    /// The second end.
    pub b: AssociationEnd,
}

/// A property that leads from one entity type along an association to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NavigationProperty {
    /// The name in requests and responses, which begins with an underscore.
    pub name: Arc<str>,
    /// The name of the association.
    pub association: Arc<str>,
    /// The entity type it leads to.
    pub target: Arc<str>,
    /// The multiplicity of the end on the type with this property.
    pub from_multiplicity: Multiplicity,
    /// The multiplicity of the other end: with `Many` the property leads to a list.
    pub to_multiplicity: Multiplicity,
    /// The role of the end on the type with this property.
    pub from_role: Arc<str>,
    /// The role of the other end.
    pub to_role: Arc<str>,
}

/// The treatment of undeclared members of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Openness {
    /// Undeclared members are refused.
    #[default]
    Closed,
    /// Undeclared members are registered as dynamic properties.
    Open,
}

/// The rules across several members of an entity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EntityRules {
    /// No rule.
    #[default]
    None,
    /// Event, action and target of a rule have to fit together.
    Rule,
    /// Default value, collection kind and type of a schema property have to fit together.
    SchemaProperty,
}

/// An entity type. Its entity set has the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityType {
    /// The name of type and set.
    pub name: Arc<str>,
    /// The names of the key properties in schema order.
    pub key: Vec<Arc<str>>,
    /// The properties in schema order.
    pub properties: PropertyList,
    /// Whether undeclared members are accepted: user data is open, control and schema sets are closed.
    pub openness: Openness,
    /// The navigation properties in schema order.
    pub navigation: Vec<NavigationProperty>,
    /// The rules across several members.
    pub entity_rules: EntityRules,
    /// The key properties that the body of a MERGE request has to have.
    pub required_in_merge: Vec<Arc<str>>,
}

impl EntityType {
    /// A closed type without navigation properties and rules across members.
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

    /// An open type of user data: the key `__id`, the two time stamps, then the given properties ordered by name.
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
        let mut entity_type = Self::new(name, &[ID], all);
        entity_type.openness = Openness::Open;
        entity_type
    }

    /// Returns true if undeclared members are accepted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.openness == Openness::Open
    }

    /// The navigation property with this name.
    #[must_use]
    pub fn navigation(&self, name: &str) -> Option<&NavigationProperty> {
        self.navigation
            .iter()
            .find(|navigation| &*navigation.name == name)
    }

    /// Returns true if the property is part of the key.
    #[must_use]
    pub fn is_key(&self, name: &str) -> bool {
        self.key.iter().any(|part| &**part == name)
    }
}
