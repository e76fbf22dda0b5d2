//! Verification of JSON Web Signatures with published keys.
//!
//! The key determines the algorithm. A header with another algorithm is refused, in particular `none` and an HMAC with the
//! public key as its secret.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use serde::Deserialize;

use super::MAX_JWS_BYTES;
use super::jwk::Jwk;
use crate::base64_text::decode_url;

/// The maximum number of keys in a key set. Further keys are ignored.
const MAX_KEYS: usize = 256;
/// The length of a P-256 coordinate in bytes.
const P256_BYTES: usize = 32;

/// An error in a JWS or a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// The text is not a compact JWS, or its header is not valid.
    #[error("not a compact JWS")]
    Malformed,
    /// The algorithm of the header is not the algorithm of the key.
    #[error("the header has another algorithm than the key")]
    Algorithm,
    /// The header has critical extensions. None is supported.
    #[error("the header has unsupported critical extensions")]
    Critical,
    /// The header has the id of another key, or of no key in the set.
    #[error("the key id is unknown")]
    UnknownKey,
    /// The signature was not made with the key.
    #[error("invalid signature")]
    Signature,
    /// The key is not an RSA signing key of 2048 bits or more, nor a P-256 signing key.
    #[error("unsupported public key")]
    Key,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum JwsAlgorithm {
    Rs256,
    Es256,
}

impl JwsAlgorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A public key that verifies signatures: RS256 with an RSA key, ES256 with a P-256 key.
#[derive(Clone)]
pub struct VerifyKey {
    kid: Option<String>,
    algorithm: JwsAlgorithm,
    key: ParsedPublicKey,
}

impl std::fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm.name())
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct JwsHeader {
    alg: String,
    #[serde(default)]
    kid: Option<String>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

/// The parts of a compact JWS before verification.
struct JwsParts<'a> {
    header: JwsHeader,
    message: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

fn split_jws(compact: &str) -> Result<JwsParts<'_>, JwtError> {
    if compact.len() > MAX_JWS_BYTES {
        return Err(JwtError::Malformed);
    }
    let (message, signature) = compact.rsplit_once('.').ok_or(JwtError::Malformed)?;
    let (header, payload) = message.split_once('.').ok_or(JwtError::Malformed)?;
    // The decoder refuses another dot in the payload.
    let decode = |part| decode_url(part).ok_or(JwtError::Malformed);
    Ok(JwsParts {
        header: serde_json::from_slice(&decode(header)?).map_err(|_| JwtError::Malformed)?,
        message,
        payload: decode(payload)?,
        signature: decode(signature)?,
    })
}

/// Returns the key id in the header of a JWS, without any verification.
///
/// # Errors
/// [`JwtError::Malformed`].
pub fn read_kid(compact: &str) -> Result<Option<String>, JwtError> {
    split_jws(compact).map(|parts| parts.header.kid)
}

impl VerifyKey {
    /// Converts a published key. Its `alg`, if present, must be RS256 for RSA and ES256 for P-256; its `use`, if present,
    /// must be `sig`.
    ///
    /// # Errors
    /// [`JwtError::Key`].
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, JwtError> {
        let bytes =
            |member: &Option<String>| member.as_deref().and_then(decode_url).ok_or(JwtError::Key);
        let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let components = RsaPublicKeyComponents {
                    n: bytes(&jwk.n)?,
                    e: bytes(&jwk.e)?,
                };
                let key = components
                    .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                    .map_err(|_| JwtError::Key)?;
                (JwsAlgorithm::Rs256, key)
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
                if x.len() != P256_BYTES || y.len() != P256_BYTES {
                    return Err(JwtError::Key);
                }
                // An uncompressed point (SEC 1, section 2.3.3).
                let point = [&[4u8], x.as_slice(), y.as_slice()].concat();
                let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .map_err(|_| JwtError::Key)?;
                (JwsAlgorithm::Es256, key)
            }
            _ => return Err(JwtError::Key),
        };
        if jwk
            .alg
            .as_deref()
            .is_some_and(|alg| alg != algorithm.name())
            || jwk.usage.as_deref().is_some_and(|usage| usage != "sig")
        {
            return Err(JwtError::Key);
        }
        Ok(Self {
            kid: jwk.kid.clone(),
            algorithm,
            key,
        })
    }

    /// Verifies a JWS and returns its payload. Claims such as `exp` and `aud` are not validated.
    ///
    /// # Errors
    /// [`JwtError::Malformed`], [`JwtError::Algorithm`], [`JwtError::Critical`], [`JwtError::UnknownKey`],
    /// [`JwtError::Signature`].
    pub fn verify(&self, compact: &str) -> Result<Vec<u8>, JwtError> {
        self.verify_parts(split_jws(compact)?)
    }

    fn verify_parts(&self, parts: JwsParts<'_>) -> Result<Vec<u8>, JwtError> {
        if parts.header.alg != self.algorithm.name() {
            return Err(JwtError::Algorithm);
        }
        if parts.header.crit.is_some() {
            return Err(JwtError::Critical);
        }
        if let (Some(stated), Some(own)) = (&parts.header.kid, &self.kid)
            && stated != own
        {
            return Err(JwtError::UnknownKey);
        }
        self.key
            .verify_sig(parts.message.as_bytes(), &parts.signature)
            .map_err(|_| JwtError::Signature)?;
        Ok(parts.payload)
    }
}

/// The published keys of an OpenID provider.
#[derive(Debug, Clone, Default)]
pub struct JwkSet {
    keys: Vec<VerifyKey>,
}

#[derive(Deserialize)]
struct JwkSetDocument {
    keys: Vec<serde_json::Value>,
}

impl JwkSet {
    /// Parses `{"keys":[…]}`. Keys of other types and uses are ignored (RFC 7517, section 5), and all keys after the 256th.
    ///
    /// # Errors
    /// [`JwtError::Key`] if the text is not a key set.
    pub fn from_json(json: &str) -> Result<Self, JwtError> {
        let set: JwkSetDocument = serde_json::from_str(json).map_err(|_| JwtError::Key)?;
        let keys = set
            .keys
            .into_iter()
            .take(MAX_KEYS)
            .filter_map(|value| serde_json::from_value::<Jwk>(value).ok())
            .filter_map(|jwk| VerifyKey::from_jwk(&jwk).ok())
            .collect();
        Ok(Self { keys })
    }

    /// Verifies a JWS with the key that its header names, and returns its payload. A header without key id is accepted only
    /// if the set has a single key.
    ///
    /// # Errors
    /// As [`VerifyKey::verify`]; [`JwtError::UnknownKey`] also if no key has the id.
    pub fn verify(&self, compact: &str) -> Result<Vec<u8>, JwtError> {
        let parts = split_jws(compact)?;
        let key = match (&parts.header.kid, self.keys.as_slice()) {
            (Some(kid), keys) => keys
                .iter()
                .find(|key| key.kid.as_ref() == Some(kid))
                .ok_or(JwtError::UnknownKey)?,
            (None, [only]) => only,
            (None, _) => return Err(JwtError::UnknownKey),
        };
        key.verify_parts(parts)
    }
}
