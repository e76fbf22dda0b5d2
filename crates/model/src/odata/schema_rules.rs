//! Rules of the schema sets of OData collections.

use personium_odata::edm::{PropertyList, Schema, ValueType};
use personium_odata::value::{Properties, Value};
use personium_store::{Batch, Expect};
use personium_types::{Code, Error, NodeId, Result};

use super::association::Association;
use super::load::Entity;
use super::property_limits;
use super::root::{RootScope, ServiceRoot, SetRef};
use super::user_schema::{self, ASSOCIATION_TAG, MAX_OBJECTS, STORED_NAME};
use crate::entity::{self, StoredEntity};
use crate::keys::{self, ControlSet, SetKey};
use crate::usage;

/// Checks the creation of a schema object.
///
/// # Errors
/// [`Code::EntityTypeLimit`] or [`Code::PropertyLimit`]; [`Code::FieldFormat`] for a required property of a type with
/// data; failures of the store.
pub(super) async fn check_create(
    root: &ServiceRoot,
    set: &SetRef,
    properties: &Properties,
    parent: Option<&str>,
    batch: &mut Batch,
) -> Result<()> {
    let RootScope::Schema(collection) = root.scope() else {
        return Ok(());
    };
    let limits = &root.unit.settings().odata;
    match set.control {
        Some(ControlSet::EntityType) => {
            let count = root.records.counter(&keys::entity_count(&set.key)).await?;
            if u64::try_from(count).unwrap_or(0) >= limits.entity_types_max {
                return Err(Code::EntityTypeLimit.into());
            }
            Ok(())
        }
        Some(ControlSet::Property) => {
            let is_required = matches!(properties.get("Nullable"), Some(Value::Bool(false)));
            if let (true, Some(type_id)) =
                (is_required, parent.and_then(|p| p.parse::<NodeId>().ok()))
            {
                let data = keys::entities(&SetKey::data(&collection, &type_id));
                if !root.records.is_empty(&data).await? {
                    return Err(Error::new(Code::FieldFormat).with("Nullable"));
                }
                batch.assert_empty(data);
            }
            check_property_limits(root, &collection, set, properties).await
        }
        Some(ControlSet::ComplexTypeProperty) => {
            check_property_limits(root, &collection, set, properties).await
        }
        _ => Ok(()),
    }
}

/// Checks a declared property against the limits on the number of properties.
async fn check_property_limits(
    root: &ServiceRoot,
    collection: &NodeId,
    set: &SetRef,
    properties: &Properties,
) -> Result<()> {
    let Some(context) = root.context() else {
        return Ok(());
    };
    let schema = user_schema::load(context, collection).await?;
    let limits = &root.unit.settings().odata;
    property_limits::check_declared(&schema.edm, set, properties, limits)
}

/// Sets another stored name for a new property, if its name is the stored name of a renamed one.
pub(super) async fn choose_stored_name(
    root: &ServiceRoot,
    set: &SetRef,
    properties: &Properties,
    parent: Option<&str>,
    stored: &mut StoredEntity,
) -> Result<()> {
    let link = match set.control {
        Some(ControlSet::Property) => "EntityType",
        Some(ControlSet::ComplexTypeProperty) => "ComplexType",
        _ => return Ok(()),
    };
    let Some(name) = properties.text("Name") else {
        return Ok(());
    };
    let siblings = entity::list(&root.records, &set.key, MAX_OBJECTS).await?;
    let is_taken = siblings.iter().any(|(_, e)| {
        e.value.links.get(link).map(String::as_str) == parent
            && e.value.hidden.get(STORED_NAME).is_some_and(|a| a == name)
    });
    if is_taken {
        stored.hidden.insert(
            STORED_NAME.to_owned(),
            format!("@{}", NodeId::random(root.unit.random())),
        );
    }
    Ok(())
}

/// Gives two linked association ends a new tag, under which the links of their entities are stored. Links along an
/// earlier association of the ends have another tag, so they do not reappear.
pub(super) fn tag_ends(root: &ServiceRoot, one: &mut Entity, other: &mut Entity) {
    let tag = NodeId::at(root.unit.now_ms(), root.unit.random()).to_string();
    for end in [one, other] {
        end.stored
            .hidden
            .insert(ASSOCIATION_TAG.to_owned(), tag.clone());
    }
}

/// Whether the deletion of an entity of a set cascades to the entities of an association.
pub(super) fn cascades_to(set: &SetRef, association: &Association) -> bool {
    // Dynamic properties are deleted with their entity type; `check_delete` refuses declared ones.
    set.control == Some(ControlSet::EntityType)
        && association.target.set.control == Some(ControlSet::Property)
}

/// Refuses any change of a complex type that is in use.
///
/// # Errors
/// [`Code::HasRelated`]; failures of the store.
pub(super) async fn check_not_used(
    root: &ServiceRoot,
    set: &SetRef,
    before: &Entity,
) -> Result<()> {
    if set.control == Some(ControlSet::ComplexType) && is_complex_type_used(root, before).await? {
        return Err(Code::HasRelated.into());
    }
    Ok(())
}

async fn is_complex_type_used(root: &ServiceRoot, complex: &Entity) -> Result<bool> {
    let RootScope::Schema(collection) = root.scope() else {
        return Ok(false);
    };
    let name = complex.properties.text("Name").unwrap_or_default();
    for set in [ControlSet::Property, ControlSet::ComplexTypeProperty] {
        let all = entity::list(
            &root.records,
            &SetKey::schema(&collection, set),
            MAX_OBJECTS,
        )
        .await?;
        if all
            .iter()
            .any(|(_, e)| e.value.text("Type").as_deref() == Some(name))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks a change of a schema object.
///
/// # Errors
/// [`Code::SchemaChange`] if a fixed member is changed.
pub(super) fn check_update(
    root: &ServiceRoot,
    set: &SetRef,
    before: &Entity,
    after: &Entity,
) -> Result<()> {
    if !matches!(root.scope(), RootScope::Schema(_)) {
        return Ok(());
    }
    let fixed: &[&str] = match set.control {
        Some(ControlSet::AssociationEnd) => &["Multiplicity", "_EntityType.Name"],
        Some(ControlSet::Property) => &[
            "_EntityType.Name",
            "Type",
            "Nullable",
            "DefaultValue",
            "CollectionKind",
            "IsKey",
            "UniqueKey",
            "IsDeclared",
        ],
        Some(ControlSet::ComplexTypeProperty) => &[
            "_ComplexType.Name",
            "Type",
            "Nullable",
            "DefaultValue",
            "CollectionKind",
        ],
        _ => return Ok(()),
    };
    for member in fixed {
        let (old, new) = (
            before.properties.value(member),
            after.properties.value(member),
        );
        let is_widened = *member == "Type"
            && old.as_str() == Some("Edm.Int32")
            && new.as_str() == Some("Edm.Double");
        if old != new && !is_widened {
            let text = format!(
                "{} {member}: {} to {}",
                set.name(),
                display(old),
                display(new)
            );
            return Err(Error::new(Code::SchemaChange).with(text));
        }
    }
    Ok(())
}

fn display(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(b) => b.to_string(),
        other => format!("{other:?}"),
    }
}

/// Keeps the name under which the values of a renamed property are stored.
pub(super) fn keep_stored_name(
    set: &SetRef,
    before: &Entity,
    after: &mut StoredEntity,
    new_name: Option<&str>,
) {
    let is_property = matches!(
        set.control,
        Some(ControlSet::Property | ControlSet::ComplexTypeProperty)
    );
    let old_name = before.properties.text("Name");
    if is_property && old_name != new_name && !after.hidden.contains_key(STORED_NAME) {
        after.hidden.insert(
            STORED_NAME.to_owned(),
            old_name.unwrap_or_default().to_owned(),
        );
    }
}

/// Checks the deletion of a schema object.
///
/// # Errors
/// [`Code::HasRelated`] if it is in use; failures of the store.
pub(super) async fn check_delete(
    root: &ServiceRoot,
    set: &SetRef,
    found: &Entity,
    batch: &mut Batch,
) -> Result<()> {
    let RootScope::Schema(collection) = root.scope() else {
        return Ok(());
    };
    let parse = |type_id: &str| type_id.parse::<NodeId>().map_err(Error::internal);
    match set.control {
        Some(ControlSet::EntityType) => {
            let type_id = parse(&found.id)?;
            require_no_data(root, &collection, &type_id, batch).await?;
            remove_dynamic_properties(root, &collection, found, batch).await
        }
        Some(ControlSet::Property) => {
            let Some(owner) = found.stored.links.get("EntityType") else {
                return Ok(());
            };
            require_no_data(root, &collection, &parse(owner)?, batch).await
        }
        Some(ControlSet::ComplexType) if is_complex_type_used(root, found).await? => {
            Err(Code::HasRelated.into())
        }
        Some(ControlSet::ComplexTypeProperty) => {
            let complex = found
                .properties
                .text("_ComplexType.Name")
                .unwrap_or_default();
            for type_id in types_using(root, &collection, complex).await? {
                require_no_data(root, &collection, &type_id, batch).await?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Refuses if there are entities of a type. Adds the assertion that there are none to a batch.
async fn require_no_data(
    root: &ServiceRoot,
    collection: &NodeId,
    type_id: &NodeId,
    batch: &mut Batch,
) -> Result<()> {
    let data = keys::entities(&SetKey::data(collection, type_id));
    if !root.records.is_empty(&data).await? {
        return Err(Code::HasRelated.into());
    }
    batch.assert_empty(data);
    Ok(())
}

/// Adds the removal of the dynamic properties of an entity type. Refuses if it has declared ones.
async fn remove_dynamic_properties(
    root: &ServiceRoot,
    collection: &NodeId,
    entity_type: &Entity,
    batch: &mut Batch,
) -> Result<()> {
    let properties = SetKey::schema(collection, ControlSet::Property);
    let types = SetKey::schema(collection, ControlSet::EntityType);
    let links = keys::links(&types, &entity_type.id, &properties);
    let prefix = links.start.as_bytes().len();
    let found = root.records.list_keys_exactly(&links, batch).await?;
    for id in found.iter().filter_map(|key| keys::last_text(key, prefix)) {
        let Some(found) = entity::find(&root.records, &properties, &id).await? else {
            continue;
        };
        if !matches!(found.value.doc.get("IsDeclared"), Some(Value::Bool(false))) {
            return Err(Code::HasRelated.into());
        }
        let name = found.value.text("Name").unwrap_or_default();
        let key = keys::entity(&properties, &id);
        batch.assert(key.clone(), Expect::Version(found.version));
        batch.delete(key);
        batch.delete(keys::unique(
            &properties,
            0,
            &[Some(&name), Some(&entity_type.id)],
        ));
        batch.delete(keys::link(&properties, &id, &types, &entity_type.id));
        batch.delete(keys::link(&types, &entity_type.id, &properties, &id));
        batch.add(keys::entity_count(&properties), -1);
        usage::add_entity(batch, found.bytes, 0);
    }
    Ok(())
}

/// Checks that two association ends may be linked.
///
/// # Errors
/// [`Code::EndsBothOne`], [`Code::LinkExists`] or [`Code::TypesRelated`]; failures of the store.
pub(super) async fn check_association(root: &ServiceRoot, a: &Entity, b: &Entity) -> Result<()> {
    let one = |e: &Entity| e.properties.text("Multiplicity") == Some("1");
    if one(a) && one(b) {
        return Err(Code::EndsBothOne.into());
    }
    let RootScope::Schema(collection) = root.scope() else {
        return Ok(());
    };
    for end in [a, b] {
        if end.stored.links.contains_key("AssociationEnd") {
            return Err(Code::LinkExists.into());
        }
    }
    let type_of = |e: &StoredEntity| e.links.get("EntityType").cloned();
    let (type_a, type_b) = (type_of(&a.stored), type_of(&b.stored));
    let ends = entity::list(
        &root.records,
        &SetKey::schema(&collection, ControlSet::AssociationEnd),
        MAX_OBJECTS,
    )
    .await?;
    for (_, end) in &ends {
        let Some(partner) = end.value.links.get("AssociationEnd") else {
            continue;
        };
        let Some((_, partner)) = ends.iter().find(|(id, _)| id == partner) else {
            continue;
        };
        let pair = (type_of(&end.value), type_of(&partner.value));
        if pair == (type_a.clone(), type_b.clone()) {
            return Err(Code::TypesRelated.into());
        }
    }
    Ok(())
}

/// Returns the entity types that use a complex type, directly or through other complex types.
async fn types_using(
    root: &ServiceRoot,
    collection: &NodeId,
    complex: &str,
) -> Result<Vec<NodeId>> {
    let Some(context) = root.context() else {
        return Ok(Vec::new());
    };
    let schema = user_schema::load(context, collection).await?;
    let mut out = Vec::new();
    for entity_type in schema.edm.entity_types() {
        if uses(&schema.edm, &entity_type.properties, complex, 0)
            && let Some(id) = schema.type_id(&entity_type.name)
        {
            out.push(id);
        }
    }
    Ok(out)
}

fn uses(schema: &Schema, properties: &PropertyList, complex: &str, depth: usize) -> bool {
    properties
        .iter()
        .any(|property| match &property.value_type {
            ValueType::Simple(_) => false,
            ValueType::Complex(name) => {
                **name == *complex
                    || (depth < property_limits::MAX_DEPTH
                        && schema
                            .complex_type(name)
                            .is_some_and(|c| uses(schema, &c.properties, complex, depth + 1)))
            }
        })
}
