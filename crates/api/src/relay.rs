//! The page that a browser gets at the root of a cell, fetched from where the cell says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use personium_model::cell::cell_property;
use personium_model::url::LOCAL_CELL;
use personium_model::{CellContext, Unit};
use personium_odata::constraint::{is_cell_local_url, is_http_url, is_unit_local_url};
use personium_types::{Code, Error, Result};

use crate::http_client::{FetchError, Fetched, UrlTrust};
use crate::loopback::{self, Origin};
use crate::request_context::{Path, RequestContext};
use crate::response::{self, Response};
use crate::route::CellRoute;

/// The property of a cell that names its page.
const PROPERTY: &str = "relayhtmlurl";
/// The media type of pages.
const HTML: &str = "text/html";
/// Bytes that a page may have.
const PAGE_MAX: usize = 10 << 20;
/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a page is.
struct Page {
    url: String,
    trust: UrlTrust,
}

/// Fetches the page of a cell, without credentials, and passes its status and body on.
pub(crate) async fn cell_page(
    request: RequestContext,
    context: Arc<CellContext>,
) -> Result<Response> {
    let unit = &request.unit;
    let default = unit.settings().relay_html_url.as_deref();
    let page = find_page(unit, &context, PROPERTY, default)
        .await?
        .ok_or_else(|| Error::new(Code::PageUrlUnset).with(PROPERTY))?;
    let fetched = tokio::time::timeout(PATIENCE, fetch(&request, &page))
        .await
        .map_err(|e| Error::new(Code::PageConnect).with_source(e))??;
    if !is_html(&fetched.headers) {
        return Err(Code::PageContentType.into());
    }
    Ok(response::content(fetched.status, HTML, fetched.body))
}

/// The page that a property of the cell, or else the unit, names; `None` if none is set or it cannot be fetched.
pub(crate) async fn own_page(
    request: &RequestContext,
    context: &CellContext,
    property: &str,
    default: Option<&str>,
) -> Option<String> {
    let unit = &request.unit;
    let page = find_page(unit, context, property, default).await.ok()??;
    // The form could lead to itself for ever.
    if first_segment(unit, &page.url)
        .is_some_and(|first| CellRoute::of(&first) == CellRoute::Authorize)
    {
        return None;
    }
    let fetched = tokio::time::timeout(PATIENCE, fetch(request, &page))
        .await
        .ok()?
        .ok()?;
    if fetched.status != StatusCode::OK || !is_html(&fetched.headers) {
        return None;
    }
    String::from_utf8(fetched.body.to_vec()).ok()
}

fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes() == HTML.as_bytes())
}

/// The page that the cell names, else the unit's, by its `http(s)` URL.
async fn find_page(
    unit: &Unit,
    context: &CellContext,
    property: &str,
    default: Option<&str>,
) -> Result<Option<Page>> {
    let (url, trust) = match (cell_property(context, property).await?, default) {
        (Some(own), _) => (own, UrlTrust::CellOwner),
        (None, Some(default)) => (default.to_owned(), UrlTrust::Operator),
        (None, None) => return Ok(None),
    };
    let url = resolve(unit, context, property, &url)?;
    Ok(Some(Page { url, trust }))
}

fn resolve(unit: &Unit, context: &CellContext, property: &str, url: &str) -> Result<String> {
    if !(is_http_url(url) || is_unit_local_url(url) || is_cell_local_url(url)) {
        return Err(Error::new(Code::PageUrlMalformed).with(property));
    }
    let resolved = match url.strip_prefix(LOCAL_CELL) {
        Some(path) => {
            let cell = unit.urls().cell(&context.cell().name);
            Some(cell + path.strip_prefix('/').unwrap_or(path))
        }
        None => unit.urls().resolve(url),
    };
    resolved.ok_or_else(|| Error::new(Code::PageUrlMalformed).with(property))
}

/// The first segment of the path below a cell of this unit, as it is routed: empty for the root of the cell. `None` for
/// URLs of others.
fn first_segment(unit: &Unit, url: &str) -> Option<String> {
    let (_, path) = unit.urls().split(url)?;
    let path = path.split(['?', '#']).next().unwrap_or_default();
    Some(match Path::parse(path) {
        Ok(path) => path.decoded.into_iter().next().unwrap_or_default(),
        Err(_) => path.to_owned(),
    })
}

async fn fetch(request: &RequestContext, page: &Page) -> Result<Fetched> {
    let url = page.url.as_str();
    if let Some(first) = first_segment(&request.unit, url) {
        // A cell's root could lead to itself for ever.
        if first.is_empty() {
            return Err(
                Error::new(Code::PageResponse).with_source("a cell root cannot be the page")
            );
        }
        let page_request = Request::get(url)
            .header(header::ACCEPT, HTML)
            .body(Bytes::new())
            .map_err(|e| Error::new(Code::PageResponse).with_source(e))?;
        let asked = loopback::send(Origin::of(request), page_request, PAGE_MAX).await;
        return asked.map_err(|e| Error::new(Code::PageResponse).with_source(e));
    }
    let fetched = request
        .http_client
        .get(url, HTML, page.trust, PAGE_MAX)
        .await;
    fetched.map_err(|e| {
        let code = match e {
            FetchError::Response(_) => Code::PageResponse,
            _ => Code::PageConnect,
        };
        Error::new(code).with_source(e)
    })
}

/// The page of the server that explains an error code.
pub(crate) fn error_page(code: Option<&str>) -> Response {
    let message = Code::ALL
        .iter()
        .find(|known| Some(known.as_str()) == code)
        .map_or("undefined", |known| known.message());
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Error</title></head>\
         <body><h1>Error</h1><p>{message}</p></body></html>\n"
    );
    response::content(StatusCode::OK, "text/html;charset=UTF-8", page)
}
