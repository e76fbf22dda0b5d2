//! The names of properties in the documents of user data: `P001`, `P002` ... for simple ones and `C001` ... for complex ones, in
//! each type.

use std::collections::HashMap;

use personium_model::entity::{EntityPages, StoredEntity};
use personium_model::keys::{ControlSet, SetKey};
use personium_model::records::Records;
use personium_odata::edm::SimpleType;
use personium_odata::value::{Properties, Value as Stored, push_double};
use personium_types::{NodeId, Result};
use serde_json::{Map, Number, Value};

/// A property.
struct StoredName {
    alias: String,
    kind: StoredKind,
}

/// The type of a property.
enum StoredKind {
    Simple(SimpleType),
    /// The complex type with this id.
    Complex(String),
}

/// The properties of the types of an OData collection.
#[derive(Default)]
pub(super) struct StoredNames {
    /// By the id of the type, then by the name in stored entities.
    of_type: HashMap<String, HashMap<String, StoredName>>,
    /// The aliases by the ids of the properties.
    aliases: HashMap<String, String>,
    memory_bytes: usize,
}

impl StoredNames {
    /// Reads the properties of a collection.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn read(records: &Records, collection: &NodeId) -> Result<Self> {
        let mut out = Self::default();
        let mut complex = HashMap::new();
        let set = |set| SetKey::schema(collection, set);
        for (id, stored) in all(records, &set(ControlSet::ComplexType)).await? {
            complex.insert(stored.text("Name").unwrap_or_default(), id);
        }
        for (kind, owner) in [
            (ControlSet::Property, "EntityType"),
            (ControlSet::ComplexTypeProperty, "ComplexType"),
        ] {
            for (id, stored) in all(records, &set(kind)).await? {
                if let Some(owner) = stored.links.get(owner).cloned() {
                    out.add(&complex, owner, (id, &stored));
                }
            }
        }
        Ok(out)
    }

    fn add(
        &mut self,
        complex: &HashMap<String, String>,
        owner: String,
        (id, stored): (String, &StoredEntity),
    ) {
        let name = stored.text("Name").unwrap_or_default();
        let type_name = stored.text("Type").unwrap_or_default();
        let kind = match (SimpleType::from_name(&type_name), complex.get(&type_name)) {
            (Some(simple), _) => StoredKind::Simple(simple),
            (None, Some(complex)) => StoredKind::Complex(complex.clone()),
            (None, None) => return,
        };
        let names = self.of_type.entry(owner).or_default();
        let is_complex = matches!(kind, StoredKind::Complex(_));
        let same = names
            .values()
            .filter(|other| matches!(other.kind, StoredKind::Complex(_)) == is_complex);
        let prefix = if is_complex { 'C' } else { 'P' };
        let alias = format!("{prefix}{:03}", same.count() + 1);
        let stored_name = stored.hidden.get("Alias").cloned().unwrap_or(name);
        self.memory_bytes += 2 * (id.len() + stored_name.len() + 64);
        self.aliases.insert(id, alias.clone());
        names.insert(stored_name, StoredName { alias, kind });
    }

    /// The approximate memory in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The alias of the property with this id.
    pub fn alias(&self, property: &str) -> Option<&str> {
        self.aliases.get(property).map(String::as_str)
    }

    /// The properties of an entity or of a complex value of a type.
    pub fn document(&self, type_id: &str, properties: &Properties) -> Map<String, Value> {
        let names = self.of_type.get(type_id);
        let members = properties.iter().filter_map(|(name, value)| {
            let found = names?.get(&**name)?;
            Some((found.alias.clone(), self.value(&found.kind, value)))
        });
        members.collect()
    }

    fn value(&self, kind: &StoredKind, value: &Stored) -> Value {
        match (kind, value) {
            (_, Stored::List(items)) => items.iter().map(|item| self.value(kind, item)).collect(),
            (StoredKind::Complex(id), Stored::Complex(members)) => {
                Value::Object(self.document(id, members))
            }
            // Doubles and booleans are texts.
            (_, Stored::Bool(truth)) => Value::String(truth.to_string()),
            (StoredKind::Simple(SimpleType::Double), number) => match number.as_f64() {
                Some(_) => Value::String(number_text(number)),
                None => plain(number),
            },
            (_, other) => plain(other),
        }
    }
}

/// A value of a control object.
pub(super) fn plain(value: &Stored) -> Value {
    match value {
        Stored::Null => Value::Null,
        Stored::Bool(truth) => Value::Bool(*truth),
        Stored::Int32(number) => Value::from(*number),
        Stored::Single(number) | Stored::Double(number) => match Number::from_f64(*number) {
            Some(number) => Value::Number(number),
            None => Value::Null,
        },
        Stored::Decimal(number) => Value::String(number.text().to_owned()),
        Stored::String(text) => Value::String(text.clone()),
        Stored::DateTime(millis) => Value::from(*millis),
        Stored::Complex(members) => Value::Object(plain_members(members)),
        Stored::List(items) => items.iter().map(plain).collect(),
    }
}

/// The properties of a control object.
pub(super) fn plain_members(properties: &Properties) -> Map<String, Value> {
    let members = properties.iter();
    members
        .map(|(name, value)| (name.to_string(), plain(value)))
        .collect()
}

fn number_text(number: &Stored) -> String {
    match number {
        Stored::Decimal(number) => number.text().to_owned(),
        other => {
            let mut text = String::new();
            push_double(&mut text, other.as_f64().unwrap_or_default());
            text
        }
    }
}

/// All entities of a set of a schema.
async fn all(records: &Records, set: &SetKey) -> Result<Vec<(String, StoredEntity)>> {
    let mut pages = EntityPages::of(records, set);
    let mut out = Vec::new();
    loop {
        let page = pages.next_page().await?;
        if page.is_empty() {
            // By names, so that the same properties get the same aliases in each export.
            out.sort_by_cached_key(|(id, stored): &(String, StoredEntity)| {
                (stored.text("Name"), id.clone())
            });
            return Ok(out);
        }
        out.extend(page);
    }
}
