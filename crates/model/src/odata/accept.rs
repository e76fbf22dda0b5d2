//! Validation of bodies with what the unit knows: time, ids, complex types, the unit's URL.

use personium_odata::body::{self, BodyContext, BodyError, Intent, Route, ValidatedBody};
use personium_odata::edm::EntityType;
use personium_odata::value::Properties;
use personium_types::{Code, Error, NodeId, Result};

use super::root::{RootScope, ServiceRoot, SetRef};
use super::user_schema;

/// Reads and validates a body for a set.
///
/// # Errors
/// 400 with the first fault.
pub async fn accept(
    root: &ServiceRoot,
    set: &SetRef,
    bytes: &[u8],
    intent: Intent,
    route: Route,
) -> Result<ValidatedBody> {
    accept_type(root, &set.entity_type, bytes, intent, route).await
}

/// Reads and validates a body that may be of another type than the set that it ends up in.
///
/// # Errors
/// 400 with the first fault.
pub(super) async fn accept_type(
    root: &ServiceRoot,
    entity_type: &EntityType,
    bytes: &[u8],
    intent: Intent,
    route: Route,
) -> Result<ValidatedBody> {
    let complex = complex_types(root).await?;
    with_setting(root, route, &complex, |setting| {
        body::validate(bytes, root.edm(), entity_type, intent, setting)
    })
    .map_err(body_error)
}

/// The values of an entity after a partial change.
pub(super) async fn merge(
    root: &ServiceRoot,
    set: &SetRef,
    old: &Properties,
    patch: Properties,
) -> Result<Properties> {
    let complex = complex_types(root).await?;
    with_setting(root, Route::Direct, &complex, |setting| {
        body::merge(root.edm(), &set.entity_type, old, patch, setting)
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

fn with_setting<T>(
    root: &ServiceRoot,
    route: Route,
    complex: &[String],
    run: impl FnOnce(&mut BodyContext<'_>) -> Result<T, BodyError>,
) -> Result<T, BodyError> {
    let unit_url = root.unit().urls().unit();
    let types: Vec<&str> = root
        .unit()
        .settings()
        .auth
        .account_types
        .iter()
        .map(String::as_str)
        .collect();
    let now = root.unit().now_ms();
    let mut new_id = || NodeId::at(now, root.unit().random()).to_string();
    let has = |name: &str| complex.iter().any(|c| c == name);
    run(&mut BodyContext {
        now_ms: now,
        new_id: &mut new_id,
        account_types: &types,
        unit_url: Some(&unit_url),
        has_complex_type: &has,
        route,
        max_undeclared: root.unit().settings().odata.properties_max,
    })
}

/// The code for a fault of a body.
#[must_use]
pub fn body_error(fault: BodyError) -> Error {
    match fault {
        BodyError::Malformed => Code::JsonParse.into(),
        BodyError::Forbidden(member) => Error::new(Code::FieldUnknown).with(member),
        BodyError::InvalidValue(member) => Error::new(Code::FieldFormat).with(member),
        BodyError::Required(member) => Error::new(Code::FieldRequired).with(member),
        BodyError::InvalidCellUrl(member) => Error::new(Code::CellUrlFormat).with(member),
        BodyError::InvalidSchemaUri(member) => Error::new(Code::SchemaUriFormat).with(member),
        BodyError::TooManyUndeclared => Code::PropertyLimit.into(),
    }
}
