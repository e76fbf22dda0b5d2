//! Bounds on what a server may send: size and nesting of each message, and the size of all. The library that reads them has none.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest message in bytes.
const MAX_MESSAGE_BYTES: usize = 64 << 10;
/// The largest size of all messages of a login in bytes.
const MAX_TOTAL_BYTES: usize = 256 << 10;
/// The deepest nesting of elements. Answers to binds and searches have 7.
const MAX_DEPTH: u32 = 12;

/// The bit of a tag that says that the element consists of elements.
const CONSTRUCTED: u8 = 0x20;
/// The bits of a tag that are all set if its number is in the following bytes.
const LONG_TAG: u8 = 0x1f;
/// The bit of a length that says that the length is in the following bytes.
const LONG_LENGTH: u8 = 0x80;
/// The tag of a message, a sequence.
const MESSAGE: u8 = 0x30;

/// Copies whole messages until the end.
///
/// # Errors
/// An error of reading or writing; [`io::ErrorKind::InvalidData`] for what exceeds a bound or is no message.
pub(crate) async fn copy_messages(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut total = 0;
    while let Some(message) = read_message(from).await? {
        total += message.len();
        if total > MAX_TOTAL_BYTES {
            return Err(invalid("the directory sends too much"));
        }
        to.write_all(&message).await?;
    }
    Ok(())
}

/// Reads a whole message; `None` at the end.
///
/// # Errors
/// As [`copy_messages`].
pub(crate) async fn read_message(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<Vec<u8>>> {
    let mut message = vec![0];
    if from.read(&mut message).await? == 0 {
        return Ok(None);
    }
    loop {
        match element(&message) {
            Parsed::Invalid => return Err(invalid("the directory sends no LDAP message")),
            Parsed::Incomplete => message.push(from.read_u8().await?),
            Parsed::Element {
                tag,
                header,
                length,
            } => {
                if tag != MESSAGE || length > MAX_MESSAGE_BYTES {
                    return Err(invalid("the directory sends a message that is too long"));
                }
                message.resize(header + length, 0);
                let content = message.get_mut(header..).unwrap_or_default();
                from.read_exact(content).await?;
                return match is_well_formed(content, MAX_DEPTH) {
                    true => Ok(Some(message)),
                    false => Err(invalid("the directory sends a malformed message")),
                };
            }
        }
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// The beginning of an element (BER as RFC 4511 section 5.1 restricts it: definite lengths).
enum Parsed {
    Invalid,
    Incomplete,
    Element {
        tag: u8,
        /// The number of bytes before the content.
        header: usize,
        /// The number of bytes of the content.
        length: usize,
    },
}

fn element(bytes: &[u8]) -> Parsed {
    let (Some(&tag), Some(&first)) = (bytes.first(), bytes.get(1)) else {
        return Parsed::Incomplete;
    };
    if tag & LONG_TAG == LONG_TAG {
        return Parsed::Invalid;
    }
    if first & LONG_LENGTH == 0 {
        return Parsed::Element {
            tag,
            header: 2,
            length: usize::from(first),
        };
    }
    let count = usize::from(first & !LONG_LENGTH);
    if !(1..=4).contains(&count) {
        return Parsed::Invalid;
    }
    match bytes.get(2..2 + count) {
        None => Parsed::Incomplete,
        Some(digits) => Parsed::Element {
            tag,
            header: 2 + count,
            length: digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit)),
        },
    }
}

/// The elements of a content, each as its tag and its own content; `None` if they are not whole.
pub(crate) fn elements(mut content: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut found = Vec::new();
    while !content.is_empty() {
        let Parsed::Element {
            tag,
            header,
            length,
        } = element(content)
        else {
            return None;
        };
        let (whole, rest) = content.split_at_checked(header.checked_add(length)?)?;
        found.push((tag, whole.get(header..)?));
        content = rest;
    }
    Some(found)
}

/// Whether a content consists of whole elements that are nested less deep than the limit.
fn is_well_formed(content: &[u8], depth: u32) -> bool {
    let is_inner_well_formed = |(tag, inner): (u8, &[u8])| {
        tag & CONSTRUCTED == 0 || depth > 0 && is_well_formed(inner, depth - 1)
    };
    elements(content).is_some_and(|found| found.into_iter().all(is_inner_well_formed))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn copied(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let (mut from, mut out) = (bytes, Vec::new());
        copy_messages(&mut from, &mut out).await.map(|()| out)
    }

    fn sequence(content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).unwrap().to_be_bytes();
        [&[MESSAGE, 0x84], &length[..], content].concat()
    }

    #[tokio::test]
    async fn whole_messages_pass() {
        // A successful answer to a bind, and one with a long length.
        let short = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
        let long = sequence(&[&b"\x02\x01\x01\x04\x82\x10\x00"[..], &[b'x'; 4096]].concat());
        let both = [&short[..], &long].concat();
        assert_eq!(copied(&both).await.unwrap(), both);
        assert_eq!(copied(b"").await.unwrap(), b"");
    }

    #[tokio::test]
    async fn hostile_messages_are_refused() {
        let mut nested = Vec::new();
        for _ in 0..5_000 {
            nested = sequence(&nested);
        }
        let mut deep = Vec::new();
        for _ in 0..MAX_DEPTH + 2 {
            deep = sequence(&deep);
        }
        let many: Vec<u8> = sequence(&sequence(&[0; 60_000][..0])).repeat(40_000);
        let bad: [&[u8]; 12] = [
            &nested,
            &deep,
            &many,
            &sequence(&[0x04; 70_000]),
            b"\x30\x84\xff\xff\xff\xff",
            b"\x30\x80\x00\x00",
            b"\x30\x85\x00\x00\x00\x00\x00",
            b"\x3f\x80\x01\x00",
            b"\x04\x00",
            b"\x30\x02\x04\x05",
            b"\x30\x05\x04",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
        ];
        for bytes in bad {
            let shown = bytes.get(..bytes.len().min(10)).unwrap_or_default();
            assert!(copied(bytes).await.is_err(), "{shown:x?}");
        }
    }
}
