//! Connections to other servers: direct, or through the proxy of the operator.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use personium_model::settings::OutgoingProxy;
use tokio::net::TcpStream;
use tower_service::Service;

use super::address::{AddressRefused, is_public};
use super::trust::UrlTrust;
use crate::body::BoxError;

/// The time to establish a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The bytes that a server may send for one request: more than the largest body and its head. Interim responses (RFC 9110 section 15.2)
/// have no other limit.
const ANSWER_MAX_BYTES: usize = 32 << 20;
/// The bytes that are read at once.
const CHUNK_BYTES: usize = 16 << 10;

/// The operator's proxy (RFC 9110 section 3.7).
#[derive(Debug, Clone)]
pub struct Proxy {
    uri: Uri,
    /// The value of `Proxy-Authorization`, if the proxy needs credentials.
    authorization: Option<HeaderValue>,
}

impl Proxy {
    /// The proxy of the settings; `None` if its host is not valid.
    #[must_use]
    pub fn of(settings: &OutgoingProxy) -> Option<Self> {
        let authority = format!("{}:{}", settings.host, settings.port);
        let uri = Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(authority)
            .path_and_query("/")
            .build()
            .ok()?;
        let authorization = settings.credentials.as_ref().and_then(|(user, password)| {
            let pair = STANDARD.encode(format!("{user}:{}", password.reveal()));
            let mut value = HeaderValue::from_str(&format!("Basic {pair}")).ok()?;
            value.set_sensitive(true);
            Some(value)
        });
        Some(Self { uri, authorization })
    }

    /// The credentials for a request that the proxy itself reads: one without TLS to another machine.
    pub fn authorization_for(&self, target: &Uri) -> Option<&HeaderValue> {
        let read_by_proxy = target.scheme() == Some(&Scheme::HTTP) && !is_this_machine(target);
        self.authorization.as_ref().filter(|_| read_by_proxy)
    }
}

/// Whether a URL names this machine, which is never reached through the proxy.
fn is_this_machine(target: &Uri) -> bool {
    let host = bare_host(target);
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// The host of a URL. An IPv6 address is without brackets.
pub fn bare_host(uri: &Uri) -> &str {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']')
}

/// Connects to the servers of URLs with the same trust.
#[derive(Clone)]
pub struct ProxyConnector {
    trust: UrlTrust,
    direct: HttpConnector<FilteredResolver>,
    to_proxy: HttpConnector<FilteredResolver>,
    proxy: Option<Proxy>,
}

impl ProxyConnector {
    /// A connector that uses the proxy, if there is one.
    pub fn new(trust: UrlTrust, proxy: Option<Proxy>) -> Self {
        let connector = |trust| {
            let mut http = HttpConnector::new_with_resolver(FilteredResolver { trust });
            http.set_connect_timeout(Some(CONNECT_TIMEOUT));
            http.enforce_http(false);
            http
        };
        Self {
            trust,
            direct: connector(trust),
            to_proxy: connector(UrlTrust::Operator),
            proxy,
        }
    }

    async fn connect(mut self, target: Uri) -> Result<ProxiedStream, BoxError> {
        let Some(proxy) = self.proxy.filter(|_| !is_this_machine(&target)) else {
            let stream = self.direct.call(target).await?;
            return Ok(ProxiedStream::new(stream, Peer::Server));
        };
        // The proxy resolves the name itself, so all its addresses must be public.
        if self.trust == UrlTrust::CellOwner && !resolves_publicly(bare_host(&target)).await? {
            return Err(AddressRefused.into());
        }
        if target.scheme() == Some(&Scheme::HTTP) {
            let stream = self.to_proxy.call(proxy.uri).await?;
            return Ok(ProxiedStream::new(stream, Peer::Proxy));
        }
        let mut tunnel = Tunnel::new(proxy.uri, self.to_proxy);
        if let Some(authorization) = proxy.authorization {
            tunnel = tunnel.with_auth(authorization);
        }
        Ok(ProxiedStream::new(tunnel.call(target).await?, Peer::Server))
    }
}

impl Service<Uri> for ProxyConnector {
    type Response = ProxiedStream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<ProxiedStream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        Box::pin(self.clone().connect(target))
    }
}

/// The permitted addresses of a name.
async fn addresses(trust: UrlTrust, host: &str) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((host, 0)).await?;
    let allowed: Vec<SocketAddr> = found
        .filter(|a| trust == UrlTrust::Operator || is_public(a.ip()))
        .collect();
    if allowed.is_empty() {
        return Err(io::Error::other(AddressRefused));
    }
    Ok(allowed)
}

/// Whether this machine can resolve a name and all its addresses are public.
///
/// # Errors
/// The error of the resolver.
async fn resolves_publicly(host: &str) -> io::Result<bool> {
    let mut found = tokio::net::lookup_host((host, 0)).await?.peekable();
    Ok(found.peek().is_some() && found.all(|a| is_public(a.ip())))
}

/// Resolves names to permitted addresses. The connection uses the checked addresses, so a name that changes after a check
/// (DNS rebinding) has no effect.
#[derive(Debug, Clone)]
struct FilteredResolver {
    trust: UrlTrust,
}

impl Service<Name> for FilteredResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let trust = self.trust;
        Box::pin(async move { Ok(addresses(trust, name.as_str()).await?.into_iter()) })
    }
}

/// The peer of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// The server itself.
    Server,
    /// The proxy, which needs the absolute URL.
    Proxy,
}

/// A connection to a server or to the proxy, which ends when the peer sends too much between two writes.
pub struct ProxiedStream {
    stream: TokioIo<TcpStream>,
    peer: Peer,
    /// The number of bytes that were read since the last write.
    read_bytes: usize,
    chunk: Box<[u8]>,
}

impl ProxiedStream {
    fn new(stream: TokioIo<TcpStream>, peer: Peer) -> Self {
        Self {
            stream,
            peer,
            read_bytes: 0,
            chunk: vec![0; CHUNK_BYTES].into_boxed_slice(),
        }
    }
}

impl Connection for ProxiedStream {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.peer == Peer::Proxy)
    }
}

impl Read for ProxiedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let Self {
            stream,
            read_bytes,
            chunk,
            ..
        } = &mut *self;
        let length = buf.remaining().min(chunk.len());
        let mut read = ReadBuf::new(chunk.get_mut(..length).unwrap_or_default());
        ready!(Pin::new(stream).poll_read(cx, read.unfilled()))?;
        *read_bytes = read_bytes.saturating_add(read.filled().len());
        if *read_bytes > ANSWER_MAX_BYTES {
            return Poll::Ready(Err(io::Error::other("the answer is too large")));
        }
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Write for ProxiedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.read_bytes = 0;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use personium_model::Settings;
    use personium_types::Secret;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;
    use crate::http_client::{FetchError, FetchLimit, NetworkClient};

    /// A proxy that answers every request itself and reports its head.
    async fn proxy(
        credentials: Option<(&str, &str)>,
    ) -> (NetworkClient, mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, heads) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = vec![0; 4096];
                let read = stream.read(&mut head).await.unwrap();
                sender
                    .send(String::from_utf8_lossy(&head[..read]).into_owned())
                    .unwrap();
                let response =
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nby";
                stream.write_all(response).await.unwrap();
            }
        });
        let client = NetworkClient::new(&Settings {
            outgoing_proxy: Some(OutgoingProxy {
                host: "localhost".to_owned(),
                port,
                credentials: credentials
                    .map(|(user, password)| (user.to_owned(), Secret::new(password.to_owned()))),
            }),
            ..Settings::default()
        });
        (client, heads)
    }

    async fn get(client: &NetworkClient, url: &str, trust: UrlTrust) -> Result<String, FetchError> {
        let request = Request::get(url).body(Bytes::new()).unwrap();
        let limit = FetchLimit {
            max_bytes: 100,
            memory: None,
        };
        let fetched = client.send(request, trust, limit).await?;
        Ok(String::from_utf8_lossy(&fetched.body).into_owned())
    }

    #[tokio::test]
    async fn proxy_gets_absolute_url_and_credentials() {
        let (client, mut heads) = proxy(Some(("me", "pass:word"))).await;
        let url = "http://only-the-proxy-knows.invalid:81/a?b";
        let body = get(&client, url, UrlTrust::Operator).await.unwrap();
        assert_eq!(body, "by");
        let head = heads.recv().await.unwrap();
        assert!(
            head.starts_with(&format!("GET {url} HTTP/1.1\r\n")),
            "{head}"
        );
        let basic = "proxy-authorization: Basic bWU6cGFzczp3b3Jk\r\n";
        assert!(head.contains(basic), "{head}");
        assert!(
            head.contains("host: only-the-proxy-knows.invalid:81\r\n"),
            "{head}"
        );
    }

    #[tokio::test]
    async fn tls_uses_a_connect_tunnel() {
        let (client, mut heads) = proxy(Some(("me", "word"))).await;
        let url = "https://only-the-proxy-knows.invalid/a";
        // The fake proxy does not speak TLS.
        assert!(get(&client, url, UrlTrust::Operator).await.is_err());
        let head = heads.recv().await.unwrap();
        let wanted = "CONNECT only-the-proxy-knows.invalid:443 HTTP/1.1\r\n";
        assert!(head.starts_with(wanted), "{head}");
        assert!(
            head.contains("Proxy-Authorization: Basic bWU6d29yZA==\r\n"),
            "{head}"
        );
        assert!(!head.contains("/a"), "{head}");
    }

    #[tokio::test]
    async fn loopback_addresses_bypass_the_proxy() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let (client, mut heads) = proxy(Some(("me", "word"))).await;
        let heard = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        let url = format!("http://127.0.0.1:{port}/own");
        get(&client, &url, UrlTrust::Operator).await.unwrap();
        let head = heard.await.unwrap();
        assert!(head.starts_with("GET /own HTTP/1.1\r\n"), "{head}");
        assert!(!head.to_ascii_lowercase().contains("proxy-"), "{head}");
        assert!(heads.try_recv().is_err(), "the proxy got a request");
    }

    #[tokio::test]
    async fn cell_owner_cannot_reach_private_networks_through_the_proxy() {
        let (client, mut heads) = proxy(None).await;
        for url in [
            "http://10.1.2.3/",
            "https://10.1.2.3/",
            "http://localhost/",
            "https://[fd00::1]/",
            "http://name-that-is-not-known.invalid/",
        ] {
            let refused = get(&client, url, UrlTrust::CellOwner).await;
            let is_refused = matches!(refused, Err(FetchError::Connect(_) | FetchError::Address));
            assert!(is_refused, "{url}");
        }
        assert!(heads.try_recv().is_err(), "the proxy got a request");
        get(&client, "http://8.8.8.8/", UrlTrust::CellOwner)
            .await
            .unwrap();
        assert!(
            heads
                .recv()
                .await
                .unwrap()
                .starts_with("GET http://8.8.8.8/ ")
        );
    }
}
