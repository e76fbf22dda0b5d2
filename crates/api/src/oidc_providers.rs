//! The issuers and keys of OpenID providers, fetched when they are needed and cached.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use parking_lot::Mutex;
use personium_plugin::{BoxError, PluginHost};
use personium_token::jwt::JwkSet;
use serde::Deserialize;

/// The largest discovery document or key set in bytes.
const MAX_DOCUMENT_BYTES: usize = 1 << 20;
/// The time for which a discovery document and its keys are cached.
const DISCOVERY_TTL: Duration = Duration::from_secs(60 * 60);
/// The least time between two fetches of the keys of a provider because a token names an unknown one.
const JWKS_REFETCH_COOLDOWN: Duration = Duration::from_secs(30);

/// A cache of OpenID providers by the URL of their discovery document.
#[derive(Default)]
pub struct OidcProviders {
    cached: Mutex<HashMap<String, Arc<CachedProvider>>>,
    /// Serializes the fetches of each provider, so that many logins at once cause one request to it. A provider that does not answer holds
    /// up nobody who logs in by another one.
    fetching: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// The issuer and the keys of a provider.
pub struct CachedProvider {
    /// The issuer of its tokens.
    pub issuer: String,
    /// The keys of its tokens.
    pub keys: JwkSet,
    fetched_at: Instant,
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    jwks_uri: String,
}

impl OidcProviders {
    /// The provider with a discovery document at this URL.
    ///
    /// # Errors
    /// An error if its documents cannot be fetched.
    pub async fn get(
        &self,
        host: &dyn PluginHost,
        url: &str,
    ) -> Result<Arc<CachedProvider>, BoxError> {
        self.get_not_older_than(host, url, DISCOVERY_TTL).await
    }

    /// The same, fetched again unless that was done a short time ago.
    ///
    /// # Errors
    /// As [`OidcProviders::get`].
    pub async fn refetch(
        &self,
        host: &dyn PluginHost,
        url: &str,
    ) -> Result<Arc<CachedProvider>, BoxError> {
        self.get_not_older_than(host, url, JWKS_REFETCH_COOLDOWN)
            .await
    }

    async fn get_not_older_than(
        &self,
        host: &dyn PluginHost,
        url: &str,
        max_age: Duration,
    ) -> Result<Arc<CachedProvider>, BoxError> {
        let now = host.monotonic();
        let cached = || {
            let cached = self.cached.lock().get(url).cloned();
            cached.filter(|p| now.saturating_duration_since(p.fetched_at) <= max_age)
        };
        if let Some(provider) = cached() {
            return Ok(provider);
        }
        let fetching = Arc::clone(self.fetching.lock().entry(url.to_owned()).or_default());
        let _fetching = fetching.lock().await;
        if let Some(provider) = cached() {
            return Ok(provider);
        }
        let provider = Arc::new(fetch(host, url, now).await?);
        let mut cached = self.cached.lock();
        cached.insert(url.to_owned(), Arc::clone(&provider));
        Ok(provider)
    }
}

async fn fetch(host: &dyn PluginHost, url: &str, now: Instant) -> Result<CachedProvider, BoxError> {
    let discovery: DiscoveryDocument = serde_json::from_slice(&fetch_document(host, url).await?)?;
    // Keys without TLS could be replaced on the way.
    if url.starts_with("https:") && !discovery.jwks_uri.starts_with("https:") {
        return Err("the keys are not served over TLS".into());
    }
    let keys = fetch_document(host, &discovery.jwks_uri).await?;
    let keys = String::from_utf8_lossy(&keys);
    Ok(CachedProvider {
        issuer: discovery.issuer,
        keys: JwkSet::from_json(&keys)?,
        fetched_at: now,
    })
}

async fn fetch_document(host: &dyn PluginHost, url: &str) -> Result<Bytes, BoxError> {
    let request = Request::get(url).header(header::ACCEPT, "application/json");
    let request = request.body(Bytes::new())?;
    let fetched = host.send(request, MAX_DOCUMENT_BYTES).await?;
    if fetched.status() != StatusCode::OK {
        return Err(format!("status {}", fetched.status()).into());
    }
    Ok(fetched.into_body())
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test may use the real clock")]
mod tests {
    use std::pin::pin;

    use async_trait::async_trait;
    use http::Response;
    use personium_types::{Clock, SystemClock};
    use tokio::time::timeout;

    use super::*;

    /// A network in which one of two providers never answers.
    struct TwoProviders(SystemClock);

    #[async_trait]
    impl PluginHost for TwoProviders {
        async fn send(
            &self,
            request: Request<Bytes>,
            _: usize,
        ) -> Result<Response<Bytes>, BoxError> {
            let body: &[u8] = match request.uri().path() {
                "/silent" => std::future::pending().await,
                "/keys" => br#"{"keys":[]}"#,
                _ => br#"{"issuer":"quick","jwks_uri":"https://op.example/keys"}"#,
            };
            Ok(Response::new(Bytes::from_static(body)))
        }

        fn now_ms(&self) -> i64 {
            self.0.now_ms()
        }

        fn monotonic(&self) -> Instant {
            self.0.monotonic()
        }

        fn new_id(&self) -> String {
            String::new()
        }

        fn fill_random(&self, _: &mut [u8]) -> Result<(), BoxError> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn provider_that_does_not_answer_holds_up_no_other() {
        let (providers, host) = (OidcProviders::default(), TwoProviders(SystemClock::new()));
        let mut silent = pin!(providers.get(&host, "https://op.example/silent"));
        let waited = timeout(Duration::from_secs(1), silent.as_mut()).await;
        assert!(waited.is_err());
        let quick = providers.get(&host, "https://op.example/quick");
        let quick = timeout(Duration::from_secs(1), quick).await;
        assert_eq!(quick.unwrap().unwrap().issuer, "quick");
    }
}
