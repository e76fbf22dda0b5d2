//! The part of the unit that authentication plugins use.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use personium_model::{Settings, Unit};
use personium_plugin::{BoxError, PluginHost};
use personium_types::{Clock, Random};

use crate::carried_chain::CarriedChain;
use crate::http_client::{FetchLimit, FetchedResponse, HttpClient, NetworkClient, UrlTrust};

/// The host of the plugins for one token request.
pub(crate) struct RequestHost<'a> {
    /// The unit.
    pub(crate) unit: &'a Unit,
    /// The client for requests that the token request causes.
    pub(crate) http_client: &'a HttpClient,
    /// The chain of rules that led to it.
    pub(crate) chain: &'a CarriedChain,
}

#[async_trait]
impl PluginHost for RequestHost<'_> {
    async fn send(
        &self,
        mut request: Request<Bytes>,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, BoxError> {
        let is_own = self.http_client.serves(&request.uri().to_string());
        self.chain.put_into(request.headers_mut(), is_own);
        let sending = self
            .http_client
            .send(request, UrlTrust::Operator, max_bytes);
        Ok(response(sending.await?))
    }

    fn now_ms(&self) -> i64 {
        self.unit.now_ms()
    }

    fn monotonic(&self) -> Instant {
        self.unit.monotonic()
    }

    fn new_id(&self) -> String {
        self.unit.random().uuid().simple().to_string()
    }

    fn fill_random(&self, out: &mut [u8]) -> Result<(), BoxError> {
        Ok(self.unit.random().fill(out)?)
    }
}

/// The host of plugins that are tried without a unit that runs. All requests go over the network.
pub struct NetworkPluginHost {
    network: NetworkClient,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl NetworkPluginHost {
    /// A host that uses the proxy of the settings, if any.
    #[must_use]
    pub fn new(settings: &Settings, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            network: NetworkClient::new(settings),
            clock,
            random,
        }
    }
}

#[async_trait]
impl PluginHost for NetworkPluginHost {
    async fn send(
        &self,
        request: Request<Bytes>,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, BoxError> {
        let limit = FetchLimit {
            max_bytes,
            memory: None,
        };
        let sending = self.network.send(request, UrlTrust::Operator, limit);
        Ok(response(sending.await?))
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn monotonic(&self) -> Instant {
        self.clock.monotonic()
    }

    fn new_id(&self) -> String {
        self.random.uuid().simple().to_string()
    }

    fn fill_random(&self, out: &mut [u8]) -> Result<(), BoxError> {
        Ok(self.random.fill(out)?)
    }
}

fn response(fetched: FetchedResponse) -> Response<Bytes> {
    let mut response = Response::new(fetched.body);
    *response.status_mut() = fetched.status;
    *response.headers_mut() = fetched.headers;
    response
}
