//! The stored form of values: JSON that is decoded without a schema.
//!
//! Null, booleans, strings, lists and complex values are their JSON equivalents. A number without point or exponent is an
//! Int32, any other number is a Double. The remaining types are objects with one reserved member: `{"@d":millis}` is a
//! date, `{"@s":number}` is a Single, `{"@n":"text"}` is a number that no double is equal to. No property name begins with
//! `@`.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{Decimal, Properties, Value};

const DATE: &str = "@d";
const SINGLE: &str = "@s";
const DECIMAL: &str = "@n";

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(truth) => serializer.serialize_bool(*truth),
            Self::Int32(number) => serializer.serialize_i32(*number),
            Self::Double(number) => serializer.serialize_f64(*number),
            Self::String(text) => serializer.serialize_str(text),
            Self::Single(number) => tagged(serializer, SINGLE, number),
            Self::Decimal(number) => tagged(serializer, DECIMAL, number.text()),
            Self::DateTime(millis) => tagged(serializer, DATE, millis),
            Self::Complex(members) => members.serialize(serializer),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
        }
    }
}

fn tagged<S: Serializer>(
    serializer: S,
    tag: &str,
    content: &(impl Serialize + ?Sized),
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(1))?;
    map.serialize_entry(tag, content)?;
    map.end()
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(&**name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PropertiesVisitor)
    }
}

/// The name of a property, which is copied once: the implementation for `Arc<str>` would copy it two more times.
struct Name(Arc<str>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl Visitor<'_> for NameVisitor {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a property")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Name, E> {
        Ok(Name(name.into()))
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a stored property value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        i32::try_from(number)
            .map(Value::Int32)
            .map_err(|_| E::custom("integer out of range"))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        i32::try_from(number)
            .map(Value::Int32)
            .map_err(|_| E::custom("integer out of range"))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Double(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Properties::new();
        while let Some(Name(name)) = map.next_key()? {
            match &*name {
                DATE => return map.next_value().map(Value::DateTime),
                SINGLE => return map.next_value().map(Value::Single),
                DECIMAL => {
                    let text: String = map.next_value()?;
                    return Decimal::from_text(&text)
                        .map(Value::Decimal)
                        .ok_or_else(|| A::Error::custom("not a number"));
                }
                _ => members.push(name, map.next_value()?),
            }
        }
        Ok(Value::Complex(members))
    }
}

struct PropertiesVisitor;

impl<'de> Visitor<'de> for PropertiesVisitor {
    type Value = Properties;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stored property values by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Properties, A::Error> {
        let mut members = Properties::with_capacity(map.size_hint().unwrap_or(8).min(64));
        while let Some((Name(name), value)) = map.next_entry()? {
            members.push(name, value);
        }
        Ok(members)
    }
}

/// The bytes are not the stored form of properties.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode stored property values")]
pub struct StoredPropertiesError(#[source] serde_json::Error);

impl Properties {
    /// Encodes the properties for the store.
    #[must_use]
    pub fn to_stored(&self) -> Vec<u8> {
        // Writing to memory cannot fail, and every value can be encoded.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Decodes properties from the store.
    ///
    /// # Errors
    /// [`StoredPropertiesError`] if [`Properties::to_stored`] did not write the bytes.
    pub fn from_stored(bytes: &[u8]) -> Result<Self, StoredPropertiesError> {
        serde_json::from_slice(bytes).map_err(StoredPropertiesError)
    }
}
