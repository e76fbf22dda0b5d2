//! The values of user data in a snapshot: doubles and booleans are texts, dates are numbers, and properties have short names.

use std::collections::{HashMap, HashSet};

use personium_odata::edm::{ID, SimpleType};
use personium_odata::value::{parse_number, push_json_string};
use serde_json::{Map, Value};

/// The deepest nesting of complex values.
const MAX_DEPTH: usize = 32;

/// An entity type or complex type that was created.
pub(crate) struct ImportedType {
    pub name: String,
    properties: HashMap<String, ImportedProperty>,
}

struct ImportedProperty {
    name: String,
    simple: Option<SimpleType>,
    /// The id of its complex type in the snapshot.
    complex: Option<String>,
}

impl ImportedType {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            properties: HashMap::new(),
        }
    }

    /// Adds a property. `kind` is its type, and the id of that if it is a complex one.
    pub fn add(&mut self, alias: &str, name: &str, (kind, complex): (&str, Option<String>)) {
        let property = ImportedProperty {
            name: name.to_owned(),
            simple: SimpleType::from_name(kind),
            complex,
        };
        self.properties.insert(alias.to_owned(), property);
    }
}

/// The body of an entity, and the names of its properties.
///
/// # Errors
/// What is not valid.
pub(crate) fn entity_body(
    types: &HashMap<String, ImportedType>,
    entity_type: &str,
    properties: &Map<String, Value>,
) -> Result<(String, HashSet<String>), &'static str> {
    let Some(Value::String(id)) = properties.get(ID) else {
        return Err("an entity has no id");
    };
    let mut out = format!("{{\"{ID}\":");
    push_json_string(&mut out, id);
    let mut names = HashSet::from([ID.to_owned()]);
    push_members(&mut out, types, (entity_type, properties), &mut names, 0)?;
    out.push('}');
    Ok((out, names))
}

/// Appends members, each after a comma.
fn push_members(
    out: &mut String,
    types: &HashMap<String, ImportedType>,
    (type_id, members): (&str, &Map<String, Value>),
    names: &mut HashSet<String>,
    depth: usize,
) -> Result<(), &'static str> {
    let known = types.get(type_id).ok_or("an entity has an unknown type")?;
    if depth > MAX_DEPTH {
        return Err("a value is nested too deeply");
    }
    for (alias, value) in members {
        if alias == ID || value.is_null() {
            continue;
        }
        let property = known.properties.get(alias);
        let property = property.ok_or("an entity has an unknown property")?;
        out.push(',');
        push_json_string(out, &property.name);
        out.push(':');
        push_value(out, types, (property, value), depth)?;
        names.insert(property.name.clone());
    }
    Ok(())
}

fn push_value(
    out: &mut String,
    types: &HashMap<String, ImportedType>,
    (property, value): (&ImportedProperty, &Value),
    depth: usize,
) -> Result<(), &'static str> {
    match (value, &property.complex) {
        (Value::Null, _) => out.push_str("null"),
        (Value::Array(items), _) if depth <= MAX_DEPTH => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                push_value(out, types, (property, item), depth + 1)?;
            }
            out.push(']');
        }
        (Value::Object(members), Some(complex)) => {
            let mut inner = String::new();
            let mut names = HashSet::new();
            push_members(&mut inner, types, (complex, members), &mut names, depth + 1)?;
            out.push('{');
            out.push_str(inner.strip_prefix(',').unwrap_or_default());
            out.push('}');
        }
        _ => push_simple(out, property.simple.ok_or("a value has no type")?, value)?,
    }
    Ok(())
}

fn push_simple(out: &mut String, simple: SimpleType, value: &Value) -> Result<(), &'static str> {
    match (simple, value) {
        (SimpleType::String, Value::String(text)) => push_json_string(out, text),
        (SimpleType::String, Value::Bool(_) | Value::Number(_)) => {
            push_json_string(out, &value.to_string());
        }
        (SimpleType::Boolean, Value::Bool(truth)) => out.push_str(&truth.to_string()),
        (SimpleType::Boolean, Value::String(text)) if text == "true" || text == "false" => {
            out.push_str(text);
        }
        (SimpleType::DateTime, Value::Number(millis)) => {
            out.push_str(&format!("\"/Date({millis})/\""));
        }
        (SimpleType::Int32 | SimpleType::Single | SimpleType::Double, Value::Number(number)) => {
            out.push_str(&number.to_string());
        }
        (SimpleType::Int32 | SimpleType::Single | SimpleType::Double, Value::String(text))
            if parse_number(text).is_some() =>
        {
            out.push_str(text);
        }
        _ => return Err("a value has another type than its property"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn types() -> HashMap<String, ImportedType> {
        let mut own = ImportedType::new("T");
        own.add("P001", "text", ("Edm.String", None));
        own.add("P002", "double", ("Edm.Double", None));
        own.add("P003", "truth", ("Edm.Boolean", None));
        own.add("P004", "time", ("Edm.DateTime", None));
        own.add("P005", "count", ("Edm.Int32", None));
        own.add("C001", "place", ("Place", Some("c".to_owned())));
        let mut place = ImportedType::new("Place");
        place.add("P001", "city", ("Edm.String", None));
        place.add("C001", "inner", ("Place", Some("c".to_owned())));
        HashMap::from([("t".to_owned(), own), ("c".to_owned(), place)])
    }

    fn body(properties: Value) -> Result<Value, &'static str> {
        let properties = properties.as_object().unwrap().clone();
        let (text, _) = entity_body(&types(), "t", &properties)?;
        Ok(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn values_become_those_of_a_request() {
        let found = body(json!({
            "__id": "a\"b", "P001": "x\ny", "P002": "1.79E308", "P003": "true", "P004": -5,
            "P005": [1, -2], "C001": [{"P001": "z", "C001": {}}, null],
        }));
        let expected = json!({
            "__id": "a\"b", "text": "x\ny", "double": 1.79e308, "truth": true, "time": "/Date(-5)/",
            "count": [1, -2], "place": [{"city": "z", "inner": {}}, null],
        });
        assert_eq!(found, Ok(expected));
        let (text, names) = entity_body(
            &types(),
            "t",
            json!({"__id": "1", "P002": "9007199254740993", "P001": null})
                .as_object()
                .unwrap(),
        )
        .unwrap();
        assert_eq!(text, r#"{"__id":"1","double":9007199254740993}"#);
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn values_of_other_types_are_refused() {
        for properties in [
            json!({"P001": "x"}),
            json!({"__id": 5}),
            json!({"__id": "1", "P009": 1}),
            json!({"__id": "1", "P002": "1, \"x\": 2"}),
            json!({"__id": "1", "P003": "yes"}),
            json!({"__id": "1", "P004": "now"}),
            json!({"__id": "1", "P005": {}}),
            json!({"__id": "1", "C001": "x"}),
            json!({"__id": "1", "P001": {"a": 1}}),
        ] {
            assert!(body(properties.clone()).is_err(), "{properties}");
        }
    }
}
