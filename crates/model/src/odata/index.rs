//! Index keys: one for each declared property of user data that has a value, and for each timestamp.
//!
//! An index key consists of set, property, class, value, time of change and id. The value of a number
//! that no double is equal to is its nearest double and a byte that puts it before or after that; its key has a mark at its end. Entities with the same value are
//! adjacent in the order of their change, so one range answers `p eq v` with `$orderby=__updated`.

use personium_odata::edm::{Property, PropertyOrigin};
use personium_odata::value::Value;
use personium_store::{Key, KeyBuilder};

use super::load::Entity;
use super::root::SetRef;
use crate::keys;

/// The length of the part of a text that is in its index key. Longer texts are shortened to it.
pub(super) const MAX_TEXT_BYTES: usize = 512;

const CLASS_BOOL: u8 = 1;
const CLASS_NUMBER: u8 = 2;
const CLASS_DATE: u8 = 3;
const CLASS_TEXT: u8 = 4;
/// The bytes between a double and the time of the change for numbers beside the double. The time of a double follows at once;
/// it begins with a byte between these.
const BEFORE_DOUBLE: u8 = 0;
const AFTER_DOUBLE: u8 = u8::MAX;
/// The last byte of the key of a number that no double is equal to. Every other key ends with the end of the id.
const ROUNDED: u8 = 2;

/// Whether there is an index of this property.
pub(super) fn is_indexed(set: &SetRef, property: &Property) -> bool {
    set.type_id.is_some()
        && property.value_type.simple().is_some()
        && !property.is_list()
        && (property.is_timestamp() || property.origin == PropertyOrigin::Declared)
}

/// All index keys of an entity.
pub(super) fn entries(set: &SetRef, entity: &Entity) -> Vec<Key> {
    if set.type_id.is_none() {
        return Vec::new();
    }
    let stored = &entity.stored;
    set.entity_type
        .properties
        .iter()
        .filter(|property| is_indexed(set, property))
        .filter_map(|property| {
            let stamp;
            let value = match &*property.name {
                personium_odata::edm::PUBLISHED => {
                    stamp = Value::DateTime(stored.published);
                    &stamp
                }
                personium_odata::edm::UPDATED => {
                    stamp = Value::DateTime(stored.updated);
                    &stamp
                }
                name => entity.properties.value(name),
            };
            let key = with_value(keys::index(&set.key, property.stored_name()), value)?;
            let key = key.i64(stored.updated).text(&entity.id);
            Some(match value {
                Value::Decimal(_) => key.byte(ROUNDED).build(),
                _ => key.build(),
            })
        })
        .collect()
}

/// Appends the class and the value to a key; `None` for null and for values without order.
pub(super) fn with_value(key: KeyBuilder, value: &Value) -> Option<KeyBuilder> {
    Some(match value {
        Value::Bool(b) => key.byte(CLASS_BOOL).byte(u8::from(*b)),
        Value::Int32(_) | Value::Single(_) | Value::Double(_) => {
            key.byte(CLASS_NUMBER).f64(value.as_f64()?)
        }
        Value::Decimal(number) => {
            let side = match number.is_above_nearest() {
                true => AFTER_DOUBLE,
                false => BEFORE_DOUBLE,
            };
            key.byte(CLASS_NUMBER).f64(number.nearest()).byte(side)
        }
        Value::DateTime(millis) => key.byte(CLASS_DATE).i64(*millis),
        Value::String(text) => key.byte(CLASS_TEXT).text(shortened(text)),
        Value::Null | Value::Complex(_) | Value::List(_) => return None,
    })
}

/// The prefix of the keys of all texts that begin with `prefix`.
pub(super) fn with_text_prefix(key: KeyBuilder, prefix: &str) -> KeyBuilder {
    key.byte(CLASS_TEXT).text_prefix(shortened(prefix))
}

/// The prefix of the last keys with values up to this one. A shortened text has the same key part as longer texts with
/// the same beginning, some of which are smaller: all of them are included.
pub(super) fn up_to(key: KeyBuilder, value: &Value) -> Option<Key> {
    Some(match value {
        Value::String(text) if is_shortened(text) => with_text_prefix(key, text).build(),
        _ => with_value(key, value)?.build(),
    })
}

/// Whether a text is too long for an index key and is shortened there.
pub(super) fn is_shortened(text: &str) -> bool {
    text.len() > MAX_TEXT_BYTES
}

fn shortened(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The entity id at the end of an index key, and whether the key may have only a part of the value: a shortened text or a
/// rounded number.
///
/// `prefix` is the length of the key before the class.
pub(super) fn id_of(key: &Key, prefix: usize) -> Option<(String, bool)> {
    let bytes = key.as_bytes();
    let class = *bytes.get(prefix)?;
    let value = prefix + 1;
    let (end, may_be_shortened) = match class {
        CLASS_BOOL => (value + 1, false),
        CLASS_NUMBER if bytes.last() == Some(&ROUNDED) => {
            let unmarked = Key::from_bytes(bytes.get(..bytes.len() - 1)?.to_vec());
            return keys::last_text(&unmarked, value + 17).map(|id| (id, true));
        }
        CLASS_NUMBER | CLASS_DATE => (value + 8, false),
        _ => {
            let length = text_length(bytes.get(value..)?)?;
            (value + length, length >= MAX_TEXT_BYTES - 3)
        }
    };
    keys::last_text(key, end + 8).map(|id| (id, may_be_shortened))
}

/// The length of an encoded text part with its terminator.
fn text_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match bytes.get(at..at + 2)? {
            [0, 1] => return Some(at + 2),
            [0, _] => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use personium_odata::value::parse_number;
    use personium_store::Key;

    fn key(value: &Value) -> Key {
        let begin = Key::table(b'I').text("p");
        with_value(begin, value)
            .map(|k| k.i64(-5).text("id\0é").build())
            .unwrap()
    }

    #[test]
    fn entity_id_is_read_from_index_keys_of_all_value_types() {
        let prefix = Key::table(b'I').text("p").build().as_bytes().len();
        for value in [
            Value::Bool(true),
            Value::Int32(-7),
            Value::Double(0.0),
            Value::DateTime(0),
            Value::from("a\0\u{1}b"),
            Value::from(""),
            Value::from("é".repeat(400).as_str()),
        ] {
            assert_eq!(
                id_of(&key(&value), prefix).map(|(id, _)| id),
                Some("id\0é".to_owned()),
                "{value:?}"
            );
        }
    }

    #[test]
    fn index_keys_of_numbers_beside_doubles_are_marked_and_sorted() {
        let begin = || Key::table(b'I').text("p");
        let prefix = begin().build().as_bytes().len();
        let key = |text: &str, time: i64| {
            let value = parse_number(text).unwrap();
            let key = with_value(begin(), &value).unwrap().i64(time).text("id\0");
            match value {
                Value::Decimal(_) => key.byte(ROUNDED).build(),
                _ => key.build(),
            }
        };
        let ascending = [
            key("9007199254740991", 9),
            key("9007199254740991.6", 5),
            key("9007199254740992", 3),
            key("9007199254740993", 1),
            key("9007199254740994", 0),
        ];
        assert!(ascending.is_sorted());
        for (key, is_marked) in ascending.iter().zip([false, true, false, true, false]) {
            let found = id_of(key, prefix);
            assert_eq!(found, Some(("id\0".to_owned(), is_marked)), "{key:?}");
        }
    }

    #[test]
    fn index_keys_of_numbers_sort_by_value_across_types() {
        assert!(key(&Value::Int32(2)) < key(&Value::Double(2.5)));
        assert!(key(&Value::Single(-1.0)) < key(&Value::Int32(0)));
        assert!(key(&Value::from("B")) < key(&Value::from("a")));
    }
}
