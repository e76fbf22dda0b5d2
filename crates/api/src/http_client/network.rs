//! Requests over the network: HTTP/1.1, over TLS with the root certificates of this machine.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use personium_model::Settings;
use personium_trace::{Attribute, OutgoingContext, TRACEPARENT, TRACESTATE, method_word};

use super::address::{AddressRefused, is_public};
use super::fetched::{FetchError, FetchLimit, FetchedResponse};
use super::proxy_connector::{Proxy, ProxyConnector, bare_host};
use super::trust::UrlTrust;

/// The time for a whole exchange.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(20);
/// The time for which an unused connection is kept.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The number of unused connections that are kept for each host.
const MAX_IDLE_PER_HOST: usize = 2;

type Connections = Client<HttpsConnector<ProxyConnector>, Full<Bytes>>;

/// The connections to other servers. The first request opens the first one.
#[derive(Default)]
pub struct NetworkClient {
    private_networks: bool,
    proxy: Option<Proxy>,
    /// The proxy for requests to Slack, if it is another.
    slack_proxy: Option<Proxy>,
    /// To Slack through a proxy of its own.
    slack: OnceLock<Option<Connections>>,
    /// To any address; `None` if the certificates of this machine cannot be used.
    unrestricted: OnceLock<Option<Connections>>,
    /// To public addresses.
    public: OnceLock<Option<Connections>>,
}

impl NetworkClient {
    /// A client that uses the proxy of the settings, if any, for other machines than this one. The settings also say
    /// whether owners of cells may choose private addresses.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            private_networks: settings.allow_private_networks,
            proxy: settings.outgoing_proxy.as_ref().and_then(Proxy::of),
            slack_proxy: settings.slack.proxy.as_ref().and_then(Proxy::of),
            ..Self::default()
        }
    }

    /// Sends a request. Redirects are not followed.
    ///
    /// # Errors
    /// [`FetchError`]; also if the body of the response has more than `max_bytes`.
    pub async fn send(
        &self,
        mut request: Request<Bytes>,
        trust: UrlTrust,
        limit: FetchLimit<'_>,
    ) -> Result<FetchedResponse, FetchError> {
        let trust = match self.private_networks {
            true => UrlTrust::Operator,
            false => trust,
        };
        let uri = request.uri();
        let host = uri.host().unwrap_or_default();
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_web || host.is_empty() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(FetchError::Url);
        }
        // Addresses in URLs are checked here. Names are checked by the resolver.
        if trust == UrlTrust::CellOwner && bare_host(uri).parse().is_ok_and(|ip| !is_public(ip)) {
            return Err(FetchError::Address);
        }
        let authorization = self.proxy.as_ref().and_then(|p| p.authorization_for(uri));
        if let Some(value) = authorization.cloned() {
            let headers = request.headers_mut();
            headers.insert(header::PROXY_AUTHORIZATION, value);
        }
        let connections = match &self.slack_proxy {
            Some(proxy) if is_slack(request.uri()) => self.to_slack(proxy),
            _ => self.connections(trust),
        };
        let connections = connections.ok_or(FetchError::Tls)?;
        let span = personium_trace::client(method_word(request.method().as_str()));
        span.set(Attribute::Method(method_word(request.method().as_str())));
        let host = bare_host(request.uri()).to_owned();
        let told = {
            let _entered = span.as_scope().map(|scope| scope.enter());
            OutgoingContext::to(&host)
        };
        if let Some(context) = told {
            tell(context, request.headers_mut());
        }
        let exchange = exchange(connections, request.map(Full::new), limit);
        let exchanged = span.scope(tokio::time::timeout(REQUEST_TIMEOUT, exchange));
        let exchanged = exchanged.await.unwrap_or(Err(FetchError::Timeout));
        match &exchanged {
            Ok(response) => span.set(Attribute::Status(response.status.as_u16())),
            Err(error) => span.fail(failure(error)),
        }
        exchanged
    }

    /// The connections to Slack through a proxy that the operator has named for it.
    fn to_slack(&self, proxy: &Proxy) -> Option<&Connections> {
        let open = || pool(ProxyConnector::new(UrlTrust::Operator, Some(proxy.clone())));
        self.slack.get_or_init(open).as_ref()
    }

    fn connections(&self, trust: UrlTrust) -> Option<&Connections> {
        let slot = match trust {
            UrlTrust::Operator => &self.unrestricted,
            UrlTrust::CellOwner => &self.public,
        };
        slot.get_or_init(|| pool(ProxyConnector::new(trust, self.proxy.clone())))
            .as_ref()
    }
}

/// Whether a URL is one of Slack, over TLS.
fn is_slack(uri: &http::Uri) -> bool {
    uri.scheme_str() == Some("https") && bare_host(uri).eq_ignore_ascii_case("slack.com")
}

/// Tells another server of the trace, unless a script has told it something else.
fn tell(context: OutgoingContext, headers: &mut HeaderMap) {
    if headers.contains_key(TRACEPARENT) || headers.contains_key(TRACESTATE) {
        return;
    }
    if let Ok(parent) = context.parent.parse() {
        headers.insert(TRACEPARENT, parent);
    }
    if let Some(Ok(state)) = context.state.map(|state| state.parse()) {
        headers.insert(TRACESTATE, state);
    }
}

/// A failure as a word of a span.
const fn failure(error: &FetchError) -> &'static str {
    match error {
        FetchError::Url => "url",
        FetchError::Address => "address",
        FetchError::Tls => "tls",
        FetchError::Connect(_) => "connect",
        FetchError::Response(_) => "response",
        FetchError::Timeout => "timeout",
        FetchError::LoopbackDepth => "loopback_depth",
    }
}

async fn exchange(
    connections: &Connections,
    request: Request<Full<Bytes>>,
    limit: FetchLimit<'_>,
) -> Result<FetchedResponse, FetchError> {
    let response = connections.request(request).await.map_err(|e| {
        if AddressRefused::caused(&e) {
            FetchError::Address
        } else if e.is_connect() {
            FetchError::Connect(e.into())
        } else {
            FetchError::Response(e.into())
        }
    })?;
    let (head, stream) = response.into_parts();
    if head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Err(FetchError::Connect(
            "authentication at the proxy failed".into(),
        ));
    }
    FetchedResponse::read(head, stream.map_err(Into::into).boxed_unsync(), limit).await
}

fn pool(connector: ProxyConnector) -> Option<Connections> {
    let tls = HttpsConnectorBuilder::new().with_native_roots().ok()?;
    let connector = tls.https_or_http().enable_http1().wrap_connector(connector);
    Some(
        Client::builder(TokioExecutor::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .build(connector),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn url_of_cell_owner_with_private_address_is_refused() {
        let client = NetworkClient::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let get = async |url: &str| {
            let request = Request::get(url).body(Bytes::new()).unwrap();
            let limit = FetchLimit {
                max_bytes: 100,
                memory: None,
            };
            client.send(request, UrlTrust::CellOwner, limit).await
        };
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"] {
            let url = format!("http://{host}:{port}/");
            assert!(matches!(get(&url).await, Err(FetchError::Address)), "{url}");
        }
        for bad in ["http://u@example.com/", "x", "/"] {
            assert!(matches!(get(bad).await, Err(FetchError::Url)), "{bad}");
        }
    }
}
