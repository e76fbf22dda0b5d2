//! Request bodies: reading, defaults and validation against an entity type.

mod json_reader;
mod merge;
mod validate;

pub use json_reader::{JsonError, JsonMembers, JsonValue, MAX_DEPTH, MAX_VALUES, read_object};
pub use merge::merge;
pub use validate::validate;

use std::sync::Arc;

use crate::edm::SimpleType;
use crate::value::Properties;

/// What the request does with the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A new entity: every default applies.
    Create,
    /// The whole entity anew. Key members with a generated default are left out when absent: the caller keeps them.
    Replace,
    /// Changes of single members: absent ones are left out of the result.
    Merge,
}

/// How the request reaches the set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Through the set itself.
    Direct,
    /// Through a navigation property, where type and address range of accounts are not looked at.
    Navigation,
}

/// What validation needs to know besides the schema.
pub struct BodyContext<'a> {
    /// Time of the request in milliseconds since 1970.
    pub now: i64,
    /// Makes an identifier of 32 lower-case hex digits.
    pub new_id: &'a mut dyn FnMut() -> String,
    /// Authentication types of accounts besides `basic`.
    pub account_types: &'a [&'a str],
    /// Root URL of the unit, under which rules must use unit-local URLs.
    pub unit_url: Option<&'a str>,
    /// Whether the collection has a complex type of that name; asked for the `Type` of schema properties.
    pub has_complex_type: &'a dyn Fn(&str) -> bool,
    /// How the request reaches the set.
    pub route: Route,
    /// Members of a body that are not declared, at most.
    pub max_undeclared: usize,
}

/// A valid body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValidatedBody {
    /// Values in schema order, undeclared ones behind. Stamps (`__published`, `__updated`) are never in it.
    ///
    /// Create, Replace: members that are null are left out unless the body names them. Merge: exactly the members
    /// to change; a complex value holds the members to change only.
    pub properties: Properties,
    /// Undeclared members of an open type, which become dynamic properties.
    pub new_properties: Vec<NewProperty>,
}

/// A dynamic property used for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewProperty {
    /// Its name.
    pub name: Arc<str>,
    /// The type its first value fixes.
    pub simple: SimpleType,
}

/// The first fault of a body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// No JSON object, or an empty complex value.
    #[error("the body cannot be parsed")]
    Malformed,
    /// A member that bodies may not name: undeclared in a closed set, or set by the server.
    #[error("the member {0} cannot be given")]
    Forbidden(String),
    /// A value breaks its type, its format or a rule across members.
    #[error("the value of {0} is not acceptable")]
    InvalidValue(String),
    /// A required member is absent or null.
    #[error("the member {0} is required")]
    Required(String),
    /// The URL of a cell was expected.
    #[error("the value of {0} is no cell URL")]
    InvalidCellUrl(String),
    /// The schema of a box was expected.
    #[error("the value of {0} is no schema URI")]
    InvalidSchemaUri(String),
    /// More undeclared members than a type can have properties.
    #[error("there are too many members that are not declared")]
    TooManyUndeclared,
}

impl From<JsonError> for BodyError {
    fn from(_: JsonError) -> Self {
        Self::Malformed
    }
}

/// Why the body of a link request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkBodyError {
    /// No JSON object whose first member is `uri`.
    #[error("the body cannot be parsed")]
    Malformed,
    /// The reference is null, empty or no text.
    #[error("the reference is missing")]
    InvalidUri,
}

/// Reads `{"uri":"..."}`.
///
/// # Errors
/// [`LinkBodyError`]; the reference itself is read by [`crate::path::parse_link_uri`].
pub fn read_link(bytes: &[u8]) -> Result<String, LinkBodyError> {
    let members = read_object(bytes).map_err(|JsonError| LinkBodyError::Malformed)?;
    match members.into_iter().next() {
        Some((name, value)) if name == "uri" => match value {
            JsonValue::String(uri) if !uri.is_empty() => Ok(uri.into_owned()),
            _ => Err(LinkBodyError::InvalidUri),
        },
        _ => Err(LinkBodyError::Malformed),
    }
}

#[cfg(test)]
mod tests;
