//! HTML pages that a cell or the unit chooses by URL: the page at the root of a cell, the forms of `__authz`.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use personium_model::cell_policy::cell_property;
use personium_model::url::LOCAL_CELL;
use personium_model::{CellContext, Unit};
use personium_odata::constraint::{is_cell_local_url, is_http_url, is_unit_local_url};
use personium_types::{Code, Error, Result};

use crate::answer;
use crate::content_policy;
use crate::http_client::{FetchError, FetchedResponse, UrlTrust};
use crate::request_context::{Path, RequestContext};
use crate::response::{self, Response};
use crate::route::CellRoute;

/// The property of a cell with the URL of its page.
const PROPERTY: &str = "relayhtmlurl";
/// The media type of pages.
const HTML: &str = "text/html";
/// The largest page in bytes.
const MAX_PAGE_BYTES: usize = 10 << 20;
/// The time to fetch a page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(20);

/// The location of a page.
struct PageUrl {
    url: String,
    trust: UrlTrust,
    /// Whether the cell decides about the content, not the operator.
    is_of_cell: bool,
}

/// A form that replaces the built-in one.
pub(crate) struct CustomForm {
    /// The page.
    pub(crate) page: String,
    /// Whether the cell decides about its content, not the operator.
    pub(crate) is_of_cell: bool,
}

/// Fetches the page of a cell, without credentials, and passes its status and body on.
///
/// # Errors
/// [`Code::PageUrlUnset`], [`Code::PageUrlMalformed`], [`Code::PageConnect`], [`Code::PageResponse`] or
/// [`Code::PageContentType`].
pub(crate) async fn cell_page(
    request: RequestContext,
    context: Arc<CellContext>,
) -> Result<Response> {
    let unit = &request.unit;
    let default = unit.settings().home_page_url.as_deref();
    let page = find_page(unit, &context, PROPERTY, default)
        .await?
        .ok_or_else(|| Error::new(Code::PageUrlUnset).with(PROPERTY))?;
    let fetched = fetch(&request, &page).await?;
    if !is_html(&fetched.headers) {
        return Err(Code::PageContentType.into());
    }
    let mut response = response::content(fetched.status, HTML, fetched.body);
    answer::mark_counted(&mut response);
    Ok(match page.is_of_cell {
        true => content_policy::sandbox(&request.unit, response),
        false => response,
    })
}

/// Fetches the form of `__authz` that a property of the cell, or else the unit, names. Returns `None` if none is set or it
/// cannot be fetched.
pub(crate) async fn custom_form(
    request: &RequestContext,
    context: &CellContext,
    property: &str,
    default: Option<&str>,
) -> Option<CustomForm> {
    let unit = &request.unit;
    let page = find_page(unit, context, property, default).await.ok()??;
    // `__authz` would fetch itself again and again.
    if first_segment(unit, &page.url)
        .is_some_and(|first| CellRoute::of(&first) == CellRoute::Authorize)
    {
        return None;
    }
    let fetched = fetch(request, &page).await.ok()?;
    if fetched.status != StatusCode::OK || !is_html(&fetched.headers) {
        return None;
    }
    Some(CustomForm {
        page: String::from_utf8(fetched.body.to_vec()).ok()?,
        is_of_cell: page.is_of_cell,
    })
}

/// Whether a property of the cell, or else the unit, names a form whose content the cell decides about.
///
/// # Errors
/// The error of the store.
pub(crate) async fn has_form_of_cell(
    unit: &Unit,
    context: &CellContext,
    property: &str,
    default: Option<&str>,
) -> Result<bool> {
    let page = find_page(unit, context, property, default).await;
    match page {
        Ok(page) => Ok(page.is_some_and(|page| page.is_of_cell)),
        Err(refusal) if refusal.code() == Code::PageUrlMalformed => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes() == HTML.as_bytes())
}

/// The `http(s)` URL of the page that the cell, or else the unit, names.
async fn find_page(
    unit: &Unit,
    context: &CellContext,
    property: &str,
    default: Option<&str>,
) -> Result<Option<PageUrl>> {
    let (url, trust) = match (cell_property(context, property).await?, default) {
        (Some(own), _) => (own, UrlTrust::CellOwner),
        (None, Some(default)) => (default.to_owned(), UrlTrust::Operator),
        (None, None) => return Ok(None),
    };
    let is_of_cell = trust == UrlTrust::CellOwner || is_cell_local_url(&url);
    let url = resolve(unit, context, property, &url)?;
    Ok(Some(PageUrl {
        url,
        trust,
        is_of_cell,
    }))
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

/// The first segment of the path below a cell of this unit, decoded as for routing; empty for the root of the cell. `None`
/// for URLs of other servers.
fn first_segment(unit: &Unit, url: &str) -> Option<String> {
    let (_, path) = unit.urls().split(url)?;
    let path = path.split(['?', '#']).next().unwrap_or_default();
    Some(match Path::parse(path) {
        Ok(path) => path.decoded.into_iter().next().unwrap_or_default(),
        Err(_) => path.to_owned(),
    })
}

async fn fetch(request: &RequestContext, page: &PageUrl) -> Result<FetchedResponse> {
    let own = first_segment(&request.unit, &page.url);
    // A root of a cell would fetch itself again and again.
    if own.as_deref() == Some("") {
        return Err(Error::new(Code::PageResponse).with_source("a cell root cannot be the page"));
    }
    let fetch = request
        .http_client
        .get(&page.url, HTML, page.trust, MAX_PAGE_BYTES);
    match tokio::time::timeout(PAGE_TIMEOUT, fetch).await {
        Ok(fetched) => fetched.map_err(|error| {
            let code = match error {
                FetchError::Response(_) | FetchError::LoopbackDepth => Code::PageResponse,
                FetchError::Url if own.is_some() => Code::PageResponse,
                _ => Code::PageConnect,
            };
            Error::new(code).with_source(error)
        }),
        Err(elapsed) => Err(Error::new(Code::PageConnect).with_source(elapsed)),
    }
}
