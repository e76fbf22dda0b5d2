//! Base64 in the variants that tokens use (RFC 4648).

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};

/// Standard alphabet. Padding is optional, unused bits must be zero.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Encodes with the URL alphabet and without padding.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes the URL alphabet without padding. Each value has exactly one accepted text.
pub(crate) fn decode_url(text: &str) -> Option<Vec<u8>> {
    general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}

/// Decodes the standard or the URL alphabet, with or without padding.
pub(crate) fn decode_either(text: &str) -> Option<Vec<u8>> {
    let standard: Vec<u8> = text
        .bytes()
        .map(|b| match b {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        })
        .collect();
    ANY_PADDING.decode(standard).ok()
}

/// Encodes with the standard alphabet and padding, on one line.
pub(crate) fn encode_standard(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// Decodes the standard alphabet with padding, on one line.
pub(crate) fn decode_standard(text: &str) -> Option<Vec<u8>> {
    general_purpose::STANDARD.decode(text).ok()
}

/// Decodes the standard alphabet with white space between the characters, as in XML signatures.
pub(crate) fn decode_wrapped(text: &str) -> Option<Vec<u8>> {
    let mut dense = Vec::with_capacity(text.len());
    dense.extend(
        text.bytes()
            .filter(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')),
    );
    ANY_PADDING.decode(dense).ok()
}
