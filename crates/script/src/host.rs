//! The port through which a script reaches the unit.

use async_trait::async_trait;
use bytes::Bytes;
use personium_types::ExtensionValue;
use serde::{Deserialize, Serialize};

use crate::failure::ScriptFailure;

/// A body that is read in chunks.
#[async_trait]
pub trait ByteStream: Send + Sync {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// [`HostErrorKind::Response`] if it is broken off.
    async fn next(&mut self) -> Result<Option<Bytes>, HostError>;

    /// For the stream of a script in a worker process: what was read of it but not used, and its number in the unit unless it has
    /// ended. Afterwards it is empty. `None` for other streams.
    fn hand_back(&mut self) -> Option<(Bytes, Option<u32>)> {
        None
    }
}

/// The requests that a script may make of the unit.
#[async_trait]
pub trait ScriptHost: Send + Sync {
    /// Sends a request. Redirects are not followed.
    ///
    /// # Errors
    /// [`HostError`] if there is no response.
    async fn send(&self, request: HostRequest) -> Result<HostResponse, HostError>;

    /// The source of a module of the service; `None` if there is none of this name.
    ///
    /// # Errors
    /// A failure of the store.
    async fn read_source(&self, name: &str) -> Result<Option<String>, HostError>;

    /// An access token of the service subject for a cell.
    ///
    /// # Errors
    /// [`HostErrorKind::Subject`] if the service has no subject, or the account does not exist.
    async fn service_token(&self, cell_url: &str) -> Result<String, HostError>;

    /// Sends a mail through the mail server of the unit.
    ///
    /// # Errors
    /// [`HostErrorKind::Absent`] if the unit has none; the mail is not valid; the server does not take it.
    async fn send_mail(&self, mail: Mail) -> Result<(), HostError>;

    /// Calls a method of an extension of the operator.
    ///
    /// # Errors
    /// [`HostErrorKind::Extension`] with the text of the extension, or a code.
    async fn call_extension(&self, call: ExtensionCall) -> Result<ExtensionValue, HostError>;

    /// Logs a line of a script.
    fn log(&self, level: LogLevel, text: &str);

    /// The script begins, when it has got its place. It does not if this fails: then it can be tried again.
    ///
    /// # Errors
    /// [`ScriptFailure::Busy`]
    async fn begins(&self) -> Result<(), ScriptFailure> {
        Ok(())
    }

    /// The script has ended, with this failure if it failed; its response is not complete yet. Stores what it has logged. May be
    /// called again if the script ends late.
    async fn ended(&self, failure: Option<&ScriptFailure>);

    /// A random UUID.
    fn uuid(&self) -> String;
}

/// The severity of a line that a script logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LogLevel {
    /// An error.
    Error,
    /// A warning.
    Warn,
    /// Information.
    Info,
    /// For the developer.
    Debug,
}

impl LogLevel {
    /// The level of a name; [`LogLevel::Info`] for an unknown one.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            "error" => Self::Error,
            "warn" => Self::Warn,
            "debug" => Self::Debug,
            _ => Self::Info,
        }
    }
}

/// The identity that a request of a script is sent with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TokenKind {
    /// None, or what the headers say.
    None,
    /// That of the caller of the service.
    Caller,
    /// The service subject.
    Service,
    /// The bot of the operator, for posting to Slack and nothing else.
    Slack,
    /// This token.
    Given(String),
}

/// The body of a request of a script.
pub enum RequestBody {
    /// In memory.
    Bytes(Bytes),
    /// Read from elsewhere while it is sent.
    Stream(Box<dyn ByteStream>),
}

/// A request of a script.
pub struct HostRequest {
    /// The method.
    pub method: String,
    /// The absolute URL.
    pub url: String,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The identity.
    pub token: TokenKind,
    /// The body.
    pub body: RequestBody,
}

/// The response to a request of a script.
pub struct HostResponse {
    /// The status.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Box<dyn ByteStream>,
}

/// A mail of a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    /// The sender that the mail shows.
    pub from: MailAddress,
    /// The sender that the mail server gets, if it is another.
    pub envelope_from: Option<String>,
    /// The addresses for answers.
    pub reply_to: Vec<MailAddress>,
    /// The recipients.
    pub to: Vec<MailAddress>,
    /// The recipients of copies.
    pub cc: Vec<MailAddress>,
    /// The recipients that the mail does not show.
    pub bcc: Vec<MailAddress>,
    /// The subject.
    pub subject: String,
    /// The text in the character set.
    pub text: Vec<u8>,
    /// The name of the character set.
    pub charset: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

/// An address in a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailAddress {
    /// The address.
    pub address: String,
    /// The name of its owner.
    pub name: Option<String>,
}

/// A call of a method of an extension of the operator.
#[derive(Debug, Clone, PartialEq)]
pub struct ExtensionCall {
    /// The name of the class.
    pub extension: String,
    /// The name of the method.
    pub method: String,
    /// The arguments of the constructor.
    pub created_with: Vec<ExtensionValue>,
    /// The arguments of the method.
    pub arguments: Vec<ExtensionValue>,
}

impl ExtensionCall {
    /// The size of all arguments in bytes.
    pub(crate) fn size(&self) -> usize {
        let all = self.created_with.iter().chain(&self.arguments);
        all.map(ExtensionValue::size).sum()
    }
}

/// The kind of a failure that a script can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostErrorKind {
    /// An argument is not valid.
    Argument,
    /// The URL is not valid.
    Url,
    /// The address may not be reached.
    Address,
    /// No connection was established.
    Connect,
    /// There was no response in time, or the script has no time left.
    Timeout,
    /// The response was broken off.
    Response,
    /// A body is too large.
    TooLarge,
    /// The script has sent too many requests.
    Limit,
    /// Too many services call one another.
    Depth,
    /// The service subject is not defined or does not exist.
    Subject,
    /// The unit does not have what is needed.
    Absent,
    /// The character set is unknown.
    Charset,
    /// An extension has failed.
    Extension,
    /// The unit failed.
    Internal,
}

impl HostErrorKind {
    /// The member `code` of the error that the script sees.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Argument => "argument",
            Self::Url => "url",
            Self::Address => "address",
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Response => "response",
            Self::TooLarge => "tooLarge",
            Self::Limit => "limit",
            Self::Depth => "depth",
            Self::Subject => "subject",
            Self::Absent => "absent",
            Self::Charset => "charset",
            Self::Extension => "extension",
            Self::Internal => "internal",
        }
    }
}

/// A failure of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    /// The kind.
    pub kind: HostErrorKind,
    /// The text that the script sees.
    pub message: String,
}

impl HostError {
    /// A failure with a text.
    #[must_use]
    pub fn new(kind: HostErrorKind, message: &str) -> Self {
        Self {
            kind,
            message: message.to_owned(),
        }
    }
}
