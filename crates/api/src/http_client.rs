//! Requests of the unit: to other servers over the network, to the unit itself without it.

mod address;
mod fetched;
mod network;
mod proxy_connector;
mod trust;
mod unpacking;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, header};
use personium_model::AnswerShare;
use personium_trace::{TraceScope, within};
use tokio::task::JoinSet;

pub use self::fetched::{FetchError, FetchLimit, FetchedResponse};
pub use self::network::NetworkClient;
pub use self::trust::UrlTrust;
use crate::body::{self, Body};
use crate::loopback::{Loopback, MAX_DEPTH};
use crate::response::{self, Response};

/// The largest body of a request of a script to another server, and of its response, in bytes.
const SCRIPT_MAX_BYTES: usize = 16 << 20;

/// The HTTP client of one request.
pub struct HttpClient {
    network: Arc<NetworkClient>,
    loopback: Arc<dyn Loopback>,
    /// The number of loopback requests that led to this request.
    depth: u8,
    /// The memory budget for the responses; `None` does not count them.
    memory: Option<AnswerShare>,
    /// The span of the request, for what it sends from other tasks.
    trace: Option<TraceScope>,
}

impl HttpClient {
    /// A client for a request that a number of nested loopback requests led to.
    #[must_use]
    pub fn new(network: Arc<NetworkClient>, loopback: Arc<dyn Loopback>, depth: u8) -> Self {
        Self {
            network,
            loopback,
            depth,
            memory: None,
            trace: personium_trace::current(),
        }
    }

    /// Whether the unit itself sent the request that this client is for.
    #[must_use]
    pub fn is_nested(&self) -> bool {
        self.depth > 0
    }

    /// Whether a request to a URL is refused because too many requests of the unit to itself led to it.
    pub(crate) fn is_too_deep(&self, url: &str) -> bool {
        self.depth >= MAX_DEPTH && self.serves(url)
    }

    /// The same client, whose responses are counted as memory of answers as long as they live.
    #[must_use]
    pub fn counted_by(self, memory: AnswerShare) -> Self {
        Self {
            memory: Some(memory),
            ..self
        }
    }

    /// The number of loopback requests that led to the request.
    #[must_use]
    pub fn depth(&self) -> u8 {
        self.depth
    }

    /// Makes what is sent from other tasks a part of a span; `None` leaves it a part of that of the request.
    pub(crate) fn set_trace(&mut self, scope: Option<TraceScope>) {
        if scope.is_some() {
            self.trace = scope;
        }
    }

    /// Sends GET to a URL, without credentials. Redirects are not followed.
    ///
    /// # Errors
    /// As [`HttpClient::send`].
    pub async fn get(
        &self,
        url: &str,
        accept: &str,
        trust: UrlTrust,
        max_bytes: usize,
    ) -> Result<FetchedResponse, FetchError> {
        let request = Request::get(url).header(header::ACCEPT, accept);
        let request = request.body(Bytes::new()).map_err(|_| FetchError::Url)?;
        self.send(request, trust, max_bytes).await
    }

    /// Sends a request: to this unit by the loopback, to other servers over the network. Redirects are not followed. Only
    /// this method decides between the two.
    ///
    /// # Errors
    /// [`FetchError`]; also if the body of the response has more than `max_bytes`.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        trust: UrlTrust,
        max_bytes: usize,
    ) -> Result<FetchedResponse, FetchError> {
        let sending = self.send_in_scope(request, trust, max_bytes);
        within(self.trace_scope(), sending).await
    }

    /// The span of the request, unless the task has a span or a tracer of its own.
    fn trace_scope(&self) -> Option<TraceScope> {
        self.trace
            .clone()
            .filter(|_| personium_trace::current().is_none())
    }

    async fn send_in_scope(
        &self,
        request: Request<Bytes>,
        trust: UrlTrust,
        max_bytes: usize,
    ) -> Result<FetchedResponse, FetchError> {
        if !self.loopback.serves(&request.uri().to_string()) {
            let limit = self.limit(max_bytes);
            return self.network.send(request, trust, limit).await;
        }
        if self.depth >= MAX_DEPTH {
            return Err(FetchError::LoopbackDepth);
        }
        let loopback = Arc::clone(&self.loopback);
        let response = loopback
            .respond(request.map(body::full), self.depth + 1)
            .await;
        let (head, body) = response.into_parts();
        FetchedResponse::read(head, body, self.limit(max_bytes)).await
    }

    /// Whether a URL is one of this unit or of one of its cells.
    #[must_use]
    pub fn serves(&self, url: &str) -> bool {
        self.loopback.serves(url)
    }

    /// Sends a request of a script as [`HttpClient::send`] does. The response of this unit is streamed, that of others has at most
    /// [`SCRIPT_MAX_BYTES`], and is unpacked. At most `depth_max` requests may be nested.
    ///
    /// # Errors
    /// [`FetchError`]
    pub async fn send_of_script(
        &self,
        request: Request<Body>,
        depth_max: u8,
    ) -> Result<Response, FetchError> {
        let sending = self.send_of_script_in_scope(request, depth_max);
        within(self.trace_scope(), sending).await
    }

    async fn send_of_script_in_scope(
        &self,
        request: Request<Body>,
        depth_max: u8,
    ) -> Result<Response, FetchError> {
        if self.loopback.serves(&request.uri().to_string()) {
            if self.depth >= depth_max {
                return Err(FetchError::LoopbackDepth);
            }
            let loopback = Arc::clone(&self.loopback);
            return Ok(loopback.respond(request, self.depth + 1).await);
        }
        let (mut head, body) = request.into_parts();
        head.headers.remove(header::TRANSFER_ENCODING);
        let body = body::read_all(body, SCRIPT_MAX_BYTES).await;
        let body = body.map_err(|error| FetchError::Response(error.into()))?;
        let request = Request::from_parts(head, body);
        let (network, memory) = (Arc::clone(&self.network), self.memory.clone());
        let sending = async move {
            let limit = FetchLimit {
                max_bytes: SCRIPT_MAX_BYTES,
                memory: memory.as_ref(),
            };
            network.send(request, UrlTrust::CellOwner, limit).await
        };
        // A task of its own is polled by the threads of the unit. The thread of the script would keep memory of the allocator, and pages
        // of its stack, for as long as it waits.
        let mut task = JoinSet::new();
        task.spawn(within(personium_trace::current(), sending));
        let fetched = match task.join_next().await {
            Some(Ok(fetched)) => fetched?,
            Some(Err(error)) => return Err(FetchError::Response(error.into())),
            None => return Err(FetchError::Timeout),
        };
        let fetched = unpacking::unpacked(fetched, self.limit(SCRIPT_MAX_BYTES))?;
        let mut response = response::with_body(fetched.status, body::full(fetched.body));
        *response.headers_mut() = fetched.headers;
        Ok(response)
    }

    fn limit(&self, max_bytes: usize) -> FetchLimit<'_> {
        FetchLimit {
            max_bytes,
            memory: self.memory.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use personium_model::Settings;

    use super::*;

    /// A loopback for one host, which responds with the depth of the request.
    struct OneHost;

    #[async_trait::async_trait]
    impl Loopback for OneHost {
        fn serves(&self, url: &str) -> bool {
            url.starts_with("http://unit.example/")
        }

        async fn respond(self: Arc<Self>, _: Request<Body>, depth: u8) -> Response {
            response::content(StatusCode::OK, "text/plain", depth.to_string())
        }
    }

    async fn get(depth: u8, url: &str) -> Result<FetchedResponse, FetchError> {
        let network = Arc::new(NetworkClient::new(&Settings::default()));
        let client = HttpClient::new(network, Arc::new(OneHost), depth);
        client.get(url, "*/*", UrlTrust::CellOwner, 100).await
    }

    #[tokio::test]
    async fn nested_loopback_requests_are_limited() {
        for depth in 0..MAX_DEPTH {
            let response = get(depth, "http://unit.example/c/").await.unwrap();
            assert_eq!(response.body, (depth + 1).to_string());
        }
        let refused = get(MAX_DEPTH, "http://unit.example/c/").await;
        assert!(matches!(refused, Err(FetchError::LoopbackDepth)));
    }

    #[tokio::test]
    async fn other_hosts_are_reached_over_the_network_under_its_rules() {
        for url in ["http://127.0.0.1/", "http://unit.example@127.0.0.1/"] {
            assert!(get(MAX_DEPTH, url).await.is_err(), "{url}");
        }
        let private = get(0, "http://10.0.0.1/").await;
        assert!(matches!(private, Err(FetchError::Address)));
        assert!(matches!(get(0, "/c/").await, Err(FetchError::Url)));
        assert!(matches!(get(0, "http:///c/").await, Err(FetchError::Url)));
    }
}
