//! The steps that are the same for every request, in their order, and the dispatch to the unit or a cell.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, Method, Request, header, request};
use percent_encoding::percent_decode_str;
use personium_model::maintenance::Maintenance;
use personium_model::{Access, CellContext};
use personium_trace::Attribute;
use personium_types::name::CellName;
use personium_types::{CellId, Code, Error, Result};

use crate::admin::Admin;
use crate::app_state::AppState;
use crate::audit::AuditTrail;
use crate::body::{self, Body};
use crate::error::{self, Challenge};
use crate::error_format::ErrorFormat;
use crate::http_client::HttpClient;
use crate::job_queue::JobRun;
use crate::locate::{self, Addressee};
use crate::loopback::Loopback;
use crate::request_context::{BodySlot, CellRequest, Path, RequestContext};
use crate::response::Response;
use crate::route::CellRoute;
use crate::{
    accept, access, answer, audit, cell, forwarded, full_storage, maintenance, message_framing,
    overrides, posting, preflight, request_key, request_target, response_headers, route,
    route_template, transfer, unit,
};

/// Answers requests with one state of the application.
pub(crate) struct Dispatcher<'a> {
    state: Arc<AppState>,
    admin: Option<&'a Admin>,
    /// The number of loopback requests that led to the request.
    depth: u8,
}

/// A request after its overrides were applied.
struct IncomingRequest {
    head: request::Parts,
    body: BodySlot,
    peer: Option<IpAddr>,
    request_key: String,
    /// The modes that concern it.
    maintenance: Arc<Maintenance>,
}

/// When it is checked that no other process has changed what is known of a cell.
#[derive(Clone, Copy)]
enum CellCheck {
    /// Before the request is answered: it may change something that cannot be changed again.
    AtTheStart,
    /// By its first read, or before its commit, or before the response: until then it can be answered again.
    ByReads,
}

/// The cell that a request addresses.
struct CellTarget {
    /// The name, still percent-encoded.
    name: String,
    /// The path below the cell.
    path: String,
    check: CellCheck,
}

#[async_trait]
impl Loopback for AppState {
    fn serves(&self, url: &str) -> bool {
        let urls = self.unit.urls();
        url.starts_with(&urls.unit()) || urls.split(url).is_some()
    }

    async fn respond(self: Arc<Self>, request: Request<Body>, depth: u8) -> Response {
        let dispatcher = Dispatcher {
            state: self,
            admin: None,
            depth,
        };
        let span = personium_trace::child("loopback");
        let response = span.scope(dispatcher.respond(request, None)).await;
        span.set(Attribute::Status(response.status().as_u16()));
        if response.status().is_server_error() {
            span.fail("status");
        }
        response
    }
}

impl<'a> Dispatcher<'a> {
    /// A dispatcher for requests of clients.
    pub(crate) fn new(state: Arc<AppState>, admin: Option<&'a Admin>) -> Self {
        Self {
            state,
            admin,
            depth: 0,
        }
    }

    /// The HTTP client for a request.
    pub(crate) fn http_client(&self) -> HttpClient {
        let loopback: Arc<dyn Loopback> = Arc::<AppState>::clone(&self.state);
        HttpClient::new(Arc::clone(&self.state.network), loopback, self.depth)
    }

    /// Answers one request. An error becomes a response.
    pub(crate) async fn respond(&self, request: Request<Body>, peer: Option<IpAddr>) -> Response {
        let (mut head, body) = request.into_parts();
        let proxies = &self.state.unit.settings().trusted_proxies;
        forwarded::strip(&mut head.headers, peer, proxies);
        let request_key = match request_key::of(&head.headers, self.state.unit.random()) {
            Ok(key) => key,
            Err(refusal) => {
                let mut response = error::render(&refusal, &Challenge::None, "");
                response_headers::add(&head.headers, &mut response, "");
                return response;
            }
        };
        personium_trace::note(|| Attribute::RequestKey(request_key.as_str().into()));
        let sent_method = head.method.clone();
        head.method = overrides::method(&head.method, &head.headers);
        overrides::apply_to_headers(&mut head.headers);
        if head.method == Method::HEAD {
            // RFC 9110, section 14.2: parts are defined for GET only.
            head.headers.remove(header::RANGE);
        }
        let headers = head.headers.clone();
        let method = head.method.clone();
        let incoming = IncomingRequest {
            head,
            body: BodySlot::new(body),
            peer,
            request_key: request_key.clone(),
            maintenance: Arc::default(),
        };
        let mut challenge = Challenge::None;
        let is_options = sent_method == Method::OPTIONS;
        let outcome = match message_framing::check(&headers) {
            Err(refusal) => Err(refusal),
            Ok(()) if is_options && is_answered_to_all(&incoming.head) => {
                self.anonymous_options(&incoming)
            }
            Ok(()) => {
                self.dispatch_twice(incoming, &headers, &mut challenge)
                    .await
            }
        };
        let mut response = outcome.unwrap_or_else(|refusal| {
            personium_trace::note(|| Attribute::ErrorCode(refusal.code().as_str()));
            let dialect = self.state.unit.settings().odata.dialect;
            let format = ErrorFormat::of(&headers, dialect);
            error::render_as(format, &refusal, &challenge, &request_key)
        });
        if sent_method == Method::HEAD {
            remove_body(&mut response);
        } else if self.state.unit.settings().compress_responses {
            let compressor = &self.state.compressor;
            response = compressor.apply(&method, &headers, response).await;
        }
        response_headers::add(&headers, &mut response, &request_key);
        response
    }

    /// Answers OPTIONS of whatever URL of this unit in the same way.
    fn anonymous_options(&self, incoming: &IncomingRequest) -> Result<Response> {
        let is_webdav = match locate::addressee(&self.state.unit, &incoming.head) {
            Err(refusal) if refusal.code() == Code::UnknownHost => return Err(refusal),
            Err(_) => false,
            Ok(Addressee::Unit { path }) => path.trim_matches('/').is_empty(),
            Ok(Addressee::Cell { path, .. }) => route::is_webdav(&path),
        };
        Ok(preflight::anonymous_options(is_webdav))
    }

    /// Answers a request. One that was answered from a cell that another process has changed is answered again: it has changed
    /// nothing yet, and its body was not taken, or read as a whole.
    async fn dispatch_twice(
        &self,
        incoming: IncomingRequest,
        headers: &HeaderMap,
        challenge: &mut Challenge,
    ) -> Result<Response> {
        let (method, uri) = (incoming.head.method.clone(), incoming.head.uri.clone());
        let (peer, request_key) = (incoming.peer, incoming.request_key.clone());
        let body = incoming.body.clone();
        let job = incoming.head.extensions.get::<JobRun>().cloned();
        let first = self.dispatch(incoming, CellCheck::ByReads, challenge);
        if let Some(outcome) = first.await {
            return outcome;
        }
        let body = body.again().ok_or(Code::ServerBusy)?;
        let (mut head, ()) = Request::new(()).into_parts();
        head.method = method;
        head.uri = uri;
        head.headers = headers.clone();
        if let Some(job) = job {
            head.extensions.insert(job);
        }
        let again = IncomingRequest {
            head,
            body: BodySlot::new(body),
            peer,
            request_key,
            maintenance: Arc::default(),
        };
        let second = self.dispatch(again, CellCheck::AtTheStart, challenge);
        second.await.unwrap_or_else(|| Err(Code::Conflict.into()))
    }

    /// Returns `None` if the request must be answered again.
    async fn dispatch(
        &self,
        mut incoming: IncomingRequest,
        check: CellCheck,
        challenge: &mut Challenge,
    ) -> Option<Result<Response>> {
        let addressee = match self.addressee(&mut incoming).await {
            Ok(addressee) => addressee,
            Err(refusal) => return Some(Err(refusal)),
        };
        personium_trace::note(|| Attribute::Route(route_template::of(&addressee)));
        match addressee {
            Addressee::Unit { path } => {
                Some(self.dispatch_to_unit(incoming, &path, challenge).await)
            }
            Addressee::Cell { name, path } => {
                let check = if may_run_twice(&incoming.head, &path) {
                    check
                } else {
                    CellCheck::AtTheStart
                };
                let target = CellTarget { name, path, check };
                let outcome = self.dispatch_to_cell(incoming, &target, challenge).await;
                outcome.transpose()
            }
        }
    }

    /// Checks the request line, the headers, and whether the unit takes the request at present. Returns whom it addresses.
    async fn addressee(&self, incoming: &mut IncomingRequest) -> Result<Addressee> {
        let addressee = locate::addressee(&self.state.unit, &incoming.head)?;
        accept::check_ascii(&incoming.head.headers)?;
        request_target::check(&incoming.head, &addressee)?;
        if self.state.unit.store().is_full() {
            full_storage::check(&incoming.head.method, incoming.head.uri.path())?;
        }
        let unit = &self.state.unit;
        incoming.maintenance = maintenance::check(unit, &incoming.head.method, &addressee).await?;
        Ok(addressee)
    }

    async fn dispatch_to_unit(
        &self,
        incoming: IncomingRequest,
        path: &str,
        challenge: &mut Challenge,
    ) -> Result<Response> {
        let unit_url = self.state.unit.urls().unit();
        *challenge = Challenge::Bearer(unit_url.clone());
        let mut request = self.context(incoming, &unit_url, path, None)?;
        request.access = access::of_unit_request(&request).await?;
        maintenance::check_unit_user(&request)?;
        let (method, answers) = (request.method.clone(), request.answers.clone());
        let operation = audit::operation_on_unit(&request);
        let trail = AuditTrail::begin(&request, operation).await?;
        // Boxed: the future of each connection would have the size of the largest handler.
        let handled = Box::pin(unit::handle(request, self.admin)).await;
        let response = AuditTrail::end(trail, handled).await?;
        answer::counted(response, &method, &answers)
    }

    /// Returns `None` if another process has changed the cell, so that the request must be answered again.
    async fn dispatch_to_cell(
        &self,
        incoming: IncomingRequest,
        target: &CellTarget,
        challenge: &mut Challenge,
    ) -> Result<Option<Response>> {
        let urls = self.state.unit.urls();
        let cell_url = urls.cell(&target.name);
        let name = percent_decode_str(&target.name).decode_utf8_lossy();
        let Some(context) = self.find_cell(&name, target.check).await? else {
            if urls.path_based() {
                // The path is then one of the unit, which refuses tokens of cells.
                let context = self.context(incoming, &cell_url, "", None)?;
                Box::pin(access::of_unit_request(&context)).await?;
            }
            return Err(Code::NoSuchCell.into());
        };
        *challenge = Challenge::Bearer(urls.cell(&name));
        let id = context.cell().id;
        personium_trace::note(|| Attribute::CellId(id.to_string().into()));
        let request = self.context(incoming, &cell_url, &target.path, Some(id))?;
        let (method, answers) = (request.method.clone(), request.answers.clone());
        let seen = Arc::clone(&context);
        let mut request = CellRequest {
            request: Box::new(request),
            context,
        };
        let handled = async {
            let busy = match transfer::check_writable(&request).await {
                Err(busy) if busy.code() == Code::CellBusyWithJob => Some(busy),
                Err(refusal) => return Err(refusal),
                Ok(()) => None,
            };
            request.access = access::of_cell_request(&request).await?;
            if let Some(busy) = busy {
                // Who may change nothing learns nothing about exports and imports.
                Box::pin(transfer::check_may_change(&request)).await?;
                return Err(busy);
            }
            request.request.events = posting::cause_of(&request).await?;
            let operation = audit::operation_on_cell(&request);
            let trail = AuditTrail::begin(&request, operation).await?;
            // Boxed as in `dispatch_to_unit`.
            let handled = Box::pin(cell::handle(request, challenge)).await;
            let response = AuditTrail::end(trail, handled).await?;
            answer::counted(response, &method, &answers)
        };
        let outcome = handled.await;
        if !self.state.unit.is_current(&seen).await? {
            return Ok(None);
        }
        match outcome {
            // Nothing was changed in the cell of before: it had been replaced.
            Err(error) if self.is_replaced(&error, &name, &id).await => Ok(None),
            Err(error) if error.code().is_server_error() && !self.has_cell(&name, &id).await => {
                Err(Error::new(Code::NoSuchCell).with_source(error))
            }
            other => other.map(Some),
        }
    }

    /// Whether the cell still exists: one that is deleted in the middle of a request fails in many ways.
    async fn has_cell(&self, name: &str, id: &CellId) -> bool {
        match self.find_cell(name, CellCheck::AtTheStart).await {
            Ok(found) => found.is_some_and(|context| context.cell().id == *id),
            Err(_) => true,
        }
    }

    /// Whether a request failed because an import has replaced the cell meanwhile: then there is another one of its name.
    async fn is_replaced(&self, error: &Error, name: &str, id: &CellId) -> bool {
        if error.code() != Code::NoSuchCell && !error.code().is_server_error() {
            return false;
        }
        let found = self.find_cell(name, CellCheck::AtTheStart).await;
        matches!(found, Ok(Some(context)) if context.cell().id != *id)
    }

    async fn find_cell(&self, name: &str, check: CellCheck) -> Result<Option<Arc<CellContext>>> {
        let unit = &self.state.unit;
        match (name.parse::<CellName>(), check) {
            (Ok(_), CellCheck::AtTheStart) => unit.find_cell(name).await,
            (Ok(_), CellCheck::ByReads) => unit.find_cell_unchecked(name).await,
            (Err(_), _) => Ok(None),
        }
    }

    /// The context of a request to a path below a base URL, that of a cell or of the unit.
    fn context(
        &self,
        incoming: IncomingRequest,
        base: &str,
        path: &str,
        cell: Option<CellId>,
    ) -> Result<RequestContext> {
        let IncomingRequest {
            mut head,
            body,
            peer,
            request_key,
            maintenance,
        } = incoming;
        let unit = Arc::clone(&self.state.unit);
        let answers = unit.answer_share(cell);
        let job: Option<JobRun> = head.extensions.remove();
        let proxies = &unit.settings().trusted_proxies;
        let client_address = match &job {
            // Nobody has sent it now: its headers say nothing about the client.
            Some(job) => job.client_address,
            None => forwarded::client(&head.headers, peer, proxies),
        };
        Ok(RequestContext {
            http_client: self.http_client().counted_by(answers.clone()),
            scripts: Arc::clone(&self.state.scripts),
            built_in_plugins: Arc::clone(&self.state.built_in_plugins),
            install_authority: self.state.install_authority.clone(),
            is_head: head.method == Method::HEAD,
            method: match head.method {
                Method::HEAD => Method::GET,
                other => other,
            },
            path: Path::parse(path)?,
            query: head.uri.query().unwrap_or_default().to_owned(),
            url: format!("{base}{}", path.strip_prefix('/').unwrap_or(path)),
            access: Access::anonymous(),
            client_address,
            headers: head.headers,
            request_key,
            body,
            answers,
            maintenance,
            events: None,
            job,
            upgrade: head.extensions.remove(),
            unit,
        })
    }
}

/// Whether the response to an OPTIONS request depends on no resource: without credentials, and for the server as a whole (`*`; RFC
/// 9110, section 9.3.7).
fn is_answered_to_all(head: &request::Parts) -> bool {
    head.uri.path() == "*" || !head.headers.contains_key(header::AUTHORIZATION)
}

/// Whether a request to a path below a cell changes nothing until it has read something from the cell, or is about to commit a
/// batch there, and can be answered again until then.
fn may_run_twice(head: &request::Parts, path: &str) -> bool {
    // A refused password is counted.
    let has_password = head
        .headers
        .get(header::AUTHORIZATION)
        .is_some_and(|value| value.as_bytes().starts_with(b"Basic"));
    if has_password {
        return false;
    }
    let mut segments = path.trim_matches('/').split('/');
    let first = segments.next().unwrap_or_default();
    let first = percent_decode_str(first).decode_utf8_lossy();
    let is_in_box = segments.next().is_some();
    let route = CellRoute::of(&first);
    match head.method.as_str() {
        "GET" | "HEAD" | "OPTIONS" | "PROPFIND" => matches!(
            route,
            CellRoute::Box
                | CellRoute::Control
                | CellRoute::Role
                | CellRoute::BoxUrl
                | CellRoute::Log
        ),
        // Entities, files and collections: one batch. The parts of a batch of requests make several.
        "PUT" | "POST" | "MERGE" | "PATCH" | "DELETE" | "MKCOL" | "PROPPATCH" | "ACL" | "MOVE" => {
            let last = path.rsplit('/').find(|segment| !segment.is_empty());
            let last = percent_decode_str(last.unwrap_or_default()).decode_utf8_lossy();
            route == CellRoute::Box && is_in_box && last != "$batch"
        }
        _ => false,
    }
}

/// Removes the body but keeps its length.
fn remove_body(response: &mut Response) {
    let length = http_body::Body::size_hint(response.body()).exact();
    *response.body_mut() = body::empty();
    if let Some(length) = length {
        response
            .headers_mut()
            .entry(header::CONTENT_LENGTH)
            .or_insert(length.into());
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
mod tests {
    use bytes::Bytes;
    use http::StatusCode;
    use personium_model::credentials::UnitKeys;
    use personium_model::unit::Ports;
    use personium_model::{Settings, Unit, UnitUrls};
    use personium_store::memory::{MemoryBlobs, MemoryCache, MemoryRecords};
    use personium_types::{Clock, SystemClock, SystemRandom};

    use super::*;
    use crate::app_state::CurrentState;
    use crate::http_client::{FetchError, UrlTrust};
    use crate::loopback::MAX_DEPTH;

    #[tokio::test]
    async fn own_urls_are_answered_by_the_loopback_up_to_its_depth() {
        let (clock, random) = (Arc::new(SystemClock::new()), Arc::new(SystemRandom::new()));
        let now_ms = clock.now_ms();
        let ports = Ports {
            broker: None,
            records: Arc::new(MemoryRecords::new()),
            blobs: Arc::new(MemoryBlobs::new(clock.clone(), random.clone())),
            cache: Arc::new(MemoryCache::new(1 << 10)),
            clock,
            random,
        };
        let keys = UnitKeys::self_signed("unit.example", "a secret of this test", now_ms);
        let urls = UnitUrls::new("http", "unit.example", None, true);
        let (unit, server) = Unit::new(ports, urls, Settings::default(), keys.unwrap().into());
        let state = CurrentState::new(Arc::new(unit), server).get();
        for depth in 0..=MAX_DEPTH {
            let dispatcher = Dispatcher {
                state: Arc::clone(&state),
                admin: None,
                depth,
            };
            let request = Request::get("http://unit.example/none/").body(Bytes::new());
            let response = dispatcher
                .http_client()
                .send(request.unwrap(), UrlTrust::CellOwner, 1 << 10)
                .await;
            match response {
                Ok(response) if depth < MAX_DEPTH => {
                    assert_eq!(response.status, StatusCode::NOT_FOUND, "{depth}");
                }
                Err(FetchError::LoopbackDepth) if depth == MAX_DEPTH => {}
                other => panic!("{depth}: {other:?}"),
            }
        }
    }
}
