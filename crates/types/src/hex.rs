//! Hexadecimal text in lower case.

use std::fmt::Write;

/// Encodes bytes with two lower-case digits each.
///
/// ```
/// assert_eq!(personium_types::hex::encode(&[0x0a, 0xff]), "0aff");
/// ```
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // writing to a String cannot fail
        let _ = write!(out, "{byte:02x}");
    }
    out
}
