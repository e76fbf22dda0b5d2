//! The signatures of requests to the service of an HTTP plugin and of its answers: HMAC-SHA256 (RFC 2104) over a word and the body.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign, verify};
use personium_types::hex;

/// The beginning of the value of the header.
const VERSION: &str = "v1=";
/// The bytes that are signed before the body of a request.
const REQUEST: &[u8] = b"request.";
/// The bytes that are signed before the body of an answer, so that a request cannot be sent back as one.
const ANSWER: &[u8] = b"answer.";
/// The number of hexadecimal digits of a signature.
const TAG_DIGITS: usize = 64;

/// The key of the signatures of one plugin.
pub struct SigningKey(Key);

impl SigningKey {
    /// The key with these bytes.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, secret))
    }

    /// The value of the header for the body of a request.
    #[must_use]
    pub fn sign_request(&self, body: &[u8]) -> String {
        let tag = sign(&self.0, &[REQUEST, body].concat());
        format!("{VERSION}{}", hex::encode(tag.as_ref()))
    }

    /// Whether the value of the header is that for the body of an answer.
    #[must_use]
    pub fn verifies_answer(&self, header: &str, body: &[u8]) -> bool {
        let tag = header.strip_prefix(VERSION);
        let tag = tag.filter(|tag| tag.len() == TAG_DIGITS);
        let tag = tag.and_then(hex::decode);
        tag.is_some_and(|tag| verify(&self.0, &[ANSWER, body].concat(), &tag).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_is_signed_as_other_implementations_do() {
        // printf 'request.{}' | openssl dgst -sha256 -hmac key
        let signature = SigningKey::new(b"key").sign_request(b"{}");
        assert_eq!(
            signature,
            "v1=b0bc0a035e8ab57721b86bd26b31b2b0567a72fc3a21567853e4639010dd2e6f"
        );
    }

    #[test]
    fn only_the_signature_of_an_answer_is_one() {
        let key = SigningKey::new(b"key");
        let tag = sign(&key.0, b"answer.{}");
        let good = format!("v1={}", hex::encode(tag.as_ref()));
        assert!(key.verifies_answer(&good, b"{}"));
        assert!(!key.verifies_answer(&good, b"{ }"));
        assert!(!SigningKey::new(b"other").verifies_answer(&good, b"{}"));
        for bad in [
            key.sign_request(b"{}"),
            String::new(),
            "v1=".to_owned(),
            good.replace("v1=", "v2="),
            good.replace("v1=", ""),
            format!("{good}00"),
            good.get(..good.len() - 2).unwrap_or_default().to_owned(),
            format!("v1={}", "\u{e9}".repeat(32)),
        ] {
            assert!(!key.verifies_answer(&bad, b"{}"), "{bad}");
        }
    }
}
