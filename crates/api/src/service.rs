//! The entry point of the API.

use std::net::IpAddr;
use std::sync::Arc;

use http::Request;
use personium_model::{ServerAuthority, Unit};

use crate::admin::{Admin, AdminHooks};
use crate::app_state::CurrentState;
use crate::body::Body;
use crate::dispatch::Dispatcher;
use crate::http_client::HttpClient;
use crate::response::Response;

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

    /// The HTTP client for requests that no other request causes.
    pub(crate) fn http_client(&self) -> HttpClient {
        Dispatcher::new(self.state.get(), None).http_client()
    }
}
