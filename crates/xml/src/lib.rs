//! A tree of namespace-aware XML (XML 1.0 with Namespaces in XML 1.0): a reader with limits, a printer, escaping.
//!
//! This crate reads every XML document of a client. SAML assertions are the exception: a signature is verified on
//! their exact canonical form, which the crate `token` does.
//!
//! ```
//! use personium_xml::{Element, XmlLimits};
//!
//! let root = Element::parse(b"<D:a xmlns:D='DAV:' b='1'>text</D:a>", &XmlLimits::REQUEST)?;
//! assert!(root.is("DAV:", "a"));
//! assert_eq!(root.attribute("", "b"), Some("1"));
//! assert_eq!(root.to_xml(), "<D:a xmlns:D=\"DAV:\" b=\"1\">text</D:a>");
//! # Ok::<(), personium_xml::XmlError>(())
//! ```

mod escape;
mod print;
mod read;

use std::sync::Arc;

pub use escape::{escape_attribute, escape_text, escape_text_and_quotes};

/// The namespace of the prefix `xml`, which every document has.
pub const XML_NS: &str = "http://www.w3.org/XML/1998/namespace";

/// The namespace of namespace declarations. A document may not bind a prefix to it.
pub(crate) const XMLNS_NS: &str = "http://www.w3.org/2000/xmlns/";

/// Limits of the reader. A document that exceeds one is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XmlLimits {
    /// The size of the document in bytes.
    pub bytes: usize,
    /// The depth of nested elements; the root has the depth 1.
    pub depth: usize,
    /// The number of elements in the document.
    pub elements: usize,
    /// The number of attributes of one element, and the number of namespace declarations in scope of one element.
    pub attributes: usize,
    /// The size of one namespace name in bytes. [`Element::to_xml`] repeats the name for every element it prints.
    pub namespace_bytes: usize,
}

impl XmlLimits {
    /// The limits of a request body: 1 MiB, depth 64, 16,384 elements, 256 attributes, namespace names of 1 KiB.
    pub const REQUEST: Self = Self {
        bytes: 1 << 20,
        depth: 64,
        elements: 1 << 14,
        attributes: 1 << 8,
        namespace_bytes: 1 << 10,
    };

    /// The limits of an archive entry: as [`Self::REQUEST`], but with 1,048,576 elements. The reader of the archive
    /// limits the bytes.
    pub const ARCHIVE_ENTRY: Self = Self {
        bytes: usize::MAX,
        elements: 1 << 20,
        ..Self::REQUEST
    };
}

/// The reason for which a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// One of the [`XmlLimits`] is exceeded; the text names it.
    #[error("the document exceeds the limit of {0}")]
    LimitExceeded(&'static str),
    /// The document is not UTF-8, or its XML declaration names another encoding.
    #[error("the document is not UTF-8")]
    UnsupportedEncoding,
    /// The document has a document type declaration, which could define entities.
    #[error("document type declarations are not accepted")]
    DocumentType,
    /// The document has a processing instruction, or an XML declaration that is not at its start.
    #[error("processing instructions are not accepted")]
    ProcessingInstruction,
    /// A reference names an entity that XML does not predefine.
    #[error("the entity {0:?} is not defined")]
    UndefinedEntity(String),
    /// A prefix is not declared in its scope.
    #[error("the prefix {0:?} is not declared")]
    UndeclaredPrefix(String),
    /// The document has a character that XML 1.0 does not allow.
    #[error("the character U+{0:04X} is not allowed")]
    InvalidCharacter(u32),
    /// The document is not well-formed.
    #[error("the document is not well-formed: {0}")]
    Malformed(String),
}

/// The reason for which a document is refused, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct LocatedXmlError {
    /// The line, counted from 1.
    pub line: u32,
    /// The reason.
    pub error: XmlError,
}

/// The line of a start tag. It is no part of the value of an element: all lines are equal.
#[derive(Debug, Clone, Copy, Default)]
struct Line(u32);

impl PartialEq for Line {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Line {}

/// The expanded name of an element or attribute: namespace name and local part, without prefix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    namespace: Arc<str>,
    local: Box<str>,
}

impl Name {
    /// The namespace name, empty for a name without namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The local part.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// Returns true if this is the name `local` in the namespace `namespace`.
    #[must_use]
    pub fn is(&self, namespace: &str, local: &str) -> bool {
        &*self.local == local && &*self.namespace == namespace
    }
}

/// An attribute that is not a namespace declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    name: Name,
    prefix: Box<str>,
    value: String,
}

/// One part of the content of an element. Comments are dropped; a CDATA section becomes text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum XmlNode {
    /// A child element.
    Element(Element),
    /// Text with resolved references and line ends as `\n`. It is not empty and does not follow another text.
    Text(String),
}

/// An element with its attributes and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    name: Name,
    prefix: Box<str>,
    attributes: Vec<Attribute>,
    nodes: Vec<XmlNode>,
    line: Line,
}

impl Element {
    /// Parses a document and returns its root element.
    ///
    /// # Errors
    /// The first [`XmlError`]: the document is not well-formed with namespaces, exceeds `limits`, or has a document
    /// type declaration, a processing instruction, an entity that is not predefined, or an encoding other than UTF-8.
    pub fn parse(document: &[u8], limits: &XmlLimits) -> Result<Self, XmlError> {
        Self::parse_located(document, limits).map_err(|located| located.error)
    }

    /// As [`Self::parse`]; the error names the line.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn parse_located(document: &[u8], limits: &XmlLimits) -> Result<Self, LocatedXmlError> {
        read::document(document, limits)
    }

    /// The line of the start tag in the document, counted from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line.0
    }

    /// The name of the element.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The prefix of the name in the document, empty without prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns true if the element has this name.
    #[must_use]
    pub fn is(&self, namespace: &str, local: &str) -> bool {
        self.name.is(namespace, local)
    }

    /// The value of the attribute with this name; `namespace` is empty for an attribute without prefix.
    #[must_use]
    pub fn attribute(&self, namespace: &str, local: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|a| a.name.is(namespace, local))
            .map(|a| a.value.as_str())
    }

    /// Removes the attribute with this name, if there is one.
    pub fn remove_attribute(&mut self, namespace: &str, local: &str) {
        self.attributes.retain(|a| !a.name.is(namespace, local));
    }

    /// The content in document order.
    #[must_use]
    pub fn nodes(&self) -> &[XmlNode] {
        &self.nodes
    }

    /// The child elements in document order.
    pub fn elements(&self) -> impl Iterator<Item = &Self> {
        self.nodes.iter().filter_map(|node| match node {
            XmlNode::Element(element) => Some(element),
            XmlNode::Text(_) => None,
        })
    }

    /// The child elements with this name in document order.
    pub fn elements_named<'e>(
        &'e self,
        namespace: &'e str,
        local: &'e str,
    ) -> impl Iterator<Item = &'e Self> {
        self.elements().filter(move |e| e.is(namespace, local))
    }

    /// The text of the element itself, without that of its child elements.
    #[must_use]
    pub fn text(&self) -> String {
        self.nodes
            .iter()
            .filter_map(|node| match node {
                XmlNode::Text(text) => Some(text.as_str()),
                XmlNode::Element(_) => None,
            })
            .collect()
    }

    /// The element as text that can be inserted into any other document.
    ///
    /// The text declares each prefix where it is first used and keeps the prefixes of the document. An element without
    /// namespace resets the default namespace. Parsing the text returns an equal element.
    #[must_use]
    pub fn to_xml(&self) -> String {
        print::element(self)
    }

    /// Sets `xml:lang` unless the element has it.
    pub fn inherit_language(&mut self, lang: &str) {
        if self.attribute(XML_NS, "lang").is_none() {
            self.attributes.push(Attribute {
                name: Name {
                    namespace: Arc::from(XML_NS),
                    local: Box::from("lang"),
                },
                prefix: Box::from("xml"),
                value: lang.to_owned(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
