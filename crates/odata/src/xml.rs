//! Parts of XML documents that the writers share.

use personium_xml::escape_attribute;

/// The XML declaration.
pub(crate) const DECLARATION: &str = "<?xml version='1.0' encoding='utf-8'?>";
/// The namespace of types and entity metadata.
pub(crate) const METADATA_NAMESPACE: &str =
    "http://schemas.microsoft.com/ado/2007/08/dataservices/metadata";
/// The namespace of properties, and the prefix of link relations.
pub(crate) const DATA_NAMESPACE: &str = "http://schemas.microsoft.com/ado/2007/08/dataservices";

/// Appends ` name="value"`.
pub(crate) fn push_attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape_attribute(out, value);
    out.push('"');
}

/// Appends ` name="value"` for each pair.
pub(crate) fn push_attributes(out: &mut String, pairs: &[(&str, &str)]) {
    for (name, value) in pairs {
        push_attribute(out, name, value);
    }
}
