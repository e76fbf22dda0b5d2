//! Requests of the unit to other servers: HTTP/1.1, over TLS with the roots of this machine.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
use tower_service::Service;

use crate::body;
use crate::token::Providers;

/// Time for the connection.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// Time for a whole exchange.
const WHOLE_TIME: Duration = Duration::from_secs(20);

type Connection = Client<HttpsConnector<HttpConnector<Names>>, Empty<Bytes>>;

/// What the unit needs to talk to other servers, and what it remembers of what they said. Nothing is opened before the
/// first request.
#[derive(Default)]
pub struct Outside {
    anywhere: OnceLock<Option<Connection>>,
    public: OnceLock<Option<Connection>>,
    /// Providers of OpenID Connect.
    pub(crate) providers: Providers,
}

/// Who chose a URL, and so where it may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    /// The operator of the unit: anywhere.
    ByOperator,
    /// The owner of a cell: not into the operator's own network.
    ByOwner,
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
    #[error("no usable answer")]
    Answer(#[source] body::BoxError),
    /// It took too long.
    #[error("no answer in time")]
    Time,
}

impl Outside {
    /// GET of a URL, without credentials. Redirects are not followed. The body has at most `limit` bytes.
    pub async fn get(
        &self,
        url: &str,
        accept: &str,
        chosen: Chosen,
        limit: usize,
    ) -> Result<Fetched, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url)?;
        let host = uri.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_web || host.is_empty() || uri.authority().is_some_and(|a| a.as_str().contains('@')) {
            return Err(FetchError::Url);
        }
        // Names are judged when they are resolved; addresses are not.
        if chosen == Chosen::ByOwner && bare.parse().is_ok_and(|ip| !is_public(ip)) {
            return Err(FetchError::Connect("not a public address".into()));
        }
        let request = Request::get(uri)
            .header(header::ACCEPT, accept)
            .body(Empty::new())
            .map_err(|_| FetchError::Url)?;
        let client = self.client(chosen).ok_or(FetchError::Tls)?;
        tokio::time::timeout(WHOLE_TIME, exchange(client, request, limit))
            .await
            .map_err(|_| FetchError::Time)?
    }

    fn client(&self, chosen: Chosen) -> Option<&Connection> {
        let slot = match chosen {
            Chosen::ByOperator => &self.anywhere,
            Chosen::ByOwner => &self.public,
        };
        slot.get_or_init(|| connection(chosen)).as_ref()
    }
}

async fn exchange(
    client: &Connection,
    request: Request<Empty<Bytes>>,
    limit: usize,
) -> Result<Fetched, FetchError> {
    let answer = client.request(request).await.map_err(|e| {
        if e.is_connect() {
            FetchError::Connect(e.into())
        } else {
            FetchError::Answer(e.into())
        }
    })?;
    let (head, stream) = answer.into_parts();
    let stream = stream.map_err(Into::into).boxed_unsync();
    let body = body::read_all(stream, limit)
        .await
        .map_err(|e| FetchError::Answer(e.into()))?;
    Ok(Fetched {
        status: head.status,
        headers: head.headers,
        body,
    })
}

fn connection(chosen: Chosen) -> Option<Connection> {
    let mut http = HttpConnector::new_with_resolver(Names { chosen });
    http.set_connect_timeout(Some(CONNECT_TIME));
    http.enforce_http(false);
    let tls = HttpsConnectorBuilder::new().with_native_roots().ok()?;
    let connector = tls.https_or_http().enable_http1().wrap_connector(http);
    Some(
        Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(2)
            .build(connector),
    )
}

/// Resolves names; leaves out addresses that may not be asked, so that a name that changes between a check and the
/// connection gains nothing.
#[derive(Debug, Clone)]
struct Names {
    chosen: Chosen,
}

impl Service<Name> for Names {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let chosen = self.chosen;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found
                .filter(|a| chosen == Chosen::ByOperator || is_public(a.ip()))
                .collect();
            if allowed.is_empty() {
                return Err(io::Error::other("the name leads to no permitted address"));
            }
            Ok(allowed.into_iter())
        })
    }
}

/// Whether an address is one of the public Internet (IANA special-purpose address registries).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_unspecified()
        || ip.is_documentation()
        || a == 0
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && (b == 18 || b == 19))
        || a >= 224;
    !special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [s0, s1, s2, .., s6, s7] = ip.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    if let Some(v4) = ip.to_ipv4_mapped() {
        return is_public_v4(v4);
    }
    match s0 {
        0x2002 => embedded(s1, s2),
        0x0064 if s1 == 0xff9b && s2 == 0 => embedded(s6, s7),
        0x2001 if s1 < 0x0200 || s1 == 0x0db8 => false,
        // Only 2000::/3 is given out.
        _ => (0x2000..0x4000).contains(&s0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_own_network_are_not_public() {
        for private in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::a00:1",
            "2002:7f00:1::",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["8.8.8.8", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[tokio::test]
    async fn a_cell_cannot_make_the_unit_ask_its_own_network() {
        let outside = Outside::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "[::1]"] {
            let url = format!("http://{host}:{port}/");
            let fetched = outside.get(&url, "*/*", Chosen::ByOwner, 100).await;
            assert!(matches!(fetched, Err(FetchError::Connect(_))), "{url}");
        }
        for bad in ["http://u@example.com/", "x", "/", "http:///x"] {
            let fetched = outside.get(bad, "*/*", Chosen::ByOwner, 100).await;
            assert!(matches!(fetched, Err(FetchError::Url)), "{bad}");
        }
    }
}
