//! The page that a browser gets at the root of a cell, fetched from where the cell says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use personium_model::cell::cell_property;
use personium_model::url::LOCAL_CELL;
use personium_model::{CellView, Unit};
use personium_odata::constraint::{is_cell_local_url, is_http_url, is_unit_local_url};
use personium_types::{Code, Error, Result};

use crate::answer::{self, Answer};
use crate::body::{self, Body};
use crate::call::Call;
use crate::service::Service;

/// The property of a cell that names its page.
const PROPERTY: &str = "relayhtmlurl";
/// Bytes that a page may have.
const PAGE_MAX: usize = 10 << 20;
/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Fetches the page of a cell, without credentials, and passes its status and body on.
pub(crate) async fn cell_page(call: Call, view: Arc<CellView>) -> Result<Answer> {
    let unit = Arc::clone(&call.unit);
    drop(call);
    let url = page_url(&unit, &view).await?;
    let fetched = tokio::time::timeout(PATIENCE, fetch(&unit, &url))
        .await
        .map_err(|e| Error::new(Code::RelayConnect).because(e))?;
    let (head, body) = fetched?.into_parts();
    if !is_html(&head.headers) {
        return Err(Code::RelayContentType.into());
    }
    let page = body::read_all(body, PAGE_MAX)
        .await
        .map_err(|e| Error::new(Code::RelayAnswer).because(e))?;
    Ok(answer::content(head.status, "text/html", page))
}

/// The page that a property of the cell, or else the unit, names; `None` if none is set or it cannot be fetched.
pub(crate) async fn own_page(
    unit: &Arc<Unit>,
    view: &CellView,
    property: &str,
    default: Option<&str>,
) -> Option<String> {
    let own = cell_property(view, property).await.ok().flatten();
    let url = own.or_else(|| default.map(str::to_owned))?;
    let url = resolve(unit, view, property, &url).ok()?;
    // The form could lead to itself for ever.
    let is_form = |path: &str| path.trim_start_matches('/').starts_with("__authz");
    if unit
        .urls()
        .split(&url)
        .is_some_and(|(_, path)| is_form(path))
    {
        return None;
    }
    let answer = tokio::time::timeout(PATIENCE, fetch(unit, &url))
        .await
        .ok()?
        .ok()?;
    if answer.status() != StatusCode::OK || !is_html(answer.headers()) {
        return None;
    }
    let page = body::read_all(answer.into_body(), PAGE_MAX).await.ok()?;
    String::from_utf8(page.to_vec()).ok()
}

fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes() == b"text/html")
}

/// The URL that the cell names, else the unit's, in its `http(s)` form.
async fn page_url(unit: &Unit, view: &CellView) -> Result<String> {
    let url = cell_property(view, PROPERTY)
        .await?
        .or_else(|| unit.settings().relay_html_url.clone())
        .ok_or_else(|| Error::new(Code::RelayUnset).with(PROPERTY))?;
    resolve(unit, view, PROPERTY, &url)
}

fn resolve(unit: &Unit, view: &CellView, property: &str, url: &str) -> Result<String> {
    if !(is_http_url(url) || is_unit_local_url(url) || is_cell_local_url(url)) {
        return Err(Error::new(Code::RelayMalformed).with(property));
    }
    let resolved = match url.strip_prefix(LOCAL_CELL) {
        Some(path) => {
            let cell = unit.urls().cell(&view.cell().name);
            Some(cell + path.strip_prefix('/').unwrap_or(path))
        }
        None => unit.urls().resolve(url),
    };
    resolved.ok_or_else(|| Error::new(Code::RelayMalformed).with(property))
}

async fn fetch(unit: &Arc<Unit>, url: &str) -> Result<Response<Body>> {
    if let Some((_, path)) = unit.urls().split(url) {
        // A cell's root could lead to itself for ever.
        if path.split(['?', '#']).next().unwrap_or(path).is_empty() {
            return Err(Error::new(Code::RelayAnswer).because("a cell root cannot be the page"));
        }
        let request = request(url, body::empty())?;
        let service = Service::new(Arc::clone(unit));
        return Ok(Box::pin(service.handle(request, None)).await);
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let answer = client
        .request(request(url, Empty::new())?)
        .await
        .map_err(|e| {
            let code = if e.is_connect() {
                Code::RelayConnect
            } else {
                Code::RelayAnswer
            };
            Error::new(code).because(e)
        })?;
    Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
}

fn request<B>(url: &str, body: B) -> Result<Request<B>> {
    Request::builder()
        .uri(url)
        .header(header::ACCEPT, "text/html")
        .body(body)
        .map_err(|e| Error::new(Code::RelayAnswer).because(e))
}

/// The page of the server that explains an error code.
pub(crate) fn error_page(code: Option<&str>) -> Answer {
    let message = Code::ALL
        .iter()
        .find(|known| Some(known.wire()) == code)
        .map_or("undefined", |known| known.message());
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Error</title></head>\
         <body><h1>Error</h1><p>{message}</p></body></html>\n"
    );
    answer::content(StatusCode::OK, "text/html;charset=UTF-8", page)
}
