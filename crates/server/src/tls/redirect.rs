//! The port without TLS: leads pages to the URL of the unit, and answers the challenges http-01 (RFC 8555, section 8.3). It has no
//! file, no cell and no credentials.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use personium_model::UnitUrls;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::Challenges;
use super::address_limit::AddressLimit;

/// The largest number of connections at the same time; further ones wait.
const MAX_CONNECTIONS: usize = 256;

/// The largest number of connections of one address at the same time; further ones are closed.
const MAX_CONNECTIONS_OF_ADDRESS: usize = 16;

/// The time for the head of a request, and for the whole connection. A request is one packet, and so is its answer.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(8);

/// The largest size of the head of a request.
const MAX_HEADER_BYTES: usize = 16 << 10;

/// The pause after a failed accept.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The folder of the challenges.
const CHALLENGE_FOLDER: &str = "/.well-known/acme-challenge/";

/// Answers the requests without TLS.
#[derive(Clone)]
pub(crate) struct RedirectService {
    host: String,
    /// The text after the host in URLs of the unit: nothing, or a colon and the port.
    port: String,
    cells_have_hosts: bool,
    challenges: Arc<Challenges>,
    /// The time for the head of a request, and for the whole connection.
    timeouts: [Duration; 2],
}

impl RedirectService {
    /// Leads to the URLs of this unit.
    pub(crate) fn new(urls: &UnitUrls, challenges: Arc<Challenges>) -> Self {
        let host = urls.host().to_ascii_lowercase();
        let authority = urls.authority();
        let port = authority.split_at_checked(host.len());
        Self {
            port: port.map_or_else(String::new, |(_, port)| port.to_owned()),
            host,
            cells_have_hosts: !urls.path_based(),
            challenges,
            timeouts: [HEADER_TIMEOUT, CONNECTION_TIMEOUT],
        }
    }

    /// Serves until the task is aborted.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let addresses = AddressLimit::new(MAX_CONNECTIONS_OF_ADDRESS);
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
                return;
            };
            let Ok((stream, peer)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
                continue;
            };
            let Some(of_address) = addresses.admit(peer.ip()) else {
                tracing::debug!(%peer, "the address has too many connections without TLS");
                continue;
            };
            let service = self.clone();
            let [header_timeout, connection_timeout] = self.timeouts;
            tokio::spawn(async move {
                let handle = |request: Request<Incoming>| {
                    let response = service.respond(&request);
                    std::future::ready(Ok::<_, Infallible>(response))
                };
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new())
                    .header_read_timeout(header_timeout)
                    .max_buf_size(MAX_HEADER_BYTES)
                    .keep_alive(false);
                let served = http.serve_connection(TokioIo::new(stream), service_fn(handle));
                match tokio::time::timeout(connection_timeout, served).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::debug!(%peer, %error, "connection without TLS aborted");
                    }
                    Err(_) => tracing::debug!(%peer, "connection without TLS took too long"),
                }
                drop((permit, of_address));
            });
        }
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let Some(host) = requested_host(request) else {
            return text(StatusCode::BAD_REQUEST, "the host is missing\n");
        };
        let path = request.uri().path();
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if let Some(token) = path.strip_prefix(CHALLENGE_FOLDER) {
            let found = self.challenges.key_authorization(&host, token);
            return match found {
                Some(content) if is_read => with_type(
                    text(StatusCode::OK, content),
                    header::CONTENT_TYPE,
                    "application/octet-stream",
                ),
                Some(_) => text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n"),
                None => text(StatusCode::NOT_FOUND, "no such challenge\n"),
            };
        }
        if !self.is_own(&host) {
            return text(StatusCode::MISDIRECTED_REQUEST, "not a host of this unit\n");
        }
        // A client that sends tokens in the clear is to notice it.
        if !is_read || request.headers().contains_key(header::AUTHORIZATION) {
            return text(StatusCode::FORBIDDEN, "only over TLS\n");
        }
        let target = request.uri().path_and_query();
        let target = target.map_or("/", |target| target.as_str());
        let location = format!("https://{host}{}{target}", self.port);
        match HeaderValue::from_str(&location) {
            Ok(location) => {
                let mut response = text(StatusCode::PERMANENT_REDIRECT, "");
                response.headers_mut().insert(header::LOCATION, location);
                response
            }
            Err(_) => text(StatusCode::BAD_REQUEST, "the path is not valid\n"),
        }
    }

    /// Whether it is the host of the unit, or of a cell of it.
    fn is_own(&self, host: &str) -> bool {
        if host == self.host {
            return true;
        }
        let cell = host.strip_suffix(&self.host);
        let cell = cell.and_then(|rest| rest.strip_suffix('.'));
        self.cells_have_hosts && cell.is_some_and(|cell| !cell.is_empty() && !cell.contains('.'))
    }
}

/// The host that a request addresses, in small letters and without a port; `None` without exactly one that can be a host name.
fn requested_host<B>(request: &Request<B>) -> Option<String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (host, others) = (hosts.next()?.to_str().ok()?, hosts.next());
    let host = request.uri().authority().map_or(host, |a| a.as_str());
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    let is_permitted = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    let is_host = others.is_none() && !host.is_empty() && host.bytes().all(is_permitted);
    is_host.then(|| host.to_ascii_lowercase())
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let response = with_type(response, header::CONTENT_TYPE, "text/plain; charset=utf-8");
    with_type(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

fn with_type(
    mut response: Response<Full<Bytes>>,
    name: HeaderName,
    value: &'static str,
) -> Response<Full<Bytes>> {
    let value = HeaderValue::from_static(value);
    response.headers_mut().insert(name, value);
    response
}

#[cfg(test)]
mod tests {
    use super::super::challenges::TokenChallenge;
    use super::*;

    fn service(path_based: bool) -> RedirectService {
        let challenges = Arc::<Challenges>::default();
        challenges.add_token(TokenChallenge {
            name: "unit.example".to_owned(),
            token: "tok-1".to_owned(),
            key_authorization: "tok-1.thumb".to_owned(),
        });
        RedirectService {
            host: "unit.example".to_owned(),
            port: ":8443".to_owned(),
            cells_have_hosts: !path_based,
            challenges,
            timeouts: [HEADER_TIMEOUT, CONNECTION_TIMEOUT],
        }
    }

    fn respond(service: &RedirectService, method: &str, host: &str, target: &str) -> (u16, String) {
        let request = Request::builder().method(method).uri(target);
        let response = service.respond(&request.header("host", host).body(()).unwrap());
        let location = response.headers().get("location");
        let location = location.map_or("", |location| location.to_str().unwrap());
        (response.status().as_u16(), location.to_owned())
    }

    #[test]
    fn pages_are_led_to_the_same_path_with_tls_and_foreign_hosts_to_nothing() {
        let service = service(false);
        for (method, host, target, status, location) in [
            (
                "GET",
                "unit.example",
                "/a?b=c",
                308,
                "https://unit.example:8443/a?b=c",
            ),
            (
                "HEAD",
                "Unit.Example:80",
                "/",
                308,
                "https://unit.example:8443/",
            ),
            (
                "GET",
                "cell.unit.example",
                "/x",
                308,
                "https://cell.unit.example:8443/x",
            ),
            (
                "GET",
                "unit.example",
                "//evil.example/x",
                308,
                "https://unit.example:8443//evil.example/x",
            ),
            ("POST", "unit.example", "/a", 403, ""),
            ("GET", "a.b.unit.example", "/", 421, ""),
            ("GET", "evil.example", "/", 421, ""),
            ("GET", "xunit.example", "/", 421, ""),
            ("GET", ".unit.example", "/", 421, ""),
            ("GET", "unit.example@evil.example", "/", 400, ""),
            ("GET", "", "/", 400, ""),
        ] {
            let found = respond(&service, method, host, target);
            assert_eq!(
                found,
                (status, location.to_owned()),
                "{method} {host} {target}"
            );
        }
        let paths = self::service(true);
        assert_eq!(respond(&paths, "GET", "cell.unit.example", "/").0, 421);
    }

    #[tokio::test]
    async fn one_address_does_not_take_the_connections_of_others() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio::net::TcpSocket;

        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let place = listener.local_addr().unwrap();
        let mut service = service(true);
        service.timeouts = [Duration::from_secs(3_600); 2];
        let server = tokio::spawn(service.serve(listener));
        let connect = async |from: &str| {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(from.parse().unwrap()).unwrap();
            socket.connect(place).await.unwrap()
        };
        // As many silent connections as the port has.
        let mut silent = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            silent.push(connect("127.0.0.1:0").await);
        }
        let mut other = connect("127.0.0.2:0").await;
        let request = b"GET /a HTTP/1.1\r\nhost: unit.example\r\n\r\n";
        other.write_all(request).await.unwrap();
        let mut answer = String::new();
        let read = other.read_to_string(&mut answer);
        let read = tokio::time::timeout(Duration::from_secs(60), read);
        read.await.expect("an answer").unwrap();
        assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
        // Those beyond the bound are closed, the first ones wait for a request.
        let mut closed = silent.pop().unwrap();
        assert_eq!(closed.read(&mut [0]).await.unwrap_or(0), 0);
        let mut first = silent.swap_remove(0);
        first.write_all(request).await.unwrap();
        answer.clear();
        first.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
        server.abort();
    }

    #[test]
    fn challenge_is_answered_for_its_token_at_its_host_only() {
        let service = service(false);
        let folder = "/.well-known/acme-challenge/";
        for (method, host, token, status) in [
            ("GET", "unit.example", "tok-1", 200),
            ("GET", "UNIT.example:5002", "tok-1?x=y", 200),
            ("POST", "unit.example", "tok-1", 405),
            ("GET", "cell.unit.example", "tok-1", 404),
            ("GET", "evil.example", "tok-1", 404),
            ("GET", "unit.example", "", 404),
            ("GET", "unit.example", "tok-2", 404),
            ("GET", "unit.example", "tok-1/", 404),
            ("GET", "unit.example", "../tok-1", 404),
            ("GET", "unit.example", "..%2f..%2fetc%2fpasswd", 404),
            ("GET", "unit.example", "%74ok-1", 404),
        ] {
            let found = respond(&service, method, host, &format!("{folder}{token}"));
            assert_eq!(found.0, status, "{method} {host} {token}");
        }
        service.challenges.clear();
        let gone = respond(&service, "GET", "unit.example", &format!("{folder}tok-1"));
        assert_eq!(gone.0, 404);
    }
}
