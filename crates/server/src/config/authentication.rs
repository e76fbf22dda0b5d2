//! Locking of accounts after failed logins.

use super::rule::Number;
use super::section::section;

section! {
    /// Locking of accounts after failed logins.
    Authentication "Logins" {
        /// Failed logins in a row before an account is locked; 0 locks none.
        lock_count: u64 = "authn.account.lockCount", "0", Number(0..=100);
        /// Seconds that a lock lasts; 0 locks none.
        lock_seconds: u64 = "authn.account.lockTime", "0", Number(0..=2_592_000);
        /// Seconds that must pass after a failed login before the next is looked at.
        interval_seconds: u64 = "authn.account.validAuthnInterval", "1", Number(0..=86400);
    }
}
