//! Checking of JWS with published keys.
//!
//! The key decides the algorithm; a header that states another one is refused, so neither `none`
//! nor an HMAC with the public key as secret can pass.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};
use serde::Deserialize;

use super::{Jwk, MAX_JWS_BYTES};
use crate::base64_text::decode_url;

/// Most keys that are read from a key set.
const MAX_KEYS: usize = 256;
/// Length of a coordinate on P-256.
const P256_BYTES: usize = 32;

/// Why a JWS or a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    /// Not a compact JWS, or a header that is not readable.
    #[error("not a compact JWS")]
    Malformed,
    /// The header's algorithm is not the key's.
    #[error("the header states another algorithm than the key's")]
    Algorithm,
    /// The header has critical extensions; none is known here.
    #[error("the header has critical extensions")]
    Critical,
    /// The header names another key, or no key of the set fits.
    #[error("not signed with a known key")]
    UnknownKey,
    /// The signature is not by the key.
    #[error("the signature does not verify")]
    Signature,
    /// Not a usable RSA (2048 bits and more) or P-256 signing key.
    #[error("not a usable public key")]
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

/// A public key that checks signatures of one algorithm: RS256 for RSA, ES256 for P-256.
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

/// A compact JWS taken apart, unchecked.
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
    // a further dot in the payload is refused by the decoder
    let decode = |part| decode_url(part).ok_or(JwtError::Malformed);
    Ok(JwsParts {
        header: serde_json::from_slice(&decode(header)?).map_err(|_| JwtError::Malformed)?,
        message,
        payload: decode(payload)?,
        signature: decode(signature)?,
    })
}

/// The key id that a JWS states, for choosing or fetching a key. Nothing is checked.
pub fn read_kid(compact: &str) -> Result<Option<String>, JwtError> {
    split_jws(compact).map(|parts| parts.header.kid)
}

impl VerifyKey {
    /// Reads a published key. Its `alg`, if stated, must be the one its type is used for here;
    /// `use`, if stated, must be `sig`.
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
                // SEC 1, 2.3.3: an uncompressed point
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

    /// The signed bytes, if the JWS is signed with this key. Claims such as `exp` and `aud` are not
    /// looked at.
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

/// A provider's published keys.
#[derive(Debug, Clone, Default)]
pub struct JwkSet {
    keys: Vec<VerifyKey>,
}

#[derive(Deserialize)]
struct JwkSetDocument {
    keys: Vec<serde_json::Value>,
}

impl JwkSet {
    /// Reads `{"keys":[…]}`. Keys of other types and uses are left out (RFC 7517 section 5); so is
    /// whatever stands behind the 256th.
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

    /// The signed bytes, if the JWS is signed with the key of this set that its header names. A
    /// header without key id fits only if the set has a single key.
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
