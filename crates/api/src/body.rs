//! Bodies of requests and responses.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use personium_model::answer_memory::UNCOUNTED_ANSWER_BYTES;
use personium_model::records::store_error;
use personium_model::temp_file::TempFile;
use personium_model::temp_folder::TempFolder;
use personium_model::{
    AnswerReservation, AnswerShare, BlobReader, MemoryBudget, Reservation, Unit,
};
use personium_types::{Code, Error, Result};

/// The reason why a body could not be read or written completely.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A streamed body.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// No body.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is in memory.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that is produced while it is sent. If the stream fails, the connection is closed.
#[must_use]
pub fn of_stream(chunks: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Body {
    StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

/// A body that is in memory in parts.
struct Parts {
    parts: VecDeque<Bytes>,
    left_bytes: u64,
}

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = self.parts.pop_front();
        if let Some(part) = &next {
            self.left_bytes -= part.len() as u64;
        }
        Poll::Ready(next.map(|part| Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}

/// A body that is in memory in parts, none of them empty.
pub fn of_parts(parts: VecDeque<Bytes>) -> Body {
    let left_bytes = parts.iter().map(|part| part.len() as u64).sum();
    Parts { parts, left_bytes }.boxed_unsync()
}

/// The size of the chunks in which streamed bodies are produced.
pub const CHUNK_BYTES: usize = 256 << 10;

/// The size of the chunks in which streamed bodies are produced when there is no answer memory for larger ones.
pub const SMALL_CHUNK_BYTES: usize = UNCOUNTED_ANSWER_BYTES;

/// `length` bytes of a stored body from `first` on. The first chunk is read at once, each other one when the one before it
/// was sent.
///
/// # Errors
/// A failure of the store while the first chunk is read: damage in it is found before the head of the response is sent.
pub async fn of_blob(
    reader: Box<dyn BlobReader>,
    first: u64,
    length: u64,
    memory: AnswerShare,
) -> Result<Body> {
    let mut chunks = BlobChunks {
        reader,
        offset: first,
        left: length,
        memory,
    };
    let begin = chunks.next().await?;
    let chunks = futures_util::stream::try_unfold(
        (chunks, Some(begin)),
        move |(mut chunks, begin)| async move {
            let chunk = match begin {
                Some(chunk) => chunk,
                None => chunks.next().await?,
            };
            Ok((!chunk.is_empty()).then_some((chunk, (chunks, None))))
        },
    );
    Ok(of_stream(chunks))
}

/// The chunks of a stored body.
struct BlobChunks {
    reader: Box<dyn BlobReader>,
    /// The position of the next chunk in the stored body.
    offset: u64,
    /// The bytes that are still to be sent.
    left: u64,
    memory: AnswerShare,
}

impl BlobChunks {
    /// Reads the next chunk; an empty one after the last.
    async fn next(&mut self) -> Result<Bytes> {
        let length = usize::try_from(self.left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        let mut reservation = self.memory.reservation();
        let length = match reservation.hold(length) {
            Ok(()) => length,
            Err(_) => SMALL_CHUNK_BYTES,
        };
        let chunk = next_blob_chunk(&mut *self.reader, self.offset, length).await?;
        self.offset += length as u64;
        self.left -= length as u64;
        Ok(held(chunk, reservation))
    }
}

/// Reads the next `length` bytes of a stored body.
async fn next_blob_chunk(reader: &mut dyn BlobReader, offset: u64, length: usize) -> Result<Bytes> {
    let chunk = reader.read_at(offset, length).await.map_err(store_error)?;
    if chunk.len() == length {
        Ok(chunk)
    } else {
        let text = "the stored body is shorter than recorded";
        Err(Error::new(Code::DavContent).with_source(text))
    }
}

/// The largest body in bytes that needs no reservation of body memory.
const MAX_UNRESERVED_BYTES: usize = 16 << 10;

/// A body with its reservation of body memory.
struct ReservedBytes {
    bytes: Bytes,
    #[expect(dead_code, reason = "releases the memory when it is dropped")]
    reservation: Reservation,
}

impl AsRef<[u8]> for ReservedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes of an answer with the memory that is reserved for them.
struct HeldBytes {
    bytes: Bytes,
    #[expect(dead_code, reason = "releases the memory when it is dropped")]
    memory: AnswerReservation,
}

impl AsRef<[u8]> for HeldBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes of an answer that keep their memory reserved as long as they live.
pub fn held(bytes: Bytes, memory: AnswerReservation) -> Bytes {
    match memory.is_counted() {
        true => Bytes::from_owner(HeldBytes { bytes, memory }),
        false => bytes,
    }
}

/// The same body, whose first bytes keep the memory reserved.
pub fn holding(body: Body, memory: AnswerReservation) -> Body {
    let mut memory = Some(memory);
    body.map_frame(move |frame| match frame.into_data() {
        Ok(bytes) => Frame::data(match memory.take() {
            Some(memory) => held(bytes, memory),
            None => bytes,
        }),
        Err(other) => other,
    })
    .boxed_unsync()
}

/// The memory for bodies of requests that are read as a whole.
#[derive(Clone, Copy)]
pub struct BodyMemory<'u> {
    /// The memory for all of them.
    all: &'u MemoryBudget,
    /// The part of it for those that arrive.
    arriving: &'u MemoryBudget,
    /// The folder for the files of those that arrive while that part is used up.
    folder: &'u TempFolder,
}

impl<'u> BodyMemory<'u> {
    /// That of a unit.
    #[must_use]
    pub fn of(unit: &'u Unit) -> Self {
        let limits = unit.limits();
        Self {
            all: &limits.body_memory,
            arriving: &limits.arriving_bodies,
            folder: &unit.settings().archives.temp_dir,
        }
    }
}

/// Reads a whole body of a request. Unless it is small, the result reserves body memory as long as it lives.
///
/// Bodies that arrive may use a half of the memory. A body for which nothing of it is left is received in a file, and needs
/// memory only when it is complete: slow clients, however many, do not keep others waiting.
///
/// # Errors
/// [`Code::BodyTooLarge`] if it has more than `max_bytes`, as [`MemoryBudget::reserve`], or as [`next_chunk`].
pub async fn read_within(
    mut body: Body,
    max_bytes: usize,
    memory: BodyMemory<'_>,
) -> Result<Bytes> {
    let announced = announced_within(&body, max_bytes)?;
    let (mut reservation, mut arriving) = (Reservation::default(), Reservation::default());
    let mut received = ReceivedChunks::default();
    while let Some(chunk) = next_chunk(&mut body).await? {
        let length = received.len() + chunk.len();
        if length > max_bytes {
            return Err(too_large(max_bytes));
        }
        let fits = length <= MAX_UNRESERVED_BYTES
            || memory.arriving.grow(&mut arriving, length).is_ok()
                && memory.all.grow(&mut reservation, length).is_ok();
        if !fits {
            let mut file = TempFile::create(memory.folder).await?;
            file.append(received.finish()).await?;
            file.append(chunk).await?;
            drop((reservation, arriving));
            return read_in_file(file, body, max_bytes, memory).await;
        }
        received.push(chunk, announced);
    }
    let bytes = received.finish();
    Ok(if bytes.len() > MAX_UNRESERVED_BYTES {
        Bytes::from_owner(ReservedBytes { bytes, reservation })
    } else {
        bytes
    })
}

/// Receives the rest of a body in the file that has its begin, then reads the file.
async fn read_in_file(
    mut file: TempFile,
    mut body: Body,
    max_bytes: usize,
    memory: BodyMemory<'_>,
) -> Result<Bytes> {
    let length = |file: &TempFile| usize::try_from(file.length()).unwrap_or(usize::MAX);
    while let Some(chunk) = next_chunk(&mut body).await? {
        let length = length(&file).saturating_add(chunk.len());
        if length > max_bytes {
            return Err(too_large(max_bytes));
        }
        if !memory.all.can_hold(length) {
            return Err(Code::ServerBusy.into());
        }
        file.append(chunk).await?;
    }
    let reservation = memory.all.reserve(length(&file)).await?;
    let bytes = file.read().await?;
    Ok(Bytes::from_owner(ReservedBytes { bytes, reservation }))
}

/// A body that is in memory, with the reservation of that memory.
pub fn reserved(bytes: Bytes, reservation: Reservation) -> Body {
    full(Bytes::from_owner(ReservedBytes { bytes, reservation }))
}

/// Reads a whole body for an answer, whose memory is reserved as long as the result lives.
///
/// # Errors
/// [`Code::BodyTooLarge`] if it has more than `max_bytes`, as [`AnswerReservation::hold`], or as [`next_chunk`].
pub async fn read_for_answer(body: Body, max_bytes: usize, memory: &AnswerShare) -> Result<Bytes> {
    let mut memory = memory.reservation();
    let mut counted = 0;
    let reserve = |bytes| {
        let more = bytes - counted;
        counted = bytes;
        memory.hold(more)
    };
    let bytes = read(body, max_bytes, reserve).await?;
    Ok(held(bytes, memory))
}

/// Reads a whole body without a reservation of memory.
///
/// # Errors
/// [`Code::BodyTooLarge`] if it has more than `max_bytes`, or as [`next_chunk`].
pub async fn read_all(body: Body, max_bytes: usize) -> Result<Bytes> {
    read(body, max_bytes, |_| Ok(())).await
}

/// `reserve` is called with the length of the body so far, before each chunk is added.
async fn read(
    mut body: Body,
    max_bytes: usize,
    mut reserve: impl FnMut(usize) -> Result<()>,
) -> Result<Bytes> {
    let announced = announced_within(&body, max_bytes)?;
    let mut received = ReceivedChunks::default();
    while let Some(chunk) = next_chunk(&mut body).await? {
        let length = received.len() + chunk.len();
        if length > max_bytes {
            return Err(too_large(max_bytes));
        }
        reserve(length)?;
        received.push(chunk, announced);
    }
    Ok(received.finish())
}

fn too_large(max_bytes: usize) -> Error {
    Error::new(Code::BodyTooLarge).with(max_bytes.to_string())
}

/// The length that a body will have at least.
fn announced_within(body: &Body, max_bytes: usize) -> Result<usize> {
    let announced = http_body::Body::size_hint(body).lower();
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    if announced > max_bytes {
        return Err(too_large(max_bytes));
    }
    Ok(announced)
}

/// The chunks of a body so far. A single one is not copied.
#[derive(Default)]
struct ReceivedChunks {
    first: Option<Bytes>,
    whole: BytesMut,
}

impl ReceivedChunks {
    fn len(&self) -> usize {
        self.first.as_ref().map_or(self.whole.len(), Bytes::len)
    }

    /// Adds a chunk of a body that will have at least the announced length.
    fn push(&mut self, chunk: Bytes, announced: usize) {
        let length = self.len() + chunk.len();
        if self.first.is_none() && self.whole.is_empty() {
            self.first = Some(chunk);
            return;
        }
        // A second chunk: from here on there is one buffer, of the announced length, so that it need not grow.
        if let Some(first) = self.first.take() {
            self.whole.reserve(announced.max(length));
            self.whole.extend_from_slice(&first);
        }
        self.whole.extend_from_slice(&chunk);
    }

    fn finish(self) -> Bytes {
        self.first.unwrap_or_else(|| self.whole.freeze())
    }
}

/// Reads the next chunk of a body; `None` after its end.
///
/// # Errors
/// [`Code::RequestTimeout`] if it did not come in time, [`Code::BodyIncomplete`] if the body ended too early.
pub async fn next_chunk(body: &mut Body) -> Result<Option<Bytes>> {
    while let Some(frame) = body.frame().await {
        // Other frames are trailers.
        if let Ok(chunk) = frame.map_err(receive_error)?.into_data() {
            return Ok(Some(chunk));
        }
    }
    Ok(None)
}

fn receive_error(error: BoxError) -> Error {
    let code = match is_timeout(&*error) {
        true => Code::RequestTimeout,
        false => Code::BodyIncomplete,
    };
    Error::new(code).with_source(error)
}

/// Whether a time-out is the error or one of its sources.
fn is_timeout(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn code_of(error: BoxError) -> Code {
        let chunks = vec![Ok(Bytes::from_static(b"begin")), Err(error)];
        let body = of_stream(futures_util::stream::iter(chunks));
        read_all(body, 100).await.unwrap_err().code()
    }

    #[tokio::test]
    async fn broken_connection_is_not_reported_as_timeout() {
        let late = || io::Error::new(io::ErrorKind::TimedOut, "late");
        assert_eq!(code_of(late().into()).await, Code::RequestTimeout);
        let wrapped = Error::internal(late());
        assert_eq!(code_of(wrapped.into()).await, Code::RequestTimeout);
        let reset = io::Error::from(io::ErrorKind::ConnectionReset);
        assert_eq!(code_of(reset.into()).await, Code::BodyIncomplete);
        assert_eq!(code_of("gone".into()).await, Code::BodyIncomplete);
    }
}
