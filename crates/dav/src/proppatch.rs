//! The body of PROPPATCH (RFC 4918, section 9.2).

use crate::DAV_NS;
use personium_xml::{Element, XML_NS, XmlError, XmlLimits};

/// A dead property: stored by the server without an interpretation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadProperty {
    /// The key under which the property is stored: local name, `@`, namespace.
    pub key: String,
    /// The element as self-contained XML. It is stored, and repeated in the response.
    pub xml: String,
}

/// A PROPPATCH request.
///
/// All of `sets` are applied before any of `removes`, regardless of their order in the document. Live properties are
/// ignored: they are neither stored nor part of the response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PropPatch {
    /// The properties to set, in document order. A later property replaces an earlier one with the same key.
    pub sets: Vec<DeadProperty>,
    /// The properties to remove, in document order.
    pub removes: Vec<DeadProperty>,
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

/// The live properties, which the server computes (RFC 4918, section 15). `acl` is not one of them.
const LIVE_PROPERTIES: [&str; 10] = [
    "creationdate",
    "displayname",
    "getcontentlanguage",
    "getcontentlength",
    "getcontenttype",
    "getetag",
    "getlastmodified",
    "lockdiscovery",
    "resourcetype",
    "supportedlock",
];

/// Whether the property is a live property, which PROPPATCH ignores.
#[must_use]
pub fn is_live(namespace: &str, local: &str) -> bool {
    namespace == DAV_NS && LIVE_PROPERTIES.contains(&local)
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
/// assert_eq!(patch.sets[0].key, "a@urn:x");
/// assert_eq!(patch.sets[0].xml, r#"<a xmlns="urn:x">1</a>"#);
/// ```
pub fn parse(body: &[u8], limits: &XmlLimits) -> Result<PropPatch, PropPatchError> {
    let root = Element::parse(body, limits).map_err(PropPatchError::NotXml)?;
    if !root.is(DAV_NS, "propertyupdate") {
        return Err(PropPatchError::WrongRoot);
    }
    let mut patch = PropPatch::default();
    let mut updates = 0_usize;
    for update in root.elements() {
        let target = match (update.name().namespace(), update.name().local()) {
            (DAV_NS, "set") => &mut patch.sets,
            (DAV_NS, "remove") => &mut patch.removes,
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
            target.extend(
                prop.elements()
                    .filter(|e| !is_live(e.name().namespace(), e.name().local()))
                    .map(|e| property(e, language)),
            );
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

    #[test]
    fn sets_and_removes_are_separate_lists() {
        let patch = read(
            "<D:remove><D:prop><p:old/></D:prop></D:remove>\
             <D:set><D:prop><Z:Author a='1'>x <b>y</b></Z:Author></D:prop></D:set>\
             <D:set><D:prop><p:hoge>fuga</p:hoge><plain/></D:prop></D:set>",
        )
        .unwrap();
        assert_eq!(
            patch.sets,
            [
                property(
                    "Author@urn:z",
                    "<Z:Author xmlns:Z=\"urn:z\" a=\"1\">x <b xmlns=\"\">y</b></Z:Author>"
                ),
                property(
                    "hoge@urn:x-personium:xmlns",
                    "<p:hoge xmlns:p=\"urn:x-personium:xmlns\">fuga</p:hoge>"
                ),
                property("plain@", "<plain xmlns=\"\"/>"),
            ]
        );
        assert_eq!(
            patch.removes,
            [property(
                "old@urn:x-personium:xmlns",
                "<p:old xmlns:p=\"urn:x-personium:xmlns\"/>"
            )]
        );
    }

    #[test]
    fn live_properties_are_ignored_and_acl_is_not_one() {
        let patch = read(
            "<D:set><D:prop><D:getetag>x</D:getetag><D:resourcetype/><D:acl/><Z:getetag/></D:prop></D:set>\
             <D:remove><D:prop><D:displayname/></D:prop></D:remove>",
        )
        .unwrap();
        let keys: Vec<&str> = patch.sets.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["acl@DAV:", "getetag@urn:z"]);
        assert!(patch.removes.is_empty());
    }

    #[test]
    fn language_in_scope_is_copied_into_the_property() {
        let patch = read(
            "<D:set xml:lang='en'><D:prop xml:lang='ja'><Z:a/><Z:b xml:lang='fr'/></D:prop></D:set>\
             <D:set xml:lang='de'><D:prop><Z:c/></D:prop></D:set>",
        )
        .unwrap();
        let languages: Vec<bool> = patch
            .sets
            .iter()
            .zip(["ja", "fr", "de"])
            .map(|(p, lang)| p.xml.contains(&format!("xml:lang=\"{lang}\"")))
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
