//! The representation of errors. Only this module turns an [`Error`] into a response.

use http::{Method, StatusCode, header};
use personium_types::error::chain;
use personium_types::{Code, Error};
use personium_xml::escape_text_and_quotes;
use serde_json::{Value, json};

use crate::error_format::ErrorFormat;
use crate::response::{self, Response, WithHeader};

/// The namespace of errors in XML.
const ODATA_METADATA: &str = "http://schemas.microsoft.com/ado/2007/08/dataservices/metadata";

/// The longest message that is sent: it may repeat what the client sent, of any length.
const MESSAGE_MAX_BYTES: usize = 8 << 10;

/// The number of seconds after which a request that found the server busy can be repeated.
const BUSY_RETRY_SECS: &str = "5";

/// The authentication that a response with status 401 requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// None: nothing is known yet about the addressed resource.
    None,
    /// A bearer token of this realm.
    Bearer(String),
    /// A bearer token, or name and password of an account.
    BearerOrBasic(String),
}

impl Challenge {
    fn add_to(&self, response: Response) -> Response {
        let (realm, basic) = match self {
            Self::None => return response,
            Self::Bearer(realm) => (realm, false),
            Self::BearerOrBasic(realm) => (realm, true),
        };
        let bearer = format!("Bearer realm=\"{realm}\"");
        let response = response.append_header(header::WWW_AUTHENTICATE, &bearer);
        if !basic {
            return response;
        }
        let basic = format!("Basic realm=\"{realm}\"");
        response.append_header(header::WWW_AUTHENTICATE, &basic)
    }
}

/// The response for an error: JSON with `code` and `message`, and a challenge if the status is 401.
///
/// The causes of a server error are logged once, here, and never sent.
#[must_use]
pub fn render(error: &Error, challenge: &Challenge, request_key: &str) -> Response {
    render_as(ErrorFormat::Personium, error, challenge, request_key)
}

/// As [`render`], in the format that the request asks for.
pub(crate) fn render_as(
    format: ErrorFormat,
    error: &Error,
    challenge: &Challenge,
    request_key: &str,
) -> Response {
    log(error, request_key);
    let status = status(error);
    let body = formatted_body(error, request_key, format);
    let response = response::content(status, format.media_type(), body);
    let response = with_error_headers(response, error);
    match status {
        StatusCode::UNAUTHORIZED => challenge.add_to(response),
        _ => response,
    }
}

/// Adds to the refusal of a method the methods that the resource supports, separated by `, `. Other refusals stay as they are.
pub(crate) fn with_methods(refusal: Error, refused: &Method, methods: &str) -> Error {
    if status(&refusal) != StatusCode::METHOD_NOT_ALLOWED || !refusal.params().is_empty() {
        return refusal;
    }
    let others = methods.split(", ").filter(|m| *m != refused.as_str());
    let allowed: Vec<&str> = others.collect();
    refusal.with(allowed.join(", "))
}

/// The status of an error.
pub(crate) fn status(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Adds the header that belongs to the error: `Retry-After` (RFC 9110 section 10.2.3) if it says when to try again, `Allow`
/// (section 15.5.6) if it says which methods the resource supports.
pub(crate) fn with_error_headers(response: Response, error: &Error) -> Response {
    match (error.code(), error.params()) {
        (Code::MethodNotAllowed | Code::CollectionExists, [methods]) => {
            response.with_header(header::ALLOW, methods)
        }
        (Code::LoginsTooMany, [seconds]) => response.with_header(header::RETRY_AFTER, seconds),
        (Code::ServerBusy, _) => response.with_header(header::RETRY_AFTER, BUSY_RETRY_SECS),
        _ => response,
    }
}

/// The body for an error.
pub(crate) fn body(error: &Error, request_key: &str) -> Value {
    let language = match error.code() {
        Code::Unknown => "en_US",
        _ => "en",
    };
    let mut message = error.message();
    if message.len() > MESSAGE_MAX_BYTES {
        message.truncate(message.floor_char_boundary(MESSAGE_MAX_BYTES));
        message.push_str("...");
    }
    if error.code().is_server_error() {
        message = format!("{message} ({request_key})");
    }
    json!({
        "code": error.code().as_str(),
        "message": {"lang": language, "value": message},
    })
}

/// The body for an error in a format.
pub(crate) fn formatted_body(error: &Error, request_key: &str, format: ErrorFormat) -> String {
    let body = body(error, request_key);
    match format {
        ErrorFormat::Personium => body.to_string(),
        ErrorFormat::ODataJson => json!({"error": body}).to_string(),
        ErrorFormat::ODataXml => xml(&body),
    }
}

/// An error body as XML.
fn xml(body: &Value) -> String {
    let text = |value: &Value| {
        let mut out = String::new();
        escape_text_and_quotes(&mut out, value.as_str().unwrap_or_default());
        out
    };
    let message = &body["message"];
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<error xmlns=\"{ODATA_METADATA}\">\n<code>{}</code>\n\
         <message xml:lang=\"{}\">{}</message>\n</error>\n",
        text(&body["code"]),
        text(&message["lang"]),
        text(&message["value"])
    )
}

/// Logs a server error with all its causes. Refusals are not logged.
pub(crate) fn log(error: &Error, request_key: &str) {
    if !error.code().is_server_error() {
        return;
    }
    let causes = std::error::Error::source(error).map(chain);
    if matches!(
        error.code(),
        Code::StorageFull | Code::OverQuota | Code::StorageReadOnly | Code::NodeStopping
    ) {
        // The state of the storage is logged by those who watch it, the end of the node once.
        let causes = causes.unwrap_or_default();
        tracing::debug!(request.key = request_key, error.causes = causes, error = %error, "request refused");
        return;
    }
    if matches!(error.code(), Code::Maintenance | Code::ReadDeleteOnly) {
        // Somebody wants it, or the disk of the records is nearly full, which is logged by who watches it.
        tracing::warn!(request.key = request_key, error = %error, "request refused");
        return;
    }
    if error.code() == Code::NotImplementedFeature {
        // A fault of the request: any reader could fill the log.
        tracing::debug!(request.key = request_key, error = %error, "request refused");
        return;
    }
    if error.code() == Code::ServerBusy {
        // Says nothing about the request. The server writes one such line in an interval, and counts the others.
        tracing::warn!(
            target: "personium::overload",
            { request.key = request_key, error.causes = causes.unwrap_or_default() },
            "requests are refused because the unit is busy"
        );
        return;
    }
    tracing::error!(
        request.key = request_key,
        error.code = error.code().as_str(),
        error.causes = causes.unwrap_or_default(),
        error = %error,
        "request failed"
    );
}
