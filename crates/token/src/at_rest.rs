//! File bodies encrypted at rest.
//!
//! A body is cut into chunks of 64 KiB. Each is sealed by AES-256-GCM under a key of that body alone, which is derived by
//! HKDF-SHA256 (RFC 5869) from the unit's [`BodyKey`], a random salt and the owner. The nonce of a chunk is its number
//! and whether it is the last one (the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár, CRYPTO 2015), so
//! chunks cannot be altered, exchanged, left out or cut off without notice, and any of them is read without the others.

use std::fmt;
use std::ops::Range;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};

use crate::base64_text::encode_url;
use personium_types::{Random, RandomError};

/// Bytes of a chunk before it is sealed; the last one may be shorter.
const CHUNK_BYTES: usize = 64 << 10;
/// Length of the authentication tag that sealing appends, with any of our ciphers.
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes of a [`BodyKey`].
pub(crate) const KEY_BYTES: usize = 32;

const SEALED_CHUNK_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
const SALT_BYTES: usize = 32;

/// A body cannot be sealed, or does not open: it was altered, or belongs to somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the encrypted body does not authenticate")]
pub struct CipherError;

/// What the keys of all bodies of a unit are derived from. Debug output shows nothing of it.
pub struct BodyKey([u8; KEY_BYTES]);

impl fmt::Debug for BodyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyKey(***)")
    }
}

impl BodyKey {
    /// A new key.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomError> {
        let mut key = [0; KEY_BYTES];
        random.fill(&mut key)?;
        Ok(Self(key))
    }

    pub(crate) const fn from_bytes(key: [u8; KEY_BYTES]) -> Self {
        Self(key)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The cipher of one body: of this salt (see [`new_salt`]) and owner.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn cipher(&self, salt: &str, owner: &[u8]) -> Result<BodyCipher, CipherError> {
        let derived = Salt::new(HKDF_SHA256, salt.as_bytes()).extract(&self.0);
        let info = [b"personium file body".as_slice(), owner];
        let key = derived
            .expand(&info, &AES_256_GCM)
            .map_err(|_| CipherError)?;
        Ok(BodyCipher(LessSafeKey::new(UnboundKey::from(key))))
    }
}

/// A salt for a new body. It is stored beside the body and is no secret.
///
/// # Errors
/// If there is no randomness.
pub fn new_salt(random: &dyn Random) -> Result<String, RandomError> {
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt)?;
    Ok(encode_url(&salt))
}

/// Chunks of a body of so many bytes: at least one, since an empty body is sealed too.
const fn chunks(len: u64) -> u64 {
    let chunks = len.div_ceil(CHUNK_BYTES as u64);
    if chunks == 0 { 1 } else { chunks }
}

/// Bytes of a sealed body of `len` bytes.
#[must_use]
pub const fn sealed_len(len: u64) -> u64 {
    len.saturating_add(chunks(len).saturating_mul(TAG_BYTES as u64))
}

/// The cipher of one body.
pub struct BodyCipher(LessSafeKey);

impl fmt::Debug for BodyCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BodyCipher(***)")
    }
}

impl BodyCipher {
    /// Seals a body that is there as a whole.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn seal(self, body: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut sealing = BodySealer::new(self);
        let mut out = sealing.push(body)?;
        out.append(&mut sealing.finish()?);
        Ok(out)
    }

    /// Opens a body that is there as a whole.
    ///
    /// # Errors
    /// If it was altered or another body's cipher is used.
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

    /// Opens `wanted` bytes from `offset` of a body of `len` bytes. `sealed` is what [`sealed_part`] says.
    ///
    /// # Errors
    /// If it was altered, another body's cipher is used, or `sealed` is not that part.
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

/// Where the chunks stand in a sealed body of `len` bytes that hold `wanted` bytes from `offset`.
#[must_use]
pub fn sealed_range(len: u64, offset: u64, wanted: usize) -> Range<u64> {
    let (chunk, sealed_chunk) = (CHUNK_BYTES as u64, SEALED_CHUNK_BYTES as u64);
    let first = offset / chunk;
    let end = offset.saturating_add(wanted as u64).div_ceil(chunk);
    let start = first.saturating_mul(sealed_chunk);
    let end = end.max(first + 1).saturating_mul(sealed_chunk);
    start..end.min(sealed_len(len))
}

/// A body that is being sealed piece by piece.
#[derive(Debug)]
pub struct BodySealer {
    cipher: BodyCipher,
    number: u64,
    /// The bytes of the chunk that is not full or may be the last one.
    pending: Vec<u8>,
}

impl BodySealer {
    /// Begins a body.
    #[must_use]
    pub const fn new(cipher: BodyCipher) -> Self {
        Self {
            cipher,
            number: 0,
            pending: Vec::new(),
        }
    }

    /// Takes a piece and gives the chunks that are full with it, sealed.
    ///
    /// # Errors
    /// If the cryptographic library fails.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<Vec<u8>, CipherError> {
        let mut out = Vec::new();
        // a full chunk waits until it is known whether it is the last one
        while self.pending.len() + piece.len() > CHUNK_BYTES {
            let room = CHUNK_BYTES - self.pending.len();
            let (fits, rest) = piece.split_at_checked(room).ok_or(CipherError)?;
            self.pending.extend_from_slice(fits);
            piece = rest;
            self.seal(false, &mut out)?;
        }
        self.pending.extend_from_slice(piece);
        Ok(out)
    }

    /// The last chunk, sealed.
    ///
    /// # Errors
    /// If the cryptographic library fails.
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

/// The nonce of a chunk: its number and, in the last byte, whether it is the last one.
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
