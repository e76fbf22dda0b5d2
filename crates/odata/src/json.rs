//! JSON response bodies.
//!
//! ```
//! use personium_odata::control;
//! use personium_odata::entity_view::{EntityShape, EntityView};
//! use personium_types::ETag;
//! use personium_odata::json::JsonWriter;
//! use personium_odata::value::Properties;
//!
//! let schema = control::unit();
//! let mut properties = Properties::new();
//! properties.set("Name", "c");
//! let cell = EntityView {
//!     entity_type: schema.entity_type("Cell").unwrap(),
//!     etag: ETag { version: 1, updated_ms: 5 },
//!     published: 4,
//!     properties: &properties,
//!     expanded: vec![],
//! };
//! let mut body = String::new();
//! JsonWriter::new(schema, "http://h/__ctl/", EntityShape::Read).push_single(&mut body, &cell);
//! assert!(body.starts_with(r#"{"d":{"results":{"__metadata":{"uri":"http:\/\/h\/__ctl\/Cell('c')""#));
//! ```

use std::ops::Range;

use crate::dialect::Dialect;
use crate::edm::{EntityType, NavigationProperty, Property, Schema, ValueType};
use crate::entity_view::{EntityShape, EntityView, ListEnd, push_entity_key};
use crate::key::{KeyStyle, push_key};
use crate::query::Select;
use crate::value::{
    NULL, Properties, Value, push_int, push_json_escaped, push_json_string, push_json_value,
};

/// Writes entities of one schema below one service root.
#[derive(Clone, Debug)]
pub struct JsonWriter<'a> {
    schema: &'a Schema,
    /// The URL of the service root, escaped for JSON.
    escaped_root: String,
    shape: EntityShape,
    select: &'a Select,
    dialect: Dialect,
}

impl<'a> JsonWriter<'a> {
    /// A writer. `root` is the URL of the service root with its final slash.
    #[must_use]
    pub fn new(schema: &'a Schema, root: &str, shape: EntityShape) -> Self {
        let mut escaped_root = String::with_capacity(root.len() + 16);
        push_json_escaped(&mut escaped_root, root);
        Self {
            schema,
            escaped_root,
            shape,
            select: &Select::All,
            dialect: Dialect::Original,
        }
    }

    /// Selects the properties of the entities. Expanded entities have all properties.
    #[must_use]
    pub fn select(mut self, select: &'a Select) -> Self {
        self.select = select;
        self
    }

    /// Chooses the form of entities and expanded entities.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// Appends `{"d":{"results":{...}}}`, in [`Dialect::Standard`] `{"d":{...}}`.
    pub fn push_single(&self, out: &mut String, entity: &EntityView<'_>) {
        let (start, end) = match self.dialect {
            Dialect::Original => ("{\"d\":{\"results\":", "}}"),
            Dialect::Standard => ("{\"d\":", "}"),
        };
        out.push_str(start);
        self.push_entity(out, entity);
        out.push_str(end);
    }

    /// Appends `{"d":{"results":[...]}}`, with the members `__count` and `__next` that `end` has.
    pub fn push_list<'e>(
        &self,
        out: &mut String,
        entities: impl IntoIterator<Item = &'e EntityView<'e>>,
        end: ListEnd<'_>,
    ) {
        Self::push_list_start(out);
        for (at, entity) in entities.into_iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            self.push_entity(out, entity);
        }
        Self::push_list_end(out, end);
    }

    /// Appends what is before the entities of a list. They follow by [`Self::push_entity`], with commas between them.
    pub fn push_list_start(out: &mut String) {
        out.push_str("{\"d\":{\"results\":[");
    }

    /// Appends what is after the entities of a list, with the members `__count` and `__next` that `end` has.
    pub fn push_list_end(out: &mut String, end: ListEnd<'_>) {
        out.push(']');
        if let Some(count) = end.count {
            out.push_str(",\"__count\":\"");
            push_int(out, i64::try_from(count).unwrap_or(i64::MAX));
            out.push('"');
        }
        if let Some(next) = end.next {
            out.push_str(",\"__next\":");
            push_json_string(out, next);
        }
        out.push_str("}}");
    }

    /// Appends one entity.
    pub fn push_entity(&self, out: &mut String, entity: &EntityView<'_>) {
        self.push_selected(out, entity, self.select);
    }

    fn push_selected(&self, out: &mut String, entity: &EntityView<'_>, select: &Select) {
        let entity_type = entity.entity_type;
        out.push('{');
        let uri = self.push_metadata(out, entity);
        self.push_properties(out, entity, select);
        if self.shape == EntityShape::Created {
            out.push('}');
            return;
        }
        for navigation in &entity_type.navigation {
            out.push_str(",\"");
            push_json_escaped(out, &navigation.name);
            out.push_str("\":");
            match entity
                .expanded
                .iter()
                .find(|expanded| *expanded.navigation == *navigation.name)
            {
                Some(expanded) => self.push_expanded(out, navigation, &expanded.entities),
                None => {
                    out.push_str("{\"__deferred\":{\"uri\":\"");
                    out.extend_from_within(uri.clone());
                    out.push_str("\\/");
                    push_json_escaped(out, &navigation.name);
                    out.push_str("\"}}");
                }
            }
        }
        out.push('}');
    }

    /// Appends expanded entities: a list, in [`Dialect::Standard`] a list in `results`, or one entity or null.
    fn push_expanded(
        &self,
        out: &mut String,
        navigation: &NavigationProperty,
        targets: &[EntityView<'_>],
    ) {
        let is_many = navigation.to_multiplicity.is_many();
        let (start, end) = match (self.dialect, is_many) {
            (Dialect::Original, _) => ("[", "]"),
            (Dialect::Standard, true) => ("{\"results\":[", "]}"),
            (Dialect::Standard, false) => {
                match targets.first() {
                    Some(target) => self.push_selected(out, target, &Select::All),
                    None => out.push_str("null"),
                }
                return;
            }
        };
        out.push_str(start);
        for (at, target) in targets.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            self.push_selected(out, target, &Select::All);
        }
        out.push_str(end);
    }

    /// Appends an entity as the body of a request that creates it: the properties that have a value, without timestamps.
    pub fn push_body(&self, out: &mut String, entity_type: &EntityType, properties: &Properties) {
        out.push('{');
        let (mut cursor, mut is_first) = (0, true);
        for property in &entity_type.properties {
            let value = properties.get_next(&property.name, &mut cursor);
            let Some(value) = value.filter(|value| !value.is_null() && !property.is_timestamp())
            else {
                continue;
            };
            if !is_first {
                out.push(',');
            }
            is_first = false;
            push_json_string(out, &property.name);
            out.push(':');
            self.push_typed(out, property, value);
        }
        out.push('}');
    }

    /// Appends the value of one property: `{"d":{"name":value}}`.
    pub fn push_property_value(&self, out: &mut String, property: &Property, value: &Value) {
        out.push_str("{\"d\":{");
        push_json_string(out, &property.name);
        out.push(':');
        self.push_typed(out, property, value);
        out.push_str("}}");
    }

    /// Appends the member `__metadata`; returns the position of the escaped URL in `out`.
    fn push_metadata(&self, out: &mut String, entity: &EntityView<'_>) -> Range<usize> {
        let type_name = &entity.entity_type.name;
        out.push_str("\"__metadata\":{\"uri\":\"");
        let uri_start = out.len();
        out.push_str(&self.escaped_root);
        push_json_escaped(out, type_name);
        let mut key = String::new();
        let style = match self.dialect {
            Dialect::Original => KeyStyle::Form,
            Dialect::Standard => KeyStyle::Encoded,
        };
        push_entity_key(&mut key, entity, style);
        push_json_escaped(out, &key);
        let uri = uri_start..out.len();
        out.push_str("\",\"etag\":\"W\\/\\\"");
        push_int(out, i64::try_from(entity.etag.version).unwrap_or(i64::MAX));
        out.push('-');
        push_int(out, entity.etag.updated_ms);
        out.push_str("\\\"\",\"type\":\"");
        push_json_escaped(out, &self.schema.namespace);
        out.push('.');
        push_json_escaped(out, type_name);
        out.push_str("\"}");
        uri
    }

    fn push_properties(&self, out: &mut String, entity: &EntityView<'_>, select: &Select) {
        let entity_type = entity.entity_type;
        let mut cursor = 0;
        let mut null_key_parts: Vec<&Property> = Vec::new();
        for property in &entity_type.properties {
            if !select.includes(entity_type, &property.name) {
                continue;
            }
            if property.is_timestamp() {
                push_member(out, &property.name);
                push_json_value(out, &entity.timestamp(property));
                continue;
            }
            let value = entity.properties.get_next(&property.name, &mut cursor);
            match self.shape {
                EntityShape::Created if value.is_none() && property.is_dynamic() => continue,
                EntityShape::Created
                    if value.is_none_or(Value::is_null)
                        && entity_type.key.len() > 1
                        && entity_type.is_key(&property.name) =>
                {
                    null_key_parts.push(property);
                    continue;
                }
                EntityShape::BatchCreated if !entity_type.is_key(&property.name) => {
                    push_member(out, &property.name);
                    out.push_str("null");
                    continue;
                }
                _ => {}
            }
            push_member(out, &property.name);
            self.push_typed(out, property, value.unwrap_or(&NULL));
        }
        for property in null_key_parts {
            push_member(out, &property.name);
            out.push_str("null");
        }
        if self.shape == EntityShape::Created {
            // The dynamic properties that this entity registered are not part of the type yet.
            for (name, value) in entity.properties.iter() {
                if entity_type.properties.get(name).is_none() {
                    push_member(out, name);
                    push_json_value(out, value);
                }
            }
        }
    }

    /// Appends a value of the type of the property. A complex value has every member of its type.
    fn push_typed(&self, out: &mut String, property: &Property, value: &Value) {
        match (&property.value_type, value) {
            (ValueType::Complex(name), Value::Complex(members)) => {
                let Some(complex) = self.schema.complex_type(name) else {
                    return push_json_value(out, value);
                };
                out.push('{');
                let mut cursor = 0;
                for (at, member) in complex.properties.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    push_json_string(out, &member.name);
                    out.push(':');
                    self.push_typed(
                        out,
                        member,
                        members.get_next(&member.name, &mut cursor).unwrap_or(&NULL),
                    );
                }
                out.push('}');
            }
            (ValueType::Complex(_), Value::List(items)) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(',');
                    }
                    self.push_typed(out, property, item);
                }
                out.push(']');
            }
            (_, Value::Decimal(number)) if self.dialect == Dialect::Standard => {
                out.push_str(number.text());
            }
            _ => push_json_value(out, value),
        }
    }
}

fn push_member(out: &mut String, name: &str) {
    out.push_str(",\"");
    push_json_escaped(out, name);
    out.push_str("\":");
}

/// The URL of an entity for `Location` and responses to `$links`. `root` is the URL of the service root with its final slash.
#[must_use]
pub fn entity_url(
    root: &str,
    entity_type: &EntityType,
    properties: &Properties,
    style: KeyStyle,
) -> String {
    let mut url = String::with_capacity(root.len() + entity_type.name.len() + 64);
    url.push_str(root);
    url.push_str(&entity_type.name);
    push_key(&mut url, entity_type, style, |_, name| {
        properties.text(name)
    });
    url
}

/// Appends the body of the response to `GET .../$links/...`: `{"d":{"results":[{"uri":"..."},...]}}`. The URLs are those
/// of [`entity_url`] with [`KeyStyle::InPath`].
pub fn push_links(out: &mut String, urls: impl IntoIterator<Item = impl AsRef<str>>) {
    out.push_str("{\"d\":{\"results\":[");
    for (at, url) in urls.into_iter().enumerate() {
        out.push_str(if at > 0 { ",{\"uri\":" } else { "{\"uri\":" });
        push_json_string(out, url.as_ref());
        out.push('}');
    }
    out.push_str("]}}");
}

/// Appends the body of the response to `GET .../$links/...` along an association with at most one target:
/// `{"d":{"uri":"..."}}`.
pub fn push_link(out: &mut String, url: &str) {
    out.push_str("{\"d\":{\"uri\":");
    push_json_string(out, url);
    out.push_str("}}");
}

/// The largest length of a callback.
const MAX_CALLBACK_BYTES: usize = 128;
/// The reserved words of JavaScript (ECMA-262 section 12.7.2), which are no names.
const RESERVED_WORDS: &[&str] = &[
    "await",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "import",
    "in",
    "instanceof",
    "new",
    "null",
    "return",
    "super",
    "switch",
    "this",
    "throw",
    "true",
    "try",
    "typeof",
    "var",
    "void",
    "while",
    "with",
    "yield",
];

/// Whether a text is the name of a JavaScript function: identifiers of ASCII characters, separated by dots.
#[must_use]
pub fn is_callback(text: &str) -> bool {
    let is_identifier = |part: &str| {
        let starts_well = part
            .bytes()
            .next()
            .is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'$'));
        let is_part = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$');
        starts_well && part.bytes().all(is_part) && !RESERVED_WORDS.contains(&part)
    };
    text.len() <= MAX_CALLBACK_BYTES && text.split('.').all(is_identifier)
}

/// The end of a script for `$callback`, after the body.
pub const CALLBACK_END: &str = ");";

/// Appends what is before a body in JavaScript for `$callback`: `name(body);`. The comment before it keeps the name, which the
/// client chooses, from being the first bytes: players of other formats would read those.
pub fn push_callback_start(out: &mut String, name: &str) {
    out.push_str("/**/");
    out.push_str(name);
    out.push('(');
}

#[cfg(test)]
mod tests;
