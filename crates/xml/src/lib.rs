//! A small tree of namespace-aware XML, read within limits and printed so that it stands alone.
//!
//! Every document that comes from outside is read here, but for SAML assertions, whose signature wants the exact
//! canonical form (crate `token`).

mod print;
mod read;

use std::sync::Arc;

pub use print::{escape_attribute, escape_text};

/// The namespace that the prefix `xml` is bound to in every document.
pub const XML_NS: &str = "http://www.w3.org/XML/1998/namespace";

/// The namespace of declarations, which nothing may bind a prefix to.
pub(crate) const XMLNS_NS: &str = "http://www.w3.org/2000/xmlns/";

/// How much a document may ask of the reader. Whatever exceeds a limit is refused, never cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XmlLimits {
    /// Bytes of the whole document.
    pub bytes: usize,
    /// Elements inside one another, the root counting 1.
    pub depth: usize,
    /// Elements in the whole document.
    pub elements: usize,
    /// Attributes of one element, and namespace declarations in scope at one place.
    pub attributes: usize,
    /// Bytes of one namespace name. It is repeated wherever an element is printed on its own.
    pub namespace_bytes: usize,
}

impl XmlLimits {
    /// Limits for a request body: 1 MiB, 64 levels, 16,384 elements, 256 attributes, namespace names of 1 KiB.
    pub const REQUEST: Self = Self {
        bytes: 1 << 20,
        depth: 64,
        elements: 1 << 14,
        attributes: 1 << 8,
        namespace_bytes: 1 << 10,
    };

    /// Limits for a document in an archive: as [`Self::REQUEST`], but 1,048,576 elements and as many bytes as the
    /// archive lets an entry have.
    pub const ENTRY: Self = Self {
        bytes: usize::MAX,
        elements: 1 << 20,
        ..Self::REQUEST
    };
}

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// One of the [`Limits`] is exceeded; the text names which.
    #[error("the document exceeds the limit of {0}")]
    LimitExceeded(&'static str),
    /// Not UTF-8, or the declaration names another encoding.
    #[error("the document is not UTF-8")]
    UnsupportedEncoding,
    /// Document type declarations are refused, and with them every entity of their own.
    #[error("document type declarations are not accepted")]
    DocumentType,
    /// Processing instructions are refused.
    #[error("processing instructions are not accepted")]
    ProcessingInstruction,
    /// A reference to an entity that XML does not predefine.
    #[error("the entity {0:?} is not defined")]
    UndefinedEntity(String),
    /// A prefix that no declaration in scope binds.
    #[error("the prefix {0:?} is not declared")]
    UndeclaredPrefix(String),
    /// A character that XML 1.0 does not allow.
    #[error("the character U+{0:04X} is not allowed")]
    InvalidCharacter(u32),
    /// Not well-formed.
    #[error("the document is not well-formed: {0}")]
    Malformed(String),
}

/// The name of an element or attribute: namespace and local part. The prefix is not part of a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    namespace: Arc<str>,
    local: Box<str>,
}

impl Name {
    /// The namespace name, empty for a name in no namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name without prefix.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// Whether this is the name `local` in the namespace `namespace`.
    #[must_use]
    pub fn is(&self, namespace: &str, local: &str) -> bool {
        &*self.local == local && &*self.namespace == namespace
    }
}

/// An attribute. Namespace declarations are not attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    name: Name,
    prefix: Box<str>,
    value: String,
}

/// What stands inside an element. Comments are left out; character data sections are text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum XmlNode {
    /// A child element.
    Element(Element),
    /// Text with references resolved and line ends as `\n`. Never empty, never next to another text.
    Text(String),
}

/// An element with its attributes and content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    name: Name,
    prefix: Box<str>,
    attributes: Vec<Attribute>,
    nodes: Vec<XmlNode>,
}

impl Element {
    /// Reads a document and gives its root.
    ///
    /// # Errors
    /// Refuses what is not well-formed with namespaces, what exceeds `limits`, document types, processing
    /// instructions other than the XML declaration, entities that are not predefined, and encodings other than UTF-8.
    pub fn parse(document: &[u8], limits: &XmlLimits) -> Result<Self, XmlError> {
        read::document(document, limits)
    }

    /// The element's name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The prefix of its name as the document has it; empty if there is none.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the element has this namespace and local name.
    #[must_use]
    pub fn is(&self, namespace: &str, local: &str) -> bool {
        self.name.is(namespace, local)
    }

    /// The value of the attribute of this name; `namespace` is empty for an attribute without prefix.
    #[must_use]
    pub fn attribute(&self, namespace: &str, local: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|a| a.name.is(namespace, local))
            .map(|a| a.value.as_str())
    }

    /// Content in document order.
    #[must_use]
    pub fn nodes(&self) -> &[XmlNode] {
        &self.nodes
    }

    /// Child elements in document order.
    pub fn elements(&self) -> impl Iterator<Item = &Self> {
        self.nodes.iter().filter_map(|node| match node {
            XmlNode::Element(element) => Some(element),
            XmlNode::Text(_) => None,
        })
    }

    /// Child elements of one name, in document order.
    pub fn elements_named<'e>(
        &'e self,
        namespace: &'e str,
        local: &'e str,
    ) -> impl Iterator<Item = &'e Self> {
        self.elements().filter(move |e| e.is(namespace, local))
    }

    /// The text directly inside the element, child elements left out.
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

    /// The element as text that means the same wherever it is put.
    ///
    /// Each prefix is declared where it is first needed and prefixes stay as they were read; an element in no
    /// namespace resets the default namespace. Reading the text gives an equal element, printing that gives equal text.
    #[must_use]
    pub fn to_xml(&self) -> String {
        print::element(self)
    }

    /// Gives the element the language `lang`, unless it names its own.
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
