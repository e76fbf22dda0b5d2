//! Reads an assertion of the fixed shape, element by element, and refuses everything else.
//!
//! The depth is bounded by the shape, the number of elements by the size of the document.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use super::SamlError;
use super::document::{
    ASSERTION_NS, BEARER, CONTEXT_CLASS, Document, ROLES, ROLES_FORMAT, SCOPES, VERSION,
};
use super::signature::{DSIG_NS, SignatureFields};
use crate::base64_text::decode_wrapped;

/// Most values (roles, scopes) in one attribute.
pub(super) const MAX_VALUES: usize = 4096;
/// Most transforms that are read; fewer are accepted.
const MAX_TRANSFORMS: usize = 4;

type ReadResult<T> = Result<T, SamlError>;

fn fail<T>(what: &'static str) -> ReadResult<T> {
    Err(SamlError::Parse { what })
}

/// True if XML 1.0 can carry every character of the text (production `Char`).
pub(super) fn is_xml_text(text: &str) -> bool {
    text.chars().all(|c| {
        matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
    })
}

/// Reads a whole document.
pub(super) fn read(xml: &str) -> ReadResult<(Document, SignatureFields)> {
    // no declaration, byte order mark or white space in front: tokens never have any
    if !xml.starts_with("<Assertion") {
        return fail("not an assertion");
    }
    let mut from = TokenReader::new(xml);
    let mut root = from.start("Assertion")?;
    root.fixed("xmlns", ASSERTION_NS)?;
    root.fixed("Version", VERSION)?;
    let id = root.take("ID")?;
    let issue_instant = root.take("IssueInstant")?;
    root.none_left()?;

    let issuer = from.leaf("Issuer")?;

    from.plain("Subject")?;
    let subject = from.leaf("NameID")?;
    let mut confirmation = from.start("SubjectConfirmation")?;
    confirmation.fixed("Method", BEARER)?;
    confirmation.none_left()?;
    let mut data = from.start("SubjectConfirmationData")?;
    let not_on_or_after = data.find("NotOnOrAfter");
    let recipient = data.take("Recipient")?;
    data.none_left()?;
    from.end()?;
    from.end()?;
    from.end()?;

    from.plain("Conditions")?;
    from.plain("AudienceRestriction")?;
    let target = from.leaf("Audience")?;
    let schema = from.leaf("Audience")?;
    from.end()?;
    from.end()?;

    let mut statement = from.start("AuthnStatement")?;
    let authn_instant = statement.take("AuthnInstant")?;
    statement.none_left()?;
    from.plain("AuthnContext")?;
    if from.leaf("AuthnContextClassRef")? != CONTEXT_CLASS {
        return fail("an unknown authentication context");
    }
    from.end()?;
    from.end()?;

    from.plain("AttributeStatement")?;
    let mut roles_start = from.start("Attribute")?;
    roles_start.fixed("Name", ROLES)?;
    roles_start.fixed("NameFormat", ROLES_FORMAT)?;
    roles_start.none_left()?;
    let roles = from.values()?;
    let scopes = match from.start_or_end("Attribute")? {
        None => None,
        Some(mut scopes_start) => {
            scopes_start.fixed("Name", SCOPES)?;
            scopes_start.none_left()?;
            let scopes = from.values()?;
            from.end()?;
            Some(scopes)
        }
    };

    let signature = read_signature(&mut from)?;
    from.end()?;
    from.end_of_document()?;
    let document = Document {
        id,
        issue_instant,
        issuer,
        subject,
        not_on_or_after,
        recipient,
        target,
        schema,
        authn_instant,
        roles,
        scopes,
    };
    Ok((document, signature))
}

fn read_signature(from: &mut TokenReader<'_>) -> ReadResult<SignatureFields> {
    let mut signature = from.start("Signature")?;
    signature.fixed("xmlns", DSIG_NS)?;
    signature.none_left()?;

    from.plain("SignedInfo")?;
    let canonicalization = from.algorithm("CanonicalizationMethod")?;
    let method = from.algorithm("SignatureMethod")?;
    let mut reference = from.start("Reference")?;
    let uri = reference.take("URI")?;
    reference.none_left()?;
    from.plain("Transforms")?;
    let mut transforms = Vec::new();
    while let Some(mut transform) = from.start_or_end("Transform")? {
        if transforms.len() == MAX_TRANSFORMS {
            return fail("too many transforms");
        }
        transforms.push(transform.take("Algorithm")?);
        transform.none_left()?;
        from.end()?;
    }
    let digest_method = from.algorithm("DigestMethod")?;
    let digest_value = from.leaf("DigestValue")?;
    from.end()?;
    from.end()?;

    let value = from.leaf("SignatureValue")?;
    from.plain("KeyInfo")?;
    from.plain("X509Data")?;
    let mut next = from.start_any()?;
    if next.name == "X509SubjectName" {
        // says again what the certificate says, and is not signed: never looked at
        next.none_left()?;
        from.text_to_end()?;
        next = from.start_any()?;
    }
    if next.name != "X509Certificate" {
        return fail("no certificate in the signature");
    }
    next.none_left()?;
    let certificate = from.text_to_end()?;
    from.end()?;
    from.end()?;
    from.end()?;

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

/// A start tag; attributes are taken out of it one by one.
struct StartTag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl StartTag {
    fn read(start: &BytesStart<'_>) -> ReadResult<Self> {
        let mut attributes = Vec::new();
        // refuses names that occur twice
        for attribute in start.attributes() {
            let Ok(attribute) = attribute else {
                return fail("a malformed attribute");
            };
            if attribute.value.contains('<') {
                return fail("a malformed attribute");
            }
            // knows the five predefined entities and character references only
            let Ok(value) = attribute.normalized_value(XmlVersion::Implicit1_0) else {
                return fail("an unknown entity");
            };
            if !is_xml_text(&value) {
                return fail("a character that XML lacks");
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

/// What stands next in the document.
enum XmlToken {
    Start(StartTag),
    End,
    /// Text, entities resolved, line ends normalized; never empty.
    Text(String),
    Finish,
}

/// Goes through the document piece by piece.
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
        if let Some(piece) = self.peeked.take() {
            return Ok(piece);
        }
        let mut text = String::new();
        loop {
            let Ok(event) = self.reader.read_event() else {
                return fail("not well-formed");
            };
            let piece = match event {
                Event::Start(start) => XmlToken::Start(StartTag::read(&start)?),
                Event::End(_) => XmlToken::End,
                Event::Eof => XmlToken::Finish,
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
                return Ok(piece);
            }
            if !is_xml_text(&text) {
                return fail("a character that XML lacks");
            }
            self.peeked = Some(piece);
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

    /// The start of an element that has no attributes.
    fn plain(&mut self, name: &str) -> ReadResult<()> {
        self.start(name)?.none_left()
    }

    /// Either a further element of this name, or the end of the one around (`None`).
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

    /// The text inside of the element just started, and its end.
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

    /// An element without attributes that holds text only.
    fn leaf(&mut self, name: &str) -> ReadResult<String> {
        self.plain(name)?;
        self.text_to_end()
    }

    /// An empty element with an `Algorithm`.
    fn algorithm(&mut self, name: &str) -> ReadResult<String> {
        let mut tag = self.start(name)?;
        let algorithm = tag.take("Algorithm")?;
        tag.none_left()?;
        self.end()?;
        Ok(algorithm)
    }

    /// The values inside of an `Attribute` just started, and its end.
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
            XmlToken::Finish => Ok(()),
            _ => fail("something behind the assertion"),
        }
    }
}

/// The character that a reference stands for; entities other than the predefined are unknown.
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
