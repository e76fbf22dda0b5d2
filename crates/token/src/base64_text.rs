//! Base64 in the three spellings that tokens use (RFC 4648).

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};

/// Standard alphabet; padding may be there or not, unused bits must be zero.
const ANY_PADDING: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// URL alphabet, no padding.
pub(crate) fn encode_url(bytes: &[u8]) -> String {
    general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads what [`encode_url`] writes and nothing else: one text for each value.
pub(crate) fn decode_url(text: &str) -> Option<Vec<u8>> {
    general_purpose::URL_SAFE_NO_PAD.decode(text).ok()
}

/// Reads either alphabet, with or without padding.
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

/// Standard alphabet, padded, on one line.
pub(crate) fn encode_standard(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// Reads [`encode_standard`] text, on one line.
pub(crate) fn decode_standard(text: &str) -> Option<Vec<u8>> {
    general_purpose::STANDARD.decode(text).ok()
}

/// Standard alphabet with line breaks and blanks between the characters, as in XML signatures.
pub(crate) fn decode_wrapped(text: &str) -> Option<Vec<u8>> {
    let mut dense = Vec::with_capacity(text.len());
    dense.extend(
        text.bytes()
            .filter(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n')),
    );
    ANY_PADDING.decode(dense).ok()
}
