//! Bodies of requests and answers.

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use personium_types::{Code, Error, Result};

/// Why a body could not be read or written to the end.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A streamed body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// No body.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is there as a whole.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Reads a whole body of at most `limit` bytes.
///
/// # Errors
/// 413 if it is longer, 408 if the client sent it too slowly, 400 if it broke off.
pub async fn read_all(mut body: Body, limit: usize) -> Result<Bytes> {
    let too_large = || Error::new(Code::BodyTooLarge).with(limit.to_string());
    if http_body::Body::size_hint(&body).lower() > limit as u64 {
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Error::new(Code::RequestTimeout).because(e))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far + data.len() > limit {
            return Err(too_large());
        }
        match first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    Ok(match first {
        None => Bytes::new(),
        Some(whole) if rest.is_empty() => whole,
        Some(begin) => {
            let mut all = BytesMut::with_capacity(begin.len() + rest.len());
            all.extend_from_slice(&begin);
            all.extend_from_slice(&rest);
            all.freeze()
        }
    })
}
