//! The body of PROPPATCH.

use crate::DAV_NS;
use personium_xml::{Element, XML_NS, XmlError, XmlLimits};

/// One property that a request sets or removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadProperty {
    /// What the property is stored under: local name, `@`, namespace name.
    pub key: String,
    /// The whole element as self-contained XML, which is both the stored value and what the answer repeats.
    pub xml: String,
}

/// A PROPPATCH request. All of `sets` are applied before any of `removes`, whatever their order in the document.
///
/// Live properties of `DAV:` are left out: they are neither stored nor answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PropPatch {
    /// Properties to store, in document order. A later one replaces an earlier one of the same key.
    pub sets: Vec<DeadProperty>,
    /// Properties to remove, in document order.
    pub removes: Vec<DeadProperty>,
}

/// Why a PROPPATCH body was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropPatchError {
    /// Not XML as this server reads it.
    #[error("cannot read the PROPPATCH body")]
    NotXml(#[source] XmlError),
    /// The root is not `propertyupdate` of `DAV:`.
    #[error("the root of the body is not propertyupdate")]
    WrongRoot,
    /// There is neither `set` nor `remove`, or one of them has no `prop`.
    #[error("the body has no prop to set or remove")]
    NoProp,
}

/// The properties that the server computes itself (RFC 4918 section 15). `acl` is not among them.
const LIVE: [&str; 10] = [
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

/// Whether `local` of `namespace` is a live property, which PROPPATCH ignores.
#[must_use]
pub fn is_live(namespace: &str, local: &str) -> bool {
    namespace == DAV_NS && LIVE.contains(&local)
}

/// The key that a property is stored under.
#[must_use]
pub fn key(namespace: &str, local: &str) -> String {
    format!("{local}@{namespace}")
}

/// Reads a PROPPATCH body.
///
/// A language given by `xml:lang` on an enclosing element is written into the property (RFC 4918 section 4.3).
///
/// # Errors
/// See [`PropPatchError`].
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

/// An element as a property.
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
    fn sets_and_removes_are_kept_apart() {
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
    fn the_language_in_scope_goes_with_the_property() {
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
    fn a_request_without_prop_is_refused() {
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
    fn another_root_and_no_xml_are_told_apart() {
        let read = |body: &str| parse(body.as_bytes(), &XmlLimits::REQUEST);
        assert_eq!(read("<propertyupdate/>"), Err(PropPatchError::WrongRoot));
        assert!(matches!(
            read("<D:propertyupdate/>"),
            Err(PropPatchError::NotXml(_))
        ));
        assert!(matches!(read("{\"a\":1}"), Err(PropPatchError::NotXml(_))));
    }
}
