//! The XML tokens of an assertion.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

use crate::saml::error::SamlError;

/// The maximum number of values (roles, scopes) of an attribute.
pub(in crate::saml) const MAX_VALUES: usize = 4096;

pub(super) type ReadResult<T> = Result<T, SamlError>;

pub(super) fn fail<T>(what: &'static str) -> ReadResult<T> {
    Err(SamlError::Parse { what })
}

/// Whether XML 1.0 allows all characters of the text (production `Char`).
pub(in crate::saml) fn is_xml_text(text: &str) -> bool {
    text.chars().all(|c| {
        matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
    })
}

/// A start tag. The parser takes its attributes one after another.
pub(super) struct StartTag {
    pub(super) name: String,
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

    pub(super) fn find(&mut self, name: &str) -> Option<String> {
        let at = self
            .attributes
            .iter()
            .position(|(found, _)| found == name)?;
        Some(self.attributes.swap_remove(at).1)
    }

    pub(super) fn take(&mut self, name: &str) -> ReadResult<String> {
        self.find(name)
            .map_or_else(|| fail("a missing attribute"), Ok)
    }

    pub(super) fn fixed(&mut self, name: &str, value: &str) -> ReadResult<()> {
        if self.take(name)? == value {
            Ok(())
        } else {
            fail("an attribute with another value")
        }
    }

    pub(super) fn none_left(&self) -> ReadResult<()> {
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
pub(super) struct TokenReader<'x> {
    reader: Reader<&'x [u8]>,
    peeked: Option<XmlToken>,
}

impl<'x> TokenReader<'x> {
    pub(super) fn new(xml: &'x str) -> Self {
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

    pub(super) fn start_any(&mut self) -> ReadResult<StartTag> {
        match self.next()? {
            XmlToken::Start(tag) => Ok(tag),
            _ => fail("a missing element"),
        }
    }

    pub(super) fn start(&mut self, name: &str) -> ReadResult<StartTag> {
        let tag = self.start_any()?;
        if tag.name == name {
            Ok(tag)
        } else {
            fail("an unexpected element")
        }
    }

    /// Reads the start of an element without attributes.
    pub(super) fn plain(&mut self, name: &str) -> ReadResult<()> {
        self.start(name)?.none_left()
    }

    /// Reads the start of an element of this name, or the end of its parent (`None`).
    pub(super) fn start_or_end(&mut self, name: &str) -> ReadResult<Option<StartTag>> {
        match self.next()? {
            XmlToken::End => Ok(None),
            XmlToken::Start(tag) if tag.name == name => Ok(Some(tag)),
            _ => fail("an unexpected element or text"),
        }
    }

    pub(super) fn end(&mut self) -> ReadResult<()> {
        match self.next()? {
            XmlToken::End => Ok(()),
            _ => fail("an unexpected element or text"),
        }
    }

    /// Reads the text of the current element and its end.
    pub(super) fn text_to_end(&mut self) -> ReadResult<String> {
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
    pub(super) fn leaf(&mut self, name: &str) -> ReadResult<String> {
        self.plain(name)?;
        self.text_to_end()
    }

    /// Reads an empty element and returns its `Algorithm`.
    pub(super) fn algorithm(&mut self, name: &str) -> ReadResult<String> {
        let mut tag = self.start(name)?;
        let algorithm = tag.take("Algorithm")?;
        tag.none_left()?;
        self.end()?;
        Ok(algorithm)
    }

    /// Reads the values of the current `Attribute` and its end.
    pub(super) fn values(&mut self) -> ReadResult<Vec<String>> {
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

    pub(super) fn end_of_document(&mut self) -> ReadResult<()> {
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
