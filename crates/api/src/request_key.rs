//! The key of a request in logs and events.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use personium_types::{Code, Random, Result};

use crate::headers::REQUEST_KEY;

/// The number of characters that a key can have.
const MAX_CHARS: usize = 128;

/// Returns the request key: that of the client, or a new one.
///
/// # Errors
/// [`Code::RequestKey`] unless it is at most 128 of `A-Za-z0-9_-`.
pub fn of(headers: &HeaderMap, random: &dyn Random) -> Result<String> {
    let Some(value) = headers.get(&REQUEST_KEY) else {
        let id = random.uuid();
        let text = URL_SAFE_NO_PAD.encode(id.as_bytes());
        let (begin, end) = text.split_at_checked(4).unwrap_or((&text, ""));
        return Ok(format!("{begin}_{end}"));
    };
    let text = value.to_str().unwrap_or("?");
    let valid = text.len() <= MAX_CHARS
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if valid {
        Ok(text.to_owned())
    } else {
        Err(Code::RequestKey.into())
    }
}
