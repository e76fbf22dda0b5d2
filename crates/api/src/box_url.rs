//! `__box`: the URL of the box of an application.

use std::sync::Arc;

use http::{StatusCode, header};
use personium_model::locate;
use personium_model::{Access, BoxInfo, CellContext, Identity, Unit};
use personium_odata::constraint::is_schema_uri;
use personium_types::{Code, Error, Operation, Result};
use serde_json::json;

use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};
use crate::{accept, hrefs};

/// Returns the URL of the box of the application that the query, or else the token, names.
///
/// # Errors
/// [`Code::MethodNotAllowed`]; [`Code::QueryRange`] for a query that is no schema URL; [`Code::PrivilegeLacking`] or the
/// reason why the token is not valid.
pub(crate) async fn handle(request: CellRequest) -> Result<Response> {
    request.require_get()?;
    let schema = request.query_value("schema");
    if let Some(schema) = schema.as_deref().filter(|schema| !is_schema_uri(schema)) {
        return Err(Error::new(Code::QueryRange).with("schema").with(schema));
    }
    let media_type = accept::json_or_text(&request.headers);
    let CellRequest { request, context } = request;
    let (unit, access) = (request.unit.clone(), request.access.clone());
    drop(request);
    let schema = schema.or_else(|| access.app().map(str::to_owned));
    let found = match schema {
        Some(schema) => find(&unit, &context, &schema).await?,
        None => None,
    };
    // A box that does not exist and one that may not be read give the same error.
    let found = found.ok_or_else(|| match access.identity {
        Identity::Invalid(reason) => Error::new(reason),
        _ => Code::PrivilegeLacking.into(),
    })?;
    permit(&unit, &context, &access, &found).await?;
    let url = hrefs::box_url(unit.urls(), &context, &found) + "/";
    let body = json!({"Url": url}).to_string();
    Ok(response::content(StatusCode::OK, media_type, body).with_header(header::LOCATION, &url))
}

/// The box whose schema is this URL in any of its spellings.
async fn find(unit: &Unit, context: &CellContext, schema: &str) -> Result<Option<Arc<BoxInfo>>> {
    let spellings = unit.urls().spellings(schema);
    let boxes = context.boxes().await?;
    let is_it = |b: &&Arc<BoxInfo>| b.schema.as_ref().is_some_and(|s| spellings.contains(s));
    Ok(boxes.iter().find(is_it).cloned())
}

/// Permits the application of the box, those who manage the cell, and those who may read the box.
async fn permit(
    unit: &Unit,
    context: &Arc<CellContext>,
    access: &Access,
    found: &Arc<BoxInfo>,
) -> Result<()> {
    let urls = unit.urls();
    let own = match (access.app(), found.schema.as_deref()) {
        (Some(app), Some(schema)) => urls.spellings(app).iter().any(|s| s == schema),
        _ => false,
    };
    if own {
        return Ok(());
    }
    let target = locate::locate(context, found, &[]).await?;
    target.permit(urls, access, Operation::FindBox).map(drop)
}
