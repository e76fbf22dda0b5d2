//! Settings of logins and of token introspection.

use personium_types::Secret;

use super::section::section;
use super::value_parser::{Number, Optional, SecretText, Text};

section! {
    /// Settings of logins.
    LoginConfig "Logins" {
        /// The number of consecutive failed logins after which an account is locked; 0 turns locking off. The failures of
        /// each address that the account has logged in from lately are counted for that address, those of all other
        /// addresses together, so that strangers lock nobody out who comes from a known address.
        lock_after_failures: u64 = "authn.account.lockCount", "0", Number(0..=100);
        /// The number of seconds for which an account is locked; 0 turns locking off.
        lock_secs: u64 = "authn.account.lockTime", "0", Number(0..=2_592_000);
        /// The number of seconds for which an account refuses logins from an address after a failed one from there.
        retry_after_secs: u64 = "authn.account.validAuthnInterval", "1", Number(0..=86400);
        /// The number of logins from one client address that may fail in a burst, over all accounts and cells, and of those
        /// to one account, over all addresses that it has not logged in from lately; 0 turns the limit off. The client
        /// address is the last one in X-Forwarded-For that is no trusted proxy. Each process counts separately.
        rate_limit_burst: u64 = "authn.rateLimit.burst", "200", Number(0..=1_000_000);
        /// The number of these logins that may fail in each minute after a burst.
        rate_limit_per_minute: u64 = "authn.rateLimit.perMinute", "60", Number(1..=60_000);
    }
}

section! {
    /// The credential with which a service may introspect the tokens of every cell.
    IntrospectionConfig "Introspection" {
        /// The user name; by default, there is no such credential.
        username: Option<String> = "introspect.username", "", Optional(Text);
        /// The password.
        password: Option<Secret<String>> = "introspect.password", "", Optional(SecretText { min_bytes: 1 });
    }
}
