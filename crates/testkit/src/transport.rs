//! Delivery of requests to a unit, in memory or over the network.

#[cfg(any(feature = "api", feature = "tls"))]
use std::sync::Arc;
#[cfg(feature = "tls")]
use std::{
    convert::Infallible,
    net::SocketAddr,
    task::{Context, Poll},
};
#[cfg(feature = "api")]
use std::{
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
#[cfg(feature = "tls")]
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
#[cfg(feature = "tls")]
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioExecutor;
#[cfg(feature = "tls")]
use rustls::ClientConfig;

/// An error of a connection or of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request or response.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Boxes a body.
pub(crate) fn boxed<B>(body: B) -> Body
where
    B: BodyExt<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// Sends requests over TLS connections that are kept open.
#[cfg(feature = "tls")]
pub(crate) type TlsClient = Client<HttpsConnector<HttpConnector<LoopbackNames>>, Body>;

/// Finds every host name on this machine.
#[cfg(feature = "tls")]
#[derive(Debug, Clone)]
pub(crate) struct LoopbackNames;

#[cfg(feature = "tls")]
impl tower_service::Service<Name> for LoopbackNames {
    type Response = std::iter::Once<SocketAddr>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        // The port is that of the URL.
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        std::future::ready(Ok(std::iter::once(address)))
    }
}

/// The response of a service. Boxed, because tests with many requests would need a larger stack, and the compiler would look
/// deeply into their types.
#[cfg(feature = "api")]
fn respond(
    service: &personium_api::ApiService,
    request: http::Request<Body>,
) -> Pin<Box<dyn Future<Output = http::Response<Body>> + Send + '_>> {
    Box::pin(service.handle(request, None))
}

/// Sends requests over connections that are kept open.
type HttpClient = Client<HttpConnector, Body>;

/// How requests reach a unit.
#[derive(Clone)]
pub(crate) enum Transport {
    /// A service in memory.
    #[cfg(feature = "api")]
    Memory(personium_api::ApiService),
    /// Services in memory, in turn.
    #[cfg(feature = "api")]
    InTurn(Arc<[personium_api::ApiService]>, Arc<AtomicUsize>),
    /// A port of this machine.
    Network(HttpClient),
    /// Ports of this machine by TLS, whose servers have a certificate of one of these roots.
    #[cfg(feature = "tls")]
    Tls(TlsClient, Arc<ClientConfig>),
}

impl Transport {
    /// Returns a transport to ports of this machine, with connections of its own.
    pub(crate) fn network() -> Self {
        Self::Network(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Returns a transport to ports of this machine by TLS, with connections of its own.
    #[cfg(feature = "tls")]
    pub(crate) fn tls(config: Arc<ClientConfig>) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(LoopbackNames);
        tcp.enforce_http(false);
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config((*config).clone())
            .https_only()
            .enable_http1()
            .wrap_connector(tcp);
        Self::Tls(
            Client::builder(TokioExecutor::new()).build(connector),
            config,
        )
    }

    /// Returns the same transport with connections of its own.
    pub(crate) fn reconnect(&self) -> Self {
        match self {
            Self::Network(_) => Self::network(),
            #[cfg(feature = "tls")]
            Self::Tls(_, config) => Self::tls(Arc::clone(config)),
            #[cfg(feature = "api")]
            Self::Memory(_) | Self::InTurn(..) => self.clone(),
        }
    }

    /// Whether requests do not leave the process.
    pub(crate) fn is_in_memory(&self) -> bool {
        match self {
            Self::Network(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(..) => false,
            #[cfg(feature = "api")]
            Self::Memory(_) | Self::InTurn(..) => true,
        }
    }

    /// Sends a request.
    pub(crate) async fn send(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, BoxError> {
        match self {
            #[cfg(feature = "api")]
            Self::Memory(service) => Ok(respond(service, request).await),
            #[cfg(feature = "api")]
            Self::InTurn(services, sent) => {
                let number = sent.fetch_add(1, Ordering::SeqCst) % services.len();
                Ok(respond(&services[number], request).await)
            }
            Self::Network(client) => {
                let response = client.request(request).await?;
                Ok(response.map(boxed))
            }
            #[cfg(feature = "tls")]
            Self::Tls(client, _) => {
                let response = client.request(request).await?;
                Ok(response.map(boxed))
            }
        }
    }
}
