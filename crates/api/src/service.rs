//! The order in which a request is dealt with.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Request, header};
use parking_lot::RwLock;
use personium_model::install::InstallAuthority;
use personium_model::{ServerAuthority, Settings, Unit};
use personium_types::{Code, Result};

use crate::body::Body;
use crate::error::{self, Challenge};
use crate::http_client::HttpClient;
use crate::locate::{self, Addressee};
use crate::loopback::Origin;
use crate::request_context::{CellRequest, Path, RequestContext};
use crate::response::Response;
use crate::status::AdminHooks;
use crate::{access, cell, forwarded, preflight, unit};

/// Answers every request of a unit.
#[derive(Clone)]
pub struct ApiService {
    current: Arc<RwLock<Current>>,
    operator: Option<Arc<dyn AdminHooks>>,
}

/// What a request is answered by. A request that has begun keeps it when settings change.
#[derive(Clone)]
struct Current {
    unit: Arc<Unit>,
    http_client: Arc<HttpClient>,
    installs: InstallAuthority,
    /// How many requests of the unit to itself led here.
    depth: u8,
}

impl Current {
    fn of(unit: Arc<Unit>, installs: InstallAuthority) -> Self {
        let http_client = Arc::new(HttpClient::new(unit.settings()));
        Self {
            unit,
            http_client,
            installs,
            depth: 0,
        }
    }
}

impl ApiService {
    /// The API of this unit.
    #[must_use]
    pub fn new(unit: Arc<Unit>, server: ServerAuthority) -> Self {
        let current = Current::of(unit, InstallAuthority::new(server));
        Self {
            current: Arc::new(RwLock::new(current)),
            operator: None,
        }
    }

    /// The same, with somebody who knows the settings and can read them anew.
    #[must_use]
    pub fn with_admin_hooks(self, operator: Arc<dyn AdminHooks>) -> Self {
        Self {
            operator: Some(operator),
            ..self
        }
    }

    /// The API of this unit, for a request of the unit to itself.
    pub(crate) fn inside(origin: &Origin<'_>) -> Self {
        let current = Current {
            unit: Arc::clone(origin.unit),
            http_client: Arc::clone(origin.http_client),
            installs: origin.installs.clone(),
            depth: origin.depth.saturating_add(1),
        };
        Self {
            current: Arc::new(RwLock::new(current)),
            operator: None,
        }
    }

    /// The unit, the client for requests to other servers, and the authority to install boxes, by the settings of this
    /// moment.
    pub(crate) fn parts(&self) -> (Arc<Unit>, Arc<HttpClient>, InstallAuthority) {
        let current = self.current.read().clone();
        (current.unit, current.http_client, current.installs)
    }

    pub(crate) fn operator(&self) -> Option<&dyn AdminHooks> {
        self.operator.as_deref()
    }

    /// Lets these settings count for every request that begins from now on.
    pub(crate) fn apply(&self, settings: Settings) {
        let mut current = self.current.write();
        let unit = Arc::new(current.unit.with_settings(settings));
        *current = Current::of(unit, current.installs.clone());
    }

    /// Answers one request. `peer` is the address at the other end of the connection.
    ///
    /// Never fails: whatever goes wrong is an answer. HEAD is answered as GET; its body is left out.
    pub async fn handle(&self, request: Request<Body>, peer: Option<IpAddr>) -> Response {
        let current = self.current.read().clone();
        let (mut parts, body) = request.into_parts();
        forwarded::strip(&mut parts.headers, peer, &current.unit.settings().proxies);
        let key = match preflight::request_key(&parts.headers, current.unit.random()) {
            Ok(key) => key,
            Err(refusal) => {
                let mut response = error::render(&refusal, &Challenge::None, "");
                preflight::finish(&parts.headers, &mut response, "");
                return response;
            }
        };
        let real_method = parts.method.clone();
        parts.method = preflight::method(&parts.method, &parts.headers);
        preflight::override_headers(&mut parts.headers);
        let headers = parts.headers.clone();
        let mut challenge = Challenge::None;
        let outcome =
            if real_method == Method::OPTIONS && !headers.contains_key(header::AUTHORIZATION) {
                current
                    .check_host(&parts)
                    .map(|()| preflight::options_for_anybody())
            } else {
                current
                    .answer(self, parts, body, peer, &key, &mut challenge)
                    .await
            };
        let mut response =
            outcome.unwrap_or_else(|refusal| error::render(&refusal, &challenge, &key));
        if real_method == Method::HEAD {
            let length = http_body::Body::size_hint(response.body()).exact();
            *response.body_mut() = crate::body::empty();
            if let Some(length) = length {
                response
                    .headers_mut()
                    .entry(header::CONTENT_LENGTH)
                    .or_insert(length.into());
            }
        }
        preflight::finish(&headers, &mut response, &key);
        response
    }
}

impl Current {
    fn check_host(&self, parts: &http::request::Parts) -> Result<()> {
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        match locate::addressee(&self.unit, &parts.headers, authority, parts.uri.path()) {
            Err(refusal) if refusal.code() == Code::UnknownHost => Err(refusal),
            _ => Ok(()),
        }
    }

    async fn answer(
        &self,
        service: &ApiService,
        parts: http::request::Parts,
        body: Body,
        peer: Option<IpAddr>,
        key: &str,
        challenge: &mut Challenge,
    ) -> Result<Response> {
        let authority = parts.uri.authority().map(http::uri::Authority::as_str);
        let place = locate::addressee(&self.unit, &parts.headers, authority, parts.uri.path())?;
        preflight::check_accept(&parts.headers)?;
        let method = if parts.method == Method::HEAD {
            Method::GET
        } else {
            parts.method
        };
        let client = forwarded::client(&parts.headers, peer, &self.unit.settings().proxies);
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let (base, inside) = match &place {
            Addressee::Unit(path) => (self.unit.urls().unit(), path),
            Addressee::Cell(name, path) => (self.unit.urls().cell(name), path),
        };
        let url = format!("{base}{}", inside.strip_prefix('/').unwrap_or(inside));
        let new_call = |path: Path| {
            let mut request = RequestContext::new(
                Arc::clone(&self.unit),
                Arc::clone(&self.http_client),
                self.installs.clone(),
                method.clone(),
                parts.headers.clone(),
                path,
                query.clone(),
                url.clone(),
                client,
                key.to_owned(),
                body,
            );
            request.depth = self.depth;
            request
        };
        // Handlers are boxed: each connection, and each frame on the way here, would have room for the largest of them.
        match place {
            Addressee::Unit(path) => {
                *challenge = Challenge::Bearer(self.unit.urls().unit());
                let mut request = new_call(Path::parse(&path)?);
                request.access = access::of_unit_call(&request).await?;
                Box::pin(unit::handle(request, service)).await
            }
            Addressee::Cell(name, path) => {
                let name = percent_encoding::percent_decode_str(&name)
                    .decode_utf8_lossy()
                    .into_owned();
                let known = name.parse::<personium_types::name::CellName>().is_ok();
                let context = if known {
                    self.unit.find_cell(&name).await?
                } else {
                    None
                };
                let Some(context) = context else {
                    if self.unit.urls().path_based() {
                        // The path belongs to the unit then, where tokens of cells count for nothing.
                        access::of_unit_call(&new_call(Path::default())).await?;
                    }
                    return Err(Code::NoSuchCell.into());
                };
                *challenge = Challenge::Bearer(self.unit.urls().cell(&name));
                let request = new_call(Path::parse(&path)?);
                let mut request = CellRequest { request, context };
                request.access = access::of_cell_call(&request).await?;
                Box::pin(cell::handle(request, challenge)).await
            }
        }
    }
}
