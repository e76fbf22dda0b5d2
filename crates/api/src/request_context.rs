//! A request after its head was understood: what every handler gets.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Method};
use personium_model::install::InstallAuthority;
use personium_model::{Access, CellContext, Permit, Unit};
use personium_types::{Code, Error, Operation, Result};

use crate::body::{self, Body};
use crate::http_client::HttpClient;

/// One request to the unit or to one of its cells.
pub struct RequestContext {
    /// The unit.
    pub unit: Arc<Unit>,
    /// The way to other servers.
    pub http_client: Arc<HttpClient>,
    /// The method after overrides.
    pub method: Method,
    /// The headers after overrides.
    pub headers: HeaderMap,
    /// The path below the unit or cell.
    pub path: Path,
    /// The query, still encoded, without `?`.
    pub query: String,
    /// The absolute URL as the client sees it, without query.
    pub url: String,
    /// Who asks. Whether that is enough is decided where something is needed.
    pub access: Access,
    /// The address of the client, as proxies of the operator tell it, else the peer.
    pub client: Option<IpAddr>,
    /// The authority to install boxes.
    pub installs: InstallAuthority,
    /// How many requests of the unit to itself led here.
    pub depth: u8,
    /// The key that follows this request through logs and events.
    pub request_key: String,
    // Behind a lock only so that a call can be shared between threads.
    body: Mutex<Option<Body>>,
}

/// A request to a cell. It dereferences to its [`RequestContext`].
pub struct CellRequest {
    /// The request.
    pub request: RequestContext,
    /// The cell.
    pub context: Arc<CellContext>,
}

/// Segments of a path, as sent and decoded. Empty ones at the end are gone.
#[derive(Debug, Clone, Default)]
pub struct Path {
    /// As sent.
    pub raw: Vec<String>,
    /// Percent-decoded.
    pub decoded: Vec<String>,
}

impl Path {
    /// Splits a path.
    ///
    /// # Errors
    /// 404 if a segment is empty or is no UTF-8 when decoded.
    pub fn parse(path: &str) -> Result<Self> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut out = Self::default();
        if path.is_empty() {
            return Ok(out);
        }
        for raw in path.split('/') {
            let decoded = percent_encoding::percent_decode_str(raw).decode_utf8();
            match decoded {
                Ok(decoded) if !decoded.is_empty() => out.decoded.push(decoded.into_owned()),
                _ => return Err(Code::NoSuchPath.into()),
            }
            out.raw.push(raw.to_owned());
        }
        Ok(out)
    }
}

impl RequestContext {
    /// A call without body.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn new(
        unit: Arc<Unit>,
        http_client: Arc<HttpClient>,
        installs: InstallAuthority,
        method: Method,
        headers: HeaderMap,
        path: Path,
        query: String,
        url: String,
        client: Option<IpAddr>,
        request_key: String,
        body: Body,
    ) -> Self {
        Self {
            unit,
            http_client,
            installs,
            method,
            headers,
            path,
            query,
            url,
            access: Access::anonymous(),
            client,
            depth: 0,
            request_key,
            body: Mutex::new(Some(body)),
        }
    }

    /// A header as text; `None` if it is absent or no visible ASCII or UTF-8 text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .and_then(|v| std::str::from_utf8(v.as_bytes()).ok())
    }

    /// Whether the request announces a body: a length above 0, or a transfer encoding.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.headers.contains_key(http::header::TRANSFER_ENCODING)
            || self
                .header("content-length")
                .and_then(|v| v.trim().parse::<u64>().ok())
                .is_some_and(|n| n > 0)
    }

    /// How many bytes the body has at least, as far as it is known before reading.
    #[must_use]
    pub fn announced_length(&mut self) -> u64 {
        match self.body.get_mut() {
            Ok(Some(body)) => http_body::Body::size_hint(body).lower(),
            _ => 0,
        }
    }

    /// The body, once; empty the second time.
    pub fn take_body(&mut self) -> Body {
        self.body
            .get_mut()
            .ok()
            .and_then(Option::take)
            .unwrap_or_else(body::empty)
    }

    /// The whole body as bytes, at most `limit`.
    pub async fn read_body(&mut self, limit: usize) -> Result<bytes::Bytes> {
        let body = self.take_body();
        body::read_within(body, limit, self.unit.body_memory()).await
    }

    /// The first value of a query parameter, decoded as a form (`+` is a space).
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(k, _)| k == name)
            .map(|(_, v)| v.into_owned())
    }

    /// 405 for this request.
    #[must_use]
    pub fn method_not_allowed(&self) -> Error {
        Code::MethodNotAllowed.into()
    }
}

impl Deref for CellRequest {
    type Target = RequestContext;

    fn deref(&self) -> &RequestContext {
        &self.request
    }
}

impl DerefMut for CellRequest {
    fn deref_mut(&mut self) -> &mut RequestContext {
        &mut self.request
    }
}

impl CellRequest {
    /// The URL of the cell.
    #[must_use]
    pub fn cell_url(&self) -> String {
        self.request.unit.urls().cell(&self.context.cell().name)
    }

    /// The permit for an operation that the access control list of the cell decides.
    ///
    /// # Errors
    /// 401 or 403 if whoever asks may not.
    pub async fn permit(&self, operation: Operation) -> Result<Permit> {
        let node = self.context.cell_node().await?;
        let (urls, cell) = (self.request.unit.urls(), self.context.cell());
        self.request
            .access
            .permit_cell(urls, cell, &node.value.acl, operation)
    }
}
