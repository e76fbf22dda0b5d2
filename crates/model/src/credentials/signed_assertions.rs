//! A cache of trans-cell tokens that were signed lately, for requests that a cell sends again and again.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use moka::sync::Cache;
use personium_token::saml::TransCellToken;

use super::unit_keys::UnitCertificates;

/// The time for which a token is sent again: a small part of its lifespan.
const TTL: Duration = Duration::from_secs(60);
/// A token that lives less long than this is not kept: too little of its life would be left.
const LIFESPAN_MIN_MS: i64 = 10 * 60 * 1_000;
/// The largest size of all texts in the cache in bytes.
const CAPACITY_BYTES: u64 = 8 << 20;
/// The largest text that is kept, in bytes.
const TEXT_MAX_BYTES: usize = 64 << 10;

/// The texts of tokens by what they say, but for their ids and times.
#[derive(Debug)]
pub(crate) struct SignedAssertionCache(Cache<[u8; 32], Arc<SignedAssertion>>);

/// The text of a token.
#[derive(Debug)]
struct SignedAssertion {
    text: String,
    /// The certificates of the unit with whose key it was signed.
    signed_with: Arc<UnitCertificates>,
}

impl Default for SignedAssertionCache {
    fn default() -> Self {
        let bytes = |_: &[u8; 32], kept: &Arc<SignedAssertion>| {
            kept.text.len().try_into().unwrap_or(u32::MAX)
        };
        Self(
            Cache::builder()
                .weigher(bytes)
                .max_capacity(CAPACITY_BYTES)
                .time_to_live(TTL)
                .build(),
        )
    }
}

impl SignedAssertionCache {
    /// A token that says the same as this one but for id and times, was signed by the same key, and has most of its life before it. `sign`
    /// signs this one if there is none.
    ///
    /// # Errors
    /// As `sign`.
    pub(crate) fn get_or_sign<E>(
        &self,
        token: &TransCellToken,
        certificates: &Arc<UnitCertificates>,
        sign: impl FnOnce() -> Result<String, E>,
    ) -> Result<String, E> {
        let Some(key) = key_of(token).filter(|_| token.lifespan_ms >= LIFESPAN_MIN_MS) else {
            return sign();
        };
        let found = self.0.get(&key);
        if let Some(found) = found.filter(|it| Arc::ptr_eq(&it.signed_with, certificates)) {
            return Ok(found.text.clone());
        }
        let text = sign()?;
        if text.len() <= TEXT_MAX_BYTES {
            let signed = SignedAssertion {
                text: text.clone(),
                signed_with: Arc::clone(certificates),
            };
            self.0.insert(key, Arc::new(signed));
        }
        Ok(text)
    }
}

/// The digest of everything that a token says, but for its id and its times.
fn key_of(token: &TransCellToken) -> Option<[u8; 32]> {
    let TransCellToken {
        id: _,
        issued_at_ms: _,
        lifespan_ms,
        issuer,
        subject,
        target,
        schema,
        roles,
        scopes,
    } = token;
    let mut context = Context::new(&SHA256);
    let mut add = |part: &[u8]| {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    };
    add(&lifespan_ms.to_be_bytes());
    for part in [issuer, subject, target] {
        add(part.as_bytes());
    }
    // An empty schema and none are written in the same way.
    add(schema.as_deref().unwrap_or_default().as_bytes());
    for list in [roles, scopes] {
        add(&(list.len() as u64).to_be_bytes());
        list.iter().for_each(|part| add(part.as_bytes()));
    }
    context.finish().as_ref().try_into().ok()
}

#[cfg(test)]
mod tests;
