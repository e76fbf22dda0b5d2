//! Trans-cell tokens: SAML 2.0 assertions signed with the unit's key (XML Signature, enveloped).
//!
//! The text form is base64url without padding of one XML document of one fixed shape. Reading is
//! strict: every element, attribute and order that the shape does not have is refused, and so are
//! DTDs, processing instructions, comments, CDATA and prefixes. Checking a signature then does not
//! look at the received bytes again: the canonical form (Canonical XML 1.0) is written anew from
//! the very fields that the token is made of, so nothing outside of what the signature covers can
//! ever be read.

mod document;
mod reader;
mod signature;

use jiff::Timestamp;

use crate::base64_text::{decode_either, encode_url};
use crate::role_url::RoleUrl;
use crate::trust::{CertificateError, KeyError, TrustRoots, UnitKey};

use document::{Document, XmlForm};
use signature::SignatureFields;

/// Longest document, in bytes of XML.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;
/// Longest token text: the base64 of the longest document.
pub const MAX_TEXT_BYTES: usize = MAX_DOCUMENT_BYTES.div_ceil(3) * 4;
/// What every trans-cell token's text starts with.
pub const TEXT_PREFIX: &str = "PEFzc2VydGlvbiB4bWxu";
/// Lifespan of an assertion that does not say when it ends, in milliseconds: one hour.
pub const DEFAULT_LIFESPAN_MS: i64 = 3_600_000;

/// Name of the endpoint that takes assertions, below the target.
const ENDPOINT: &str = "__token";

/// What a trans-cell token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransCellToken {
    /// Id of the assertion, a UUID.
    pub id: String,
    /// Milliseconds since the epoch.
    pub issued_at_ms: i64,
    /// Milliseconds.
    pub lifespan_ms: i64,
    /// URL of the issuing cell.
    pub issuer: String,
    /// URL of the subject: `{cell}#{account}`, or a cell URL.
    pub subject: String,
    /// URL of the cell or unit it is for.
    pub target: String,
    /// URL of the application it was given to. An empty one is written and read as none.
    pub schema: Option<String>,
    /// Role class URLs.
    pub roles: Vec<String>,
    /// Scopes.
    pub scopes: Vec<String>,
}

impl TransCellToken {
    /// True once `now` (epoch milliseconds) is later than issue time plus lifespan.
    pub fn is_expired_at(&self, now: i64) -> bool {
        now > self.expires_at_ms()
    }

    /// Last valid moment, in epoch milliseconds.
    pub fn expires_at_ms(&self) -> i64 {
        self.issued_at_ms.saturating_add(self.lifespan_ms)
    }
}

/// Why a text is no believable trans-cell token. Expiry is not among these: ask
/// [`TransCellToken::expired_at`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SamlError {
    /// Not a document of the expected shape.
    #[error("not a trans-cell token: {what}")]
    Parse {
        /// What was expected or found.
        what: &'static str,
    },
    /// The signature is of a refused kind, or does not fit the content.
    #[error("bad signature: {what}")]
    Signature {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The signing certificate is not believed.
    #[error("the signing certificate is not believed")]
    Certificate {
        /// Why not.
        #[source]
        reason: CertificateError,
    },
}

/// Why no token was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// A field cannot be written so that it reads back: a character that XML lacks, an empty
    /// required field, a role that is no class URL, a time out of range.
    #[error("the field {field} cannot be put into an assertion")]
    Field {
        /// Its name.
        field: &'static str,
    },
    /// Longer than [`MAX_DOCUMENT_BYTES`], or more than 4096 roles or scopes.
    #[error("too many claims for one assertion")]
    TooLarge,
    /// The key failed.
    #[error("cannot sign the assertion")]
    Key(#[from] KeyError),
}

/// Makes the signed token text.
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

/// Reads and checks a token at `now` (epoch milliseconds). An expired token passes.
pub fn verify(text: &str, now: i64, roots: &TrustRoots) -> Result<TransCellToken, SamlError> {
    parse(text)?.verify(now, roots)
}

/// A token that reads well. It tells nothing until it is verified.
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

/// Reads the text of a token. Fails with [`SamlError::Parse`] only.
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
    /// Checks certificate, content and signature at `now` (epoch milliseconds).
    pub fn verify(self, now: i64, roots: &TrustRoots) -> Result<TransCellToken, SamlError> {
        let method = self.signature.algorithm()?;
        let key = roots
            .verify_certificate(&self.signature.certificate, &self.token.issuer, now)
            .map_err(|reason| SamlError::Certificate { reason })?;
        let canonical = self.document.canonical();
        self.signature.verify(&canonical, method, &key)?;
        Ok(self.token)
    }
}

/// The fields of the document as the token's values.
fn token_of(document: &Document) -> Result<TransCellToken, SamlError> {
    let fail = |what| SamlError::Parse { what };
    let issued_at = instant(&document.issue_instant).ok_or(fail("bad IssueInstant"))?;
    let lifespan = match &document.not_on_or_after {
        Some(end) => instant(end)
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
    if !urls.into_iter().all(|url| is_line(url)) {
        return Err(fail("a control character in a URL"));
    }
    // the audience may lack the slash that stands between it and the endpoint's name
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

/// The token's values as fields of a document that [`token_of`] reads back to the same token.
fn document_of(token: &TransCellToken) -> Result<Document, IssueError> {
    let fail = |field| IssueError::Field { field };
    let issue_instant = timestamp(token.issued_at_ms).ok_or(fail("issued_at"))?;
    let end = token
        .issued_at_ms
        .checked_add(token.lifespan_ms)
        .and_then(timestamp)
        .ok_or(fail("lifespan"))?;
    if token.id.is_empty() || !reader::is_xml_text(&token.id) {
        return Err(fail("id"));
    }
    for (field, value) in [
        ("issuer", &token.issuer),
        ("subject", &token.subject),
        ("target", &token.target),
    ] {
        if value.is_empty() || !is_line(value) {
            return Err(fail(field));
        }
    }
    let schema = token.schema.clone().unwrap_or_default();
    if !is_line(&schema) {
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

/// Whether a text can be written, and has no control characters. URLs have none, and whoever puts them together with other
/// texts may rely on that.
fn is_line(text: &str) -> bool {
    reader::is_xml_text(text) && !text.chars().any(char::is_control)
}

/// `2020-09-13T12:26:40.123Z`; `None` outside of what can be stated.
fn timestamp(millis: i64) -> Option<String> {
    let time = Timestamp::from_millisecond(millis).ok()?;
    Some(format!("{time:.3}"))
}

/// Epoch milliseconds of an ISO 8601 time with zone offset.
fn instant(text: &str) -> Option<i64> {
    // the parser below knows further notations; none of them is an xs:dateTime
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
