//! Local tokens: encrypted tokens that only their unit can read.
//!
//! The text form is the prefix of the kind, then base64url without padding of
//! `key id (1 byte) || nonce (12) || ciphertext and tag`. The cipher is AES-256-GCM-SIV (RFC 8452): a repeated nonce
//! reveals only that two tokens are equal. The keys are derived from the unit secret with HKDF-SHA256 (RFC 5869), one for
//! each purpose. Prefix and issuer are additional authenticated data: a token of another cell, or with another prefix,
//! cannot be opened.

mod claims;
mod cookie;
mod error;
mod token;

pub use cookie::TokenCookie;
pub use error::{LocalError, SealError, SecretError};
pub use token::{AssertionOrigin, LocalKind, LocalToken};

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{self, HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::hmac;

use crate::at_rest::{BodyKey, KEY_BYTES, TAG_BYTES};
use crate::base64_text::{decode_url, encode_url};
use personium_types::{Random, hex};

/// The minimum length of the unit secret in bytes.
pub const MIN_SECRET_BYTES: usize = 16;
/// The maximum length in bytes of a token without its prefix, or of a cookie.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// The length of key id and nonce before the ciphertext, in bytes.
const HEADER_BYTES: usize = 1 + NONCE_LEN;

/// The keys of a unit for local tokens, cookies and stored secrets. Debug output hides them.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::collections::BTreeMap;
///
/// use personium_token::local::{LocalError, LocalKeys, LocalKind, LocalToken};
/// # use personium_types::SystemRandom;
/// # let random = SystemRandom::new();
///
/// let keys = LocalKeys::new("a secret of 16 bytes or more")?;
/// let token = LocalToken {
///     kind: LocalKind::ResidentAccess,
///     issued_at_ms: 1_700_000_000_000,
///     lifespan_ms: 3_600_000,
///     subject: "account1".to_owned(),
///     schema: None,
///     scopes: vec!["root".to_owned()],
///     issuer: "https://cell1.unit.example/".to_owned(),
///     roles: Vec::new(),
///     origin: None,
///     extra: BTreeMap::new(),
/// };
/// let text = keys.seal(&token, &random)?;
/// assert!(text.starts_with("AR~"));
/// assert_eq!(keys.open(&text, "https://cell1.unit.example/")?, token);
/// assert_eq!(keys.open(&text, "https://cell2.unit.example/"), Err(LocalError::NotOurs));
/// # Ok(())
/// # }
/// ```
pub struct LocalKeys {
    current: KeySet,
    previous: Vec<KeySet>,
}

/// The keys that are derived from one secret.
struct KeySet {
    id: u8,
    tokens: LessSafeKey,
    cookies: LessSafeKey,
    storage: LessSafeKey,
    cache_names: hmac::Key,
    settings: hmac::Key,
    rule_chains: hmac::Key,
}

/// The number of bytes of key material to derive.
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
        let mut cache_names = [0u8; 32];
        expand(&prk, b"cache names", &mut cache_names)?;
        let mut settings = [0u8; 32];
        expand(&prk, b"settings", &mut settings)?;
        let mut rule_chains = [0u8; 32];
        expand(&prk, b"rule chains", &mut rule_chains)?;
        Ok(Self {
            id: u8::from_be_bytes(id),
            tokens: cipher(&prk, b"local tokens")?,
            cookies: cipher(&prk, b"cookies")?,
            storage: cipher(&prk, b"storage")?,
            cache_names: hmac::Key::new(hmac::HMAC_SHA256, &cache_names),
            settings: hmac::Key::new(hmac::HMAC_SHA256, &settings),
            rule_chains: hmac::Key::new(hmac::HMAC_SHA256, &rule_chains),
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

/// The bytes that a proof about the rules of a cell covers.
fn covered_by_proof(cell: &str, text: &str) -> Vec<u8> {
    [cell.as_bytes(), &[0], text.as_bytes()].concat()
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

/// The purpose of a derived key.
#[derive(Clone, Copy)]
enum KeyPurpose {
    Token,
    Cookie,
    Storage,
}

/// The additional authenticated data of a stored body key.
const BODY_KEY_CONTEXT: &[u8] = b"key of file bodies";

/// A decrypted key of file bodies.
#[derive(Debug)]
pub struct OpenedBodyKey {
    /// The key.
    pub key: BodyKey,
    /// Whether it was encrypted with the current secret rather than a previous one.
    pub is_current: bool,
}

struct OpenedBytes {
    plain: Vec<u8>,
    is_current: bool,
}

impl fmt::Debug for LocalKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalKeys(***)")
    }
}

impl LocalKeys {
    /// Derives the keys from the unit secret.
    ///
    /// # Errors
    /// [`SecretError::TooShort`] if it has fewer than [`MIN_SECRET_BYTES`] bytes, [`SecretError::Derivation`].
    pub fn new(secret: &str) -> Result<Self, SecretError> {
        Ok(Self {
            current: KeySet::derive(secret)?,
            previous: Vec::new(),
        })
    }

    /// Adds a previous secret. It is used to open tokens, cookies and stored keys, but not to seal them.
    ///
    /// # Errors
    /// As [`LocalKeys::new`].
    pub fn with_previous(mut self, secret: &str) -> Result<Self, SecretError> {
        self.previous.push(KeySet::derive(secret)?);
        Ok(self)
    }

    /// Encrypts a token. Two calls with the same token return different texts.
    ///
    /// # Errors
    /// [`SealError::Claims`], [`SealError::TooLarge`], [`SealError::Random`].
    pub fn seal(&self, token: &LocalToken, random: &dyn Random) -> Result<String, SealError> {
        if !token.matches_kind() {
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

    /// Decrypts a token that this unit sealed for `issuer`. Expiry is not checked, see [`LocalToken::is_expired_at`].
    ///
    /// # Errors
    /// [`LocalError::Malformed`], [`LocalError::NotOurs`].
    pub fn open(&self, text: &str, issuer: &str) -> Result<LocalToken, LocalError> {
        let kind = LocalKind::of(text).ok_or(LocalError::Malformed)?;
        let sealed = text
            .strip_prefix(kind.prefix())
            .ok_or(LocalError::Malformed)?;
        let opened = self.open_bytes(KeyPurpose::Token, sealed, &token_context(kind, issuer))?;
        claims::decode(kind, issuer, &opened.plain)
            .filter(LocalToken::matches_kind)
            .ok_or(LocalError::Malformed)
    }

    /// Decrypts a token of one kind.
    ///
    /// # Errors
    /// [`LocalError::WrongKind`] for a token of another kind; otherwise as [`LocalKeys::open`].
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

    /// The key with which the unit of this URL hides the names of values in a shared cache. It is the same on all nodes.
    #[must_use]
    pub fn cache_name_key(&self, unit: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.current.cache_names, unit.as_bytes());
        tag.as_ref().first_chunk().copied().unwrap_or_default()
    }

    /// A digest of a setting, 16 hexadecimal digits: nodes with the same secret compare settings without storing their values.
    #[must_use]
    pub fn setting_digest(&self, name: &str, value: &str) -> String {
        let mut context = hmac::Context::with_key(&self.current.settings);
        context.update(name.as_bytes());
        context.update(&[0]);
        context.update(value.as_bytes());
        let tag = context.sign();
        hex::encode(tag.as_ref().get(..8).unwrap_or_default())
    }

    /// A proof that this unit has written a text about the rules of a cell: 43 characters of base64url.
    #[must_use]
    pub fn rule_chain_proof(&self, cell: &str, text: &str) -> String {
        let covered = covered_by_proof(cell, text);
        encode_url(hmac::sign(&self.current.rule_chains, &covered).as_ref())
    }

    /// Whether a text about the rules of a cell has the proof of [`Self::rule_chain_proof`], by the current secret or a previous one.
    #[must_use]
    pub fn is_rule_chain_proof(&self, cell: &str, text: &str, proof: &str) -> bool {
        let Some(tag) = decode_url(proof) else {
            return false;
        };
        let covered = covered_by_proof(cell, text);
        let mut sets = std::iter::once(&self.current).chain(&self.previous);
        sets.any(|set| hmac::verify(&set.rule_chains, &covered, &tag).is_ok())
    }

    /// Encrypts the key of file bodies for storage.
    ///
    /// # Errors
    /// [`SealError::Random`], [`SealError::TooLarge`].
    pub fn seal_body_key(&self, key: &BodyKey, random: &dyn Random) -> Result<String, SealError> {
        let plain = key.as_bytes().to_vec();
        self.seal_bytes(KeyPurpose::Storage, plain, BODY_KEY_CONTEXT, random)
    }

    /// Decrypts a stored key of file bodies.
    ///
    /// # Errors
    /// [`LocalError::Malformed`], [`LocalError::NotOurs`].
    pub fn open_body_key(&self, text: &str) -> Result<OpenedBodyKey, LocalError> {
        let opened = self.open_bytes(KeyPurpose::Storage, text, BODY_KEY_CONTEXT)?;
        let key: [u8; KEY_BYTES] = opened.plain.try_into().map_err(|_| LocalError::Malformed)?;
        Ok(OpenedBodyKey {
            key: BodyKey::from_bytes(key),
            is_current: opened.is_current,
        })
    }

    fn seal_bytes(
        &self,
        purpose: KeyPurpose,
        mut plain: Vec<u8>,
        context: &[u8],
        random: &dyn Random,
    ) -> Result<String, SealError> {
        // Checked before the encryption to save its cost.
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

    /// Decrypts with the key that the key id names, of the current or a previous secret.
    fn open_bytes(
        &self,
        purpose: KeyPurpose,
        sealed: &str,
        context: &[u8],
    ) -> Result<OpenedBytes, LocalError> {
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
            let mut plain = body.to_vec();
            let opened =
                set.cipher(purpose)
                    .open_in_place(nonce, Aad::from(context), plain.as_mut_slice());
            if let Ok(length) = opened.map(|plain| plain.len()) {
                plain.truncate(length);
                return Ok(OpenedBytes { plain, is_current });
            }
        }
        Err(LocalError::NotOurs)
    }
}

/// The additional authenticated data of a token. All prefixes have the same length, so it is unambiguous.
fn token_context(kind: LocalKind, issuer: &str) -> Vec<u8> {
    [kind.prefix().as_bytes(), issuer.as_bytes()].concat()
}
