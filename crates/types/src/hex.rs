//! Hexadecimal text: written in lower case, read in both.

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

/// Decodes text of two digits for each byte, in lower or upper case; `None` if it is something else.
///
/// ```
/// assert_eq!(personium_types::hex::decode("0aFf"), Some(vec![0x0a, 0xff]));
/// assert_eq!(personium_types::hex::decode("0a+f"), None);
/// assert_eq!(personium_types::hex::decode("0af"), None);
/// ```
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs
        .iter()
        .map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?));
    bytes.collect::<Option<_>>().filter(|_| rest.is_empty())
}
