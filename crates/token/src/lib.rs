//! Token formats: what a unit and its cells sign, seal, hash and check.
//!
//! Everything here is a function of its arguments: keys, the time (`i64`, milliseconds since the
//! epoch) and randomness ([`Random`](personium_types::Random)) come in from outside. No I/O, no HTTP, no wire codes;
//! each module has a small error enum that its caller turns into an answer.
//!
//! | Module | Holds |
//! |---|---|
//! | [`local`] | tokens and cookies that only the unit that made them can read |
//! | [`saml`] | trans-cell tokens: signed SAML 2.0 assertions that other units read |
//! | [`trust`] | the unit's key and certificate, the roots it trusts |
//! | [`jwt`] | per-cell signing keys, JWS, checking of outside ID tokens |
//! | [`password`] | stored password hashes |
//! | [`at_rest`] | file bodies that are stored encrypted |
//! | [`role_url`] | URLs that name roles |

pub mod at_rest;
mod base64_text;
pub mod hex;
pub mod jwt;
pub mod local;
pub mod password;
pub mod role_url;
pub mod saml;
pub mod trust;
