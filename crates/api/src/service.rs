//! The entry point of the API.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Request};
use personium_model::{ServerAuthority, Unit};
use personium_script::ScriptMetrics;
use personium_types::{Code, Error, Result};

use crate::admin::{Admin, AdminHooks};
use crate::app_state::CurrentState;
use crate::body::Body;
use crate::dispatch::Dispatcher;
use crate::error::{self, Challenge};
use crate::http_client::HttpClient;
use crate::response::Response;
use crate::{forwarded, request_key, response_headers};

/// Whether requests of the method change nothing (RFC 9110, section 9.2.1; RFC 3253, section 3.6; RFC 4918, section 9.1).
fn is_safe(method: &Method) -> bool {
    matches!(
        method.as_str(),
        "GET" | "HEAD" | "OPTIONS" | "PROPFIND" | "REPORT"
    )
}

/// Answers every request to a unit.
#[derive(Clone)]
pub struct ApiService {
    state: Arc<CurrentState>,
    admin: Option<Arc<Admin>>,
}

impl ApiService {
    /// The API of a unit, with the authority of the server over it.
    #[must_use]
    pub fn new(unit: Arc<Unit>, server: ServerAuthority) -> Self {
        Self {
            state: Arc::new(CurrentState::new(unit, server)),
            admin: None,
        }
    }

    /// The same with access to the settings, which administrators can then see and reload.
    #[must_use]
    pub fn with_admin_hooks(self, hooks: Arc<dyn AdminHooks>) -> Self {
        let admin = Admin::new(hooks, Arc::clone(&self.state));
        Self {
            admin: Some(Arc::new(admin)),
            ..self
        }
    }

    /// Answers one request. `peer` is the address at the other end of the connection.
    ///
    /// It does not fail: an error is a response. HEAD is handled as GET; the body of its response is left out.
    pub async fn handle(&self, request: Request<Body>, peer: Option<IpAddr>) -> Response {
        let dispatcher = Dispatcher::new(self.state.get(), self.admin.as_deref());
        dispatcher.respond(request, peer).await
    }

    /// The response of a node that is stopping, if the proxy in front then sends the request to another node: the proxy says so
    /// by `X-Forwarded-Retry: 502`, and the request changes nothing. Nothing has been done for the request then.
    #[must_use]
    pub fn stopping_response<B>(&self, request: &Request<B>, peer: IpAddr) -> Option<Response> {
        let state = self.state.get();
        let (headers, proxies) = (request.headers(), &state.unit.settings().trusted_proxies);
        let refusal = Error::new(Code::NodeStopping);
        if !is_safe(request.method())
            || !forwarded::repeats_upon(error::status(&refusal), headers, peer, proxies)
        {
            return None;
        }
        let key = request_key::of(headers, state.unit.random()).unwrap_or_default();
        let mut response = error::render(&refusal, &Challenge::None, &key);
        response_headers::add(headers, &mut response, &key);
        Some(response)
    }

    /// Whether a proxy at this address is trusted.
    #[must_use]
    pub fn is_trusted_proxy(&self, peer: IpAddr) -> bool {
        let state = self.state.get();
        state.unit.settings().trusted_proxies.contains(peer)
    }

    /// The address of the client of a request: what trusted proxies report, else the address at the other end of the
    /// connection.
    #[must_use]
    pub fn client_address(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        let state = self.state.get();
        let proxies = &state.unit.settings().trusted_proxies;
        if !proxies.contains(peer) {
            return peer;
        }
        forwarded::client(headers, Some(peer), proxies).unwrap_or(peer)
    }

    /// Reads the settings again and applies those that a running unit can apply to new requests. Does nothing without
    /// access to the settings.
    ///
    /// # Errors
    /// As [`AdminHooks::reload`]; then nothing changes.
    pub fn reload_settings(&self) -> Result<()> {
        self.admin.as_deref().map_or(Ok(()), Admin::reload)
    }

    /// The numbers of scripts and workers of now.
    #[must_use]
    pub fn script_metrics(&self) -> ScriptMetrics {
        self.state.get().scripts.metrics()
    }

    /// The number of clients that listen to events.
    #[must_use]
    pub fn event_listeners(&self) -> usize {
        self.state.get().unit.event_feed().listeners()
    }

    /// The number of scripts that this process has started.
    #[must_use]
    pub fn scripts_started(&self) -> u64 {
        self.state.get().scripts.started()
    }

    /// Removes the boxes of installations that nobody works on: those of earlier runs, and of server nodes that are dead.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn remove_unfinished_installations(&self) -> Result<()> {
        let state = self.state.get();
        let authority = &state.install_authority;
        authority.remove_unfinished(&state.unit).await
    }

    /// The state, for the jobs of services.
    pub(crate) fn current_state(&self) -> &Arc<CurrentState> {
        &self.state
    }

    /// The HTTP client for requests that no other request causes.
    pub(crate) fn http_client(&self) -> HttpClient {
        Dispatcher::new(self.state.get(), None).http_client()
    }
}
