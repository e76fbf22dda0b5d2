//! Bodies of requests and answers.

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use personium_model::{BlobReader, MemoryBudget, Reservation};
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

/// A body that is made while it is sent. If the stream fails, the connection breaks off.
#[must_use]
pub fn of_stream(pieces: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// Bytes of a streamed body that are read or made at once.
pub const CHUNK_BYTES: usize = 256 << 10;

/// `length` bytes of a stored body from `first`, each piece read when the one before it was taken.
#[must_use]
pub fn of_blob(reader: Box<dyn BlobReader>, first: u64, length: u64) -> Body {
    let pieces =
        futures_util::stream::try_unfold((reader, 0), move |(mut reader, sent)| async move {
            let max = usize::try_from(length - sent)
                .unwrap_or(CHUNK_BYTES)
                .min(CHUNK_BYTES);
            if max == 0 {
                return Ok(None);
            }
            let piece = read_piece(&mut *reader, first + sent, max).await?;
            let sent = sent + piece.len() as u64;
            Ok(Some((piece, (reader, sent))))
        });
    of_stream(pieces)
}

async fn read_piece(
    reader: &mut dyn BlobReader,
    offset: u64,
    max: usize,
) -> Result<Bytes, BoxError> {
    let piece = reader.read_at(offset, max).await?;
    if piece.len() == max {
        Ok(piece)
    } else {
        Err("the stored body is shorter than it was".into())
    }
}

/// Bytes of a body that take no reservation of the budget for bodies.
const SMALL: usize = 16 << 10;

/// A body and the reservation of the budget that it takes.
struct Held(
    Bytes,
    #[allow(dead_code, reason = "releases the reservation when it is dropped")] Reservation,
);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Reads a whole body of at most `limit` bytes. As long as the result lives, it takes a reservation of the budget, unless it is small.
///
/// # Errors
/// 413 if it is longer, 408 if the client sent it too slowly, 400 if it broke off, 503 if there is no budget for it.
pub async fn read_within(body: Body, limit: usize, budget: &MemoryBudget) -> Result<Bytes> {
    let mut reservation = Reservation::default();
    let take = |bytes| match bytes {
        0..=SMALL => Ok(()),
        _ => budget.grow(&mut reservation, bytes),
    };
    let bytes = read(body, limit, take).await?;
    Ok(if bytes.len() > SMALL {
        Bytes::from_owner(Held(bytes, reservation))
    } else {
        bytes
    })
}

/// Reads a whole body of at most `limit` bytes, which is small.
///
/// # Errors
/// As [`read_within`].
pub async fn read_all(body: Body, limit: usize) -> Result<Bytes> {
    read(body, limit, |_| Ok(())).await
}

/// `take` is asked for the bytes of the body so far, before they are kept.
async fn read(
    mut body: Body,
    limit: usize,
    mut take: impl FnMut(usize) -> Result<()>,
) -> Result<Bytes> {
    let too_large = || Error::new(Code::BodyTooLarge).with(limit.to_string());
    if http_body::Body::size_hint(&body).lower() > limit as u64 {
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Error::new(Code::RequestTimeout).with_source(e))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if so_far + data.len() > limit {
            return Err(too_large());
        }
        take(so_far + data.len())?;
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
