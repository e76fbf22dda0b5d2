//! The signing key of a cell.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};

use super::jwk::Jwk;
use crate::base64_text::encode_url;

/// An error in a cell key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CellKeyError {
    /// The bytes are not an RSA private key in PKCS#8 DER.
    #[error("not a usable RSA private key")]
    Key,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// The RSA signing key of a cell. Debug output shows only its id.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use personium_token::jwt::{CellKey, VerifyKey};
///
/// let key = CellKey::generate("key1")?;
/// let compact = key.sign(b"{}")?;
/// assert_eq!(VerifyKey::from_jwk(&key.jwk())?.verify(&compact)?, b"{}");
/// # Ok(())
/// # }
/// ```
pub struct CellKey {
    kid: String,
    pair: KeyPair,
}

impl std::fmt::Debug for CellKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CellKey")
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

/// The protected header with its members in their written order.
#[derive(serde::Serialize)]
struct ProtectedHeader<'a> {
    kid: &'a str,
    alg: &'static str,
}

impl CellKey {
    /// Generates an RSA-2048 key with the id `kid`. This takes about 100 ms. The randomness comes from the generator of the
    /// cryptographic library.
    ///
    /// # Errors
    /// [`CellKeyError::Library`].
    pub fn generate(kid: &str) -> Result<Self, CellKeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| CellKeyError::Library)?;
        Ok(Self {
            kid: kid.to_owned(),
            pair,
        })
    }

    /// Parses a key in the form of [`CellKey::to_pkcs8`].
    ///
    /// # Errors
    /// [`CellKeyError::Key`].
    pub fn from_pkcs8(kid: &str, der: &[u8]) -> Result<Self, CellKeyError> {
        let pair = KeyPair::from_pkcs8(der).map_err(|_| CellKeyError::Key)?;
        Ok(Self {
            kid: kid.to_owned(),
            pair,
        })
    }

    /// Returns the private key in PKCS#8 DER. It is a secret.
    ///
    /// # Errors
    /// [`CellKeyError::Library`].
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, CellKeyError> {
        AsDer::<Pkcs8V1Der<'static>>::as_der(&self.pair)
            .map(|der| der.as_ref().to_vec())
            .map_err(|_| CellKeyError::Library)
    }

    /// Returns the public key as X.509 SubjectPublicKeyInfo in DER.
    ///
    /// # Errors
    /// [`CellKeyError::Library`].
    pub fn public_der(&self) -> Result<Vec<u8>, CellKeyError> {
        AsDer::<PublicKeyX509Der<'static>>::as_der(self.pair.public_key())
            .map(|der| der.as_ref().to_vec())
            .map_err(|_| CellKeyError::Library)
    }

    /// The key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the public key for a key set.
    pub fn jwk(&self) -> Jwk {
        let public = self.pair.public_key();
        Jwk {
            kty: "RSA".to_owned(),
            alg: Some("RS256".to_owned()),
            usage: None,
            kid: Some(self.kid.clone()),
            n: Some(encode_url(
                public.modulus().big_endian_without_leading_zero(),
            )),
            e: Some(encode_url(
                public.exponent().big_endian_without_leading_zero(),
            )),
            crv: None,
            x: None,
            y: None,
        }
    }

    /// Signs bytes with RS256. Returns a compact JWS with the key id in its header.
    ///
    /// # Errors
    /// [`CellKeyError::Library`].
    pub fn sign(&self, payload: &[u8]) -> Result<String, CellKeyError> {
        let header = serde_json::to_vec(&ProtectedHeader {
            kid: &self.kid,
            alg: "RS256",
        })
        .map_err(|_| CellKeyError::Library)?;
        let message = format!("{}.{}", encode_url(&header), encode_url(payload));
        let signature = self.sign_bytes(message.as_bytes())?;
        Ok(format!("{message}.{}", encode_url(&signature)))
    }

    /// The signature of bytes: RSASSA-PKCS1-v1_5 with SHA-256.
    ///
    /// # Errors
    /// [`CellKeyError::Library`].
    #[expect(
        clippy::disallowed_methods,
        reason = "the library asks for it; this padding uses no randomness"
    )]
    pub(crate) fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, CellKeyError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message,
                &mut signature,
            )
            .map_err(|_| CellKeyError::Library)?;
        Ok(signature)
    }
}
