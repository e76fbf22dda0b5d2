//! Encryption of file bodies at rest.
//!
//! A body is divided into chunks of 64 KiB. Each chunk is encrypted with AES-256-GCM. Every body has its own key, which is
//! derived with HKDF-SHA256 (RFC 5869) from the [`BodyKey`] of the unit, a random salt and the owner. The nonce of a chunk
//! consists of its number and a flag for the last chunk (STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár,
//! CRYPTO 2015). Therefore chunks that are altered, exchanged, removed or truncated are detected, and each chunk can be
//! decrypted without the others.

use std::fmt;
use std::ops::Range;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

use crate::base64_text::encode_url;
use personium_types::{Random, RandomError};

/// The size of a plain chunk in bytes. The last one may be shorter.
const CHUNK_BYTES: usize = 64 << 10;
/// The length of the authentication tag in bytes, for AES-GCM and AES-GCM-SIV.
pub(crate) const TAG_BYTES: usize = 16;
/// The length of a [`BodyKey`] in bytes.
pub(crate) const KEY_BYTES: usize = 32;

const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
const SALT_BYTES: usize = 32;

/// The cipher failed: the body was altered, or it was encrypted for another salt or owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the encrypted body cannot be authenticated")]
pub struct CipherError;

/// The key of a unit from which the keys of its file bodies are derived. Debug output hides it.
pub struct BodyKey([u8; KEY_BYTES]);

impl fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyKey(***)")
    }
}

impl BodyKey {
    /// Generates a key.
    ///
    /// # Errors
    /// [`RandomError`] if the source of randomness fails.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomError> {
        let mut key = [0; KEY_BYTES];
        random.fill(&mut key)?;
        Ok(Self(key))
    }

    /// Derives a key from a secret, which must be random and have at least 128 bits.
    ///
    /// # Errors
    /// [`CipherError`] if the cryptographic library fails.
    pub fn derive(secret: &str) -> Result<Self, CipherError> {
        let derived = Salt::new(HKDF_SHA256, b"personium backup").extract(secret.as_bytes());
        let mut key = [0; KEY_BYTES];
        let info = [b"key".as_slice()];
        let expanded = derived
            .expand(&info, HKDF_SHA256)
            .map_err(|_| CipherError)?;
        expanded.fill(&mut key).map_err(|_| CipherError)?;
        Ok(Self(key))
    }

    pub(crate) const fn from_bytes(key: [u8; KEY_BYTES]) -> Self {
        Self(key)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Derives the cipher of one body from its salt (see [`new_salt`]) and owner.
    ///
    /// # Errors
    /// [`CipherError`] if the cryptographic library fails.
    pub fn cipher(&self, salt: &str, owner: &[u8]) -> Result<BodyCipher, CipherError> {
        let derived = Salt::new(HKDF_SHA256, salt.as_bytes()).extract(&self.0);
        let info = [b"personium file body".as_slice(), owner];
        let key = derived
            .expand(&info, &AES_256_GCM)
            .map_err(|_| CipherError)?;
        Ok(BodyCipher(LessSafeKey::new(UnboundKey::from(key))))
    }
}

/// Generates the salt of a new body. It is not secret and is stored with the body.
///
/// # Errors
/// [`RandomError`] if the source of randomness fails.
pub fn new_salt(random: &dyn Random) -> Result<String, RandomError> {
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt)?;
    Ok(encode_url(&salt))
}

/// The number of chunks of a body of `len` bytes. An empty body has one empty chunk.
const fn chunks(len: u64) -> u64 {
    let chunks = len.div_ceil(CHUNK_BYTES as u64);
    if chunks == 0 { 1 } else { chunks }
}

/// The encrypted size in bytes of a body of `len` bytes.
#[must_use]
pub const fn sealed_len(len: u64) -> u64 {
    len.saturating_add(chunks(len).saturating_mul(TAG_BYTES as u64))
}

/// The size in bytes of a body whose encrypted size is this; `None` if no body has it.
#[must_use]
pub fn plain_len(sealed: u64) -> Option<u64> {
    let chunks = sealed.div_ceil(SEALED_CHUNK_BYTES as u64);
    let len = sealed.checked_sub(chunks.checked_mul(TAG_BYTES as u64)?)?;
    (sealed_len(len) == sealed).then_some(len)
}

/// The cipher of one body.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use personium_token::at_rest::{BodyKey, new_salt};
/// # use personium_types::SystemRandom;
/// # let random = SystemRandom::new();
///
/// let key = BodyKey::generate(&random)?;
/// let salt = new_salt(&random)?;
/// let sealed = key.cipher(&salt, b"cell1")?.seal(b"content")?;
/// assert_eq!(key.cipher(&salt, b"cell1")?.open(sealed.clone())?, b"content");
/// assert!(key.cipher(&salt, b"cell2")?.open(sealed).is_err());
/// # Ok(())
/// # }
/// ```
pub struct BodyCipher(LessSafeKey);

impl fmt::Debug for BodyCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyCipher(***)")
    }
}

impl BodyCipher {
    /// Encrypts a whole body.
    ///
    /// # Errors
    /// [`CipherError`] if the cryptographic library fails.
    pub fn seal(self, body: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut sealer = BodySealer::new(self);
        let mut out = sealer.push(body)?;
        out.append(&mut sealer.finish()?);
        Ok(out)
    }

    /// Decrypts a whole body.
    ///
    /// # Errors
    /// [`CipherError`] if the body was altered or belongs to another cipher.
    pub fn open(&self, sealed: Vec<u8>) -> Result<Vec<u8>, CipherError> {
        let chunks = (sealed.len() as u64).div_ceil(SEALED_CHUNK_BYTES as u64);
        if chunks == 0 {
            return Err(CipherError);
        }
        let tags = chunks * TAG_BYTES as u64;
        let len = (sealed.len() as u64).checked_sub(tags).ok_or(CipherError)?;
        let whole = usize::try_from(len).map_err(|_| CipherError)?;
        self.open_range(len, 0, whole, sealed)
    }

    /// Decrypts `wanted` bytes from `offset` of a body of `len` bytes. `sealed` contains the bytes of [`sealed_range`].
    ///
    /// # Errors
    /// [`CipherError`] if the body was altered, belongs to another cipher, or `sealed` is another range.
    pub fn open_range(
        &self,
        len: u64,
        offset: u64,
        wanted: usize,
        mut sealed: Vec<u8>,
    ) -> Result<Vec<u8>, CipherError> {
        let last = chunks(len) - 1;
        let first = offset / CHUNK_BYTES as u64;
        let mut plain = Vec::with_capacity(sealed.len());
        for (number, chunk) in (first..).zip(sealed.chunks_mut(SEALED_CHUNK_BYTES)) {
            let opened = self
                .0
                .open_in_place(nonce(number, number == last), Aad::empty(), chunk)
                .map_err(|_| CipherError)?;
            plain.extend_from_slice(opened);
        }
        let skipped = usize::try_from(offset % CHUNK_BYTES as u64).map_err(|_| CipherError)?;
        plain.drain(..skipped.min(plain.len()));
        if plain.len() < wanted {
            return Err(CipherError);
        }
        plain.truncate(wanted);
        Ok(plain)
    }
}

/// The byte range in an encrypted body whose chunks contain `wanted` bytes from `offset` of the body of `len` bytes.
#[must_use]
pub fn sealed_range(len: u64, offset: u64, wanted: usize) -> Range<u64> {
    let (chunk, sealed_chunk) = (CHUNK_BYTES as u64, SEALED_CHUNK_BYTES as u64);
    let first = offset / chunk;
    let end = offset.saturating_add(wanted as u64).div_ceil(chunk);
    let start = first.saturating_mul(sealed_chunk);
    let end = end.max(first + 1).saturating_mul(sealed_chunk);
    start..end.min(sealed_len(len))
}

/// Encrypts a body that arrives in parts.
#[derive(Debug)]
pub struct BodySealer {
    cipher: BodyCipher,
    number: u64,
    /// The plain bytes of a chunk that is not full, or that may be the last one.
    pending: Vec<u8>,
}

impl BodySealer {
    /// Starts a body.
    #[must_use]
    pub const fn new(cipher: BodyCipher) -> Self {
        Self {
            cipher,
            number: 0,
            pending: Vec::new(),
        }
    }

    /// Adds a part of the body. Returns the encrypted chunks that it completes.
    ///
    /// # Errors
    /// [`CipherError`] if the cryptographic library fails.
    pub fn push(&mut self, mut part: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut out = Vec::new();
        // A full chunk is encrypted only when more bytes follow, because the last chunk has another nonce.
        while self.pending.len() + part.len() > CHUNK_BYTES {
            let free = CHUNK_BYTES - self.pending.len();
            let (fits, rest) = part.split_at_checked(free).ok_or(CipherError)?;
            self.pending.extend_from_slice(fits);
            part = rest;
            self.seal(false, &mut out)?;
        }
        self.pending.extend_from_slice(part);
        Ok(out)
    }

    /// Ends the body. Returns the encrypted last chunk.
    ///
    /// # Errors
    /// [`CipherError`] if the cryptographic library fails.
    pub fn finish(mut self) -> Result<Vec<u8>, CipherError> {
        let mut out = Vec::new();
        self.seal(true, &mut out)?;
        Ok(out)
    }

    fn seal(&mut self, is_last: bool, out: &mut Vec<u8>) -> Result<(), CipherError> {
        let tag = self
            .cipher
            .0
            .seal_in_place_separate_tag(
                nonce(self.number, is_last),
                Aad::empty(),
                &mut self.pending,
            )
            .map_err(|_| CipherError)?;
        out.append(&mut self.pending);
        out.extend_from_slice(tag.as_ref());
        self.number += 1;
        Ok(())
    }
}

/// The nonce of a chunk: its number, and in the last byte 1 for the last chunk, 0 for the others.
fn nonce(number: u64, is_last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    for (to, from) in nonce.iter_mut().skip(3).zip(number.to_be_bytes()) {
        *to = from;
    }
    if let Some(last) = nonce.last_mut() {
        *last = u8::from(is_last);
    }
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests;
