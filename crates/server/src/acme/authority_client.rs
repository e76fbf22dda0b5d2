//! Requests to the authority: over TLS only, with limits on time and size, and without redirects.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::{BodyExt, Full};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};

use super::{AcmeError, AcmeSettings};
use crate::outside::{OutsideClient, OutsideRequest, OutsideResponse};

/// The longest time that an authority may ask to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);

/// A client of one authority.
#[derive(Clone)]
pub(super) struct AuthorityClient {
    client: Arc<OutsideClient>,
    /// The seconds that the authority has asked to wait with a refusal.
    retry_after_secs: Arc<AtomicU64>,
}

impl AuthorityClient {
    /// # Errors
    /// [`AcmeError::Authority`] if the file of roots cannot be used.
    pub(super) fn new(
        settings: &AcmeSettings,
        retry_after_secs: Arc<AtomicU64>,
    ) -> Result<Self, AcmeError> {
        let client = OutsideClient::with_roots(settings.root.as_deref());
        Ok(Self {
            client: Arc::new(client.map_err(AcmeError::Authority)?),
            retry_after_secs,
        })
    }

    pub(super) fn boxed(&self) -> Box<dyn HttpClient> {
        Box::new(self.clone())
    }

    async fn exchange(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (head, body) = request.into_parts();
        let url = head.uri.to_string();
        if head.uri.scheme_str() != Some("https") {
            return Err(Error::Other(format!("{url} is no URL with https").into()));
        }
        let Ok(body) = body.collect().await;
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let headers = head.headers.iter();
        let request = OutsideRequest {
            method: head.method,
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned().into(), text(value)))
                .collect(),
            body: body.to_bytes().into(),
            url: url.clone(),
        };
        let response = self.client.send(request).await;
        let response = response.map_err(|error| Error::Other(format!("{url}: {error}").into()))?;
        self.note_retry_after(&response);
        let is_problem = !(200..300).contains(&response.status)
            && serde_json::from_slice::<serde_json::Value>(&response.body).is_err();
        if is_problem {
            let (status, shown) = (response.status, response.shown());
            return Err(Error::Other(
                format!("{url} answers {status}: {shown}").into(),
            ));
        }
        let mut built = Response::new(Full::new(response.body));
        *built.status_mut() = http::StatusCode::from_u16(response.status)
            .map_err(|error| Error::Other(error.into()))?;
        *built.headers_mut() = response.headers;
        Ok(BytesResponse::from(built))
    }

    /// Remembers how long a refusal says to wait.
    fn note_retry_after(&self, response: &OutsideResponse) {
        if response.status < 400 {
            return;
        }
        let value = response.headers.get(header::RETRY_AFTER);
        let secs = value.and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
        if let Some(secs) = secs {
            let secs = secs.min(MAX_RETRY_AFTER.as_secs());
            self.retry_after_secs.fetch_max(secs, Ordering::Relaxed);
        }
    }
}

impl HttpClient for AuthorityClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        Box::pin(self.clone().exchange(request))
    }
}
