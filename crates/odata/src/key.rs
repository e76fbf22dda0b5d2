//! Entity keys in URLs (key predicates): `('v')`, `(Name='v')`, `(Name='r',_Box.Name=null)`.
//!
//! ```
//! use personium_odata::control;
//! use personium_odata::key::{KeyPredicate, KeyStyle};
//!
//! let role = control::cell().entity_type("Role").unwrap();
//! let key = KeyPredicate::parse("Name='staff',_Box.Name='app'")?.resolve(role)?;
//! assert_eq!(key.parts(), [Some("staff".to_owned()), Some("app".to_owned())]);
//!
//! let key = KeyPredicate::parse("'staff'")?.resolve(role)?;
//! assert_eq!(key.print(role, KeyStyle::Plain), "(Name='staff',_Box.Name=null)");
//! # Ok::<(), personium_odata::key::KeyError>(())
//! ```

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::constraint::Format;
use crate::edm::EntityType;
use crate::value::Properties;

/// The maximum number of parts of a key predicate.
pub const MAX_KEY_PARTS: usize = 16;

/// The characters that are encoded in URLs of entities, as `application/x-www-form-urlencoded` does, except that a space is
/// `%20`: in a path, `+` is a plus sign.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'.')
    .remove(b'-')
    .remove(b'*')
    .remove(b'_');

/// The characters that cannot be in the path of a URL (RFC 3986), and `%`. A slash is left.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The key predicate is malformed, or does not fit the entity type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the entity key is malformed")]
pub struct KeyError;

/// A key predicate that was not compared with an entity type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPredicate {
    /// `('v')`: the value of the first part.
    Single(String),
    /// `(A='v',B=null)`: names and values, `None` for null. Names are distinct.
    Named(Vec<(String, Option<String>)>),
}

impl KeyPredicate {
    /// Parses the text between the brackets, after percent-decoding. Spaces around names, literals and signs are ignored;
    /// `''` in a literal is one quote.
    ///
    /// # Errors
    /// [`KeyError`] for a syntax error, a literal that is not a string, a name given twice, `null` without name, and more
    /// than [`MAX_KEY_PARTS`] parts.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim_matches(' ');
        if text.starts_with('\'') {
            let (value, rest) = take_literal(text)?;
            return if rest.trim_matches(' ').is_empty() {
                Ok(Self::Single(value))
            } else {
                Err(KeyError)
            };
        }
        let mut parts: Vec<(String, Option<String>)> = Vec::new();
        let mut rest = text;
        loop {
            let (name, tail) = rest.split_once('=').ok_or(KeyError)?;
            let name = name.trim_matches(' ');
            if name.is_empty()
                || !name.bytes().all(is_name_byte)
                || parts.iter().any(|(known, _)| known == name)
            {
                return Err(KeyError);
            }
            let tail = tail.trim_start_matches(' ');
            let (value, tail) = match tail.strip_prefix("null") {
                Some(tail) => (None, tail),
                None => take_literal(tail).map(|(value, tail)| (Some(value), tail))?,
            };
            parts.push((name.to_owned(), value));
            let tail = tail.trim_matches(' ');
            if tail.is_empty() {
                return Ok(Self::Named(parts));
            }
            rest = tail.strip_prefix(',').ok_or(KeyError)?;
            if parts.len() == MAX_KEY_PARTS {
                return Err(KeyError);
            }
        }
    }

    /// The key for an entity type.
    ///
    /// A single literal is the value of the first part and of every other part that is not nullable. The name of the only part
    /// is not compared. Of several parts, those that are missing are null: no entity has such a key unless they are nullable.
    ///
    /// # Errors
    /// [`KeyError`] for a name that is not one of the parts of the key, and for `null` in a part that is not nullable.
    pub fn resolve(&self, entity_type: &EntityType) -> Result<EntityKey, KeyError> {
        let required = |name: &str| {
            entity_type
                .properties
                .get(name)
                .is_some_and(|property| !property.nullable)
        };
        let parts = match self {
            Self::Single(value) => entity_type
                .key
                .iter()
                .enumerate()
                .map(|(at, name)| (at == 0 || required(name)).then(|| value.clone()))
                .collect(),
            Self::Named(named) => {
                if let ([(_, Some(value))], [_]) = (named.as_slice(), entity_type.key.as_slice()) {
                    return Ok(EntityKey::single(value.as_str()));
                }
                if !named.iter().all(|(name, _)| entity_type.is_key(name)) {
                    return Err(KeyError);
                }
                let mut parts = Vec::with_capacity(entity_type.key.len());
                for (at, name) in entity_type.key.iter().enumerate() {
                    let value = named.iter().find(|(known, _)| *known == **name);
                    let value = value.map(|(_, value)| value.clone());
                    if value == Some(None) && (at == 0 || required(name)) {
                        return Err(KeyError);
                    }
                    parts.push(value.flatten());
                }
                parts
            }
        };
        Ok(EntityKey { parts })
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Splits the text after a literal `'...'` at its start; returns the unescaped literal and the rest.
fn take_literal(text: &str) -> Result<(String, &str), KeyError> {
    let mut value = String::new();
    let mut rest = text.strip_prefix('\'').ok_or(KeyError)?;
    loop {
        let (plain, tail) = rest.split_once('\'').ok_or(KeyError)?;
        value.push_str(plain);
        match tail.strip_prefix('\'') {
            Some(tail) => {
                value.push('\'');
                rest = tail;
            }
            None => return Ok((value, tail)),
        }
    }
}

/// The key of one entity: the values of its parts in the order of [`EntityType::key`], `None` for null.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityKey {
    parts: Vec<Option<String>>,
}

impl EntityKey {
    /// A key with one part.
    pub fn single(value: impl Into<String>) -> Self {
        Self {
            parts: vec![Some(value.into())],
        }
    }

    /// A key with several parts in the order of [`EntityType::key`].
    #[must_use]
    pub fn compound(parts: Vec<Option<String>>) -> Self {
        Self { parts }
    }

    /// The key of an entity with these values. A part that is not a string is null.
    #[must_use]
    pub fn of(entity_type: &EntityType, properties: &Properties) -> Self {
        Self {
            parts: entity_type
                .key
                .iter()
                .map(|name| properties.text(name).map(str::to_owned))
                .collect(),
        }
    }

    /// The parts in the order of [`EntityType::key`].
    #[must_use]
    pub fn parts(&self) -> &[Option<String>] {
        &self.parts
    }

    /// The part at this position, `None` for null and after the last part.
    #[must_use]
    pub fn part(&self, at: usize) -> Option<&str> {
        self.parts.get(at).and_then(|part| part.as_deref())
    }

    /// The first part, which is the name of the entity; empty if null.
    #[must_use]
    pub fn name(&self) -> &str {
        self.part(0).unwrap_or("")
    }

    /// Appends the key predicate with its brackets.
    pub fn push(&self, out: &mut String, entity_type: &EntityType, style: KeyStyle) {
        push_key(out, entity_type, style, |at, _| self.part(at));
    }

    /// The key predicate with its brackets.
    #[must_use]
    pub fn print(&self, entity_type: &EntityType, style: KeyStyle) -> String {
        let mut out = String::new();
        self.push(&mut out, entity_type, style);
        out
    }
}

/// The encoding of literals in a key predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyStyle {
    /// For `Location`, and `__metadata.uri` in the standard form: the literal of a key with one part is encoded completely; of a key with several
    /// parts, those with the format [`Format::Uri`] are.
    Encoded,
    /// For responses to `$links`, and `Location` of a creation through a navigation property: only characters that cannot be in
    /// a path are encoded.
    InPath,
    /// For `Location` of a creation through a navigation property in `$batch`: nothing is encoded, as recorded.
    Plain,
    /// For `__metadata.uri` in the original form of JSON: as [`Self::Encoded`], but a space is `+`, as recorded.
    Form,
}

/// Appends a key predicate with its brackets. A key with several parts is a list of `name=value` in ascending order of the
/// names. `part` returns the value of a key property by its position in [`EntityType::key`] and its name.
pub(crate) fn push_key<'a>(
    out: &mut String,
    entity_type: &EntityType,
    style: KeyStyle,
    part: impl Fn(usize, &str) -> Option<&'a str>,
) {
    out.push('(');
    if let [name] = entity_type.key.as_slice() {
        push_literal(out, part(0, name), style);
    } else {
        let mut order: Vec<(usize, &str)> = entity_type
            .key
            .iter()
            .map(|name| &**name)
            .enumerate()
            .collect();
        order.sort_unstable_by_key(|(_, name)| *name);
        for (nth, (at, name)) in order.into_iter().enumerate() {
            if nth > 0 {
                out.push(',');
            }
            out.push_str(name);
            out.push('=');
            let is_uri = || {
                entity_type
                    .properties
                    .get(name)
                    .is_some_and(|property| property.format == Some(Format::Uri))
            };
            let style = match style {
                KeyStyle::Encoded | KeyStyle::Form if !is_uri() => KeyStyle::InPath,
                other => other,
            };
            push_literal(out, part(at, name), style);
        }
    }
    out.push(')');
}

fn push_literal(out: &mut String, value: Option<&str>, style: KeyStyle) {
    let Some(value) = value else {
        out.push_str("null");
        return;
    };
    let quoted: Cow<'_, str> = if value.contains('\'') {
        value.replace('\'', "''").into()
    } else {
        value.into()
    };
    out.push('\'');
    match style {
        KeyStyle::Plain => out.push_str(&quoted),
        KeyStyle::InPath => out.extend(utf8_percent_encode(&quoted, NOT_IN_PATH)),
        KeyStyle::Encoded => out.extend(utf8_percent_encode(&quoted, ENCODED)),
        KeyStyle::Form => {
            let encoded = utf8_percent_encode(&quoted, ENCODED).to_string();
            out.push_str(&encoded.replace("%20", "+"));
        }
    }
    out.push('\'');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::control;

    #[test]
    fn key_predicates_are_parsed_or_refused() {
        let single = |text: &str| KeyPredicate::Single(text.to_owned());
        assert_eq!(KeyPredicate::parse("'a'"), Ok(single("a")));
        assert_eq!(KeyPredicate::parse(" 'a''b' "), Ok(single("a'b")));
        assert_eq!(KeyPredicate::parse("''"), Ok(single("")));
        let named = KeyPredicate::Named(vec![
            ("_Box.Name".into(), None),
            ("Name".into(), Some("r,=".into())),
        ]);
        assert_eq!(
            KeyPredicate::parse("_Box.Name=null, Name = 'r,='"),
            Ok(named)
        );
        for bad in [
            "",
            "1",
            "true",
            "null",
            "a",
            "'a",
            "a'",
            "'a'b'",
            "Name",
            "Name=",
            "Name=1",
            "Name=a",
            "Name='a',",
            ",",
            "Name='a',Name='b'",
            "='a'",
            "Name='a' x",
            "Na me='a'",
            "'a','b'",
        ] {
            assert_eq!(KeyPredicate::parse(bad), Err(KeyError), "{bad}");
        }
    }

    #[test]
    fn single_literal_leaves_nullable_parts_null() {
        let role = control::cell().entity_type("Role").unwrap();
        let resolve = |text: &str| KeyPredicate::parse(text).unwrap().resolve(role);
        let plain = resolve("'r'").unwrap();
        assert_eq!(plain, resolve("Name='r',_Box.Name=null").unwrap());
        assert_eq!(plain, resolve("Name='r'").unwrap());
        assert_eq!(
            plain.print(role, KeyStyle::Encoded),
            "(Name='r',_Box.Name=null)"
        );
        for bad in ["Name=null", "Other='r'", "Name='r',Other=null"] {
            assert_eq!(resolve(bad), Err(KeyError), "{bad}");
        }
        // No role has this key.
        let no_name = resolve("_Box.Name='b'").unwrap();
        assert_eq!(no_name.parts(), [None, Some("b".to_owned())]);
        let rule = control::cell().entity_type("Rule").unwrap();
        assert_eq!(
            KeyPredicate::parse("'r'")
                .unwrap()
                .resolve(rule)
                .unwrap()
                .parts(),
            &[Some("r".to_owned()), None]
        );
    }

    #[test]
    fn name_of_the_only_part_is_not_compared() {
        let account = control::cell().entity_type("Account").unwrap();
        for text in ["'a'", "Name='a'", "Id='a'", "_Box.Name = 'a'"] {
            let key = KeyPredicate::parse(text).unwrap().resolve(account);
            assert_eq!(key, Ok(EntityKey::single("a")), "{text}");
        }
        for bad in ["Name=null", "Other=null", "Name='a',Other='b'"] {
            let key = KeyPredicate::parse(bad).unwrap().resolve(account);
            assert_eq!(key, Err(KeyError), "{bad}");
        }
    }

    #[test]
    fn missing_part_is_null_in_any_order() {
        let ext_role = control::cell().entity_type("ExtRole").unwrap();
        let parts = |text: &str| {
            let key = KeyPredicate::parse(text).unwrap().resolve(ext_role);
            key.unwrap().parts().to_vec()
        };
        let text = |text: &str| Some(text.to_owned());
        for (key, expected) in [
            ("ExtRole='e'", [text("e"), None, None]),
            ("_Relation.Name='r'", [None, text("r"), None]),
            (
                "_Relation.Name='r',ExtRole='e'",
                [text("e"), text("r"), None],
            ),
            (
                "_Relation._Box.Name=null,ExtRole='e',_Relation.Name='r'",
                [text("e"), text("r"), None],
            ),
            (
                "_Relation._Box.Name='b',_Relation.Name='r',ExtRole='e'",
                [text("e"), text("r"), text("b")],
            ),
        ] {
            assert_eq!(parts(key), expected, "{key}");
        }
    }

    #[test]
    fn literals_are_encoded_by_key_style() {
        let ext_cell = control::cell().entity_type("ExtCell").unwrap();
        let key = EntityKey::single("http://h/c d/");
        assert_eq!(
            key.print(ext_cell, KeyStyle::Encoded),
            "('http%3A%2F%2Fh%2Fc%20d%2F')"
        );
        assert_eq!(key.print(ext_cell, KeyStyle::InPath), "('http://h/c%20d/')");
        let key = EntityKey::single("a+b c%20d'é?#[]");
        assert_eq!(
            key.print(ext_cell, KeyStyle::Encoded),
            "('a%2Bb%20c%2520d%27%27%C3%A9%3F%23%5B%5D')"
        );
        assert_eq!(
            key.print(ext_cell, KeyStyle::InPath),
            "('a+b%20c%2520d''%C3%A9%3F%23%5B%5D')"
        );
        assert_eq!(key.print(ext_cell, KeyStyle::Plain), "('a+b c%20d''é?#[]')");
        assert_eq!(
            key.print(ext_cell, KeyStyle::Form),
            "('a%2Bb+c%2520d%27%27%C3%A9%3F%23%5B%5D')"
        );
        let ext_role = control::cell().entity_type("ExtRole").unwrap();
        let key = EntityKey::compound(vec![Some("http://h/".into()), Some("+r".into()), None]);
        assert_eq!(
            key.print(ext_role, KeyStyle::Encoded),
            "(ExtRole='http%3A%2F%2Fh%2F',_Relation.Name='+r',_Relation._Box.Name=null)"
        );
        assert_eq!(
            EntityKey::single("日").print(ext_cell, KeyStyle::Encoded),
            "('%E6%97%A5')"
        );
    }

    proptest! {
        #[test]
        fn printed_keys_round_trip(name in "\\PC*", other in proptest::option::of("\\PC*")) {
            let role = control::cell().entity_type("Role").unwrap();
            let key = EntityKey::compound(vec![Some(name), other]);
            let text = key.print(role, KeyStyle::Plain);
            prop_assert_eq!(KeyPredicate::parse(&text[1..text.len() - 1]).unwrap().resolve(role).unwrap(), key);
        }

        #[test]
        fn arbitrary_text_does_not_panic(text in "[a-z'=,. ]*|\\PC*") {
            let _ = KeyPredicate::parse(&text);
        }
    }
}
