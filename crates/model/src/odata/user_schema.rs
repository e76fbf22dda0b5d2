//! The schema of an OData collection, from the declarations of users.

use std::collections::HashMap;
use std::sync::Arc;

use personium_odata::control::USER_NAMESPACE;
use personium_odata::edm::{
    ComplexType, EntityType, Multiplicity, NewAssociationEnd, Property, PropertyList,
    PropertyOrigin, Schema, SimpleType, ValueType,
};
use personium_odata::value::Value;
use personium_store::CommitSeq;
use personium_types::{NodeId, Result};

use crate::cell_context::CellContext;
use crate::entity::{self, StoredEntity};
use crate::keys::{self, ControlSet, SetKey};
use crate::records::{Records, Versioned};

/// The largest number of schema objects of one kind that are read; far above the limits on creating them.
pub(super) const MAX_OBJECTS: usize = 100_000;
/// The hidden value of two linked association ends with the id under which the links along their association are
/// stored.
pub(super) const ASSOCIATION_TAG: &str = "Tag";
/// The hidden value of a property with the name under which its values are stored.
pub(super) const STORED_NAME: &str = "Alias";

/// A user schema with the ids that are part of keys.
#[derive(Debug)]
pub struct UserSchema {
    /// Types, properties and associations.
    pub edm: Schema,
    /// The version of the schema record. It was read before everything else here, so the rest is not older. `None` before
    /// the first change.
    pub(super) version: Option<CommitSeq>,
    types: HashMap<String, NodeId>,
    associations: HashMap<String, NodeId>,
}

impl UserSchema {
    /// The entity id of the entity type of this name.
    #[must_use]
    pub fn type_id(&self, name: &str) -> Option<NodeId> {
        self.types.get(name).copied()
    }

    /// The name of the entity type with this entity id.
    #[must_use]
    pub fn name_of_type(&self, id: &NodeId) -> Option<&str> {
        let mut types = self.types.iter();
        types
            .find(|(_, found)| *found == id)
            .map(|(name, _)| name.as_str())
    }

    /// The entity type that entities of a type are linked to by links that are stored under this id.
    #[must_use]
    pub fn linked_type(&self, type_id: &NodeId, association: &NodeId) -> Option<NodeId> {
        let entity_type = self.edm.entity_type(self.name_of_type(type_id)?)?;
        let mut ends = entity_type.navigation.iter();
        let end = ends.find(|end| self.association_id(&end.association) == Some(*association))?;
        self.type_id(&end.target)
    }

    /// The id under which the links along this association are stored.
    #[must_use]
    pub fn association_id(&self, name: &str) -> Option<NodeId> {
        self.associations.get(name).copied()
    }
}

type Loaded = Vec<(String, Versioned<StoredEntity>)>;

/// Loads the current schema of a collection.
///
/// # Errors
/// Failures of the store.
pub(super) async fn load(context: &CellContext, collection: &NodeId) -> Result<Arc<UserSchema>> {
    let cache_key = format!("schema/{collection}");
    if let Some(found) = context.get_cached(&cache_key) {
        return Ok(found);
    }
    let schema = read(context.records(), collection).await?;
    Ok(context.insert_cached(cache_key, schema))
}

/// Reads the current schema of a collection from the records.
///
/// # Errors
/// Failures of the store.
pub(super) async fn read(records: &Records, collection: &NodeId) -> Result<UserSchema> {
    let version = records
        .find_version(&keys::schema_version(collection))
        .await?;
    let list = |set| async move {
        entity::list(records, &SetKey::schema(collection, set), MAX_OBJECTS).await
    };
    let types = list(ControlSet::EntityType).await?;
    let properties = list(ControlSet::Property).await?;
    let complex = list(ControlSet::ComplexType).await?;
    let members = list(ControlSet::ComplexTypeProperty).await?;
    let ends = list(ControlSet::AssociationEnd).await?;
    let mut schema = build(&types, &properties, &complex, &members, &ends);
    schema.version = version;
    Ok(schema)
}

fn build(
    types: &Loaded,
    properties: &Loaded,
    complex: &Loaded,
    members: &Loaded,
    ends: &Loaded,
) -> UserSchema {
    let mut edm = Schema::new(USER_NAMESPACE);
    for (id, e) in sorted(complex) {
        let Some(name) = e.text("Name") else { continue };
        let mut own: Vec<Property> = of_owner(members, "ComplexType", id).collect();
        own.sort_by(|a, b| a.name.cmp(&b.name));
        edm.add_complex_type(ComplexType {
            name: name.into(),
            properties: PropertyList::new(own),
        });
    }
    let mut ids = HashMap::new();
    let mut names = HashMap::new();
    for (id, e) in sorted(types) {
        let (Some(name), Ok(node)) = (e.text("Name"), id.parse::<NodeId>()) else {
            continue;
        };
        ids.insert(name.clone(), node);
        names.insert(id.to_owned(), name.clone());
        let own = of_owner(properties, "EntityType", id).collect();
        edm.add_type(EntityType::user_data(name, own));
    }
    let associations = relate(&mut edm, ends, &names);
    UserSchema {
        edm,
        version: None,
        types: ids,
        associations,
    }
}

fn sorted(list: &Loaded) -> Vec<(&str, &StoredEntity)> {
    let mut out: Vec<_> = list.iter().map(|(id, e)| (id.as_str(), &e.value)).collect();
    out.sort_by_cached_key(|(_, e)| e.text("Name"));
    out
}

fn of_owner<'a>(
    list: &'a Loaded,
    link: &'a str,
    owner: &'a str,
) -> impl Iterator<Item = Property> + 'a {
    list.iter()
        .filter(move |(_, e)| e.value.links.get(link).is_some_and(|id| id == owner))
        .filter_map(|(_, e)| property(&e.value))
}

/// Converts a stored `Property` or `ComplexTypeProperty`.
pub(super) fn property(e: &StoredEntity) -> Option<Property> {
    let name = e.text("Name")?;
    let kind = e.text("Type")?;
    let mut out = match SimpleType::from_name(&kind) {
        Some(simple) => Property::new(name, simple),
        None => Property {
            value_type: ValueType::Complex(kind.into()),
            ..Property::new(name, SimpleType::String)
        },
    };
    out.nullable = !matches!(e.doc.get("Nullable"), Some(Value::Bool(false)));
    out.default = e.text("DefaultValue").map(Into::into);
    if e.text("CollectionKind").as_deref() == Some("List") {
        out = out.list();
    }
    out.alias = e.hidden.get(STORED_NAME).map(|alias| alias.as_str().into());
    let dynamic = matches!(e.doc.get("IsDeclared"), Some(Value::Bool(false)));
    out.origin = if dynamic {
        PropertyOrigin::Dynamic
    } else {
        PropertyOrigin::Declared
    };
    Some(out)
}

/// Adds the associations of linked association ends. Returns the ids under which their links are stored.
fn relate(
    edm: &mut Schema,
    ends: &Loaded,
    names: &HashMap<String, String>,
) -> HashMap<String, NodeId> {
    let mut out = HashMap::new();
    let by_id: HashMap<&str, &StoredEntity> =
        ends.iter().map(|(id, e)| (id.as_str(), &e.value)).collect();
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for (id, e) in sorted(ends) {
        let Some(partner) = e.links.get("AssociationEnd") else {
            continue;
        };
        if !pairs
            .iter()
            .any(|(a, b)| (*b == id && *a == partner) || (*a == id && *b == partner))
        {
            pairs.push((id, partner));
        }
    }
    for (id_a, id_b) in pairs {
        let described = |id: &str| -> Option<(String, String, Multiplicity)> {
            let e = by_id.get(id)?;
            let type_name = names.get(e.links.get("EntityType")?)?.clone();
            Some((
                type_name,
                e.text("Name")?,
                Multiplicity::parse(&e.text("Multiplicity")?)?,
            ))
        };
        let (Some(a), Some(b)) = (described(id_a), described(id_b)) else {
            continue;
        };
        let name = format!("{}-{}-assoc", a.0, b.0);
        let (role_a, role_b) = (format!("{}:{}", a.0, a.1), format!("{}:{}", b.0, b.1));
        let (nav_a, nav_b) = (format!("_{}", b.0), format!("_{}", a.0));
        edm.add_named_association(
            &name,
            NewAssociationEnd::new(&a.0, a.2, &nav_a).with_role(&role_a),
            NewAssociationEnd::new(&b.0, b.2, &nav_b).with_role(&role_b),
        );
        let tag = |id: &str| by_id.get(id)?.hidden.get(ASSOCIATION_TAG);
        // Ends that were linked before tags existed use the smaller one of their ids.
        let tag = tag(id_a).filter(|own| tag(id_b) == Some(own));
        if let Ok(id) = tag.map_or(id_a.min(id_b), String::as_str).parse() {
            out.insert(name, id);
        }
    }
    out
}
