//! The unit as a script in a worker reaches it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use personium_types::ExtensionValue;

use super::link::{Link, unexpected};
use super::message::{Answer, SentBody, WorkerMessage};
use crate::failure::ScriptFailure;
use crate::host::{
    ByteStream, ExtensionCall, HostError, HostRequest, HostResponse, LogLevel, Mail, RequestBody,
    ScriptHost,
};
use crate::output::{ResponseHead, ResponseSink};

/// The unit at the other end of the socket. Its functions block the thread.
pub(super) struct RemoteHost(pub(super) Arc<Link>);

/// A stream that the unit reads.
pub(super) struct RemoteStream {
    link: Arc<Link>,
    /// Its number; `None` when it has ended or was handed back.
    number: Option<u32>,
}

/// The way of the response to the unit.
pub(super) struct RemoteSink(pub(super) Arc<Link>);

impl RemoteStream {
    pub(super) fn new(link: &Arc<Link>, number: u32) -> Self {
        Self {
            link: Arc::clone(link),
            number: Some(number),
        }
    }
}

impl Drop for RemoteStream {
    fn drop(&mut self) {
        if let Some(stream) = self.number {
            // If the unit is gone, so is the stream.
            let _ = self.link.tell(&WorkerMessage::Close { stream }, &[]);
        }
    }
}

#[async_trait]
impl ByteStream for RemoteStream {
    async fn next(&mut self) -> Result<Option<Bytes>, HostError> {
        let Some(stream) = self.number else {
            return Ok(None);
        };
        match self.link.ask(&WorkerMessage::Next { stream }, &[])? {
            (Answer::Chunk, bytes) => Ok(Some(bytes)),
            (Answer::End, _) => {
                self.number = None;
                Ok(None)
            }
            _ => Err(unexpected()),
        }
    }

    fn hand_back(&mut self) -> Option<(Bytes, Option<u32>)> {
        Some((Bytes::new(), self.number.take()))
    }
}

#[async_trait]
impl ScriptHost for RemoteHost {
    async fn send(&self, request: HostRequest) -> Result<HostResponse, HostError> {
        let (body, bytes) = match request.body {
            RequestBody::Bytes(bytes) => (SentBody::Whole, bytes),
            RequestBody::Stream(mut stream) => {
                let (bytes, number) = stream.hand_back().ok_or_else(unexpected)?;
                (SentBody::Stream(number), bytes)
            }
        };
        let message = WorkerMessage::Send {
            method: request.method,
            url: request.url,
            headers: request.headers,
            token: request.token,
            body,
        };
        match self.0.ask(&message, &bytes)? {
            (
                Answer::Response {
                    status,
                    headers,
                    stream,
                },
                _,
            ) => Ok(HostResponse {
                status,
                headers,
                body: Box::new(RemoteStream::new(&self.0, stream)),
            }),
            _ => Err(unexpected()),
        }
    }

    async fn read_source(&self, name: &str) -> Result<Option<String>, HostError> {
        let name = name.to_owned();
        match self.0.ask(&WorkerMessage::Source { name }, &[])? {
            (Answer::Text(text), _) => Ok(text),
            _ => Err(unexpected()),
        }
    }

    async fn service_token(&self, cell_url: &str) -> Result<String, HostError> {
        let cell_url = cell_url.to_owned();
        match self.0.ask(&WorkerMessage::Token { cell_url }, &[])? {
            (Answer::Text(Some(token)), _) => Ok(token),
            _ => Err(unexpected()),
        }
    }

    async fn send_mail(&self, mail: Mail) -> Result<(), HostError> {
        self.0.ask(&WorkerMessage::Mail(mail), &[]).map(drop)
    }

    async fn call_extension(&self, call: ExtensionCall) -> Result<ExtensionValue, HostError> {
        match self.0.ask(&WorkerMessage::Extension(call.into()), &[])? {
            (Answer::Value(value), _) => value.read(),
            _ => Err(unexpected()),
        }
    }

    fn log(&self, level: LogLevel, text: &str) {
        let text = text.to_owned();
        // A unit that is gone has no log.
        let _ = self.0.tell(&WorkerMessage::Log { level, text }, &[]);
    }

    async fn ended(&self, failure: Option<&ScriptFailure>) {
        let failure = failure.cloned();
        // A unit that is gone has no log.
        let _ = self.0.ask(&WorkerMessage::Ended { failure }, &[]);
    }

    fn uuid(&self) -> String {
        match self.0.ask(&WorkerMessage::Uuid, &[]) {
            Ok((Answer::Text(Some(uuid)), _)) => uuid,
            _ => String::new(),
        }
    }
}

#[async_trait]
impl ResponseSink for RemoteSink {
    fn whole(&mut self, head: ResponseHead, body: Bytes) {
        // If the unit is gone, nobody waits for the response.
        let _ = self.0.tell(&WorkerMessage::Whole(head), &body);
    }

    async fn begin(&mut self, head: ResponseHead) -> Result<(), HostError> {
        self.0.ask(&WorkerMessage::Begin(head), &[]).map(drop)
    }

    async fn chunk(&mut self, bytes: Bytes) -> Result<(), HostError> {
        self.0.ask(&WorkerMessage::Chunk, &bytes).map(drop)
    }

    fn end(&mut self, failure: Option<ScriptFailure>) {
        let _ = self.0.tell(&WorkerMessage::Finished { failure }, &[]);
    }
}
