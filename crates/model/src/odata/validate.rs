//! Validation of request bodies with what the unit knows: time, ids, complex types, the unit's URL.

use personium_odata::body::{self, BodyContext, BodyError, Intent, Route, ValidatedBody};
use personium_odata::edm::EntityType;
use personium_odata::value::Properties;
use personium_types::{Code, Error, NodeId, Result};

use super::root::{RootScope, ServiceRoot, SetRef};
use super::user_schema;

/// Parses and validates a body for a set.
///
/// # Errors
/// The first of the codes of [`body_error`]; failures of the store.
pub async fn validate(
    root: &ServiceRoot,
    set: &SetRef,
    bytes: &[u8],
    intent: Intent,
    route: Route,
) -> Result<ValidatedBody> {
    validate_as(root, &set.entity_type, bytes, intent, route).await
}

/// Parses and validates a body of a type, which may be another one than that of the set where it is stored.
///
/// # Errors
/// As [`validate`].
pub(super) async fn validate_as(
    root: &ServiceRoot,
    entity_type: &EntityType,
    bytes: &[u8],
    intent: Intent,
    route: Route,
) -> Result<ValidatedBody> {
    let complex = complex_types(root).await?;
    with_body_context(root, route, &complex, |context| {
        body::validate(bytes, root.edm(), entity_type, intent, context)
    })
    .map_err(body_error)
}

/// The properties of an entity after a partial change.
///
/// # Errors
/// As [`validate`].
pub(super) async fn merge(
    root: &ServiceRoot,
    set: &SetRef,
    old: &Properties,
    patch: Properties,
) -> Result<Properties> {
    let complex = complex_types(root).await?;
    with_body_context(root, Route::Direct, &complex, |context| {
        body::merge(root.edm(), &set.entity_type, old, patch, context)
    })
    .map_err(body_error)
}

async fn complex_types(root: &ServiceRoot) -> Result<Vec<String>> {
    let (RootScope::Schema(collection), Some(context)) = (root.scope(), root.context()) else {
        return Ok(Vec::new());
    };
    let schema = user_schema::load(context, &collection).await?;
    Ok(schema
        .edm
        .complex_types()
        .iter()
        .map(|c| c.name.to_string())
        .collect())
}

fn with_body_context<T>(
    root: &ServiceRoot,
    route: Route,
    complex: &[String],
    run: impl FnOnce(&mut BodyContext<'_>) -> Result<T, BodyError>,
) -> Result<T, BodyError> {
    let unit_url = root.unit().urls().unit();
    let plugins = root.unit().plugins().current();
    let built_in = root.unit().settings().auth.account_types.iter();
    let types: Vec<&str> = built_in
        .map(String::as_str)
        .chain(plugins.account_types())
        .collect();
    let now = root.unit().now_ms();
    let mut new_id = || NodeId::at(now, root.unit().random()).to_string();
    let has_complex_type = |name: &str| complex.iter().any(|c| c == name);
    run(&mut BodyContext {
        now_ms: now,
        new_id: &mut new_id,
        account_types: &types,
        unit_url: Some(&unit_url),
        has_complex_type: &has_complex_type,
        route,
        max_undeclared: root.unit().settings().odata.properties_max,
    })
}

/// The error for a body that is not valid.
#[must_use]
pub fn body_error(error: BodyError) -> Error {
    match error {
        BodyError::Malformed => Code::JsonParse.into(),
        BodyError::Forbidden(member) => Error::new(Code::FieldUnknown).with(member),
        BodyError::InvalidValue(member) => Error::new(Code::FieldFormat).with(member),
        BodyError::Required(member) => Error::new(Code::FieldRequired).with(member),
        BodyError::InvalidCellUrl(member) => Error::new(Code::CellUrlFormat).with(member),
        BodyError::InvalidSchemaUri(member) => Error::new(Code::SchemaUriFormat).with(member),
        BodyError::TooManyUndeclared => Code::PropertyLimit.into(),
    }
}
