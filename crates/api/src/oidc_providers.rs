//! The issuers and keys of OpenID providers, fetched when they are needed and cached.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use personium_token::jwt::JwkSet;
use personium_types::{Code, Error, Result};
use serde::Deserialize;

use crate::body::BoxError;
use crate::http_client::{HttpClient, UrlTrust};

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
    /// Serializes fetches, so that many logins at once cause one request to a provider.
    fetching: tokio::sync::Mutex<()>,
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
    /// [`Code::PluginFailed`] if its documents cannot be fetched.
    pub async fn get(
        &self,
        http_client: &HttpClient,
        url: &str,
        now: Instant,
    ) -> Result<Arc<CachedProvider>> {
        self.get_not_older_than(http_client, url, now, DISCOVERY_TTL)
            .await
    }

    /// The same, fetched again unless that was done a short time ago.
    ///
    /// # Errors
    /// As [`OidcProviders::get`].
    pub async fn refetch(
        &self,
        http_client: &HttpClient,
        url: &str,
        now: Instant,
    ) -> Result<Arc<CachedProvider>> {
        self.get_not_older_than(http_client, url, now, JWKS_REFETCH_COOLDOWN)
            .await
    }

    async fn get_not_older_than(
        &self,
        http_client: &HttpClient,
        url: &str,
        now: Instant,
        max_age: Duration,
    ) -> Result<Arc<CachedProvider>> {
        let cached = || {
            let cached = self.cached.lock().get(url).cloned();
            cached.filter(|p| now.saturating_duration_since(p.fetched_at) <= max_age)
        };
        if let Some(provider) = cached() {
            return Ok(provider);
        }
        let _fetching = self.fetching.lock().await;
        if let Some(provider) = cached() {
            return Ok(provider);
        }
        let provider = Arc::new(fetch(http_client, url, now).await?);
        let mut cached = self.cached.lock();
        cached.insert(url.to_owned(), Arc::clone(&provider));
        Ok(provider)
    }
}

async fn fetch(http_client: &HttpClient, url: &str, now: Instant) -> Result<CachedProvider> {
    let discovery: DiscoveryDocument =
        serde_json::from_slice(&fetch_document(http_client, url).await?)
            .map_err(|e| failed(e.into()))?;
    // Keys without TLS could be replaced on the way.
    if url.starts_with("https:") && !discovery.jwks_uri.starts_with("https:") {
        return Err(failed("the keys are not served over TLS".into()));
    }
    let keys = fetch_document(http_client, &discovery.jwks_uri).await?;
    let keys = String::from_utf8_lossy(&keys);
    Ok(CachedProvider {
        issuer: discovery.issuer,
        keys: JwkSet::from_json(&keys).map_err(|e| failed(e.into()))?,
        fetched_at: now,
    })
}

async fn fetch_document(http_client: &HttpClient, url: &str) -> Result<Bytes> {
    let trust = UrlTrust::Operator;
    let fetched = http_client.get(url, "application/json", trust, MAX_DOCUMENT_BYTES);
    let fetched = fetched.await.map_err(|e| failed(e.into()))?;
    if fetched.status != StatusCode::OK {
        return Err(failed(format!("status {}", fetched.status).into()));
    }
    Ok(fetched.body)
}

fn failed(source: BoxError) -> Error {
    Error::new(Code::PluginFailed).with_source(source)
}
