//! The state of a script while it runs, on its thread.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use personium_types::{Clock, ExtensionValue, ScriptLimits};

use crate::compute_slots::ComputeTurn;
use crate::error_texts::{EngineError, ErrorTexts};
use crate::failure::ScriptFailure;
use crate::host::{
    ExtensionCall, HostError, HostErrorKind, HostRequest, Mail, MailAddress, RequestBody,
    ScriptHost, TokenKind,
};
use crate::output::{CHUNK_BYTES, Output};
use crate::script_stop::ScriptStop;
use crate::stream_table::{BufferedStream, StreamTable};
use crate::text_encoding;
use crate::written_value::{WrittenCall, WrittenValue};

/// The text that is evaluated before that of a script file, on its first line: the global that holds its value for a moment.
pub(crate) const MAIN_PREFIX: &str = "__personium_main = ";

/// The text that `globals.js` evaluates before that of a module, on its first line.
const MODULE_PREFIX: &str = "(function(exports){";

/// The time within which the log of a script must be stored.
const LOG_TIMEOUT: Duration = Duration::from_secs(3);

/// The texts that a script is made of.
pub(crate) struct ScriptText {
    pub(crate) file: String,
    pub(crate) source: String,
    pub(crate) context: String,
    pub(crate) request: String,
}

/// The script that runs in a context; `None` before it begins and after it has ended.
pub(crate) type ScriptSlot = Rc<RefCell<Option<RunningScript>>>;

/// A script that runs.
pub(crate) struct RunningScript {
    pub(crate) host: Arc<dyn ScriptHost>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: ScriptLimits,
    pub(crate) deadline: Instant,
    pub(crate) stop: Option<ScriptStop>,
    pub(crate) turn: ComputeTurn,
    pub(crate) streams: StreamTable,
    pub(crate) output: Output,
    /// The texts that it was made of.
    pub(crate) text: Rc<ScriptText>,
    /// The texts that were read for the messages of errors.
    pub(crate) errors: ErrorTexts,
    /// The texts of modules that were read.
    pub(crate) modules: HashMap<String, Option<String>>,
    pub(crate) calls: u32,
    /// Whether the script was stopped because its time is over.
    pub(crate) timed_out: bool,
}

impl RunningScript {
    /// Whether the script must stop. Lets other scripts compute.
    pub(crate) fn must_stop(&mut self) -> bool {
        self.turn.share();
        self.timed_out |= self.clock.monotonic() >= self.deadline;
        self.timed_out |= self.stop.as_ref().is_some_and(ScriptStop::is_set);
        self.timed_out
    }

    /// Waits for the host, at most until the script has no time left.
    ///
    /// # Errors
    /// [`HostErrorKind::Timeout`]; the failure of the host.
    pub(crate) fn wait<T>(
        &mut self,
        future: impl Future<Output = Result<T, HostError>>,
    ) -> Result<T, HostError> {
        let left = self.left();
        let Some(stop) = self.stop.clone() else {
            let waited = self.turn.wait(left, future);
            return self.outcome(waited);
        };
        let waited = self.turn.wait(left, async {
            tokio::select! {
                outcome = future => Some(outcome),
                () = ScriptStop::wait(Some(stop)) => None,
            }
        });
        self.outcome(waited.flatten())
    }

    /// The time that the script has left.
    fn left(&self) -> Duration {
        self.deadline
            .saturating_duration_since(self.clock.monotonic())
    }

    /// The result for the script: a failure if the waiting took too long.
    fn outcome<T>(&mut self, waited: Option<Result<T, HostError>>) -> Result<T, HostError> {
        waited.unwrap_or_else(|| {
            self.timed_out = true;
            Err(HostError::new(HostErrorKind::Timeout, "Script TimeOut"))
        })
    }

    /// Ends the script, with this failure if it failed. Its log is stored before its response is complete. Returns the output, and the
    /// turn, which has a slot unless the log had to be waited for.
    pub(crate) fn end(mut self, failure: Option<&ScriptFailure>) -> (Output, ComputeTurn) {
        let host = Arc::clone(&self.host);
        // What is not stored in time is lost.
        self.turn.wait_at_end(LOG_TIMEOUT, host.ended(failure));
        (self.output, self.turn)
    }

    /// The largest text or buffer that a script gets at once, in bytes.
    fn value_max_bytes(&self) -> usize {
        self.limits.memory_max_bytes / 2
    }

    /// Uses a stream.
    fn with_stream<T, F>(&mut self, handle: u32, read: F) -> Result<T, HostError>
    where
        F: AsyncFnOnce(&mut BufferedStream, usize) -> Result<T, HostError>,
    {
        let max_bytes = self.value_max_bytes();
        let mut stream = self.streams.take(handle);
        let outcome = self.wait(read(&mut stream, max_bytes));
        if outcome.is_ok() {
            self.streams.put_back(handle, stream);
        }
        outcome
    }

    pub(crate) fn read_all(&mut self, handle: u32) -> Result<Bytes, HostError> {
        self.with_stream(handle, async |stream, max| stream.read_all(max).await)
    }

    pub(crate) fn read_some(&mut self, handle: u32, bytes: usize) -> Result<Bytes, HostError> {
        self.with_stream(handle, async |stream, max| {
            stream.read(bytes.min(max)).await
        })
    }

    pub(crate) fn read_line(&mut self, handle: u32) -> Result<Option<Bytes>, HostError> {
        self.with_stream(handle, async |stream, max| stream.read_line(max).await)
    }

    /// Adds to the body of the response.
    pub(crate) fn write(&mut self, bytes: Vec<u8>) -> Result<(), HostError> {
        let Some(bytes) = self.output.write(bytes)? else {
            return Ok(());
        };
        let left = self.left();
        let sent = self.turn.wait(left, self.output.send(bytes));
        self.outcome(sent)
    }

    /// Adds a stream to the body of the response.
    pub(crate) fn pipe(&mut self, handle: u32) -> Result<(), HostError> {
        let mut stream = self.streams.take_to_send(handle)?;
        loop {
            let chunk = self.wait(stream.read(CHUNK_BYTES))?;
            if chunk.is_empty() {
                return Ok(());
            }
            self.write(chunk.into())?;
        }
    }

    /// Sends a request. The body of the response is a stream, or a text in UTF-8 if the script takes that.
    pub(crate) fn send(
        &mut self,
        head: SentHead,
        body: String,
        takes_text: bool,
    ) -> Result<Received, HostError> {
        self.count_call()?;
        let body = match head.kind.as_str() {
            "text" => RequestBody::Bytes(body.into()),
            "binary" => RequestBody::Bytes(text_encoding::from_binary_text(&body)?.into()),
            "stream" => {
                let handle = body.parse().unwrap_or(u32::MAX);
                RequestBody::Stream(Box::new(self.streams.take_to_send(handle)?))
            }
            _ => RequestBody::Bytes(Bytes::new()),
        };
        let token = match head.token.as_str() {
            "" => TokenKind::None,
            "caller" => TokenKind::Caller,
            "service" => TokenKind::Service,
            "slack" => TokenKind::Slack,
            other => match other.strip_prefix("token:") {
                Some(token) => TokenKind::Given(token.to_owned()),
                None => return Err(HostError::new(HostErrorKind::Argument, "unknown token")),
            },
        };
        let request = HostRequest {
            method: head.method,
            url: head.url,
            headers: head.headers,
            token,
            body,
        };
        let host = Arc::clone(&self.host);
        let max_bytes = self.value_max_bytes();
        let (status, headers, stream, text) = self.wait(async move {
            let response = host.send(request).await?;
            let mut stream = BufferedStream::new(response.body);
            let text = match takes_text {
                true => Some(stream.read_all(max_bytes).await?),
                false => None,
            };
            Ok((response.status, response.headers, stream, text))
        })?;
        Ok(Received {
            status,
            headers,
            body: match text {
                Some(bytes) => ReceivedBody::Text(text_encoding::decode(&bytes, "utf-8")?),
                None => ReceivedBody::Stream(self.streams.add(stream)?),
            },
        })
    }

    /// Sends a mail. It counts as a request.
    pub(crate) fn send_mail(&mut self, mail: WrittenMail) -> Result<(), HostError> {
        self.count_call()?;
        text_encoding::encoding(&mail.charset)?;
        let mail = Mail {
            text: text_encoding::encode(&mail.text, &mail.charset)?,
            from: mail.from,
            envelope_from: mail.envelope_from,
            reply_to: mail.reply_to,
            to: mail.to,
            cc: mail.cc,
            bcc: mail.bcc,
            subject: mail.subject,
            charset: mail.charset,
            headers: mail.headers,
        };
        let host = Arc::clone(&self.host);
        self.wait(async move { host.send_mail(mail).await })
    }

    /// Calls a method of an extension. It counts as a request. Bytes in the result are a stream.
    pub(crate) fn call_extension(&mut self, call: WrittenCall) -> Result<WrittenValue, HostError> {
        self.count_call()?;
        let call = ExtensionCall {
            created_with: self.extension_values(call.created_with)?,
            arguments: self.extension_values(call.arguments)?,
            extension: call.extension,
            method: call.method,
        };
        if call.size() > ExtensionValue::MAX_BYTES {
            return Err(extension_argument_too_large());
        }
        let host = Arc::clone(&self.host);
        match self.wait(async move { host.call_extension(call).await })? {
            ExtensionValue::Bytes(bytes) => {
                let handle = self.streams.add_bytes(&bytes)?;
                Ok(WrittenValue::of_stream(handle))
            }
            value => Ok(value.into()),
        }
    }

    /// The values that are written, with the content of streams.
    fn extension_values(
        &mut self,
        written: Vec<WrittenValue>,
    ) -> Result<Vec<ExtensionValue>, HostError> {
        let mut values = Vec::with_capacity(written.len());
        for value in written {
            values.push(match value.stream() {
                Some(handle) => {
                    let max = ExtensionValue::MAX_BYTES;
                    let read = async |stream: &mut BufferedStream, _| stream.read_all(max).await;
                    let read = self.with_stream(handle, read);
                    let read = read.map_err(|error| match error.kind {
                        HostErrorKind::TooLarge => extension_argument_too_large(),
                        _ => error,
                    });
                    ExtensionValue::Bytes(read?.into())
                }
                None => value.read()?,
            });
        }
        Ok(values)
    }

    /// Counts a request against the limit.
    fn count_call(&mut self) -> Result<(), HostError> {
        self.calls += 1;
        if self.calls > self.limits.calls_max {
            let text = format!("more than {} requests", self.limits.calls_max);
            return Err(HostError::new(HostErrorKind::Limit, &text));
        }
        Ok(())
    }

    /// The message of an error of the engine, as Rhino has it; `None` if it has none of its own.
    pub(crate) fn error_message(&mut self, error: EngineError) -> Option<String> {
        if let Some(known) = self.errors.known(&error) {
            return known;
        }
        let mut errors = std::mem::take(&mut self.errors);
        let file = error.file.clone();
        let message = errors.message(error, || self.text_of_file(&file));
        self.errors = errors;
        message
    }

    /// The text that the engine evaluated for the script file or for a module; `None` if there is no such file.
    fn text_of_file(&self, file: &str) -> Option<String> {
        if file == self.text.file {
            return Some(format!("{MAIN_PREFIX}{}", self.text.source));
        }
        let module = self.modules.get(file.strip_suffix(".js")?)?;
        Some(format!("{MODULE_PREFIX}{}", module.as_ref()?))
    }

    /// The source of a module; `None` if there is none.
    pub(crate) fn read_source(&mut self, name: &str) -> Result<Option<String>, HostError> {
        if let Some(known) = self.modules.get(name) {
            return Ok(known.clone());
        }
        let host = Arc::clone(&self.host);
        let owned = name.to_owned();
        let text = self.wait(async move { host.read_source(&owned).await })?;
        self.modules.insert(name.to_owned(), text.clone());
        Ok(text)
    }
}

fn extension_argument_too_large() -> HostError {
    let text = format!(
        "the arguments of an extension have more than {} bytes",
        ExtensionValue::MAX_BYTES
    );
    HostError::new(HostErrorKind::TooLarge, &text)
}

/// The head of a request, as the script gave it.
pub(crate) struct SentHead {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    /// Empty for none.
    token: String,
    /// `none`, `text`, `binary` or `stream`.
    kind: String,
}

impl SentHead {
    /// A head from its parts, with NUL between them: method, token, kind, and names and values of a number of headers. `None` if there
    /// are more or fewer.
    pub(crate) fn read(text: &str, url: String, headers: u32) -> Option<Self> {
        let mut parts = text.split('\0').map(str::to_owned);
        let (method, token, kind) = (parts.next()?, parts.next()?, parts.next()?);
        let mut read = Vec::new();
        while let Some(name) = parts.next() {
            read.push((name, parts.next()?));
        }
        let is_complete = u32::try_from(read.len()) == Ok(headers);
        is_complete.then_some(Self {
            method,
            url,
            headers: read,
            token,
            kind,
        })
    }
}

/// A mail, as the script gave it.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WrittenMail {
    from: MailAddress,
    envelope_from: Option<String>,
    reply_to: Vec<MailAddress>,
    to: Vec<MailAddress>,
    cc: Vec<MailAddress>,
    bcc: Vec<MailAddress>,
    subject: String,
    text: String,
    charset: String,
    headers: Vec<(String, String)>,
}

/// A response, as the script gets it.
pub(crate) struct Received {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: ReceivedBody,
}

impl Received {
    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The body of a response, as the script gets it.
pub(crate) enum ReceivedBody {
    /// The handle of a stream.
    Stream(u32),
    /// All of it.
    Text(String),
}
