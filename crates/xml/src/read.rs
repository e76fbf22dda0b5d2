//! Parsing of a document into a tree.

use std::collections::HashSet;
use std::sync::Arc;

use quick_xml::XmlVersion;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesDecl, BytesStart, Event};
use quick_xml::reader::Reader;

use super::escape::is_allowed;
use super::{
    Attribute, Element, Line, LocatedXmlError, Name, XML_NS, XMLNS_NS, XmlError, XmlLimits, XmlNode,
};

/// Parses a document and returns its root element.
pub(super) fn document(bytes: &[u8], limits: &XmlLimits) -> Result<Element, LocatedXmlError> {
    let at_start = |error| LocatedXmlError { line: 1, error };
    if bytes.len() > limits.bytes {
        return Err(at_start(XmlError::LimitExceeded("bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| LocatedXmlError {
        line: line_at(bytes, error.valid_up_to()),
        error: XmlError::UnsupportedEncoding,
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    check_characters(text).map_err(|error| LocatedXmlError {
        line: first_line_with_invalid_character(text),
        error,
    })?;
    let mut lines = LineCounter {
        text: text.as_bytes(),
        offset: 0,
        line: 1,
    };
    let tree = events(text, limits, &mut lines);
    tree.map_err(|error| LocatedXmlError {
        line: lines.line,
        error,
    })
}

/// Counts the lines of a text up to increasing offsets.
struct LineCounter<'t> {
    text: &'t [u8],
    offset: usize,
    line: u32,
}

impl LineCounter<'_> {
    fn advance(&mut self, offset: u64) {
        let offset = usize::try_from(offset).unwrap_or(self.offset);
        let passed = self.text.get(self.offset..offset).unwrap_or_default();
        self.line = self.line.saturating_add(count_lines(passed));
        self.offset = self.offset.max(offset);
    }
}

fn count_lines(text: &[u8]) -> u32 {
    let ends = text.iter().filter(|byte| **byte == b'\n').count();
    u32::try_from(ends).unwrap_or(u32::MAX)
}

fn line_at(bytes: &[u8], offset: usize) -> u32 {
    count_lines(bytes.get(..offset).unwrap_or_default()).saturating_add(1)
}

fn first_line_with_invalid_character(text: &str) -> u32 {
    let at = text.find(|c| !is_allowed(c)).unwrap_or_default();
    line_at(text.as_bytes(), at)
}

/// Reads the events of a document into a tree. `lines` is at the last event afterwards.
fn events(
    text: &str,
    limits: &XmlLimits,
    lines: &mut LineCounter<'_>,
) -> Result<Element, XmlError> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut tree = TreeBuilder::new(limits);
    let mut first = true;
    loop {
        lines.advance(reader.buffer_position());
        tree.line = lines.line;
        match reader.read_event().map_err(malformed)? {
            Event::Start(start) => tree.open(&start)?,
            Event::Empty(start) => {
                tree.open(&start)?;
                tree.close()?;
            }
            Event::End(_) => tree.close()?,
            Event::Text(text) => {
                if text.contains("]]>") {
                    return Err(malformed("]]> in text"));
                }
                tree.text(&text.xml10_content())?;
            }
            Event::CData(data) => tree.character_data(&data.xml10_content())?,
            Event::GeneralRef(reference) => {
                let mut resolved = [0; 4];
                let text = match reference.resolve_char_ref().map_err(malformed)? {
                    Some(c) => &*c.encode_utf8(&mut resolved),
                    None => resolve_predefined_entity(&reference)
                        .ok_or_else(|| XmlError::UndefinedEntity(reference.to_string()))?,
                };
                check_characters(text)?;
                tree.character_data(text)?;
            }
            Event::Comment(_) => {}
            Event::Decl(declaration) if first => check_declaration(&declaration)?,
            Event::Decl(_) | Event::PI(_) => return Err(XmlError::ProcessingInstruction),
            Event::DocType(_) => return Err(XmlError::DocumentType),
            Event::Eof => return tree.finish(),
        }
        first = false;
    }
}

fn malformed(error: impl std::fmt::Display) -> XmlError {
    XmlError::Malformed(error.to_string())
}

/// Refuses text with a character that XML 1.0 does not allow.
fn check_characters(text: &str) -> Result<(), XmlError> {
    match text.chars().find(|c| !is_allowed(*c)) {
        Some(c) => Err(XmlError::InvalidCharacter(u32::from(c))),
        None => Ok(()),
    }
}

fn check_declaration(declaration: &BytesDecl<'_>) -> Result<(), XmlError> {
    if declaration.version().map_err(malformed)? != "1.0" {
        return Err(malformed("not XML 1.0"));
    }
    match declaration.encoding() {
        None => Ok(()),
        Some(Ok(name))
            if ["utf-8", "us-ascii"]
                .iter()
                .any(|known| name.eq_ignore_ascii_case(known)) =>
        {
            Ok(())
        }
        Some(Ok(_)) => Err(XmlError::UnsupportedEncoding),
        Some(Err(error)) => Err(malformed(error)),
    }
}

/// An element whose end tag was not read yet.
struct OpenElement {
    element: Element,
    /// The number of declarations in scope outside the element.
    outer_scope: usize,
}

/// Builds the tree from the events of the reader.
struct TreeBuilder<'l> {
    limits: &'l XmlLimits,
    open: Vec<OpenElement>,
    root: Option<Element>,
    elements: usize,
    /// The declarations in scope, outermost first: prefix (empty for the default namespace) and namespace name.
    scope: Vec<(Box<str>, Arc<str>)>,
    xml_namespace: Arc<str>,
    no_namespace: Arc<str>,
    /// The line of the current event.
    line: u32,
}

impl<'l> TreeBuilder<'l> {
    fn new(limits: &'l XmlLimits) -> Self {
        Self {
            limits,
            open: Vec::new(),
            root: None,
            elements: 0,
            scope: Vec::new(),
            xml_namespace: Arc::from(XML_NS),
            no_namespace: Arc::from(""),
            line: 1,
        }
    }

    /// Starts an element.
    fn open(&mut self, start: &BytesStart<'_>) -> Result<(), XmlError> {
        if self.open.is_empty() && self.root.is_some() {
            return Err(malformed("more than one root"));
        }
        if self.open.len() >= self.limits.depth {
            return Err(XmlError::LimitExceeded("depth"));
        }
        self.elements += 1;
        if self.elements > self.limits.elements {
            return Err(XmlError::LimitExceeded("elements"));
        }

        let outer_scope = self.scope.len();
        let attributes = self.declare_namespaces(start)?;
        let (prefix, local) = split_name(start.name().0)?;
        let element = Element {
            name: Name {
                namespace: self.namespace(prefix)?,
                local: local.into(),
            },
            prefix: prefix.into(),
            attributes: self.resolve_attributes(attributes)?,
            nodes: Vec::new(),
            line: Line(self.line),
        };
        self.open.push(OpenElement {
            element,
            outer_scope,
        });
        Ok(())
    }

    /// Adds the namespace declarations of a start tag to the scope, and returns the other attributes: the names as
    /// written, and the values.
    fn declare_namespaces<'t>(
        &mut self,
        start: &'t BytesStart<'_>,
    ) -> Result<Vec<(&'t str, String)>, XmlError> {
        let outer_scope = self.scope.len();
        let mut others = Vec::new();
        let mut names = HashSet::new();
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.map_err(malformed)?;
            if names.len() >= self.limits.attributes {
                return Err(XmlError::LimitExceeded("attributes"));
            }
            let name = attribute.key.0;
            if !names.insert(name) {
                return Err(duplicate_attribute(name));
            }
            if attribute.value.contains('<') {
                return Err(malformed("< in an attribute"));
            }
            let value = attribute
                .normalized_value(XmlVersion::Explicit1_0)
                .map_err(malformed)?;
            check_characters(&value)?;
            match name.split_once(':') {
                None if name == "xmlns" => self.declare("", &value, outer_scope)?,
                Some(("xmlns", "")) => return Err(malformed("a declaration without prefix")),
                Some(("xmlns", prefix)) => self.declare(prefix, &value, outer_scope)?,
                _ => others.push((name, value.into_owned())),
            }
        }
        Ok(others)
    }

    /// Resolves the prefixes of attributes. Two names with different prefixes may be equal then.
    fn resolve_attributes(
        &self,
        attributes: Vec<(&str, String)>,
    ) -> Result<Vec<Attribute>, XmlError> {
        let mut resolved = Vec::with_capacity(attributes.len());
        let mut names = HashSet::new();
        for (name, value) in attributes {
            let (prefix, local) = split_name(name)?;
            let namespace = if prefix.is_empty() {
                Arc::clone(&self.no_namespace)
            } else {
                self.namespace(prefix)?
            };
            let name = Name {
                namespace,
                local: local.into(),
            };
            if !names.insert(name.clone()) {
                return Err(duplicate_attribute(local));
            }
            resolved.push(Attribute {
                name,
                prefix: prefix.into(),
                value,
            });
        }
        Ok(resolved)
    }

    /// Ends the innermost open element.
    fn close(&mut self) -> Result<(), XmlError> {
        let Some(OpenElement {
            element,
            outer_scope,
        }) = self.open.pop()
        else {
            return Err(malformed("an end tag without start tag"));
        };
        self.scope.truncate(outer_scope);
        match self.open.last_mut() {
            Some(parent) => parent.element.nodes.push(XmlNode::Element(element)),
            None => self.root = Some(element),
        }
        Ok(())
    }

    /// Adds text. Outside the root element only white space is allowed.
    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        if self.open.is_empty() && text.chars().all(|c| matches!(c, ' ' | '\t' | '\r' | '\n')) {
            return Ok(());
        }
        self.character_data(text)
    }

    /// Adds text that is not white space between elements: a CDATA section or a reference.
    fn character_data(&mut self, text: &str) -> Result<(), XmlError> {
        let Some(parent) = self.open.last_mut() else {
            return Err(malformed("text outside the root element"));
        };
        match parent.element.nodes.last_mut() {
            Some(XmlNode::Text(before)) => before.push_str(text),
            _ if text.is_empty() => {}
            _ => parent.element.nodes.push(XmlNode::Text(text.to_owned())),
        }
        Ok(())
    }

    /// Returns the root element at the end of the document.
    fn finish(self) -> Result<Element, XmlError> {
        if !self.open.is_empty() {
            return Err(malformed("an element is not closed"));
        }
        self.root
            .ok_or_else(|| malformed("there is no root element"))
    }

    /// Adds a namespace declaration to the scope, whose first `outer_scope` declarations are those of outer elements.
    fn declare(
        &mut self,
        prefix: &str,
        namespace: &str,
        outer_scope: usize,
    ) -> Result<(), XmlError> {
        if self.scope.len() >= self.limits.attributes {
            return Err(XmlError::LimitExceeded("namespace declarations"));
        }
        if namespace.len() > self.limits.namespace_bytes {
            return Err(XmlError::LimitExceeded("namespace length"));
        }
        let refused = match prefix {
            "" => namespace == XML_NS || namespace == XMLNS_NS,
            "xml" => namespace != XML_NS,
            "xmlns" => true,
            _ => {
                namespace.is_empty()
                    || namespace == XML_NS
                    || namespace == XMLNS_NS
                    || !is_ncname(prefix)
            }
        };
        if refused {
            return Err(malformed(format_args!(
                "prefix {prefix:?} cannot be bound to {namespace:?}"
            )));
        }
        // The name of a namespace that an outer element declares is shared, not copied.
        let outer = self
            .scope
            .iter()
            .take(outer_scope)
            .rev()
            .find(|(_, outer)| **outer == *namespace);
        let namespace = outer.map_or_else(|| Arc::from(namespace), |(_, outer)| Arc::clone(outer));
        self.scope.push((prefix.into(), namespace));
        Ok(())
    }

    /// The namespace that a prefix is bound to; without prefix the default namespace.
    fn namespace(&self, prefix: &str) -> Result<Arc<str>, XmlError> {
        if prefix == "xml" {
            return Ok(Arc::clone(&self.xml_namespace));
        }
        match self
            .scope
            .iter()
            .rev()
            .find(|(declared, _)| **declared == *prefix)
        {
            Some((_, namespace)) => Ok(Arc::clone(namespace)),
            None if prefix.is_empty() => Ok(Arc::clone(&self.no_namespace)),
            None => Err(XmlError::UndeclaredPrefix(prefix.to_owned())),
        }
    }
}

fn duplicate_attribute(name: &str) -> XmlError {
    malformed(format_args!("attribute {name:?} given twice"))
}

/// Splits a name as written into prefix (empty without one) and local part.
fn split_name(name: &str) -> Result<(&str, &str), XmlError> {
    let (prefix, local) = match name.split_once(':') {
        Some((prefix, local)) if is_ncname(prefix) => (prefix, local),
        Some(_) => return Err(malformed(format_args!("{name:?} is not a name"))),
        None => ("", name),
    };
    if is_ncname(local) {
        Ok((prefix, local))
    } else {
        Err(malformed(format_args!("{name:?} is not a name")))
    }
}

/// Returns true if `name` is an NCName (Namespaces in XML 1.0 section 3, XML 1.0 fifth edition section 2.3).
fn is_ncname(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(is_name_start) && characters.all(is_name_part)
}

fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
        | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}'
        | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

fn is_name_part(c: char) -> bool {
    is_name_start(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}
