//! The value of the cookie that carries an access token for a browser.
//!
//! It holds the token and a peer id that the script must repeat in each URL. The host name (without
//! port, ASCII case ignored) is authenticated: a cookie of one host does not open at another.

use personium_types::Random;
use subtle::ConstantTimeEq;

use super::claims::{ClaimsReader, ClaimsWriter};
use super::{KeyPurpose, LocalError, LocalKeys, SealError};

/// Changes when the layout does.
const VERSION: u8 = 1;

/// What a cookie holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenCookie {
    /// The id that the browser's script has to know (a UUID).
    pub peer: String,
    /// The access token.
    pub token: String,
}

impl TokenCookie {
    /// Compares the peer id with the one a request gave, in constant time.
    pub fn has_peer(&self, given: &str) -> bool {
        self.peer.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl LocalKeys {
    /// The cookie value for `host`, base64url without padding.
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

    /// Reads a cookie value that this unit made for `host`. The token inside is not looked at.
    pub fn open_cookie(&self, value: &str, host: &str) -> Result<TokenCookie, LocalError> {
        let (plain, _) = self.open_bytes(KeyPurpose::Cookie, value, &host_context(host))?;
        decode(&plain).ok_or(LocalError::Malformed)
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
