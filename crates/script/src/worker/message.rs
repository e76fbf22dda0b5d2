//! The messages between the unit and a worker.

use serde::{Deserialize, Serialize};

use crate::failure::ScriptFailure;
use crate::host::{HostError, LogLevel, Mail, TokenKind};
use crate::output::ResponseHead;
use crate::written_value::{WrittenCall, WrittenValue};

/// The limits that the worker itself watches.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WorkerLimits {
    pub(super) timeout_ms: u64,
    pub(super) memory_max_bytes: usize,
    pub(super) stack_max_bytes: usize,
    pub(super) output_max_bytes: u64,
    pub(super) calls_max: u32,
}

/// A message of the unit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum UnitMessage {
    /// The first message.
    Setup(WorkerLimits),
    /// Run a script; the bytes are its source.
    Run {
        file: String,
        /// JSON.
        context: String,
        /// JSON.
        request: String,
        timeout_ms: u64,
    },
    /// The answer to a question.
    Answer(Answer),
}

/// The answer to a question of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// It is done.
    Done,
    /// The bytes are the next ones of a stream.
    Chunk,
    /// The stream has ended.
    End,
    /// A text, or none.
    Text(Option<String>),
    /// The response to a request.
    Response {
        status: u16,
        headers: Vec<(String, String)>,
        stream: u32,
    },
    /// The result of an extension.
    Value(WrittenValue),
    /// It failed.
    Failed(HostError),
}

/// A message of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum WorkerMessage {
    /// It is isolated and waits for a script.
    Ready,
    /// It has received the script and begins it.
    Started,
    /// A request of the script. The bytes are the body, or its beginning.
    Send {
        method: String,
        url: String,
        headers: Vec<(String, String)>,
        token: TokenKind,
        body: SentBody,
    },
    /// The next bytes of a stream are wanted.
    Next { stream: u32 },
    /// A stream is not wanted any more. No answer.
    Close { stream: u32 },
    /// The source of a module is wanted.
    Source { name: String },
    /// A token of the service subject for a cell is wanted.
    Token { cell_url: String },
    /// A mail is to be sent.
    Mail(Mail),
    /// A method of an extension is to be called.
    Extension(WrittenCall),
    /// A random UUID is wanted.
    Uuid,
    /// A line of the log. No answer.
    Log { level: LogLevel, text: String },
    /// The script has ended.
    Ended { failure: Option<ScriptFailure> },
    /// The whole response; the bytes are its body. No answer.
    Whole(ResponseHead),
    /// The response begins.
    Begin(ResponseHead),
    /// The bytes are the next ones of the response.
    Chunk,
    /// The response ends, or fails. The worker waits for the next script. No answer.
    Finished { failure: Option<ScriptFailure> },
}

/// The body of a request of a script.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum SentBody {
    /// The bytes of the message.
    Whole,
    /// The bytes of the message, then those of a stream.
    Stream(Option<u32>),
}
