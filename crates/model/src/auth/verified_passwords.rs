//! Passwords that were found right a moment ago, for clients that send them with every request.

use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use moka::sync::Cache;
use personium_token::password::StoredHash;
use personium_token::random::{Random, SystemRandom};

/// How long a password needs not be hashed again.
const TTL: Duration = Duration::from_secs(60);
/// Passwords that are remembered at most.
const CAPACITY: u64 = 10_000;

/// Remembers digests of right passwords under a key of this process; a new password makes the old digest useless.
pub struct VerifiedPasswordCache {
    /// `None` where there was no randomness: then nothing is remembered.
    key: Option<[u8; 32]>,
    digests: Cache<[u8; 32], ()>,
}

/// What stands for one password of one account.
#[derive(Clone, Copy)]
pub struct PasswordDigest([u8; 32]);

impl Default for VerifiedPasswordCache {
    fn default() -> Self {
        let mut key = [0; 32];
        Self {
            key: SystemRandom.fill(&mut key).is_ok().then_some(key),
            digests: Cache::builder()
                .max_capacity(CAPACITY)
                .time_to_live(TTL)
                .build(),
        }
    }
}

impl VerifiedPasswordCache {
    /// The mark of a password for what an account has stored; `None` if nothing can be remembered.
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

    /// Whether this password was right a moment ago.
    #[must_use]
    pub fn contains(&self, mark: PasswordDigest) -> bool {
        self.digests.contains_key(&mark.0)
    }

    /// Remembers that this password is right.
    pub fn insert(&self, mark: PasswordDigest) {
        self.digests.insert(mark.0, ());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_password_of_the_very_hash_is_known() {
        let proven = VerifiedPasswordCache::default();
        let stored = |hashed: &str| StoredHash {
            hashed: hashed.to_owned(),
            algorithm: None,
            attributes: None,
        };
        let mark = |id: &str, hash: &str, password: &str| {
            proven.digest(id, &stored(hash), password).unwrap()
        };
        proven.insert(mark("a", "h", "p"));
        assert!(proven.contains(mark("a", "h", "p")));
        for (id, hash, password) in [
            ("b", "h", "p"),
            ("a", "i", "p"),
            ("a", "h", "q"),
            ("ah", "", "p"),
        ] {
            assert!(!proven.contains(mark(id, hash, password)));
        }
        assert!(!VerifiedPasswordCache::default().contains(mark("a", "h", "p")));
    }
}
