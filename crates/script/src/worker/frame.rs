//! Frames on the socket between the unit and a worker: the lengths of a message and of bytes, then both.

use std::io::{self, ErrorKind};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The number of bytes before a message.
pub(super) const HEAD_BYTES: usize = 8;
/// The largest message, and the most bytes that come with one.
const FRAME_MAX_BYTES: usize = 1 << 30;

/// A frame that is to be sent, without its bytes.
///
/// # Errors
/// The message is not serializable.
pub(super) fn encode(message: &impl Serialize, bytes: usize) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(message).map_err(io::Error::from)?;
    let length = |length: usize| {
        let length = u32::try_from(length).ok();
        length
            .filter(|length| *length as usize <= FRAME_MAX_BYTES)
            .ok_or_else(too_large)
    };
    let mut out = Vec::with_capacity(HEAD_BYTES + json.len());
    out.extend_from_slice(&length(json.len())?.to_le_bytes());
    out.extend_from_slice(&length(bytes)?.to_le_bytes());
    out.extend_from_slice(&json);
    Ok(out)
}

/// The lengths that a frame begins with. Each has a limit, in bytes.
///
/// # Errors
/// A length is larger.
pub(super) fn lengths(head: [u8; HEAD_BYTES], max_bytes: usize) -> io::Result<(usize, usize)> {
    let [a, b, c, d, e, f, g, h] = head;
    let message = u32::from_le_bytes([a, b, c, d]) as usize;
    let bytes = u32::from_le_bytes([e, f, g, h]) as usize;
    let max_bytes = max_bytes.min(FRAME_MAX_BYTES);
    if message > max_bytes || bytes > max_bytes {
        return Err(too_large());
    }
    Ok((message, bytes))
}

/// The message in what follows the lengths, and the bytes.
///
/// # Errors
/// It is no such message.
pub(super) fn decode<T: DeserializeOwned>(
    mut body: Vec<u8>,
    message: usize,
) -> io::Result<(T, Bytes)> {
    let bytes = body.split_off(message.min(body.len()));
    let message = serde_json::from_slice(&body).map_err(io::Error::from)?;
    Ok((message, bytes.into()))
}

fn too_large() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "a message is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_is_read_as_it_was_written() {
        let frame = encode(&("a", 1), 3).unwrap();
        let (head, json) = frame.split_at(HEAD_BYTES);
        let (message, bytes) = lengths(head.try_into().unwrap(), 100).unwrap();
        assert_eq!((message, bytes), (json.len(), 3));
        let mut body = json.to_vec();
        body.extend_from_slice(b"xyz");
        let read: ((String, u32), Bytes) = decode(body, message).unwrap();
        assert_eq!(read, (("a".to_owned(), 1), Bytes::from_static(b"xyz")));
    }

    #[test]
    fn hostile_frames_are_refused() {
        for head in [
            [0xff; HEAD_BYTES],
            [101, 0, 0, 0, 0, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 1],
        ] {
            assert!(lengths(head, 100).is_err(), "{head:?}");
        }
        assert!(decode::<u32>(b"garbage".to_vec(), 7).is_err());
        assert!(decode::<u32>(Vec::new(), 9).is_err());
    }
}
