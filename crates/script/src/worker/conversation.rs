//! The side of the unit while a worker runs one script.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use personium_types::{Clock, ScriptLimits};

use super::connection::Connection;
use super::message::{Answer, SentBody, UnitMessage, WorkerMessage};
use crate::failure::ScriptFailure;
use crate::host::{ByteStream, HostError, HostErrorKind, HostRequest, RequestBody, ScriptHost};
use crate::output::{LocalSink, ResponseSink};
use crate::stream_table::{INPUT, STREAMS_MAX};
use crate::written_value::WrittenCall;

/// The largest part of a stream that is sent at once, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// One run of a script in a worker. It trusts the worker with nothing: what the script may do is what the host permits.
pub(super) struct Conversation {
    host: Arc<dyn ScriptHost>,
    clock: Arc<dyn Clock>,
    limits: ScriptLimits,
    deadline: Instant,
    streams: HashMap<u32, PrefixedStream>,
    next: u32,
    sink: LocalSink,
    calls: u32,
    written: u64,
}

/// The reaction to a message of the worker.
enum Reaction {
    Answer(Answer, Bytes),
    Nothing,
    Finished,
}

impl Conversation {
    pub(super) fn new(
        (host, input): (Arc<dyn ScriptHost>, Box<dyn ByteStream>),
        sink: LocalSink,
        limits: &ScriptLimits,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            host,
            deadline: clock.monotonic() + limits.timeout,
            clock,
            limits: *limits,
            streams: HashMap::from([(INPUT, PrefixedStream::new(Bytes::new(), Some(input)))]),
            next: INPUT + 1,
            sink,
            calls: 0,
            written: 0,
        }
    }

    /// Answers the worker until its script has ended.
    ///
    /// # Errors
    /// The worker is gone, or does what no worker does.
    pub(super) async fn hold(&mut self, worker: &mut Connection) -> io::Result<()> {
        loop {
            let (message, bytes) = worker.receive().await?;
            match self.react(message, bytes).await? {
                Reaction::Answer(answer, bytes) => {
                    worker.send(&UnitMessage::Answer(answer), &bytes).await?;
                }
                Reaction::Nothing => {}
                Reaction::Finished => return Ok(()),
            }
        }
    }

    /// Ends a script whose worker is gone.
    pub(super) async fn fail(mut self, failure: ScriptFailure) {
        self.host.ended(Some(&failure)).await;
        self.sink.end(Some(failure));
    }

    async fn react(&mut self, message: WorkerMessage, bytes: Bytes) -> io::Result<Reaction> {
        let answered = match message {
            WorkerMessage::Log { level, text } => {
                self.host.log(level, &text);
                return Ok(Reaction::Nothing);
            }
            WorkerMessage::Close { stream } => {
                self.streams.remove(&stream);
                return Ok(Reaction::Nothing);
            }
            WorkerMessage::Whole(head) => {
                self.count(&bytes)?;
                self.sink.whole(head, bytes);
                return Ok(Reaction::Nothing);
            }
            WorkerMessage::Finished { failure } => {
                self.sink.end(failure);
                return Ok(Reaction::Finished);
            }
            WorkerMessage::Ended { failure } => {
                // The rest of the request is drained while the response is not complete: some clients do not send on after that.
                self.streams.clear();
                self.host.ended(failure.as_ref()).await;
                Ok((Answer::Done, Bytes::new()))
            }
            WorkerMessage::Next { stream } => self.next_chunk(stream).await,
            WorkerMessage::Begin(head) => done(self.sink.begin(head).await),
            WorkerMessage::Chunk => {
                self.count(&bytes)?;
                let left = self.left();
                let sent = self.sink.chunk(bytes);
                done(within(left, sent).await)
            }
            WorkerMessage::Uuid => Ok((Answer::Text(Some(self.host.uuid())), Bytes::new())),
            WorkerMessage::Mail(mail) => {
                self.calls = self.calls.saturating_add(1);
                done(within(self.left(), self.host.send_mail(mail)).await)
            }
            WorkerMessage::Extension(call) => self.call_extension(call).await,
            WorkerMessage::Source { name } => {
                let source = within(self.left(), self.host.read_source(&name)).await;
                source.map(|text| (Answer::Text(text), Bytes::new()))
            }
            WorkerMessage::Token { cell_url } => {
                let token = within(self.left(), self.host.service_token(&cell_url)).await;
                token.map(|token| (Answer::Text(Some(token)), Bytes::new()))
            }
            WorkerMessage::Send {
                method,
                url,
                headers,
                token,
                body,
            } => {
                let body = self.body_of(body, bytes);
                let request = HostRequest {
                    method,
                    url,
                    headers,
                    token,
                    body,
                };
                self.send(request).await
            }
            WorkerMessage::Ready | WorkerMessage::Started => return Err(unexpected()),
        };
        Ok(match answered {
            Ok((answer, bytes)) => Reaction::Answer(answer, bytes),
            Err(error) => Reaction::Answer(Answer::Failed(error), Bytes::new()),
        })
    }

    /// The time that the script has left.
    fn left(&self) -> std::time::Duration {
        let now = self.clock.monotonic();
        self.deadline.saturating_duration_since(now)
    }

    /// Counts bytes of the response. The worker does so too.
    fn count(&mut self, bytes: &Bytes) -> io::Result<()> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > self.limits.output_max_bytes {
            return Err(unexpected());
        }
        Ok(())
    }

    fn body_of(&mut self, body: SentBody, bytes: Bytes) -> RequestBody {
        match body {
            SentBody::Whole => RequestBody::Bytes(bytes),
            SentBody::Stream(number) => {
                let rest = number.and_then(|number| self.streams.remove(&number));
                let rest = rest.map(|stream| Box::new(stream) as Box<dyn ByteStream>);
                RequestBody::Stream(Box::new(PrefixedStream::new(bytes, rest)))
            }
        }
    }

    async fn next_chunk(&mut self, number: u32) -> Result<(Answer, Bytes), HostError> {
        let left = self.left();
        let Some(stream) = self.streams.get_mut(&number) else {
            return Ok((Answer::End, Bytes::new()));
        };
        match within(left, stream.next()).await? {
            Some(mut chunk) => {
                if chunk.len() > CHUNK_BYTES {
                    stream.prefix = chunk.split_off(CHUNK_BYTES);
                }
                Ok((Answer::Chunk, chunk))
            }
            None => {
                self.streams.remove(&number);
                Ok((Answer::End, Bytes::new()))
            }
        }
    }

    async fn call_extension(&mut self, call: WrittenCall) -> Result<(Answer, Bytes), HostError> {
        self.calls = self.calls.saturating_add(1);
        if self.calls > self.limits.calls_max {
            return Err(HostError::new(HostErrorKind::Limit, "too many requests"));
        }
        let called = self.host.call_extension(call.read()?);
        let value = within(self.left(), called).await?;
        Ok((Answer::Value(value.into()), Bytes::new()))
    }

    async fn send(&mut self, request: HostRequest) -> Result<(Answer, Bytes), HostError> {
        self.calls = self.calls.saturating_add(1);
        if self.calls > self.limits.calls_max || self.streams.len() >= STREAMS_MAX {
            return Err(HostError::new(HostErrorKind::Limit, "too many requests"));
        }
        let response = within(self.left(), self.host.send(request)).await?;
        let stream = self.next;
        self.next += 1;
        let body = PrefixedStream::new(Bytes::new(), Some(response.body));
        self.streams.insert(stream, body);
        let answer = Answer::Response {
            status: response.status,
            headers: response.headers,
            stream,
        };
        Ok((answer, Bytes::new()))
    }
}

fn unexpected() -> io::Error {
    io::Error::other("the worker does what no worker does")
}

fn done(outcome: Result<(), HostError>) -> Result<(Answer, Bytes), HostError> {
    outcome.map(|()| (Answer::Done, Bytes::new()))
}

/// Waits for the host as long as the script has time left.
async fn within<T>(
    left: std::time::Duration,
    outcome: impl Future<Output = Result<T, HostError>>,
) -> Result<T, HostError> {
    let over = |_| HostError::new(HostErrorKind::Timeout, "Script TimeOut");
    tokio::time::timeout(left, outcome).await.map_err(over)?
}

/// Bytes that were read already, and the rest of their stream.
struct PrefixedStream {
    prefix: Bytes,
    rest: Option<Box<dyn ByteStream>>,
}

impl PrefixedStream {
    fn new(prefix: Bytes, rest: Option<Box<dyn ByteStream>>) -> Self {
        Self { prefix, rest }
    }
}

#[async_trait]
impl ByteStream for PrefixedStream {
    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        if !self.prefix.is_empty() {
            return Ok(Some(std::mem::take(&mut self.prefix)));
        }
        match &mut self.rest {
            Some(rest) => rest.next().await,
            None => Ok(None),
        }
    }
}
