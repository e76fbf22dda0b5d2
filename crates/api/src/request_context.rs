//! The context of a request, which every handler gets.

use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, AsHeaderName};
use http::{HeaderMap, HeaderValue, Method};
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use personium_install::InstallAuthority;
use personium_model::auth::login_refusal::LoginOrigin;
use personium_model::event::EventCause;
use personium_model::maintenance::Maintenance;
use personium_model::{Access, AnswerReservation, AnswerShare, CellContext, Permit, Unit};
use personium_plugin::PluginSet;
use personium_types::name::is_dot_segment;
use personium_types::preconditions::{ConditionHeaders, Outcome, RequestKind, ResourceState};
use personium_types::{Code, Error, Operation, Preconditions, Result};
use personium_xml::XmlLimits;

use crate::body::{self, Body, BodyMemory};
use crate::headers;
use crate::http_client::HttpClient;
use crate::job_queue::JobRun;
use crate::scripts::Scripts;

/// One request to the unit or to one of its cells.
pub struct RequestContext {
    /// The unit.
    pub unit: Arc<Unit>,
    /// The client for requests that this one causes.
    pub http_client: HttpClient,
    /// The script engine.
    pub scripts: Arc<Scripts>,
    /// The authentication plugins that are built in.
    pub built_in_plugins: Arc<PluginSet>,
    /// The method after overrides; GET for HEAD.
    pub method: Method,
    /// Whether the method is HEAD.
    pub is_head: bool,
    /// The headers after overrides.
    pub headers: HeaderMap,
    /// The path below the unit or cell.
    pub path: Path,
    /// The query, still encoded, without `?`.
    pub query: String,
    /// The absolute URL as the client sees it, without query.
    pub url: String,
    /// The identity of the requester and its scopes.
    pub access: Access,
    /// The address of the client as trusted proxies report it, else that of the peer.
    pub client_address: Option<IpAddr>,
    /// The authority to install boxes for permitted requests.
    pub install_authority: InstallAuthority,
    /// The key of the request in logs and events.
    pub request_key: String,
    /// The body, until it is taken.
    pub body: BodySlot,
    /// The memory budget for the answer.
    pub answers: AnswerShare,
    /// The modes of maintenance that concern the request.
    pub maintenance: Arc<Maintenance>,
    /// The cause of the events that the request posts; `None` if nobody listens.
    pub events: Option<Arc<EventCause>>,
    /// The job that the request is the run of.
    pub(crate) job: Option<JobRun>,
    /// The connection after an upgrade, if it can be upgraded.
    pub upgrade: Option<OnUpgrade>,
}

/// The body of a request, which can be taken once. Clones share it.
#[derive(Clone)]
pub struct BodySlot(
    // A body is not `Sync`. The lock makes the context of the request so; it is never contended.
    Arc<Mutex<SlotContent>>,
);

/// The content of the slot of a body.
enum SlotContent {
    /// Nobody has begun to read it.
    Unread(Body),
    /// It was read as a whole.
    Read(Bytes),
    /// It was taken, and cannot be had again.
    Taken,
}

impl BodySlot {
    /// A slot with a body.
    #[must_use]
    pub fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(SlotContent::Unread(body))))
    }

    fn take(&self) -> Option<Body> {
        let mut content = self.0.lock();
        match std::mem::replace(&mut *content, SlotContent::Taken) {
            SlotContent::Unread(body) => Some(body),
            read => {
                *content = read;
                None
            }
        }
    }

    /// Keeps the bytes that were read, for [`Self::again`]. They are in the memory of the handler anyway.
    fn keep(&self, bytes: Bytes) {
        *self.0.lock() = SlotContent::Read(bytes);
    }

    /// The body for a second attempt to answer the request; `None` if it was taken and not read as a whole.
    pub(crate) fn again(self) -> Option<Body> {
        let mut content = self.0.lock();
        match std::mem::replace(&mut *content, SlotContent::Taken) {
            SlotContent::Unread(body) => Some(body),
            SlotContent::Read(bytes) => Some(body::full(bytes)),
            SlotContent::Taken => None,
        }
    }
}

/// The state of the copy that a client has, by the conditions of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The client has the current state: a GET is answered with 304.
    Current,
    /// The client has no copy, or an older one.
    Unknown,
}

/// A request to a cell. It dereferences to its [`RequestContext`].
pub struct CellRequest {
    /// The request. Boxed: handlers pass it on by value, and the future of each would contain it.
    pub request: Box<RequestContext>,
    /// The cell.
    pub context: Arc<CellContext>,
}

/// The segments of a path, as sent and decoded. An empty one at the end is left out.
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
    /// [`Code::NoSuchPath`] if a segment is empty or is not UTF-8 when decoded; [`Code::RequestTarget`] if one is `.` or `..`,
    /// encoded or not: a client that resolves it would act on another resource.
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
                Ok(decoded) if is_dot_segment(&decoded) => {
                    return Err(Error::new(Code::RequestTarget).with("a segment of dots"));
                }
                Ok(decoded) if !decoded.is_empty() => out.decoded.push(decoded.into_owned()),
                _ => return Err(Code::NoSuchPath.into()),
            }
            out.raw.push(raw.to_owned());
        }
        Ok(out)
    }
}

impl RequestContext {
    /// A header as text; `None` if it is absent or not UTF-8.
    #[must_use]
    pub fn header(&self, name: impl AsHeaderName) -> Option<&str> {
        self.headers
            .get(name)
            .and_then(|v| std::str::from_utf8(v.as_bytes()).ok())
    }

    /// All lines of a header, joined by commas; `None` if it is absent.
    #[must_use]
    pub fn header_lines(&self, name: impl AsHeaderName) -> Option<String> {
        let mut lines = self.headers.get_all(name).iter();
        let text = |line: &HeaderValue| String::from_utf8_lossy(line.as_bytes()).into_owned();
        let first = text(lines.next()?);
        Some(lines.fold(first, |joined, line| joined + ", " + &text(line)))
    }

    /// The conditions of the request for its target.
    #[must_use]
    pub fn preconditions(&self) -> Preconditions {
        let [
            if_match,
            if_none_match,
            if_modified_since,
            if_unmodified_since,
            if_header,
        ] = [
            &header::IF_MATCH,
            &header::IF_NONE_MATCH,
            &header::IF_MODIFIED_SINCE,
            &header::IF_UNMODIFIED_SINCE,
            &headers::IF,
        ]
        .map(|name| self.header_lines(name));
        let conditions = ConditionHeaders {
            if_match: if_match.as_deref(),
            if_none_match: if_none_match.as_deref(),
            if_modified_since: if_modified_since.as_deref(),
            if_unmodified_since: if_unmodified_since.as_deref(),
            if_header: if_header.as_deref(),
        };
        Preconditions::parse(&conditions).for_target(|url| self.is_target(url))
    }

    /// Evaluates the conditions of the request for the state of its target.
    ///
    /// # Errors
    /// `code` if a condition is false.
    pub fn evaluate_conditions(&self, state: ResourceState, code: Code) -> Result<Freshness> {
        let kind = match self.method {
            Method::GET => RequestKind::Read,
            _ => RequestKind::Write,
        };
        match self.preconditions().evaluate(kind, state) {
            Outcome::Failed => Err(code.into()),
            Outcome::NotModified => Ok(Freshness::Current),
            Outcome::Proceed => Ok(Freshness::Unknown),
        }
    }

    /// Checks the conditions of a request whose target has no entity tag and no date. It must be called before anything is
    /// changed.
    ///
    /// # Errors
    /// `code` if a condition is false.
    pub fn check_untagged(&self, code: Code) -> Result<()> {
        self.evaluate_conditions(ResourceState::Untagged, code)
            .map(drop)
    }

    /// Whether an absolute URL, or an absolute path, is that of the target of the request.
    fn is_target(&self, url: &str) -> bool {
        let split = |url: &str| {
            let (scheme, rest) = url.split_once("://")?;
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let path = Path::parse(path).ok()?;
            let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
            Some((origin, path.decoded))
        };
        let Some((origin, path)) = split(&self.url) else {
            return false;
        };
        let absolute = match url.strip_prefix('/') {
            Some(below) => format!("{origin}/{below}"),
            None => url.to_owned(),
        };
        split(&absolute) == Some((origin, path))
    }

    /// Where an attempt to log in by the request comes from.
    #[must_use]
    pub fn login_origin(&self) -> LoginOrigin<'_> {
        LoginOrigin {
            client_address: self.client_address,
            request_key: &self.request_key,
        }
    }

    /// Whether the request announces a body: a length above 0, or a transfer encoding.
    #[must_use]
    pub fn has_body(&self) -> bool {
        self.headers.contains_key(header::TRANSFER_ENCODING)
            || self
                .header(header::CONTENT_LENGTH)
                .and_then(|v| v.trim().parse::<u64>().ok())
                .is_some_and(|n| n > 0)
    }

    /// The least number of bytes that the body can have, as far as it is known before reading.
    #[must_use]
    pub fn announced_length(&self) -> u64 {
        match &*self.body.0.lock() {
            SlotContent::Unread(body) => http_body::Body::size_hint(body).lower(),
            SlotContent::Read(_) | SlotContent::Taken => 0,
        }
    }

    /// The body, once; empty the second time.
    pub fn take_body(&mut self) -> Body {
        self.body.take().unwrap_or_else(body::empty)
    }

    /// The whole body.
    ///
    /// # Errors
    /// [`Code::UnsupportedMedia`] if it is encoded, since only files may be; as [`body::read_within`].
    pub async fn read_body(&mut self, max_bytes: usize) -> Result<bytes::Bytes> {
        self.check_not_encoded()?;
        let body = self.take_body();
        let bytes = body::read_within(body, max_bytes, BodyMemory::of(&self.unit)).await?;
        self.body.keep(bytes.clone());
        Ok(bytes)
    }

    /// The memory for an answer that repeats what the request sent, before anything is stored. Waits for it if need be.
    ///
    /// # Errors
    /// [`Code::ServerBusy`]
    pub async fn memory_for_echo(&self, sent: &[u8]) -> Result<AnswerReservation> {
        let bytes = sent.len().saturating_mul(2);
        let mut memory = self.answers.reserve(bytes).await?;
        memory.hold_anyway(bytes);
        Ok(memory)
    }

    /// Refuses a body with a content encoding.
    ///
    /// # Errors
    /// [`Code::UnsupportedMedia`]
    pub fn check_not_encoded(&self) -> Result<()> {
        match self.content_encoding()? {
            None => Ok(()),
            Some(_) => Err(Code::UnsupportedMedia.into()),
        }
    }

    /// The content encoding of the body; `None` if it has none (RFC 9110, section 8.4).
    ///
    /// # Errors
    /// [`Code::UnsupportedMedia`] if the header is not a list of names.
    pub fn content_encoding(&self) -> Result<Option<String>> {
        let Some(header) = self.header_lines("content-encoding") else {
            return Ok(None);
        };
        let names: Vec<&str> = header
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"))
            .collect();
        let is_name = |name: &&str| {
            name.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        };
        match names.iter().all(is_name) {
            true if names.is_empty() => Ok(None),
            true => Ok(Some(names.join(", "))),
            false => Err(Code::UnsupportedMedia.into()),
        }
    }

    /// The first value of a query parameter, decoded as a form (`+` is a space).
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find(|(k, _)| k == name)
            .map(|(_, v)| v.into_owned())
    }

    /// Accepts GET only.
    ///
    /// # Errors
    /// [`Code::MethodNotAllowed`]
    pub fn require_get(&self) -> Result<()> {
        match self.method {
            Method::GET => Ok(()),
            _ => Err(self.method_not_allowed()),
        }
    }

    /// The error for a method that the resource does not support.
    #[must_use]
    pub fn method_not_allowed(&self) -> Error {
        Code::MethodNotAllowed.into()
    }

    /// The limits of XML in the body.
    #[must_use]
    pub fn xml_limits(&self) -> XmlLimits {
        XmlLimits {
            bytes: self.unit.settings().dav.xml_max_bytes,
            ..XmlLimits::REQUEST
        }
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
        self.unit.urls().cell(&self.context.cell().name)
    }

    /// Whether it asks to remove the whole cell. That needs nothing of the records of the cell, which may be lost.
    #[must_use]
    pub fn removes_the_cell(&self) -> bool {
        self.method == Method::DELETE && self.path.decoded.is_empty()
    }

    /// The permit for an operation that the access control list of the cell decides.
    ///
    /// # Errors
    /// The refusal of the access check.
    pub async fn permit(&self, operation: Operation) -> Result<Permit> {
        let node = self.context.cell_node().await?;
        let (urls, cell) = (self.unit.urls(), self.context.cell());
        self.access
            .permit_cell(urls, cell, &node.value.acl, operation)
    }
}
