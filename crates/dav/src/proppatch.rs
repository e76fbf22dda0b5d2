//! The body of PROPPATCH (RFC 4918, section 9.2).

use crate::{DAV_NS, PERSONIUM_NS};
use personium_xml::{Element, XML_NS, XmlError, XmlLimits};

/// A dead property: stored by the server without an interpretation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadProperty {
    /// The key under which the property is stored: local name, `@`, namespace.
    pub key: String,
    /// The element as self-contained XML. It is stored, and repeated in the response.
    pub xml: String,
}

/// A change of a dead property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyChange {
    /// Sets it, or replaces it.
    Set(DeadProperty),
    /// Removes it if it exists.
    Remove(DeadProperty),
}

impl PropertyChange {
    /// The element of the request.
    #[must_use]
    pub fn xml(&self) -> &str {
        match self {
            Self::Set(property) | Self::Remove(property) => &property.xml,
        }
    }
}

/// A PROPPATCH request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PropPatch {
    /// The changes in document order, in which they are carried out.
    pub changes: Vec<PropertyChange>,
    /// The elements of protected properties, as self-contained XML. If there are any, nothing is changed.
    pub protected: Vec<String>,
}

/// An error in a PROPPATCH body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropPatchError {
    /// The body is not valid XML.
    #[error("cannot parse the PROPPATCH body")]
    NotXml(#[source] XmlError),
    /// The root element is not `propertyupdate` in the namespace `DAV:`.
    #[error("the root element is not propertyupdate")]
    WrongRoot,
    /// The body has neither `set` nor `remove`, or one of them has no `prop`.
    #[error("the body contains no prop to set or remove")]
    NoProp,
}

/// The properties of the namespace `DAV:` that the server computes: RFC 4918, section 15 (without `displayname` and
/// `getcontentlanguage`, which clients may set and which are stored as they are); RFC 3253, section 3.1.5; RFC 3744, section
/// 5; RFC 4331; RFC 5397.
const PROTECTED: [&str; 20] = [
    "acl",
    "acl-restrictions",
    "creationdate",
    "current-user-principal",
    "current-user-privilege-set",
    "getcontentlength",
    "getcontenttype",
    "getetag",
    "getlastmodified",
    "group",
    "inherited-acl-set",
    "lockdiscovery",
    "owner",
    "principal-collection-set",
    "quota-available-bytes",
    "quota-used-bytes",
    "resourcetype",
    "supported-privilege-set",
    "supported-report-set",
    "supportedlock",
];
/// The properties of the Personium namespace that the server computes.
const PROTECTED_PERSONIUM: [&str; 1] = ["cellstatus"];

/// Whether the property is a live one: computed by the server, so that clients cannot change it.
#[must_use]
pub fn is_live(namespace: &str, local: &str) -> bool {
    match namespace {
        DAV_NS => PROTECTED.contains(&local),
        PERSONIUM_NS => PROTECTED_PERSONIUM.contains(&local),
        _ => false,
    }
}

/// The key under which a property is stored.
#[must_use]
pub fn key(namespace: &str, local: &str) -> String {
    format!("{local}@{namespace}")
}

/// Parses a PROPPATCH body.
///
/// The `xml:lang` of an enclosing element is copied into the property (RFC 4918, section 4.3).
///
/// # Errors
/// [`PropPatchError::NotXml`], [`PropPatchError::WrongRoot`], [`PropPatchError::NoProp`].
///
/// ```
/// use personium_dav::proppatch::parse;
/// use personium_xml::XmlLimits;
///
/// let body = br#"<propertyupdate xmlns="DAV:"><set><prop><a xmlns="urn:x">1</a></prop></set></propertyupdate>"#;
/// let patch = parse(body, &XmlLimits::REQUEST).unwrap();
/// assert_eq!(patch.changes[0].xml(), r#"<a xmlns="urn:x">1</a>"#);
/// ```
pub fn parse(body: &[u8], limits: &XmlLimits) -> Result<PropPatch, PropPatchError> {
    let root = Element::parse(body, limits).map_err(PropPatchError::NotXml)?;
    if !root.is(DAV_NS, "propertyupdate") {
        return Err(PropPatchError::WrongRoot);
    }
    let mut patch = PropPatch::default();
    let mut updates = 0_usize;
    for update in root.elements() {
        let change = match (update.name().namespace(), update.name().local()) {
            (DAV_NS, "set") => PropertyChange::Set,
            (DAV_NS, "remove") => PropertyChange::Remove,
            _ => continue,
        };
        updates += 1;
        let mut props = update.elements_named(DAV_NS, "prop").peekable();
        if props.peek().is_none() {
            return Err(PropPatchError::NoProp);
        }
        for prop in props {
            let language = [prop, update, &root]
                .into_iter()
                .find_map(|e| e.attribute(XML_NS, "lang"));
            for element in prop.elements() {
                let property = property(element, language);
                if is_live(element.name().namespace(), element.name().local()) {
                    patch.protected.push(property.xml);
                } else {
                    patch.changes.push(change(property));
                }
            }
        }
    }
    if updates == 0 {
        Err(PropPatchError::NoProp)
    } else {
        Ok(patch)
    }
}

/// Converts an element, with the language of its parents, to a property.
pub(crate) fn property(element: &Element, language: Option<&str>) -> DeadProperty {
    let xml = match language {
        Some(language) => {
            let mut element = element.clone();
            element.inherit_language(language);
            element.to_xml()
        }
        None => element.to_xml(),
    };
    DeadProperty {
        key: key(element.name().namespace(), element.name().local()),
        xml,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> Result<PropPatch, PropPatchError> {
        let body = format!(
            "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' xmlns:Z='urn:z'>{inside}</D:propertyupdate>"
        );
        parse(body.as_bytes(), &XmlLimits::REQUEST)
    }

    fn property(key: &str, xml: &str) -> DeadProperty {
        DeadProperty {
            key: key.to_owned(),
            xml: xml.to_owned(),
        }
    }

    fn set(key: &str, xml: &str) -> PropertyChange {
        PropertyChange::Set(property(key, xml))
    }

    fn remove(key: &str, xml: &str) -> PropertyChange {
        PropertyChange::Remove(property(key, xml))
    }

    #[test]
    fn changes_are_in_document_order() {
        let patch = read(
            "<D:remove><D:prop><p:old/></D:prop></D:remove>\
             <D:set><D:prop><Z:Author a='1'>x <b>y</b></Z:Author></D:prop></D:set>\
             <D:remove><D:prop><Z:Author/></D:prop></D:remove>\
             <D:set><D:prop><p:hoge>fuga</p:hoge><plain/></D:prop></D:set>",
        )
        .unwrap();
        assert_eq!(
            patch.changes,
            [
                remove(
                    "old@urn:x-personium:xmlns",
                    "<p:old xmlns:p=\"urn:x-personium:xmlns\"/>"
                ),
                set(
                    "Author@urn:z",
                    "<Z:Author xmlns:Z=\"urn:z\" a=\"1\">x <b xmlns=\"\">y</b></Z:Author>"
                ),
                remove("Author@urn:z", "<Z:Author xmlns:Z=\"urn:z\"/>"),
                set(
                    "hoge@urn:x-personium:xmlns",
                    "<p:hoge xmlns:p=\"urn:x-personium:xmlns\">fuga</p:hoge>"
                ),
                set("plain@", "<plain xmlns=\"\"/>"),
            ]
        );
        assert!(patch.protected.is_empty());
    }

    #[test]
    fn protected_properties_are_listed_apart() {
        let patch = read(
            "<D:set><D:prop><D:getetag>x</D:getetag><D:resourcetype/><D:acl/><Z:getetag/><D:displayname>n</D:displayname>\
             <p:cellstatus/></D:prop></D:set><D:remove><D:prop><D:quota-used-bytes/><D:getcontentlanguage/></D:prop></D:remove>",
        )
        .unwrap();
        let names = |xml: &str| {
            let name = xml.trim_start_matches('<');
            name.split([' ', '/', '>']).next().unwrap().to_owned()
        };
        let changes: Vec<String> = patch.changes.iter().map(|c| names(c.xml())).collect();
        assert_eq!(
            changes,
            ["Z:getetag", "D:displayname", "D:getcontentlanguage"]
        );
        let protected: Vec<String> = patch.protected.iter().map(|xml| names(xml)).collect();
        assert_eq!(
            protected,
            [
                "D:getetag",
                "D:resourcetype",
                "D:acl",
                "p:cellstatus",
                "D:quota-used-bytes"
            ]
        );
    }

    #[test]
    fn language_in_scope_is_copied_into_the_property() {
        let patch = read(
            "<D:set xml:lang='en'><D:prop xml:lang='ja'><Z:a/><Z:b xml:lang='fr'/></D:prop></D:set>\
             <D:set xml:lang='de'><D:prop><Z:c/></D:prop></D:set>",
        )
        .unwrap();
        let languages: Vec<bool> = patch
            .changes
            .iter()
            .zip(["ja", "fr", "de"])
            .map(|(change, lang)| change.xml().contains(&format!("xml:lang=\"{lang}\"")))
            .collect();
        assert_eq!(languages, [true; 3]);
    }

    #[test]
    fn request_without_prop_is_refused() {
        for inside in [
            "",
            "<D:set/>",
            "<D:set><D:props><Z:a/></D:props></D:set>",
            "<D:remove><D:props/></D:remove>",
            "<D:set><D:prop/></D:set><D:remove/>",
            "<set><D:prop/></set>",
        ] {
            assert_eq!(read(inside), Err(PropPatchError::NoProp), "{inside}");
        }
        assert_eq!(read("<D:set><D:prop/></D:set>"), Ok(PropPatch::default()));
    }

    #[test]
    fn wrong_root_and_invalid_xml_are_different_errors() {
        let read = |body: &str| parse(body.as_bytes(), &XmlLimits::REQUEST);
        assert_eq!(read("<propertyupdate/>"), Err(PropPatchError::WrongRoot));
        assert!(matches!(
            read("<D:propertyupdate/>"),
            Err(PropPatchError::NotXml(_))
        ));
        assert!(matches!(read("{\"a\":1}"), Err(PropPatchError::NotXml(_))));
    }
}
