//! Token formats and their cryptography.
//!
//! All functions depend on their arguments only: keys, the time (`i64`, milliseconds since 1970-01-01 UTC) and randomness
//! ([`Random`](personium_types::Random)) are parameters. This crate does no I/O and knows neither how HTTP is sent nor error codes.
//! Each module has its own error type.
//!
//! | Module | Content |
//! |---|---|
//! | [`local`] | encrypted tokens and cookies, which only their unit can read |
//! | [`saml`] | trans-cell tokens: signed SAML 2.0 assertions |
//! | [`trust`] | key and certificate of the unit, trusted root certificates |
//! | [`jwt`] | signing keys of cells, JSON Web Signatures, ID tokens of OpenID providers |
//! | [`http_signature`] | signatures of HTTP requests with the keys of cells |
//! | [`password`] | stored password hashes |
//! | [`at_rest`] | encryption of file bodies |
//! | [`role_url`] | URLs of roles |

pub mod at_rest;
mod base64_text;
pub mod http_signature;
pub mod jwt;
pub mod local;
pub mod password;
pub mod role_url;
pub mod saml;
pub mod trust;
