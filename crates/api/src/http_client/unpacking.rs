//! Bodies of responses that were sent compressed (RFC 9110, section 8.4).

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{StatusCode, header};

use super::fetched::{FetchError, FetchLimit, FetchedResponse};
use crate::body;

/// The bytes that are unpacked at once.
const STEP_BYTES: usize = 64 << 10;

/// The response as it was before its body was compressed with gzip or deflate, without the headers that no longer hold. Responses with
/// other codings stay, and those with a part of the content.
///
/// # Errors
/// [`FetchError::Response`] if the body is not what its header says, is larger than the limit, or has no memory.
pub fn unpacked(
    mut response: FetchedResponse,
    limit: FetchLimit<'_>,
) -> Result<FetchedResponse, FetchError> {
    let coding = response.headers.get(header::CONTENT_ENCODING);
    let coding = coding.and_then(|value| value.to_str().ok()).map(str::trim);
    let packed = response.body.clone();
    let mut decoder: Box<dyn Read + '_> = match coding.map(str::to_ascii_lowercase).as_deref() {
        // A part of what was compressed cannot be unpacked.
        _ if packed.is_empty() || response.status == StatusCode::PARTIAL_CONTENT => {
            return Ok(response);
        }
        Some("gzip" | "x-gzip") => Box::new(MultiGzDecoder::new(&*packed)),
        Some("deflate") if is_zlib(&packed) => Box::new(ZlibDecoder::new(&*packed)),
        Some("deflate") => Box::new(DeflateDecoder::new(&*packed)),
        _ => return Ok(response),
    };
    let broken = |error: io::Error| FetchError::Response(error.into());
    let mut memory = limit.memory.map(personium_model::AnswerShare::reservation);
    let mut content = Vec::new();
    let mut step = vec![0; STEP_BYTES];
    loop {
        let length = decoder.read(&mut step).map_err(broken)?;
        let Some(bytes) = step.get(..length).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        if content.len() + length > limit.max_bytes {
            return Err(FetchError::Response(
                "the unpacked body is too large".into(),
            ));
        }
        if let Some(memory) = &mut memory {
            let held = memory.hold(length);
            held.map_err(|error| FetchError::Response(error.into()))?;
        }
        content.extend_from_slice(bytes);
    }
    drop(decoder);
    for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
        response.headers.remove(name);
    }
    response.headers.remove("content-md5");
    let content = Bytes::from(content);
    response.body = match memory {
        Some(memory) => body::held(content, memory),
        None => content,
    };
    Ok(response)
}

/// Whether bytes begin like a zlib stream (RFC 1950): some servers leave that away.
fn is_zlib(bytes: &[u8]) -> bool {
    match bytes {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]) % 31 == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn unpack(
        coding: &'static str,
        packed: &[u8],
        max_bytes: usize,
    ) -> Result<FetchedResponse, FetchError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        headers.insert(header::CONTENT_LENGTH, packed.len().into());
        let response = FetchedResponse {
            status: StatusCode::OK,
            headers,
            body: Bytes::copy_from_slice(packed),
        };
        let memory = None;
        unpacked(response, FetchLimit { max_bytes, memory })
    }

    #[test]
    fn compressed_bodies_are_unpacked_within_the_limit() {
        let text = b"text ".repeat(1000);
        let (mut gzip, mut zlib, mut raw) = (
            GzEncoder::new(Vec::new(), Compression::fast()),
            ZlibEncoder::new(Vec::new(), Compression::fast()),
            DeflateEncoder::new(Vec::new(), Compression::fast()),
        );
        gzip.write_all(&text).unwrap();
        zlib.write_all(&text).unwrap();
        raw.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        for (coding, packed) in [
            ("gzip", &gzip),
            ("X-GZip", &gzip),
            ("deflate", &zlib.finish().unwrap()),
            ("deflate", &raw.finish().unwrap()),
        ] {
            let response = unpack(coding, packed, 5000).unwrap();
            assert_eq!(response.body, text, "{coding}");
            assert!(response.headers.is_empty(), "{coding}");
            assert!(unpack(coding, packed, 4999).is_err(), "{coding}");
        }
        assert!(unpack("gzip", &gzip[..gzip.len() - 9], 5000).is_err());
        assert!(unpack("gzip", b"text", 5000).is_err());
        for (coding, packed) in [("br", b"text".as_slice()), ("gzip", b"")] {
            let response = unpack(coding, packed, 5000).unwrap();
            assert_eq!(
                (response.body, response.headers.len()),
                (Bytes::copy_from_slice(packed), 2)
            );
        }
    }
}
