//! Tests of the public API of this crate.
#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and randomness"
)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod forge;
mod jwt;
mod local;
mod password;
mod role_url;
mod saml;
mod support;
mod trust;
mod wrapping;
mod xmlsec;
