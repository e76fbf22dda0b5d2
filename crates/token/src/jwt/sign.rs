//! The RSA key of a cell.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};

use super::Jwk;
use crate::base64_text::encode_url;

/// Why a cell key could not be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CellKeyError {
    /// Not an RSA private key in PKCS#8 DER.
    #[error("not a usable RSA private key")]
    Key,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Library,
}

/// A cell's signing key with its id. Debug output shows the id only.
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

/// Protected header; members in this order.
#[derive(serde::Serialize)]
struct ProtectedHeader<'a> {
    kid: &'a str,
    alg: &'static str,
}

impl CellKey {
    /// Makes an RSA-2048 key; `kid` is its id, a UUID. Takes some 100 ms. The key comes from the
    /// cryptographic library's own generator.
    pub fn generate(kid: &str) -> Result<Self, CellKeyError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| CellKeyError::Library)?;
        Ok(Self {
            kid: kid.to_owned(),
            pair,
        })
    }

    /// Reads a key as [`CellKey::to_pkcs8`] writes it.
    pub fn from_pkcs8(kid: &str, der: &[u8]) -> Result<Self, CellKeyError> {
        let pair = KeyPair::from_pkcs8(der).map_err(|_| CellKeyError::Key)?;
        Ok(Self {
            kid: kid.to_owned(),
            pair,
        })
    }

    /// The private key in PKCS#8 DER. A secret.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, CellKeyError> {
        AsDer::<Pkcs8V1Der<'static>>::as_der(&self.pair)
            .map(|der| der.as_ref().to_vec())
            .map_err(|_| CellKeyError::Library)
    }

    /// The public key as X.509 SubjectPublicKeyInfo in DER.
    pub fn public_der(&self) -> Result<Vec<u8>, CellKeyError> {
        AsDer::<PublicKeyX509Der<'static>>::as_der(self.pair.public_key())
            .map(|der| der.as_ref().to_vec())
            .map_err(|_| CellKeyError::Library)
    }

    /// The key's id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key for a key set.
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

    /// A compact JWS over any bytes: RS256, with the key's id in its header.
    #[expect(
        clippy::disallowed_methods,
        reason = "the library asks for it; this padding uses no randomness"
    )]
    pub fn sign(&self, payload: &[u8]) -> Result<String, CellKeyError> {
        let header = serde_json::to_vec(&ProtectedHeader {
            kid: &self.kid,
            alg: "RS256",
        })
        .map_err(|_| CellKeyError::Library)?;
        let message = format!("{}.{}", encode_url(&header), encode_url(payload));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                message.as_bytes(),
                &mut signature,
            )
            .map_err(|_| CellKeyError::Library)?;
        Ok(format!("{message}.{}", encode_url(&signature)))
    }
}
