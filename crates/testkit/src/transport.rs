//! Delivery of requests to a unit, in memory or over the network.

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

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

/// Sends requests over connections that are kept open.
type HttpClient = Client<HttpConnector, Body>;

/// How requests reach a unit.
#[derive(Clone)]
pub(crate) enum Transport {
    /// A service in memory.
    #[cfg(feature = "api")]
    Memory(personium_api::ApiService),
    /// A port of this machine.
    Network(HttpClient),
}

impl Transport {
    /// Returns a transport to ports of this machine, with connections of its own.
    pub(crate) fn network() -> Self {
        Self::Network(Client::builder(TokioExecutor::new()).build_http())
    }

    /// Whether requests do not leave the process.
    pub(crate) fn is_in_memory(&self) -> bool {
        !matches!(self, Self::Network(_))
    }

    /// Sends a request.
    pub(crate) async fn send(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, BoxError> {
        match self {
            #[cfg(feature = "api")]
            Self::Memory(service) => {
                // Boxed, because tests with many requests would need a larger stack.
                Ok(Box::pin(service.handle(request, None)).await)
            }
            Self::Network(client) => {
                let response = client.request(request).await?;
                Ok(response.map(boxed))
            }
        }
    }
}
