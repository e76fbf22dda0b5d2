//! What failed logins lead to.

use super::rule::Number;
use super::section::section;

section! {
    /// What failed logins lead to.
    Authentication "Logins" {
        /// Failed logins in a row before an account is locked; 0 locks none.
        lock_count: u64 = "authn.account.lockCount", "0", Number(0..=100);
        /// Seconds that a lock lasts; 0 locks none.
        lock_seconds: u64 = "authn.account.lockTime", "0", Number(0..=2_592_000);
        /// Seconds that must pass after a failed login before the next is looked at.
        interval_seconds: u64 = "authn.account.validAuthnInterval", "1", Number(0..=86400);
        /// Logins that may fail at once from one address, whatever the accounts and cells; 0 is any number. The address
        /// is the first in X-Forwarded-For, so a proxy in front must set that header itself. Each process counts alone.
        address_burst: u64 = "authn.address.burst", "200", Number(0..=1_000_000);
        /// Logins a minute that may fail from one address after that.
        address_per_minute: u64 = "authn.address.perMinute", "60", Number(1..=60_000);
    }
}
