//! Requests of the unit to other servers: HTTP/1.1, over TLS with the roots of this machine.

mod address;
mod proxy_connector;

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use personium_model::Settings;

use self::address::is_public;
use self::proxy_connector::{Proxy, ProxyConnector, bare_host};
use crate::body;
use crate::token::Providers;

/// Time for a whole exchange.
const WHOLE_TIME: Duration = Duration::from_secs(20);

type Connection = Client<HttpsConnector<ProxyConnector>, Full<Bytes>>;

/// What the unit needs to talk to other servers, and what it remembers of what they said. Nothing is opened before the
/// first request.
#[derive(Default)]
pub struct HttpClient {
    private_networks: bool,
    anywhere: OnceLock<Option<Connection>>,
    public: OnceLock<Option<Connection>>,
    proxy: Option<Proxy>,
    /// Providers of OpenID Connect.
    pub(crate) providers: Providers,
}

/// Who chose a URL, and so where it may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlTrust {
    /// The operator of the unit: anywhere.
    Operator,
    /// The owner of a cell: not into the operator's own network, unless the operator permits that.
    CellOwner,
}

/// What another server answered.
#[derive(Debug)]
pub struct Fetched {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URL, or one that may not be asked.
    #[error("the URL may not be asked")]
    Url,
    /// TLS cannot be used on this machine.
    #[error("no certificates of this machine can be used")]
    Tls,
    /// There is no connection.
    #[error("no connection")]
    Connect(#[source] body::BoxError),
    /// The answer broke off, or was too large.
    #[error("no usable response")]
    Response(#[source] body::BoxError),
    /// It took too long.
    #[error("no response in time")]
    Time,
}

impl HttpClient {
    /// Through the proxy that the operator names, if any; servers of this machine are asked without it. The operator
    /// also says whether owners of cells may choose private addresses.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self {
            private_networks: settings.private_networks,
            proxy: settings.outgoing_proxy.as_ref().and_then(Proxy::of),
            ..Self::default()
        }
    }

    /// GET of a URL, without credentials. Redirects are not followed. The body has at most `limit` bytes.
    pub async fn get(
        &self,
        url: &str,
        accept: &str,
        trust: UrlTrust,
        limit: usize,
    ) -> Result<Fetched, FetchError> {
        let request = Request::get(url).header(header::ACCEPT, accept);
        let request = request.body(Bytes::new()).map_err(|_| FetchError::Url)?;
        self.ask(request, trust, limit).await
    }

    /// Sends a request as it is. Redirects are not followed. The body of the answer has at most `limit` bytes.
    pub async fn ask(
        &self,
        mut request: Request<Bytes>,
        trust: UrlTrust,
        limit: usize,
    ) -> Result<Fetched, FetchError> {
        let trust = if self.private_networks {
            UrlTrust::Operator
        } else {
            trust
        };
        let uri = request.uri();
        let host = uri.host().unwrap_or_default();
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_web || host.is_empty() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(FetchError::Url);
        }
        // FilteredResolver are judged when they are resolved; addresses are not.
        if trust == UrlTrust::CellOwner && bare_host(uri).parse().is_ok_and(|ip| !is_public(ip)) {
            return Err(FetchError::Connect("not a public address".into()));
        }
        let proxy = self.proxy.as_ref();
        if let Some(value) = proxy
            .and_then(|p| p.authorization_for(request.uri()))
            .cloned()
        {
            let headers = request.headers_mut();
            headers.insert(header::PROXY_AUTHORIZATION, value);
        }
        let client = self.client(trust).ok_or(FetchError::Tls)?;
        let request = request.map(Full::new);
        tokio::time::timeout(WHOLE_TIME, exchange(client, request, limit))
            .await
            .map_err(|_| FetchError::Time)?
    }

    fn client(&self, trust: UrlTrust) -> Option<&Connection> {
        let slot = match trust {
            UrlTrust::Operator => &self.anywhere,
            UrlTrust::CellOwner => &self.public,
        };
        slot.get_or_init(|| connection(ProxyConnector::new(trust, self.proxy.clone())))
            .as_ref()
    }
}

async fn exchange(
    client: &Connection,
    request: Request<Full<Bytes>>,
    limit: usize,
) -> Result<Fetched, FetchError> {
    let response = client.request(request).await.map_err(|e| {
        if e.is_connect() {
            FetchError::Connect(e.into())
        } else {
            FetchError::Response(e.into())
        }
    })?;
    let (head, stream) = response.into_parts();
    if head.status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
        return Err(FetchError::Connect("the proxy refuses".into()));
    }
    let stream = stream.map_err(Into::into).boxed_unsync();
    let body = body::read_all(stream, limit)
        .await
        .map_err(|e| FetchError::Response(e.into()))?;
    Ok(Fetched {
        status: head.status,
        headers: head.headers,
        body,
    })
}

fn connection(way: ProxyConnector) -> Option<Connection> {
    let tls = HttpsConnectorBuilder::new().with_native_roots().ok()?;
    let connector = tls.https_or_http().enable_http1().wrap_connector(way);
    Some(
        Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2)
            .build(connector),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cell_cannot_make_the_unit_ask_its_own_network() {
        let http_client = HttpClient::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"] {
            let url = format!("http://{host}:{port}/");
            let fetched = http_client.get(&url, "*/*", UrlTrust::CellOwner, 100).await;
            assert!(matches!(fetched, Err(FetchError::Connect(_))), "{url}");
        }
        for bad in ["http://u@example.com/", "x", "/", "http:///x"] {
            let fetched = http_client.get(bad, "*/*", UrlTrust::CellOwner, 100).await;
            assert!(matches!(fetched, Err(FetchError::Url)), "{bad}");
        }
    }
}
