//! Secrets and the state of checking credentials: keys, trusted certificates, password hashing and login limits.
//!
//! These types know neither cells nor requests; the [`crate::Unit`] owns one of each. The rules that use them are in
//! [`crate::auth`].
//!
//! | Module | Content |
//! |---|---|
//! | [`unit_keys`] | secrets of the unit and the certificates that it trusts |
//! | [`password_rule`] | the format of passwords |
//! | [`hashing`] | a thread pool for password hashing, fair to each cell |
//! | [`verified_passwords`] | a cache of passwords that were verified lately |
//! | `signed_assertions` | a cache of trans-cell tokens that were signed lately |
//! | [`login_rate_limiter`] | limits failed logins per client address and per account |
//! | [`account_locks`] | one lock per account, for logins that must not run at once |
//! | [`failure_ages`] | the ages of failed logins whose time lies in the future |
//! | `body_key` | the key of file bodies |
//! | [`client_id`] | ids of OAuth clients in tokens |

pub mod account_locks;
mod body_key;
pub mod client_id;
pub mod failure_ages;
pub mod hashing;
pub mod login_rate_limiter;
pub mod password_rule;
mod signed_assertions;
pub mod unit_keys;
pub mod verified_passwords;

use std::sync::Arc;
use std::time::Instant;

use personium_types::Random;

use self::account_locks::AccountLocks;
use self::body_key::UnitBodyKey;
use self::failure_ages::FailureAges;
use self::hashing::HashPool;
pub use self::login_rate_limiter::LoginRateLimit;
use self::login_rate_limiter::LoginRateLimiter;
pub use self::password_rule::PasswordRule;
use self::signed_assertions::SignedAssertionCache;
pub use self::unit_keys::{UnitCertificates, UnitKeys};
use self::verified_passwords::VerifiedPasswordCache;

/// The secrets of a unit and its state of checking credentials.
pub struct Credentials {
    /// The secrets of the unit and the certificates that it trusts.
    pub keys: Arc<UnitKeys>,
    /// The threads that hash passwords.
    pub hashing: HashPool,
    pub(crate) account_locks: AccountLocks,
    pub(crate) failure_ages: FailureAges,
    pub(crate) login_rate_limiter: LoginRateLimiter,
    pub(crate) verified_passwords: VerifiedPasswordCache,
    pub(crate) signed_assertions: SignedAssertionCache,
    pub(crate) body_key: UnitBodyKey,
}

impl Credentials {
    /// `hash_threads` is the number of threads that hash passwords; `None` is all cores but one. `start` is the present time.
    pub(crate) fn new(
        keys: Arc<UnitKeys>,
        hash_threads: Option<usize>,
        (login_rate_limit, start): (&LoginRateLimit, Instant),
        random: &dyn Random,
    ) -> Self {
        Self {
            keys,
            hashing: HashPool::new(hash_threads.unwrap_or_else(HashPool::default_threads)),
            account_locks: AccountLocks::default(),
            failure_ages: FailureAges::default(),
            login_rate_limiter: LoginRateLimiter::new(login_rate_limit, start),
            verified_passwords: VerifiedPasswordCache::new(random),
            signed_assertions: SignedAssertionCache::default(),
            body_key: UnitBodyKey::default(),
        }
    }
}
