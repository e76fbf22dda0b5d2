//! A unit as its clients see it: over the network, by names and TLS. For the check and the self-test of a unit that runs, and for
//! the development of services.

mod certificates;
mod login;
mod resolver;
mod tls;
mod transport;

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use personium_types::error::chain;
use rustls::ClientConfig;
use serde_json::Value;

use crate::system;
pub use certificates::SeenCertificate;
use certificates::SeenCertificates;
pub use login::{UnitAccess, basic_authorization, log_in, password_form};
use resolver::Resolver;

/// The limits unless others are given.
const LIMITS: ExchangeLimits = ExchangeLimits {
    timeout: Duration::from_secs(30),
    body_bytes: 8 << 20,
};

/// The limits of an exchange.
#[derive(Debug, Clone, Copy)]
pub struct ExchangeLimits {
    /// The time that it may take, and that a connection may take.
    pub timeout: Duration,
    /// The largest body of a response in bytes.
    pub body_bytes: usize,
}

/// The reason why there is no response.
#[derive(Debug)]
pub enum ExchangeFailure {
    /// Its body is larger than the limit.
    TooLarge,
    /// Another one, as a text.
    Other(String),
}

/// How a unit is reached.
#[derive(Debug, Clone)]
pub struct UnitAddress {
    /// The URL of the unit, with a final slash.
    url: String,
    /// A file with certificates that are trusted besides those of this machine.
    roots: Option<PathBuf>,
    /// The address to connect to, whatever the host name is.
    address: Option<IpAddr>,
}

impl UnitAddress {
    /// The unit with this URL.
    ///
    /// # Errors
    /// A text if it is no URL with the scheme http or https and a host.
    pub fn new(url: &str, roots: Option<PathBuf>, address: Option<IpAddr>) -> Result<Self, String> {
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("{url} is no URL: {error}"))?;
        let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
        let is_root = uri.path() == "/" && uri.query().is_none();
        match uri.authority() {
            Some(authority) if is_web && is_root && !authority.as_str().contains('@') => Ok(Self {
                url: format!("{}://{authority}/", uri.scheme_str().unwrap_or_default()),
                roots,
                address,
            }),
            _ => Err(format!(
                "{url} is not the URL of a unit, such as https://unit.example/"
            )),
        }
    }

    /// The URL of the unit, with a final slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether an address was given, so that no name is looked up.
    #[must_use]
    pub fn has_address(&self) -> bool {
        self.address.is_some()
    }
}

/// A request.
#[derive(Debug, Clone, Default)]
pub struct OutsideRequest {
    /// The method.
    pub method: Method,
    /// The URL.
    pub url: String,
    /// Headers.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A response.
#[derive(Debug, Clone)]
pub struct OutsideResponse {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// The time from the first byte sent to the last one received.
    pub elapsed: Duration,
}

impl OutsideResponse {
    /// The beginning of the body, for messages: 300 characters without control characters.
    #[must_use]
    pub fn shown(&self) -> String {
        const MAX_CHARS: usize = 300;
        let text = String::from_utf8_lossy(&self.body);
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(MAX_CHARS)
            .collect()
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends requests to a unit.
pub struct OutsideClient {
    connections: Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    tls: ClientConfig,
    address: Option<IpAddr>,
    seen: Arc<SeenCertificates>,
    limits: ExchangeLimits,
}

impl OutsideClient {
    /// A client for the unit at an address.
    ///
    /// # Errors
    /// A text if the file of certificates cannot be used.
    pub fn new(address: &UnitAddress) -> Result<Self, String> {
        Self::build(address.roots.as_deref(), address.address)
    }

    /// A client for any server. `roots` is a file with certificates (PEM) to trust besides those of this machine.
    ///
    /// # Errors
    /// A text if the file of certificates cannot be used.
    pub fn with_roots(roots: Option<&Path>) -> Result<Self, String> {
        Self::build(roots, None)
    }

    fn build(roots: Option<&Path>, address: Option<IpAddr>) -> Result<Self, String> {
        let seen = Arc::new(SeenCertificates::default());
        let config = tls::config(roots, &seen)?;
        let mut tcp = HttpConnector::new_with_resolver(Resolver::new(address));
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(LIMITS.timeout));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config.clone())
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(Self {
            connections: Client::builder(TokioExecutor::new()).build(connector),
            tls: config,
            address,
            seen,
            limits: LIMITS,
        })
    }

    /// The same client with other limits than 30 seconds and 8 MiB.
    #[must_use]
    pub fn within(self, limits: ExchangeLimits) -> Self {
        Self { limits, ..self }
    }

    /// Sends a request. Redirects are not followed.
    ///
    /// # Errors
    /// A text if there is no whole response within the limits.
    pub async fn send(&self, request: OutsideRequest) -> Result<OutsideResponse, String> {
        let exchanged = self.exchange(request).await;
        exchanged.map_err(|failure| match failure {
            ExchangeFailure::TooLarge => {
                format!("the body has more than {} bytes", self.limits.body_bytes)
            }
            ExchangeFailure::Other(text) => text,
        })
    }

    /// Sends a request. Redirects are not followed.
    ///
    /// # Errors
    /// [`ExchangeFailure`]
    pub async fn exchange(
        &self,
        request: OutsideRequest,
    ) -> Result<OutsideResponse, ExchangeFailure> {
        let mut built = Request::builder().method(request.method).uri(&request.url);
        for (name, value) in request.headers {
            built = built.header(&*name, value);
        }
        let built = built
            .body(Full::new(Bytes::from(request.body)))
            .map_err(|error| ExchangeFailure::Other(format!("{}: {error}", request.url)))?;
        let clock = system::clock();
        let start = clock.monotonic();
        let exchange = async {
            let response = self.connections.request(built).await;
            let response = response.map_err(|error| ExchangeFailure::Other(chain(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, self.limits.body_bytes).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => ExchangeFailure::TooLarge,
                false => ExchangeFailure::Other(error.to_string()),
            })?;
            Ok((head, body.to_bytes()))
        };
        let timeout = self.limits.timeout;
        let late = || ExchangeFailure::Other(format!("no answer in {} s", timeout.as_secs()));
        let (head, body) = tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(late()))?;
        Ok(OutsideResponse {
            status: head.status.as_u16(),
            headers: head.headers,
            body,
            elapsed: clock.monotonic().saturating_duration_since(start),
        })
    }

    /// The addresses that are connected to for a name; none if no name server knows it. One that was given stands for all names.
    pub async fn addresses(&self, name: &str) -> Vec<IpAddr> {
        match self.address {
            Some(address) => vec![address],
            None => transport::addresses(name).await,
        }
    }

    /// Shakes hands by TLS with the server of a name. Returns version, cipher suite and protocol of HTTP; `None` if there is no
    /// connection.
    pub async fn tls_agreement(&self, name: &str, place: (IpAddr, u16)) -> Option<String> {
        transport::agreement(self.tls.clone(), name, place).await
    }

    /// The certificates that servers have shown, the first one of each chain, whether they are trusted or not.
    #[must_use]
    pub fn certificates(&self) -> Vec<SeenCertificate> {
        self.seen.list()
    }
}

/// The facts in the description of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFacts {
    /// The URL that the unit gives itself, with a final slash.
    pub url: String,
    /// Whether the URLs of cells are paths of the unit.
    pub path_based: bool,
}

impl UnitFacts {
    /// Reads them from the answer to a request for the URL of the unit; `None` if it is no unit that answers.
    #[must_use]
    pub fn read(response: &OutsideResponse) -> Option<Self> {
        let json = response.json();
        let unit = json.get("unit")?;
        Some(Self {
            url: unit.get("url")?.as_str()?.to_owned(),
            path_based: unit.get("path_based_cellurl_enabled")?.as_bool()?,
        })
    }

    /// Asks a unit for them.
    ///
    /// # Errors
    /// A text if it cannot be reached, is no unit, or calls itself by another URL.
    pub async fn ask(client: &OutsideClient, address: &UnitAddress) -> Result<Self, String> {
        let url = address.url();
        let request = OutsideRequest {
            url: url.to_owned(),
            headers: vec![("accept".into(), "application/json".to_owned())],
            ..OutsideRequest::default()
        };
        let described = client.send(request).await;
        let described = described.map_err(|error| format!("{url}: {error}"))?;
        let facts = Self::read(&described)
            .ok_or_else(|| format!("{url} answers {} and is no unit", described.status))?;
        match facts.url == url {
            true => Ok(facts),
            false => Err(format!(
                "the unit calls itself {}, not {url}: give that URL",
                facts.url
            )),
        }
    }

    /// The URL of a cell, with a final slash.
    #[must_use]
    pub fn cell_url(&self, name: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("https", &self.url));
        match self.path_based {
            true => format!("{}{name}/", self.url),
            false => format!("{scheme}://{name}.{rest}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_units_are_told_from_other_texts() {
        for (given, url) in [
            ("https://unit.example", "https://unit.example/"),
            ("http://localhost:9998/", "http://localhost:9998/"),
        ] {
            assert_eq!(UnitAddress::new(given, None, None).unwrap().url(), url);
        }
        for given in [
            "",
            "unit.example",
            "ftp://unit.example/",
            "https://u@unit.example/",
            "https://unit.example/cell/",
        ] {
            assert!(UnitAddress::new(given, None, None).is_err(), "{given}");
        }
    }

    #[test]
    fn url_of_a_cell_is_a_path_or_a_host() {
        let facts = |path_based| UnitFacts {
            url: "https://unit.example:8443/".to_owned(),
            path_based,
        };
        assert_eq!(facts(true).cell_url("a"), "https://unit.example:8443/a/");
        assert_eq!(facts(false).cell_url("a"), "https://a.unit.example:8443/");
    }
}
