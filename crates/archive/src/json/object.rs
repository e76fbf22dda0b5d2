//! Strict JSON objects: derived `Deserialize` implementations would also accept arrays of values.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::BarJsonError;

/// The byte order mark in UTF-8, which some editors write.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Parses one object without trailing data. A byte order mark before it is ignored.
pub(crate) fn object<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, BarJsonError> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let parsed = serde_json::from_slice(bytes).map_err(|error| BarJsonError::new(0, error));
    parsed.map(|Object(value)| value)
}

/// Parses an item of a list: an object.
pub(super) fn item<'de, T: Deserialize<'de>>(raw: &'de RawValue) -> Result<T, serde_json::Error> {
    serde_json::from_str(raw.get()).map(|Object(value)| value)
}

/// Returns a function that gives the lines of increasing parts of a document, counted from 1.
pub(super) fn line_of(bytes: &[u8]) -> impl FnMut(&RawValue) -> usize {
    let start = bytes.as_ptr() as usize;
    let (mut offset, mut line) = (0, 1);
    move |part| {
        let at = (part.get().as_ptr() as usize).saturating_sub(start);
        let passed = bytes.get(offset..at).unwrap_or_default();
        line += passed.iter().filter(|byte| **byte == b'\n').count();
        offset = at.max(offset);
        line
    }
}

/// A value that is accepted only as an object.
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// A map of strings without duplicate keys.
pub(crate) struct TextMap(pub(crate) BTreeMap<String, String>);

/// The first value of a non-empty map of strings without duplicate keys.
pub(crate) struct IdMap(pub(crate) String);

impl<'de> Deserialize<'de> for TextMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TextMap, D::Error> {
        deserializer
            .deserialize_map(TextMapVisitor)
            .map(|read| TextMap(read.map))
    }
}

impl<'de> Deserialize<'de> for IdMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<IdMap, D::Error> {
        let read = deserializer.deserialize_map(TextMapVisitor)?;
        read.first
            .map(IdMap)
            .ok_or_else(|| D::Error::custom("a map of ids is empty"))
    }
}

struct TextMapVisitor;

struct ParsedMap {
    first: Option<String>,
    map: BTreeMap<String, String>,
}

impl<'de> Visitor<'de> for TextMapVisitor {
    type Value = ParsedMap;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<ParsedMap, A::Error> {
        let mut first = None;
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry::<String, String>()? {
            if first.is_none() {
                first = Some(value.clone());
            }
            match map.entry(key) {
                Entry::Vacant(vacant) => vacant.insert(value),
                Entry::Occupied(_) => return Err(A::Error::custom("duplicate key")),
            };
        }
        Ok(ParsedMap { first, map })
    }
}
