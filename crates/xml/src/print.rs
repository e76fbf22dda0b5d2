//! Printing an element so that it stands alone.

use super::{Attribute, Element, XmlNode};

/// The element as text with every declaration it needs.
pub(super) fn element(element: &Element) -> String {
    let mut out = String::new();
    print(element, &mut out, &mut Vec::new());
    out
}

/// Appends `text` as element content.
pub fn escape_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\r' => out.push_str("&#13;"),
            c => out.push(c),
        }
    }
}

/// Appends `text` as the value of an attribute in double quotes.
pub fn escape_attribute(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#9;"),
            '\n' => out.push_str("&#10;"),
            c => escape_text(out, c.encode_utf8(&mut [0; 4])),
        }
    }
}

type Scope<'e> = Vec<(&'e str, &'e str)>;

/// The namespace bound to `prefix`. The default one is unknown at first, since the text may be put anywhere.
fn bound<'e>(scope: &Scope<'e>, prefix: &str) -> Option<&'e str> {
    scope
        .iter()
        .rev()
        .find(|(declared, _)| *declared == prefix)
        .map(|(_, namespace)| *namespace)
}

fn declare<'e>(out: &mut String, scope: &mut Scope<'e>, prefix: &'e str, namespace: &'e str) {
    if prefix == "xml" || bound(scope, prefix) == Some(namespace) {
        return;
    }
    scope.push((prefix, namespace));
    out.push_str(" xmlns");
    if !prefix.is_empty() {
        out.push(':');
        out.push_str(prefix);
    }
    out.push_str("=\"");
    escape_attribute(out, namespace);
    out.push('"');
}

fn push_name(out: &mut String, prefix: &str, local: &str) {
    if !prefix.is_empty() {
        out.push_str(prefix);
        out.push(':');
    }
    out.push_str(local);
}

/// Recursion is as deep as the tree, which the reader bounds.
fn print<'e>(element: &'e Element, out: &mut String, scope: &mut Scope<'e>) {
    let outer = scope.len();
    out.push('<');
    push_name(out, &element.prefix, &element.name.local);
    declare(out, scope, &element.prefix, &element.name.namespace);
    for Attribute { name, prefix, .. } in &element.attributes {
        if !prefix.is_empty() {
            declare(out, scope, prefix, &name.namespace);
        }
    }
    for attribute in &element.attributes {
        out.push(' ');
        push_name(out, &attribute.prefix, &attribute.name.local);
        out.push_str("=\"");
        escape_attribute(out, &attribute.value);
        out.push('"');
    }
    if element.nodes.is_empty() {
        out.push_str("/>");
    } else {
        out.push('>');
        for node in &element.nodes {
            match node {
                XmlNode::Element(child) => print(child, out, scope),
                XmlNode::Text(text) => escape_text(out, text),
            }
        }
        out.push_str("</");
        push_name(out, &element.prefix, &element.name.local);
        out.push('>');
    }
    scope.truncate(outer);
}
