//! The value of the cookie that contains the access token of a browser.
//!
//! It contains the token and a peer id, which the script repeats in each URL. The host name (without port, in any letter
//! case) is authenticated: a cookie of one host cannot be opened for another.

use personium_types::Random;
use subtle::ConstantTimeEq;

use super::claims::{ClaimsReader, ClaimsWriter};
use super::{KeyPurpose, LocalError, LocalKeys, SealError};

/// The version of the layout.
const VERSION: u8 = 1;

/// The content of a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCookie {
    /// The peer id, a UUID that the script in the browser knows.
    pub peer: String,
    /// The access token.
    pub token: String,
}

impl TokenCookie {
    /// Whether `given` is the peer id. The comparison takes constant time.
    pub fn has_peer(&self, given: &str) -> bool {
        self.peer.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl LocalKeys {
    /// Encrypts a cookie for `host`. The value is base64url without padding.
    ///
    /// # Errors
    /// [`SealError::TooLarge`], [`SealError::Random`].
    pub fn seal_cookie(
        &self,
        host: &str,
        cookie: &TokenCookie,
        random: &dyn Random,
    ) -> Result<String, SealError> {
        let mut plain = ClaimsWriter(vec![VERSION]);
        plain.text(&cookie.peer);
        plain.text(&cookie.token);
        self.seal_bytes(KeyPurpose::Cookie, plain.0, &host_context(host), random)
    }

    /// Decrypts a cookie value of this unit for `host`. The token in it is not verified.
    ///
    /// # Errors
    /// [`LocalError::Malformed`], [`LocalError::NotOurs`].
    pub fn open_cookie(&self, value: &str, host: &str) -> Result<TokenCookie, LocalError> {
        let opened = self.open_bytes(KeyPurpose::Cookie, value, &host_context(host))?;
        decode(&opened.plain).ok_or(LocalError::Malformed)
    }
}

fn decode(plain: &[u8]) -> Option<TokenCookie> {
    let mut from = ClaimsReader(plain);
    if from.byte()? != VERSION {
        return None;
    }
    let cookie = TokenCookie {
        peer: from.text()?,
        token: from.text()?,
    };
    from.0.is_empty().then_some(cookie)
}

fn host_context(host: &str) -> Vec<u8> {
    host.to_ascii_lowercase().into_bytes()
}
