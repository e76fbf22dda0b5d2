//! The parser for assertions. It refuses every document that does not have the fixed structure.
//!
//! The structure limits the depth; the size of the document limits the number of elements.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::document::{
    ASSERTION_NS, BEARER, CONTEXT_CLASS, Document, ROLES, ROLES_FORMAT, SCOPES, VERSION,
};
use super::error::SamlError;
use super::signature::{DSIG_NS, SignatureFields};
use crate::base64_text::decode_wrapped;

/// The maximum number of values (roles, scopes) of an attribute.
pub(super) const MAX_VALUES: usize = 4096;
/// The maximum number of transforms that are parsed. Verification accepts fewer.
const MAX_TRANSFORMS: usize = 4;

type ReadResult<T> = Result<T, SamlError>;

fn fail<T>(what: &'static str) -> ReadResult<T> {
    Err(SamlError::Parse { what })
}

/// Whether XML 1.0 allows all characters of the text (production `Char`).
pub(super) fn is_xml_text(text: &str) -> bool {
    text.chars().all(|c| {
        matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
    })
}

/// Parses a whole document.
pub(super) fn read(xml: &str) -> ReadResult<(Document, SignatureFields)> {
    // A token never begins with an XML declaration, a byte order mark or white space.
    if !xml.starts_with("<Assertion") {
        return fail("not an assertion");
    }
    let mut reader = TokenReader::new(xml);
    let mut root = reader.start("Assertion")?;
    root.fixed("xmlns", ASSERTION_NS)?;
    root.fixed("Version", VERSION)?;
    let id = root.take("ID")?;
    let issue_instant = root.take("IssueInstant")?;
    root.none_left()?;
    let issuer = reader.leaf("Issuer")?;
    let subject = read_subject(&mut reader)?;
    let audience = read_audience(&mut reader)?;
    let authn_instant = read_authn_statement(&mut reader)?;
    let attributes = read_attributes(&mut reader)?;
    let signature = read_signature(&mut reader)?;
    reader.end()?;
    reader.end_of_document()?;
    let document = Document {
        id,
        issue_instant,
        issuer,
        subject: subject.name,
        not_on_or_after: subject.not_on_or_after,
        recipient: subject.recipient,
        target: audience.target,
        schema: audience.schema,
        authn_instant,
        roles: attributes.roles,
        scopes: attributes.scopes,
    };
    Ok((document, signature))
}

struct Subject {
    name: String,
    not_on_or_after: Option<String>,
    recipient: String,
}

fn read_subject(reader: &mut TokenReader<'_>) -> ReadResult<Subject> {
    reader.plain("Subject")?;
    let name = reader.leaf("NameID")?;
    let mut confirmation = reader.start("SubjectConfirmation")?;
    confirmation.fixed("Method", BEARER)?;
    confirmation.none_left()?;
    let mut data = reader.start("SubjectConfirmationData")?;
    let not_on_or_after = data.find("NotOnOrAfter");
    let recipient = data.take("Recipient")?;
    data.none_left()?;
    reader.end()?;
    reader.end()?;
    reader.end()?;
    Ok(Subject {
        name,
        not_on_or_after,
        recipient,
    })
}

struct Audience {
    target: String,
    schema: String,
}

fn read_audience(reader: &mut TokenReader<'_>) -> ReadResult<Audience> {
    reader.plain("Conditions")?;
    reader.plain("AudienceRestriction")?;
    let target = reader.leaf("Audience")?;
    let schema = reader.leaf("Audience")?;
    reader.end()?;
    reader.end()?;
    Ok(Audience { target, schema })
}

/// Parses the authentication statement and returns its `AuthnInstant`.
fn read_authn_statement(reader: &mut TokenReader<'_>) -> ReadResult<String> {
    let mut statement = reader.start("AuthnStatement")?;
    let authn_instant = statement.take("AuthnInstant")?;
    statement.none_left()?;
    reader.plain("AuthnContext")?;
    if reader.leaf("AuthnContextClassRef")? != CONTEXT_CLASS {
        return fail("an unknown authentication context");
    }
    reader.end()?;
    reader.end()?;
    Ok(authn_instant)
}

struct Attributes {
    roles: Vec<String>,
    scopes: Option<Vec<String>>,
}

fn read_attributes(reader: &mut TokenReader<'_>) -> ReadResult<Attributes> {
    reader.plain("AttributeStatement")?;
    let mut roles_start = reader.start("Attribute")?;
    roles_start.fixed("Name", ROLES)?;
    roles_start.fixed("NameFormat", ROLES_FORMAT)?;
    roles_start.none_left()?;
    let roles = reader.values()?;
    let scopes = match reader.start_or_end("Attribute")? {
        None => None,
        Some(mut scopes_start) => {
            scopes_start.fixed("Name", SCOPES)?;
            scopes_start.none_left()?;
            let scopes = reader.values()?;
            reader.end()?;
            Some(scopes)
        }
    };
    Ok(Attributes { roles, scopes })
}

fn read_signature(reader: &mut TokenReader<'_>) -> ReadResult<SignatureFields> {
    let mut signature = reader.start("Signature")?;
    signature.fixed("xmlns", DSIG_NS)?;
    signature.none_left()?;

    reader.plain("SignedInfo")?;
    let canonicalization = reader.algorithm("CanonicalizationMethod")?;
    let method = reader.algorithm("SignatureMethod")?;
    let mut reference = reader.start("Reference")?;
    let uri = reference.take("URI")?;
    reference.none_left()?;
    let transforms = read_transforms(reader)?;
    let digest_method = reader.algorithm("DigestMethod")?;
    let digest_value = reader.leaf("DigestValue")?;
    reader.end()?;
    reader.end()?;

    let value = reader.leaf("SignatureValue")?;
    let certificate = read_certificate(reader)?;
    reader.end()?;

    let base64 = |text: &str, what| decode_wrapped(text).ok_or(SamlError::Parse { what });
    Ok(SignatureFields {
        canonicalization,
        method,
        uri,
        transforms,
        digest_method,
        digest: base64(&digest_value, "DigestValue is not base64")?,
        digest_value,
        value: base64(&value, "SignatureValue is not base64")?,
        certificate: base64(&certificate, "X509Certificate is not base64")?,
    })
}

fn read_transforms(reader: &mut TokenReader<'_>) -> ReadResult<Vec<String>> {
    reader.plain("Transforms")?;
    let mut transforms = Vec::new();
    while let Some(mut transform) = reader.start_or_end("Transform")? {
        if transforms.len() == MAX_TRANSFORMS {
            return fail("too many transforms");
        }
        transforms.push(transform.take("Algorithm")?);
        transform.none_left()?;
        reader.end()?;
    }
    Ok(transforms)
}

/// Parses `KeyInfo` and returns the text of its certificate.
fn read_certificate(reader: &mut TokenReader<'_>) -> ReadResult<String> {
    reader.plain("KeyInfo")?;
    reader.plain("X509Data")?;
    let mut next = reader.start_any()?;
    if next.name == "X509SubjectName" {
        // The name is not signed and repeats the certificate, so it is ignored.
        next.none_left()?;
        reader.text_to_end()?;
        next = reader.start_any()?;
    }
    if next.name != "X509Certificate" {
        return fail("no certificate in the signature");
    }
    next.none_left()?;
    let certificate = reader.text_to_end()?;
    reader.end()?;
    reader.end()?;
    Ok(certificate)
}

/// A start tag. The parser takes its attributes one after another.
struct StartTag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl StartTag {
    fn read(start: &BytesStart<'_>) -> ReadResult<Self> {
        let mut attributes = Vec::new();
        // The iterator refuses duplicate names.
        for attribute in start.attributes() {
            let Ok(attribute) = attribute else {
                return fail("a malformed attribute");
            };
            if attribute.value.contains('<') {
                return fail("a malformed attribute");
            }
            // Only the five predefined entities and character references are resolved.
            let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0) else {
                return fail("an unknown entity");
            };
            if !is_xml_text(&value) {
                return fail("a character that XML does not allow");
            }
            attributes.push((attribute.key.as_ref().to_owned(), value.into_owned()));
        }
        Ok(Self {
            name: start.name().as_ref().to_owned(),
            attributes,
        })
    }

    fn find(&mut self, name: &str) -> Option<String> {
        let at = self
            .attributes
            .iter()
            .position(|(found, _)| found == name)?;
        Some(self.attributes.swap_remove(at).1)
    }

    fn take(&mut self, name: &str) -> ReadResult<String> {
        self.find(name)
            .map_or_else(|| fail("a missing attribute"), Ok)
    }

    fn fixed(&mut self, name: &str, value: &str) -> ReadResult<()> {
        if self.take(name)? == value {
            Ok(())
        } else {
            fail("an attribute with another value")
        }
    }

    fn none_left(&self) -> ReadResult<()> {
        if self.attributes.is_empty() {
            Ok(())
        } else {
            fail("an unexpected attribute")
        }
    }
}

/// A token of the document.
enum XmlToken {
    Start(StartTag),
    End,
    /// Non-empty text with resolved entities and normalized line ends.
    Text(String),
    EndOfDocument,
}

/// Reads the document token by token.
struct TokenReader<'x> {
    reader: Reader<&'x [u8]>,
    peeked: Option<XmlToken>,
}

impl<'x> TokenReader<'x> {
    fn new(xml: &'x str) -> Self {
        let mut reader = Reader::from_str(xml);
        let config = reader.config_mut();
        config.expand_empty_elements = true;
        config.check_end_names = true;
        config.allow_unmatched_ends = false;
        config.allow_dangling_amp = false;
        Self {
            reader,
            peeked: None,
        }
    }

    fn next(&mut self) -> ReadResult<XmlToken> {
        if let Some(token) = self.peeked.take() {
            return Ok(token);
        }
        let mut text = String::new();
        loop {
            let Ok(event) = self.reader.read_event() else {
                return fail("not well-formed");
            };
            let token = match event {
                Event::Start(start) => XmlToken::Start(StartTag::read(&start)?),
                Event::End(_) => XmlToken::End,
                Event::Eof => XmlToken::EndOfDocument,
                Event::Text(part) => {
                    text.push_str(&part.xml10_content());
                    continue;
                }
                Event::GeneralRef(reference) => {
                    text.push(resolve(&reference)?);
                    continue;
                }
                Event::DocType(_) => return fail("a document type"),
                Event::PI(_) | Event::Decl(_) => return fail("a processing instruction"),
                Event::Comment(_) => return fail("a comment"),
                Event::CData(_) => return fail("a CDATA section"),
                Event::Empty(_) => return fail("not well-formed"),
            };
            if text.is_empty() {
                return Ok(token);
            }
            if !is_xml_text(&text) {
                return fail("a character that XML does not allow");
            }
            self.peeked = Some(token);
            return Ok(XmlToken::Text(text));
        }
    }

    fn start_any(&mut self) -> ReadResult<StartTag> {
        match self.next()? {
            XmlToken::Start(tag) => Ok(tag),
            _ => fail("a missing element"),
        }
    }

    fn start(&mut self, name: &str) -> ReadResult<StartTag> {
        let tag = self.start_any()?;
        if tag.name == name {
            Ok(tag)
        } else {
            fail("an unexpected element")
        }
    }

    /// Reads the start of an element without attributes.
    fn plain(&mut self, name: &str) -> ReadResult<()> {
        self.start(name)?.none_left()
    }

    /// Reads the start of an element of this name, or the end of its parent (`None`).
    fn start_or_end(&mut self, name: &str) -> ReadResult<Option<StartTag>> {
        match self.next()? {
            XmlToken::End => Ok(None),
            XmlToken::Start(tag) if tag.name == name => Ok(Some(tag)),
            _ => fail("an unexpected element or text"),
        }
    }

    fn end(&mut self) -> ReadResult<()> {
        match self.next()? {
            XmlToken::End => Ok(()),
            _ => fail("an unexpected element or text"),
        }
    }

    /// Reads the text of the current element and its end.
    fn text_to_end(&mut self) -> ReadResult<String> {
        match self.next()? {
            XmlToken::End => Ok(String::new()),
            XmlToken::Text(text) => {
                self.end()?;
                Ok(text)
            }
            _ => fail("an unexpected element"),
        }
    }

    /// Reads an element without attributes that contains only text.
    fn leaf(&mut self, name: &str) -> ReadResult<String> {
        self.plain(name)?;
        self.text_to_end()
    }

    /// Reads an empty element and returns its `Algorithm`.
    fn algorithm(&mut self, name: &str) -> ReadResult<String> {
        let mut tag = self.start(name)?;
        let algorithm = tag.take("Algorithm")?;
        tag.none_left()?;
        self.end()?;
        Ok(algorithm)
    }

    /// Reads the values of the current `Attribute` and its end.
    fn values(&mut self) -> ReadResult<Vec<String>> {
        let mut values = Vec::new();
        while let Some(tag) = self.start_or_end("AttributeValue")? {
            tag.none_left()?;
            if values.len() == MAX_VALUES {
                return fail("too many values");
            }
            values.push(self.text_to_end()?);
        }
        Ok(values)
    }

    fn end_of_document(&mut self) -> ReadResult<()> {
        match self.next()? {
            XmlToken::EndOfDocument => Ok(()),
            _ => fail("content after the assertion"),
        }
    }
}

/// Resolves a character reference or predefined entity.
fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> ReadResult<char> {
    match reference.resolve_char_ref() {
        Ok(Some(c)) => Ok(c),
        Ok(None) => match reference.as_ref() {
            "amp" => Ok('&'),
            "lt" => Ok('<'),
            "gt" => Ok('>'),
            "quot" => Ok('"'),
            "apos" => Ok('\''),
            _ => fail("an unknown entity"),
        },
        Err(_) => fail("a bad character reference"),
    }
}
