//! Cell-local tokens: readable only by the unit that made them.
//!
//! Text form: the kind's prefix, then base64url without padding of
//! `key id (1 byte) || nonce (12) || ciphertext and tag`. The cipher is AES-256-GCM-SIV (RFC 8452),
//! so even a repeated nonce reveals no more than that two tokens are equal. Keys are derived from
//! the unit secret by HKDF-SHA256 (RFC 5869), one for each purpose. The prefix and the issuer are
//! authenticated along with the content: a token of another cell, or one whose prefix was changed,
//! does not open.

mod claims;
mod cookie;

pub use cookie::TokenCookie;

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, KeyType, Salt};

use crate::at_rest::{BodyKey, KEY_BYTES, TAG_BYTES};
use crate::base64_text::{decode_url, encode_url};
use personium_types::{Random, RandomError};

/// Shortest accepted unit secret, in bytes.
pub const MIN_SECRET_BYTES: usize = 16;
/// Longest token (without its prefix) or cookie that is opened, and the longest that is made, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Key id and nonce, in front of the ciphertext.
const HEADER_BYTES: usize = 1 + NONCE_LEN;

/// What a local token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LocalKind {
    /// `AR~`: access token of an account of the issuing cell.
    ResidentAccess,
    /// `AV~`: access token of a visitor.
    VisitorAccess,
    /// `RR~`: refresh token of an account of the issuing cell.
    ResidentRefresh,
    /// `RV~`: refresh token of a visitor.
    VisitorRefresh,
    /// `GC~`: authorization code.
    GrantCode,
    /// `AU~`: unit user token, valid in this unit only.
    UnitLocal,
    /// `AP~`: good for a change of password only.
    PasswordChange,
}

impl LocalKind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::ResidentAccess,
        Self::VisitorAccess,
        Self::ResidentRefresh,
        Self::VisitorRefresh,
        Self::GrantCode,
        Self::UnitLocal,
        Self::PasswordChange,
    ];

    /// The first three characters of such a token.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::ResidentAccess => "AR~",
            Self::VisitorAccess => "AV~",
            Self::ResidentRefresh => "RR~",
            Self::VisitorRefresh => "RV~",
            Self::GrantCode => "GC~",
            Self::UnitLocal => "AU~",
            Self::PasswordChange => "AP~",
        }
    }

    /// The kind that a text claims to be; `None` if it has none of the prefixes.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| text.starts_with(kind.prefix()))
    }
}

/// Where a visitor's refresh token came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssertionOrigin {
    /// Issuer of the assertion it was given for.
    pub issuer: String,
    /// Id of that assertion.
    pub assertion_id: String,
}

/// What a local token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalToken {
    /// What it is for.
    pub kind: LocalKind,
    /// Milliseconds since the epoch.
    pub issued_at_ms: i64,
    /// Milliseconds.
    pub lifespan_ms: i64,
    /// Account name (AR, RR, GC, AP), subject URL (AV, RV) or owner URL (AU).
    pub subject: String,
    /// URL of the application it was given to.
    pub schema: Option<String>,
    /// Scopes, in order.
    pub scopes: Vec<String>,
    /// URL of the issuing cell; of the unit for AU.
    pub issuer: String,
    /// AV: role instance URLs. RV: role class URLs of the assertion. Otherwise empty.
    pub roles: Vec<String>,
    /// Present in RV, and only there.
    pub origin: Option<AssertionOrigin>,
    /// Further claims by name.
    pub extra: BTreeMap<String, String>,
}

impl LocalToken {
    /// True once `now` (epoch milliseconds) is later than issue time plus lifespan.
    pub fn is_expired_at(&self, now: i64) -> bool {
        now > self.expires_at_ms()
    }

    /// Last valid moment, in epoch milliseconds.
    pub fn expires_at_ms(&self) -> i64 {
        self.issued_at_ms.saturating_add(self.lifespan_ms)
    }

    /// Origin and roles stand where the kind wants them and nowhere else.
    fn fits_its_kind(&self) -> bool {
        let may_have_roles = matches!(
            self.kind,
            LocalKind::VisitorAccess | LocalKind::VisitorRefresh
        );
        (self.kind == LocalKind::VisitorRefresh) == self.origin.is_some()
            && (may_have_roles || self.roles.is_empty())
    }
}

/// Why a text is no usable local token or cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocalError {
    /// Not of the form that this module writes.
    #[error("not a local token")]
    Malformed,
    /// A local token, but of a kind that is not wanted here.
    #[error("a local token of another kind")]
    WrongKind,
    /// It was not made by this unit for this issuer (cookie: host), or it was changed.
    #[error("the token does not authenticate")]
    NotOurs,
}

/// Why no token was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text would be longer than [`MAX_TEXT_BYTES`].
    #[error("too many claims for one token")]
    TooLarge,
    /// Origin or roles given for a kind that has none, or origin missing.
    #[error("the claims do not fit the kind of token")]
    Claims,
    /// No randomness for the nonce.
    #[error("cannot choose a nonce")]
    Random(#[from] RandomError),
}

/// A unit secret that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Fewer than [`MIN_SECRET_BYTES`] bytes.
    #[error("the unit secret is shorter than 16 bytes")]
    TooShort,
    /// Key derivation failed inside the cryptographic library.
    #[error("cannot derive keys from the unit secret")]
    Derivation,
}

/// The keys of a unit's local tokens and cookies, and of what else it locks away. Debug output shows no key.
pub struct LocalKeys {
    current: KeySet,
    previous: Vec<KeySet>,
}

/// Keys derived from one secret.
struct KeySet {
    id: u8,
    tokens: LessSafeKey,
    cookies: LessSafeKey,
    storage: LessSafeKey,
}

/// A request for this many bytes of key material.
struct KeyBytes(usize);

impl KeyType for KeyBytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl KeySet {
    fn derive(secret: &str) -> Result<Self, SecretError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(SecretError::TooShort);
        }
        let prk = Salt::new(HKDF_SHA256, b"personium unit secret").extract(secret.as_bytes());
        let mut id = [0u8; 1];
        expand(&prk, b"key id", &mut id)?;
        Ok(Self {
            id: u8::from_be_bytes(id),
            tokens: cipher(&prk, b"local tokens")?,
            cookies: cipher(&prk, b"cookies")?,
            storage: cipher(&prk, b"storage")?,
        })
    }

    fn cipher(&self, purpose: KeyPurpose) -> &LessSafeKey {
        match purpose {
            KeyPurpose::Token => &self.tokens,
            KeyPurpose::Cookie => &self.cookies,
            KeyPurpose::Storage => &self.storage,
        }
    }
}

fn expand(prk: &hkdf::Prk, purpose: &[u8], out: &mut [u8]) -> Result<(), SecretError> {
    prk.expand(&[purpose], KeyBytes(out.len()))
        .and_then(|okm| okm.fill(out))
        .map_err(|_| SecretError::Derivation)
}

fn cipher(prk: &hkdf::Prk, purpose: &[u8]) -> Result<LessSafeKey, SecretError> {
    let mut key = [0u8; 32];
    expand(prk, purpose, &mut key)?;
    UnboundKey::new(&AES_256_GCM_SIV, &key)
        .map(LessSafeKey::new)
        .map_err(|_| SecretError::Derivation)
}

/// Which of the derived keys.
#[derive(Clone, Copy)]
enum KeyPurpose {
    Token,
    Cookie,
    Storage,
}

/// What authenticates along with a stored body key.
const BODY_KEY_CONTEXT: &[u8] = b"key of file bodies";

impl fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKeys(***)")
    }
}

impl LocalKeys {
    /// Derives the keys from the unit secret, a text of at least [`MIN_SECRET_BYTES`] bytes.
    pub fn new(secret: &str) -> Result<Self, SecretError> {
        Ok(Self {
            current: KeySet::derive(secret)?,
            previous: Vec::new(),
        })
    }

    /// Also opens what was sealed under an earlier secret; nothing is sealed with it any more.
    pub fn with_previous(mut self, secret: &str) -> Result<Self, SecretError> {
        self.previous.push(KeySet::derive(secret)?);
        Ok(self)
    }

    /// The text of a token. Two calls with the same token give different texts.
    pub fn seal(&self, token: &LocalToken, random: &dyn Random) -> Result<String, SealError> {
        if !token.fits_its_kind() {
            return Err(SealError::Claims);
        }
        let prefix = token.kind.prefix();
        let sealed = self.seal_bytes(
            KeyPurpose::Token,
            claims::encode(token),
            &token_context(token.kind, &token.issuer),
            random,
        )?;
        Ok(format!("{prefix}{sealed}"))
    }

    /// Reads a token that this unit sealed for `issuer`. Expired tokens open too: ask
    /// [`LocalToken::expired_at`].
    pub fn open(&self, text: &str, issuer: &str) -> Result<LocalToken, LocalError> {
        let kind = LocalKind::of(text).ok_or(LocalError::Malformed)?;
        let sealed = text
            .strip_prefix(kind.prefix())
            .ok_or(LocalError::Malformed)?;
        let (plain, _) =
            self.open_bytes(KeyPurpose::Token, sealed, &token_context(kind, issuer))?;
        claims::decode(kind, issuer, &plain)
            .filter(LocalToken::fits_its_kind)
            .ok_or(LocalError::Malformed)
    }

    /// As [`LocalKeys::open`], and refuses with [`LocalError::WrongKind`] a token of another kind.
    pub fn open_as(
        &self,
        text: &str,
        issuer: &str,
        kind: LocalKind,
    ) -> Result<LocalToken, LocalError> {
        match LocalKind::of(text) {
            Some(found) if found != kind => Err(LocalError::WrongKind),
            _ => self.open(text, issuer),
        }
    }

    /// The text under which the key of file bodies is stored.
    pub fn seal_body_key(&self, key: &BodyKey, random: &dyn Random) -> Result<String, SealError> {
        let plain = key.as_bytes().to_vec();
        self.seal_bytes(KeyPurpose::Storage, plain, BODY_KEY_CONTEXT, random)
    }

    /// Reads what [`LocalKeys::seal_body_key`] wrote, and tells whether that was under the current secret.
    pub fn open_body_key(&self, text: &str) -> Result<(BodyKey, bool), LocalError> {
        let (plain, is_current) = self.open_bytes(KeyPurpose::Storage, text, BODY_KEY_CONTEXT)?;
        let key: [u8; KEY_BYTES] = plain.try_into().map_err(|_| LocalError::Malformed)?;
        Ok((BodyKey::from_bytes(key), is_current))
    }

    fn seal_bytes(
        &self,
        purpose: KeyPurpose,
        mut plain: Vec<u8>,
        context: &[u8],
        random: &dyn Random,
    ) -> Result<String, SealError> {
        // before encrypting, so that nothing large is worked on in vain
        if plain.len() > MAX_TEXT_BYTES {
            return Err(SealError::TooLarge);
        }
        let mut nonce = [0u8; NONCE_LEN];
        random.fill(&mut nonce)?;
        self.current
            .cipher(purpose)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(context),
                &mut plain,
            )
            .map_err(|_| SealError::TooLarge)?;
        let mut out = Vec::with_capacity(HEADER_BYTES + plain.len());
        out.push(self.current.id);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&plain);
        let text = encode_url(&out);
        if text.len() > MAX_TEXT_BYTES {
            return Err(SealError::TooLarge);
        }
        Ok(text)
    }

    /// The content, and whether it was sealed under the current secret.
    fn open_bytes(
        &self,
        purpose: KeyPurpose,
        sealed: &str,
        context: &[u8],
    ) -> Result<(Vec<u8>, bool), LocalError> {
        if sealed.len() > MAX_TEXT_BYTES {
            return Err(LocalError::Malformed);
        }
        let bytes = decode_url(sealed).ok_or(LocalError::Malformed)?;
        let (id, rest) = bytes.split_first().ok_or(LocalError::Malformed)?;
        let (nonce, body) = rest
            .split_at_checked(NONCE_LEN)
            .ok_or(LocalError::Malformed)?;
        if body.len() < TAG_BYTES {
            return Err(LocalError::Malformed);
        }
        let previous = self.previous.iter().map(|set| (set, false));
        let sets = std::iter::once((&self.current, true)).chain(previous);
        for (set, is_current) in sets.filter(|(set, _)| set.id == *id) {
            let nonce =
                Nonce::try_assume_unique_for_key(nonce).map_err(|_| LocalError::Malformed)?;
            let mut work = body.to_vec();
            let opened =
                set.cipher(purpose)
                    .open_in_place(nonce, Aad::from(context), work.as_mut_slice());
            if let Ok(length) = opened.map(|plain| plain.len()) {
                work.truncate(length);
                return Ok((work, is_current));
            }
        }
        Err(LocalError::NotOurs)
    }
}

/// What is authenticated beside the content. Prefixes have one length, so this is unambiguous.
fn token_context(kind: LocalKind, issuer: &str) -> Vec<u8> {
    [kind.prefix().as_bytes(), issuer.as_bytes()].concat()
}
