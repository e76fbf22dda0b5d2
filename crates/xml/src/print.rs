//! Printing of an element with all namespace declarations it needs.

use super::escape::{escape_attribute, escape_text};
use super::{Attribute, Element, XmlNode};

/// The element as text with every namespace declaration it needs.
pub(super) fn element(element: &Element) -> String {
    let mut out = String::new();
    print(element, &mut out, &mut Vec::new());
    out
}

/// The declarations in scope, outermost first: prefix (empty for the default namespace) and namespace name.
type Scope<'e> = Vec<(&'e str, &'e str)>;

/// The namespace that `prefix` is bound to, `None` if that is unknown: the text may be inserted into any document.
fn bound_namespace<'e>(scope: &Scope<'e>, prefix: &str) -> Option<&'e str> {
    scope
        .iter()
        .rev()
        .find(|(declared, _)| *declared == prefix)
        .map(|(_, namespace)| *namespace)
}

/// Appends a namespace declaration, unless the prefix is bound to the namespace already.
fn declare<'e>(out: &mut String, scope: &mut Scope<'e>, prefix: &'e str, namespace: &'e str) {
    if prefix == "xml" || bound_namespace(scope, prefix) == Some(namespace) {
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

/// Prints an element and its content. The depth of the recursion is that of the tree, which [`super::XmlLimits`] bounds.
fn print<'e>(element: &'e Element, out: &mut String, scope: &mut Scope<'e>) {
    let outer_scope = scope.len();
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
    scope.truncate(outer_scope);
}
