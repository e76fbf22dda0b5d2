//! What is special about the schema sets of OData collections.

use personium_odata::body::Intent;
use personium_odata::edm::{PropertyList, Schema, ValueType};
use personium_odata::value::{Properties, Value};
use personium_store::{Batch, Expect};
use personium_types::{Code, Error, NodeId, Result};

use super::association::Association;
use super::load::Entity;
use super::root::{RootScope, ServiceRoot, SetRef};
use super::user_schema::{self, ASSOCIATION_TAG, STORED_NAME};
use crate::entity::{self, StoredEntity};
use crate::keys::{self, ControlSet, SetKey};

/// Checks the creation of a schema object.
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
            check_layers(root, &collection, set, properties).await
        }
        Some(ControlSet::ComplexTypeProperty) => {
            check_layers(root, &collection, set, properties).await
        }
        _ => Ok(()),
    }
}

/// Chooses under which name the values of a new property are stored, if its own name is in use for another one.
pub(super) async fn choose_alias(
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
    let siblings = entity::list(&root.records, &set.key, 100_000).await?;
    let taken = siblings.iter().any(|(_, e)| {
        e.value.links.get(link).map(String::as_str) == parent
            && e.value.hidden.get(STORED_NAME).is_some_and(|a| a == name)
    });
    if taken {
        stored.hidden.insert(
            STORED_NAME.to_owned(),
            format!("@{}", NodeId::random(root.unit.random())),
        );
    }
    Ok(())
}

/// Gives two association ends that are linked the id under which the links of their entities are kept: a new one, so that
/// those along an earlier association do not come back.
pub(super) fn tag_ends(
    root: &ServiceRoot,
    one: &mut Entity,
    other: &mut Entity,
    between: &Association,
) {
    let ends = Some(ControlSet::AssociationEnd);
    if between.source_set.control != ends || between.target_set.control != ends {
        return;
    }
    let tag = NodeId::at(root.unit.now_ms(), root.unit.random()).to_string();
    for end in [one, other] {
        end.stored
            .hidden
            .insert(ASSOCIATION_TAG.to_owned(), tag.clone());
    }
}

/// Whether the entities of this association are removed together with the one that is deleted.
pub(super) fn cascades_to(set: &SetRef, association: &Association) -> bool {
    // Dynamic properties go with their entity type; declared ones are checked in `check_delete`.
    set.control == Some(ControlSet::EntityType)
        && association.target_set.control == Some(ControlSet::Property)
}

/// Refuses any change of a complex type that is in use.
pub(super) async fn check_used(
    root: &ServiceRoot,
    set: &SetRef,
    before: &Entity,
    _intent: Intent,
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
        let all = entity::list(&root.records, &SetKey::schema(&collection, set), 100_000).await?;
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
pub(super) async fn check_update(
    root: &ServiceRoot,
    set: &SetRef,
    before: &Entity,
    after: &Entity,
    _batch: &mut Batch,
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
        let widened = *member == "Type"
            && old.as_str() == Some("Edm.Int32")
            && new.as_str() == Some("Edm.Double");
        if old != new && !widened {
            let text = format!("{} {member}: {} to {}", set.name(), shown(old), shown(new));
            return Err(Error::new(Code::SchemaChange).with(text));
        }
    }
    Ok(())
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(b) => b.to_string(),
        other => format!("{other:?}"),
    }
}

/// Keeps the stored name of a property that is renamed.
pub(super) fn keep_alias(
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
pub(super) async fn check_delete(
    root: &ServiceRoot,
    set: &SetRef,
    found: &Entity,
    batch: &mut Batch,
) -> Result<()> {
    let RootScope::Schema(collection) = root.scope() else {
        return Ok(());
    };
    let no_data = |type_id: &str| {
        type_id
            .parse::<NodeId>()
            .map(|id| keys::entities(&SetKey::data(&collection, &id)))
    };
    match set.control {
        Some(ControlSet::EntityType) => {
            let data = no_data(&found.id).map_err(Error::internal)?;
            if !root.records.is_empty(&data).await? {
                return Err(Code::HasRelated.into());
            }
            batch.assert_empty(data);
            remove_dynamic_properties(root, &collection, found, batch).await
        }
        Some(ControlSet::Property) => {
            let Some(owner) = found.stored.links.get("EntityType") else {
                return Ok(());
            };
            let data = no_data(owner).map_err(Error::internal)?;
            if !root.records.is_empty(&data).await? {
                return Err(Code::HasRelated.into());
            }
            batch.assert_empty(data);
            Ok(())
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
                let data = keys::entities(&SetKey::data(&collection, &type_id));
                if !root.records.is_empty(&data).await? {
                    return Err(Code::HasRelated.into());
                }
                batch.assert_empty(data);
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Dynamic properties are deleted along with their entity type; a declared one refuses.
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
    let held = root.records.list_keys_exactly(&links, batch).await?;
    for id in held.iter().filter_map(|key| keys::last_text(key, prefix)) {
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
    }
    Ok(())
}

/// Checks that two association ends may be related.
pub(super) async fn check_relation(root: &ServiceRoot, a: &Entity, b: &Entity) -> Result<()> {
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
        100_000,
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

/// The entity types that use a complex type, directly or through other complex types.
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
                    || (depth < 16
                        && schema
                            .complex_type(name)
                            .is_some_and(|c| uses(schema, &c.properties, complex, depth + 1)))
            }
        })
}

/// Refuses a dynamic property beyond the limit.
pub(super) fn check_dynamic_count(root: &ServiceRoot, set: &SetRef, more: usize) -> Result<()> {
    let own = set
        .entity_type
        .properties
        .iter()
        .filter(|p| !p.name.starts_with('_'))
        .count();
    if own + more >= root.unit.settings().odata.properties_max {
        return Err(Code::PropertyLimit.into());
    }
    Ok(())
}

/// Refuses a property that would exceed the limits of a layer or of a whole type.
async fn check_layers(
    root: &ServiceRoot,
    collection: &NodeId,
    set: &SetRef,
    properties: &Properties,
) -> Result<()> {
    let Some(context) = root.context() else {
        return Ok(());
    };
    let schema = user_schema::load(context, collection).await?;
    let is_complex = properties
        .text("Type")
        .is_some_and(|t| !t.starts_with("Edm."));
    let added = AddedProperty {
        owner: match set.control {
            Some(ControlSet::ComplexTypeProperty) => {
                properties.text("_ComplexType.Name").unwrap_or_default()
            }
            _ => properties.text("_EntityType.Name").unwrap_or_default(),
        },
        to_complex_type: set.control == Some(ControlSet::ComplexTypeProperty),
        complex: is_complex.then(|| properties.text("Type").unwrap_or_default()),
    };
    let limits = &root.unit.settings().odata;
    let mut is_used = false;
    for entity_type in schema.edm.entity_types() {
        let mut count = PropertyCount {
            simple: vec![0; 16],
            complex: vec![0; 16],
            total: 0,
            touched: false,
        };
        let owns = !added.to_complex_type && *entity_type.name == *added.owner;
        count.layer(&schema.edm, Some(&entity_type.properties), owns, &added, 0)?;
        if count.touched {
            is_used = true;
            count.check(limits)?;
        }
    }
    if added.to_complex_type && !is_used {
        check_unused(&schema.edm, &added, limits)?;
    }
    Ok(())
}

struct AddedProperty<'a> {
    owner: &'a str,
    to_complex_type: bool,
    complex: Option<&'a str>,
}

struct PropertyCount {
    simple: Vec<usize>,
    complex: Vec<usize>,
    total: usize,
    touched: bool,
}

impl PropertyCount {
    fn layer(
        &mut self,
        schema: &Schema,
        own: Option<&PropertyList>,
        is_owner: bool,
        added: &AddedProperty<'_>,
        depth: usize,
    ) -> Result<()> {
        if depth >= self.simple.len() || self.total > 100_000 {
            return Err(Code::PropertyLimit.into());
        }
        let mut simple = 0;
        let mut complex: Vec<&str> = Vec::new();
        for property in own
            .into_iter()
            .flatten()
            .filter(|p| !p.name.starts_with('_'))
        {
            match &property.value_type {
                ValueType::Simple(_) => simple += 1,
                ValueType::Complex(type_name) => complex.push(type_name),
            }
        }
        if is_owner {
            self.touched = true;
            match added.complex {
                None => simple += 1,
                Some(name) => complex.push(name),
            }
        }
        self.count(depth, simple, complex.len());
        for name in complex {
            let owner = added.to_complex_type && name == added.owner;
            let inner = schema.complex_type(name).map(|c| &c.properties);
            if owner || inner.is_some() {
                self.layer(schema, inner, owner, added, depth + 1)?;
            }
        }
        Ok(())
    }

    /// Counts the properties of one type; limits hold for each type, so the largest of a layer is kept.
    fn count(&mut self, depth: usize, simple: usize, complex: usize) {
        for (layers, own) in [(&mut self.simple, simple), (&mut self.complex, complex)] {
            if let Some(largest) = layers.get_mut(depth) {
                *largest = own.max(*largest);
            }
        }
        self.total += simple + complex;
    }

    fn check(&self, limits: &crate::settings::ODataSettings) -> Result<()> {
        if self.total > limits.properties_max {
            return Err(Code::PropertyLimit.into());
        }
        let at = |counts: &[usize], depth: usize| counts.get(depth).copied().unwrap_or(0);
        for depth in 0..self.simple.len() {
            let complex = at(&self.complex, depth);
            let complex_max = limits.complex_layers.get(depth).copied().unwrap_or(Some(0));
            let simple_max = limits.simple_layers.get(depth).copied().unwrap_or(Some(0));
            let simple_max =
                simple_max.unwrap_or_else(|| limits.properties_max.saturating_sub(complex));
            if complex_max.is_some_and(|max| complex > max) || at(&self.simple, depth) > simple_max
            {
                return Err(Code::PropertyLimit.into());
            }
        }
        Ok(())
    }
}

/// A complex type that nothing uses may have as many properties as the widest inner layer.
fn check_unused(
    schema: &Schema,
    added: &AddedProperty<'_>,
    limits: &crate::settings::ODataSettings,
) -> Result<()> {
    let widest = |layers: &[Option<usize>]| layers.iter().filter_map(|l| *l).max().unwrap_or(0);
    let (simple_max, complex_max) = (
        widest(&limits.simple_layers),
        widest(&limits.complex_layers),
    );
    let own = schema.complex_type(added.owner);
    let count = |complex: bool| {
        own.map_or(0, |c| {
            c.properties
                .iter()
                .filter(|p| matches!(p.value_type, ValueType::Complex(_)) == complex)
                .count()
        })
    };
    let (is_complex, max) = if added.complex.is_some() {
        (true, complex_max)
    } else {
        (false, simple_max)
    };
    if count(is_complex) + 1 > max {
        return Err(Code::PropertyLimit.into());
    }
    if added.complex == Some(added.owner) {
        return Err(Code::PropertyLimit.into());
    }
    Ok(())
}
