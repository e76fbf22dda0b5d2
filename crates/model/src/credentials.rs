//! What the unit checks credentials with: secrets, trusted certificates, password hashing and login limits.
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
//! | [`login_rate_limiter`] | limits failed logins per client address |
//! | [`account_locks`] | one lock per account, for logins that must not run at once |
//! | [`client_id`] | ids of OAuth clients in tokens |

pub mod account_locks;
pub mod client_id;
pub mod hashing;
pub mod login_rate_limiter;
pub mod password_rule;
pub mod unit_keys;
pub mod verified_passwords;

pub use login_rate_limiter::LoginRateLimit;
pub use password_rule::PasswordRule;
pub use unit_keys::UnitKeys;
