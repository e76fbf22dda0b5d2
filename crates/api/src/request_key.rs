//! The key of a request in logs and events.

use http::HeaderMap;
use personium_model::new_request_key;
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
        return Ok(new_request_key(random));
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
