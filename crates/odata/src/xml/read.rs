//! Reading of XML, one element after another. Nothing of the document is kept, and text is checked but not given.

use std::collections::HashSet;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::name::{Namespace, QName, ResolveResult};
use quick_xml::reader::NsReader;

/// Elements inside one another, the root counting 1.
pub(crate) const MAX_DEPTH: usize = 64;
/// Attributes of one element, declarations included.
pub(crate) const MAX_ATTRIBUTES: usize = 256;
/// Bytes of one namespace name, which is looked at wherever it is used.
pub(crate) const MAX_NAMESPACE_BYTES: usize = 1 << 10;

/// Why a document was refused, as text: not well-formed, or more than this reader accepts.
#[derive(Debug)]
pub(crate) struct NotXml(pub(crate) String);

/// A start or an end tag; an empty element gives both.
pub(crate) enum Step {
    /// An element begins.
    Open(Element),
    /// The innermost open element ends.
    Close,
}

/// A start tag. Names are a namespace (empty for none) and a local part.
pub(crate) struct Element {
    namespace: String,
    local: String,
    attributes: Vec<((String, String), String)>,
}

impl Element {
    /// The namespace name, empty for an element in no namespace.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name without prefix.
    pub(crate) fn local(&self) -> &str {
        &self.local
    }

    /// The value of an attribute; `namespace` is empty for an attribute without prefix.
    pub(crate) fn attribute(&self, namespace: &str, local: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|((of, name), _)| of == namespace && name == local)
            .map(|(_, value)| value.as_str())
    }
}

/// A document that is being read.
///
/// Refused are document type declarations (and with them entities of their own), processing instructions other
/// than the XML declaration, encodings other than UTF-8, and what exceeds [`MAX_DEPTH`], [`MAX_ATTRIBUTES`] or
/// [`MAX_NAMESPACE_BYTES`]. The number of bytes is for the caller to bound.
pub(crate) struct Document<'d> {
    reader: NsReader<&'d [u8]>,
    depth: usize,
    has_begun: bool,
    has_root: bool,
}

impl<'d> Document<'d> {
    /// Starts at the beginning of a document.
    pub(crate) fn new(bytes: &'d [u8]) -> Result<Self, NotXml> {
        let text = std::str::from_utf8(bytes).map_err(|_| refused("the document is not UTF-8"))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        check_characters(text)?;
        let mut reader = NsReader::from_str(text);
        let config = reader.config_mut();
        config.check_comments = true;
        config.expand_empty_elements = true;
        Ok(Self {
            reader,
            depth: 0,
            has_begun: false,
            has_root: false,
        })
    }

    /// The next tag, `None` after the end of a whole document.
    pub(crate) fn next(&mut self) -> Result<Option<Step>, NotXml> {
        loop {
            let event = self.reader.read_event().map_err(malformed)?;
            let is_first = !std::mem::replace(&mut self.has_begun, true);
            match event {
                Event::Start(start) => return self.open(&start).map(|e| Some(Step::Open(e))),
                Event::End(_) => {
                    self.depth = self
                        .depth
                        .checked_sub(1)
                        .ok_or_else(|| refused("end without start"))?;
                    return Ok(Some(Step::Close));
                }
                Event::Text(text) if text.contains("]]>") => return Err(refused("]]> in text")),
                Event::Text(text) if text.chars().all(is_space) => {}
                Event::Text(_) | Event::CData(_) => self.inside()?,
                Event::GeneralRef(reference) => {
                    self.inside()?;
                    check_reference(&reference)?;
                }
                Event::Comment(_) => {}
                Event::Decl(declaration) if is_first => check_declaration(&declaration)?,
                Event::Decl(_) | Event::PI(_) => {
                    return Err(refused("processing instructions are not accepted"));
                }
                Event::DocType(_) => {
                    return Err(refused("document type declarations are not accepted"));
                }
                Event::Eof if self.depth > 0 => return Err(refused("an element is not closed")),
                Event::Eof if !self.has_root => return Err(refused("there is no root element")),
                Event::Eof => return Ok(None),
                Event::Empty(_) => return Err(refused("an empty element that was not expanded")),
            }
        }
    }

    fn open(&mut self, start: &BytesStart<'_>) -> Result<Element, NotXml> {
        if self.depth == 0 && std::mem::replace(&mut self.has_root, true) {
            return Err(refused("more than one root"));
        }
        if self.depth >= MAX_DEPTH {
            return Err(NotXml(format!("more than {MAX_DEPTH} levels")));
        }
        self.depth += 1;

        let mut spellings = HashSet::new();
        let mut names = HashSet::new();
        let mut attributes = Vec::new();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(malformed)?;
            if spellings.len() >= MAX_ATTRIBUTES {
                return Err(NotXml(format!("more than {MAX_ATTRIBUTES} attributes")));
            }
            if attribute.value.contains('<') {
                return Err(refused("< in an attribute"));
            }
            // knows the five predefined entities and character references only
            let value = attribute
                .normalized_value(XmlVersion::Explicit1_0)
                .map_err(malformed)?;
            check_characters(&value)?;
            let is_declaration = attribute.key.as_namespace_binding().is_some();
            if is_declaration && attribute.value.len() > MAX_NAMESPACE_BYTES {
                return Err(refused("a namespace name is too long"));
            }
            let name = self.name(attribute.key, false)?;
            if !spellings.insert(attribute.key.0) || !names.insert(name.clone()) {
                return Err(NotXml(format!("attribute {:?} given twice", name.1)));
            }
            if !is_declaration {
                attributes.push((name, value.into_owned()));
            }
        }
        let (namespace, local) = self.name(start.name(), true)?;
        Ok(Element {
            namespace,
            local,
            attributes,
        })
    }

    /// Namespace and local part of a name; without prefix only elements are in the default namespace.
    fn name(&self, name: QName<'_>, is_element: bool) -> Result<(String, String), NotXml> {
        let (local, prefix) = name.decompose();
        if !is_name(local.as_ref()) || prefix.is_some_and(|prefix| !is_name(prefix.as_ref())) {
            return Err(NotXml(format!("{:?} is not a name", name.0)));
        }
        let namespace = match self.reader.resolver().resolve_prefix(prefix, is_element) {
            ResolveResult::Bound(Namespace(namespace)) => namespace.to_owned(),
            ResolveResult::Unbound => String::new(),
            ResolveResult::Unknown(prefix) => {
                return Err(NotXml(format!("the prefix {prefix:?} is not declared")));
            }
        };
        Ok((namespace, local.as_ref().to_owned()))
    }

    fn inside(&self) -> Result<(), NotXml> {
        if self.depth == 0 {
            return Err(refused("text outside the root"));
        }
        Ok(())
    }
}

fn refused(reason: &str) -> NotXml {
    NotXml(reason.to_owned())
}

fn malformed(error: impl std::fmt::Display) -> NotXml {
    NotXml(error.to_string())
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// Refuses ASCII that no name has. Which characters beyond ASCII a name may have is not looked at.
fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    let is_start = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    characters.next().is_some_and(is_start)
        && characters.all(|c| is_start(c) || c.is_ascii_digit() || matches!(c, '-' | '.'))
}

/// Refuses what XML 1.0 does not allow in a document, escaped or not.
fn check_characters(text: &str) -> Result<(), NotXml> {
    let is_refused = |c: &char| !matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
    match text.chars().find(is_refused) {
        Some(c) => Err(NotXml(format!(
            "the character U+{:04X} is not allowed",
            u32::from(c)
        ))),
        None => Ok(()),
    }
}

fn check_reference(reference: &BytesRef<'_>) -> Result<(), NotXml> {
    match reference.resolve_char_ref().map_err(malformed)? {
        Some(c) => check_characters(c.encode_utf8(&mut [0; 4])),
        None if resolve_predefined_entity(reference).is_some() => Ok(()),
        None => Err(NotXml(format!(
            "the entity {:?} is not defined",
            &**reference
        ))),
    }
}

fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), NotXml> {
    if declaration.version().map_err(malformed)? != "1.0" {
        return Err(refused("not XML 1.0"));
    }
    let Some(encoding) = declaration.encoding().transpose().map_err(malformed)? else {
        return Ok(());
    };
    let known = ["utf-8", "us-ascii"];
    if known
        .iter()
        .any(|known| encoding.eq_ignore_ascii_case(known))
    {
        return Ok(());
    }
    Err(refused("the document is not UTF-8"))
}

#[cfg(test)]
mod tests;
