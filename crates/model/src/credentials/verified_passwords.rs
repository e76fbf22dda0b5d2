//! A cache of passwords that were verified lately, for clients that send the password with every request.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use moka::sync::Cache;
use personium_token::password::StoredHash;
use personium_types::Random;

/// The time for which a verified password need not be hashed again.
const TTL: Duration = Duration::from_secs(60);
/// The largest number of passwords in the cache.
const CAPACITY: u64 = 10_000;

/// A cache of keyed digests of verified passwords. The key exists in this process only. A digest covers the stored
/// hash, so a new password invalidates the entry of the old one.
pub struct VerifiedPasswordCache {
    /// `None` if the system had no randomness: then nothing is cached.
    key: Option<[u8; 32]>,
    digests: Cache<[u8; 32], ()>,
}

/// The keyed digest of one password of one account.
#[derive(Clone, Copy)]
pub struct PasswordDigest([u8; 32]);

impl VerifiedPasswordCache {
    /// Creates an empty cache with a new key.
    pub(crate) fn new(random: &dyn Random) -> Self {
        let mut key = [0; 32];
        Self {
            key: random.fill(&mut key).is_ok().then_some(key),
            digests: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(TTL)
                .build(),
        }
    }

    /// The digest of a password for an account with this stored hash; `None` if nothing can be cached.
    #[must_use]
    pub fn digest(
        &self,
        account_id: &str,
        stored: &StoredHash,
        password: &str,
    ) -> Option<PasswordDigest> {
        let mut context = Context::new(&SHA256);
        context.update(&self.key?);
        for part in [account_id, &stored.hashed, password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let digest = context.finish();
        digest.as_ref().try_into().ok().map(PasswordDigest)
    }

    /// Whether this password was verified lately.
    #[must_use]
    pub fn contains(&self, digest: PasswordDigest) -> bool {
        self.digests.contains_key(&digest.0)
    }

    /// Adds a password that was verified.
    pub fn insert(&self, digest: PasswordDigest) {
        self.digests.insert(digest.0, ());
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "a test may use the real randomness"
)]
mod tests {
    use personium_types::SystemRandom;

    use super::*;

    #[test]
    fn verified_password_is_found_only_for_same_account_hash_and_password() {
        let cache = VerifiedPasswordCache::new(&SystemRandom::new());
        let stored = |hashed: &str| StoredHash {
            hashed: hashed.to_owned(),
            algorithm: None,
            attributes: None,
        };
        let digest = |id: &str, hash: &str, password: &str| {
            cache.digest(id, &stored(hash), password).unwrap()
        };
        cache.insert(digest("a", "h", "p"));
        assert!(cache.contains(digest("a", "h", "p")));
        for (id, hash, password) in [
            ("b", "h", "p"),
            ("a", "i", "p"),
            ("a", "h", "q"),
            ("ah", "", "p"),
        ] {
            assert!(!cache.contains(digest(id, hash, password)));
        }
        assert!(!VerifiedPasswordCache::new(&SystemRandom::new()).contains(digest("a", "h", "p")));
    }
}
