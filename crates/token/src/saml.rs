//! Trans-cell tokens: SAML 2.0 assertions with an enveloped XML signature by the key of the unit.
//!
//! The text form is base64url without padding of an XML document with a fixed structure. The reader is strict: it refuses
//! other elements, attributes and orders, and DTDs, processing instructions, comments, CDATA sections and prefixes. The
//! signature is not verified over the received bytes: the canonical form (Canonical XML 1.0) is written from the fields
//! that were read. Therefore a token never contains data that the signature does not cover.

mod document;
mod error;
mod reader;
mod signature;

use jiff::Timestamp;

use crate::base64_text::{decode_either, encode_url};
use crate::role_url::RoleUrl;
use crate::trust::{TrustRoots, UnitKey};

pub use error::{IssueError, SamlError};

use document::{Document, XmlForm};
use signature::SignatureFields;

/// The maximum length of the XML document in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
/// The maximum length of the text of a token in bytes: the base64 form of the longest document.
pub const MAX_TEXT_BYTES: usize = MAX_DOCUMENT_BYTES.div_ceil(3) * 4;
/// The prefix of the text of every trans-cell token.
pub const TEXT_PREFIX: &str = "PEFzc2VydGlvbiB4bWxu";
/// The lifespan in milliseconds of an assertion without end of validity: one hour.
pub const DEFAULT_LIFESPAN_MS: i64 = 3_600_000;

/// The name of the endpoint below the target that accepts assertions.
const ENDPOINT: &str = "__token";

/// The content of a trans-cell token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransCellToken {
    /// The id of the assertion, a UUID.
    pub id: String,
    /// The issue time in milliseconds since 1970-01-01 UTC.
    pub issued_at_ms: i64,
    /// The lifespan in milliseconds.
    pub lifespan_ms: i64,
    /// The URL of the issuing cell.
    pub issuer: String,
    /// The URL of the subject: `{cell}#{account}`, or a cell URL.
    pub subject: String,
    /// The URL of the target cell or unit.
    pub target: String,
    /// The URL of the application that the token was issued to. `None` and an empty URL have the same written form.
    pub schema: Option<String>,
    /// The role class URLs.
    pub roles: Vec<String>,
    /// The scopes.
    pub scopes: Vec<String>,
}

impl TransCellToken {
    /// Whether `now_ms` is later than issue time plus lifespan.
    pub fn is_expired_at(&self, now_ms: i64) -> bool {
        now_ms > self.expires_at_ms()
    }

    /// The last millisecond in which the token is valid.
    pub fn expires_at_ms(&self) -> i64 {
        self.issued_at_ms.saturating_add(self.lifespan_ms)
    }
}

/// Signs a token and returns its text.
///
/// # Errors
/// [`IssueError::Field`], [`IssueError::TooLarge`], [`IssueError::Key`].
pub fn issue(key: &UnitKey, token: &TransCellToken) -> Result<String, IssueError> {
    let document = document_of(token)?;
    let mut xml = String::with_capacity(4096);
    document.open(XmlForm::Wire, &mut xml);
    signature::write(key, &document, &mut xml)?;
    document.close(&mut xml);
    if xml.len() > MAX_DOCUMENT_BYTES {
        return Err(IssueError::TooLarge);
    }
    Ok(encode_url(xml.as_bytes()))
}

/// Parses and verifies a token. Expiry is not checked, see [`TransCellToken::is_expired_at`].
///
/// # Errors
/// [`SamlError::Parse`], [`SamlError::Signature`], [`SamlError::Certificate`].
pub fn verify(text: &str, now_ms: i64, roots: &TrustRoots) -> Result<TransCellToken, SamlError> {
    parse(text)?.verify(now_ms, roots)
}

/// A parsed token. Its content is not accessible before it is verified.
pub struct UnverifiedToken {
    document: Document,
    signature: SignatureFields,
    token: TransCellToken,
}

impl std::fmt::Debug for UnverifiedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Unverified(..)")
    }
}

/// Parses the text of a token.
///
/// # Errors
/// [`SamlError::Parse`] if the text is not a trans-cell token.
pub fn parse(text: &str) -> Result<UnverifiedToken, SamlError> {
    let fail = |what| SamlError::Parse { what };
    if text.len() > MAX_TEXT_BYTES {
        return Err(fail("too long"));
    }
    let bytes = decode_either(text).ok_or(fail("not base64"))?;
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(fail("too long"));
    }
    let xml = std::str::from_utf8(&bytes).map_err(|_| fail("not UTF-8"))?;
    let (document, signature) = reader::read(xml)?;
    let token = token_of(&document)?;
    Ok(UnverifiedToken {
        document,
        signature,
        token,
    })
}

impl UnverifiedToken {
    /// Verifies certificate, signature and content. Expiry is not checked, see [`TransCellToken::is_expired_at`].
    ///
    /// # Errors
    /// [`SamlError::Signature`], [`SamlError::Certificate`].
    pub fn verify(self, now_ms: i64, roots: &TrustRoots) -> Result<TransCellToken, SamlError> {
        let algorithms = self.signature.algorithms()?;
        let key = roots
            .verify_certificate(&self.signature.certificate, &self.token.issuer, now_ms)
            .map_err(|source| SamlError::Certificate { source })?;
        let canonical = self.document.canonical();
        self.signature.verify(&canonical, algorithms, &key)?;
        Ok(self.token)
    }
}

/// Converts the fields of a document to a token.
fn token_of(document: &Document) -> Result<TransCellToken, SamlError> {
    let fail = |what| SamlError::Parse { what };
    let issued_at = parse_time(&document.issue_instant).ok_or(fail("bad IssueInstant"))?;
    let lifespan = match &document.not_on_or_after {
        Some(end) => parse_time(end)
            .ok_or(fail("bad NotOnOrAfter"))?
            .saturating_sub(issued_at),
        None => DEFAULT_LIFESPAN_MS,
    };
    if document.id.is_empty() || document.issuer.is_empty() || document.subject.is_empty() {
        return Err(fail("an empty id, issuer or subject"));
    }
    let urls = [
        &document.issuer,
        &document.subject,
        &document.target,
        &document.schema,
    ];
    if !urls
        .into_iter()
        .all(|url| is_xml_text_without_controls(url))
    {
        return Err(fail("a control character in a URL"));
    }
    // The slash between the audience and the name of the endpoint is optional.
    let endpoint = document
        .recipient
        .strip_prefix(document.target.as_str())
        .map(|rest| rest.strip_prefix('/').unwrap_or(rest));
    if document.target.is_empty() || endpoint != Some(ENDPOINT) {
        return Err(fail("audience and recipient differ"));
    }
    if document
        .roles
        .iter()
        .any(|role| RoleUrl::parse_class(role).is_err())
    {
        return Err(fail("a role that is no class URL"));
    }
    Ok(TransCellToken {
        id: document.id.clone(),
        issued_at_ms: issued_at,
        lifespan_ms: lifespan,
        issuer: document.issuer.clone(),
        subject: document.subject.clone(),
        target: document.target.clone(),
        schema: Some(document.schema.clone()).filter(|schema| !schema.is_empty()),
        roles: document.roles.clone(),
        scopes: document.scopes.clone().unwrap_or_default(),
    })
}

/// Converts a token to a document that [`token_of`] converts back to the same token.
fn document_of(token: &TransCellToken) -> Result<Document, IssueError> {
    let fail = |field| IssueError::Field { field };
    let issue_instant = format_time(token.issued_at_ms).ok_or(fail("issued_at"))?;
    let end = token
        .issued_at_ms
        .checked_add(token.lifespan_ms)
        .and_then(format_time)
        .ok_or(fail("lifespan"))?;
    if token.id.is_empty() || !reader::is_xml_text(&token.id) {
        return Err(fail("id"));
    }
    for (field, value) in [
        ("issuer", &token.issuer),
        ("subject", &token.subject),
        ("target", &token.target),
    ] {
        if value.is_empty() || !is_xml_text_without_controls(value) {
            return Err(fail(field));
        }
    }
    let schema = token.schema.clone().unwrap_or_default();
    if !is_xml_text_without_controls(&schema) {
        return Err(fail("schema"));
    }
    if token.roles.len() > reader::MAX_VALUES || token.scopes.len() > reader::MAX_VALUES {
        return Err(IssueError::TooLarge);
    }
    for role in &token.roles {
        if !reader::is_xml_text(role) || RoleUrl::parse_class(role).is_err() {
            return Err(fail("roles"));
        }
    }
    if !token.scopes.iter().all(|scope| reader::is_xml_text(scope)) {
        return Err(fail("scopes"));
    }
    Ok(Document {
        id: token.id.clone(),
        authn_instant: issue_instant.clone(),
        issue_instant,
        issuer: token.issuer.clone(),
        subject: token.subject.clone(),
        not_on_or_after: Some(end),
        recipient: format!("{}{ENDPOINT}", token.target),
        target: token.target.clone(),
        schema,
        roles: token.roles.clone(),
        scopes: Some(token.scopes.clone()),
    })
}

/// Whether a text is allowed in XML and has no control characters, as required of URLs.
fn is_xml_text_without_controls(text: &str) -> bool {
    reader::is_xml_text(text) && !text.chars().any(char::is_control)
}

/// Formats a time as `2020-09-13T12:26:40.123Z`. Returns `None` if it is out of range.
fn format_time(millis: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(millis).ok()?;
    Some(format!("{time:.3}"))
}

/// Parses an `xs:dateTime` with zone offset to milliseconds since 1970-01-01 UTC.
fn parse_time(text: &str) -> Option<i64> {
    // `Timestamp` accepts other notations, which are not an xs:dateTime.
    let plain = text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b':' | b'.' | b'T' | b'Z'));
    if !plain || text.len() > 40 {
        return None;
    }
    text.parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_millisecond)
}
