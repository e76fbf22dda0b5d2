//! Request bodies: parsing, default values, validation against an entity type, merging.
//!
//! ```
//! use personium_odata::body::{BodyContext, BodyError, Intent, Route, validate};
//! use personium_odata::control;
//!
//! let mut context = BodyContext {
//!     now_ms: 0,
//!     new_id: &mut || "0".repeat(32),
//!     account_types: &[],
//!     unit_url: None,
//!     has_complex_type: &|_| false,
//!     route: Route::Direct,
//!     max_undeclared: 0,
//! };
//! let schema = control::cell();
//! let account = schema.entity_type("Account").unwrap();
//! let mut create = |body: &str| validate(body.as_bytes(), schema, account, Intent::Create, &mut context);
//! let body = create(r#"{"Name":"ann"}"#)?;
//! assert_eq!(body.properties.text("Status"), Some("active"), "a default value");
//! assert_eq!(create("{}"), Err(BodyError::Required("Name".to_owned())));
//! # Ok::<(), BodyError>(())
//! ```

mod annotations;
mod json_reader;
mod merge;
mod validate;

pub use annotations::without_annotations;
pub use json_reader::{JsonError, JsonMembers, JsonValue, MAX_DEPTH, MAX_VALUES, read_object};
pub use merge::merge;
pub use validate::validate;

use std::sync::Arc;

use crate::edm::SimpleType;
use crate::value::Properties;

/// The purpose of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// The body is a new entity. Every default value applies.
    Create,
    /// The body replaces an entity. A key property with a generated default value is omitted if absent: the caller keeps it.
    Replace,
    /// The body has the members to change. Absent members are omitted.
    Merge,
}

/// The kind of URL of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// The URL of the set or entity.
    Direct,
    /// The URL of a navigation property. Type and address range of accounts are not validated.
    Navigation,
}

/// The input of the validation besides the schema.
pub struct BodyContext<'a> {
    /// The time of the request in milliseconds since 1970.
    pub now_ms: i64,
    /// Generates an identifier of 32 hexadecimal digits in lower case.
    pub new_id: &'a mut dyn FnMut() -> String,
    /// The authentication types of accounts besides `basic`.
    pub account_types: &'a [&'a str],
    /// The root URL of the unit, see [`crate::entity_rules::check_rule`].
    pub unit_url: Option<&'a str>,
    /// Returns true if the collection has a complex type with this name, for the `Type` of schema properties.
    pub has_complex_type: &'a dyn Fn(&str) -> bool,
    /// The kind of URL of the request.
    pub route: Route,
    /// The maximum number of undeclared members.
    pub max_undeclared: usize,
}

/// A valid body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValidatedBody {
    /// The values in schema order, then the undeclared members, without the time stamps.
    ///
    /// For [`Intent::Create`] and [`Intent::Replace`] null values are omitted unless they are in the body. For
    /// [`Intent::Merge`] there are only the members to change, in complex values too.
    pub properties: Properties,
    /// The undeclared members, which the caller registers as dynamic properties.
    pub new_properties: Vec<NewProperty>,
}

/// A dynamic property used for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewProperty {
    /// The name.
    pub name: Arc<str>,
    /// The type, which is that of its first value.
    pub simple: SimpleType,
}

/// The reason for which a body is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// The body is not a JSON object, or has an empty complex value.
    #[error("the body cannot be parsed")]
    Malformed,
    /// A member is not allowed: it is undeclared in a closed type, or only the unit sets it.
    #[error("the member {0} is not allowed")]
    Forbidden(String),
    /// A value does not have its type or format, or violates a rule across members.
    #[error("the value of {0} is invalid")]
    InvalidValue(String),
    /// A required member is absent or null.
    #[error("the member {0} is required")]
    Required(String),
    /// A value is not the URL of a cell.
    #[error("the value of {0} is not a cell URL")]
    InvalidCellUrl(String),
    /// A value is not the schema of a box.
    #[error("the value of {0} is not a schema URI")]
    InvalidSchemaUri(String),
    /// There are more undeclared members than [`BodyContext::max_undeclared`].
    #[error("the body has too many undeclared members")]
    TooManyUndeclared,
}

impl From<JsonError> for BodyError {
    fn from(_: JsonError) -> Self {
        Self::Malformed
    }
}

/// The reason for which the body of a link request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkBodyError {
    /// The body is not a JSON object with the first member `uri`.
    #[error("the body cannot be parsed")]
    Malformed,
    /// The value of `uri` is null, empty or not a string.
    #[error("the value of uri is not a reference")]
    InvalidUri,
}

/// Parses the body of a link request, `{"uri":"..."}`, and returns the reference. [`crate::path::parse_link_uri`] parses the
/// reference itself.
///
/// # Errors
/// [`LinkBodyError::Malformed`] and [`LinkBodyError::InvalidUri`].
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
