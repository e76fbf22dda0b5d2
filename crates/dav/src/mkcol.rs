//! The body of MKCOL (RFC 5689) with the kinds of collection that this server makes.

use crate::{DAV_NS, PERSONIUM_NS};
use personium_xml::{Element, XmlError, XmlLimits};

/// The kind of collection that a MKCOL request makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CollectionKind {
    /// A folder of files and collections; also made by a request without body.
    WebDav,
    /// Holds OData entities.
    OData,
    /// Runs scripts.
    Service,
    /// Holds queues and topics.
    Stream,
}

/// Why a MKCOL body was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MkcolError {
    /// Not XML as this server reads it.
    #[error("cannot read the MKCOL body")]
    NotXml(#[source] XmlError),
    /// The root is not `mkcol` of `DAV:`.
    #[error("the root of the body is not mkcol")]
    WrongRoot,
    /// The body does not name exactly one kind of collection that exists.
    #[error("the resource type is not one that can be made: {reason}")]
    ResourceType {
        /// What is wrong with it.
        reason: &'static str,
        /// The first property of the request as self-contained XML, for the answer; absent if there is none.
        first_prop: Option<String>,
    },
}

/// Reads a body that is present.
///
/// The resource type must be `collection`, alone or with one of `odata`, `service`, `stream` in Personium's namespace.
/// Other properties in the body are not examined.
///
/// # Errors
/// See [`MkcolError`].
pub fn parse(body: &[u8], limits: &XmlLimits) -> Result<CollectionKind, MkcolError> {
    let root = Element::parse(body, limits).map_err(MkcolError::NotXml)?;
    if !root.is(DAV_NS, "mkcol") {
        return Err(MkcolError::WrongRoot);
    }
    kind(&root).map_err(|reason| MkcolError::ResourceType {
        reason,
        first_prop: properties(&root).next().map(Element::to_xml),
    })
}

fn properties(root: &Element) -> impl Iterator<Item = &Element> {
    root.elements_named(DAV_NS, "set")
        .flat_map(|set| set.elements_named(DAV_NS, "prop"))
        .flat_map(Element::elements)
}

fn kind(root: &Element) -> Result<CollectionKind, &'static str> {
    let mut types = properties(root).filter(|property| property.is(DAV_NS, "resourcetype"));
    let resource_type = types.next().ok_or("no resourcetype is set")?;
    if types.next().is_some() {
        return Err("resourcetype is set more than once");
    }
    let mut is_collection = false;
    let mut extension = None;
    for named in resource_type.elements() {
        let kind = match (named.name().namespace(), named.name().local()) {
            (DAV_NS, "collection") => {
                is_collection = true;
                continue;
            }
            (PERSONIUM_NS, "odata") => CollectionKind::OData,
            (PERSONIUM_NS, "service") => CollectionKind::Service,
            (PERSONIUM_NS, "stream") => CollectionKind::Stream,
            _ => return Err("a resource type is unknown"),
        };
        if extension.replace(kind).is_some() {
            return Err("more than one kind of collection is named");
        }
    }
    if is_collection {
        Ok(extension.unwrap_or(CollectionKind::WebDav))
    } else {
        Err("collection is not named")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> Result<CollectionKind, MkcolError> {
        let body =
            format!("<D:mkcol xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'>{inside}</D:mkcol>");
        parse(body.as_bytes(), &XmlLimits::REQUEST)
    }

    fn read_type(types: &str) -> Result<CollectionKind, MkcolError> {
        read(&format!(
            "<D:set><D:prop><D:resourcetype>{types}</D:resourcetype></D:prop></D:set>"
        ))
    }

    #[test]
    fn each_kind_has_its_element() {
        assert_eq!(read_type("<D:collection/>"), Ok(CollectionKind::WebDav));
        assert_eq!(
            read_type("<D:collection/><p:odata/>"),
            Ok(CollectionKind::OData)
        );
        assert_eq!(
            read_type("<p:service/> <D:collection/>"),
            Ok(CollectionKind::Service)
        );
        assert_eq!(
            read_type("<D:collection/><p:stream></p:stream>"),
            Ok(CollectionKind::Stream)
        );
        assert_eq!(
            read(
                "<D:set><D:prop><D:displayname/><D:resourcetype><D:collection/></D:resourcetype></D:prop></D:set>"
            ),
            Ok(CollectionKind::WebDav)
        );
    }

    #[test]
    fn any_other_resource_type_is_refused_with_the_first_property() {
        for types in [
            "",
            "<p:odata/>",
            "<D:collection/><p:odata/><p:service/>",
            "<D:collection/><p:odata/><p:odata/>",
            "<D:collection/><p:calendar/>",
            "<D:collection/><c:calendar xmlns:c='urn:ietf:params:xml:ns:caldav'/>",
            "<D:collection/><D:odata/>",
            "<collection/>",
        ] {
            let Err(MkcolError::ResourceType {
                first_prop: Some(prop),
                ..
            }) = read_type(types)
            else {
                panic!("{types} gave {:?}", read_type(types));
            };
            assert!(
                prop.starts_with("<D:resourcetype xmlns:D=\"DAV:\""),
                "{prop}"
            );
        }
        for inside in [
            "",
            "<D:set/>",
            "<D:set><D:prop/></D:set>",
            "<D:prop><D:resourcetype/></D:prop>",
        ] {
            assert!(
                matches!(
                    read(inside),
                    Err(MkcolError::ResourceType {
                        first_prop: None,
                        ..
                    })
                ),
                "{inside}"
            );
        }
        let Err(MkcolError::ResourceType { first_prop, .. }) =
            read("<D:set><D:prop><p:x a='1'>t</p:x><D:resourcetype/></D:prop></D:set>")
        else {
            panic!("accepted");
        };
        assert_eq!(
            first_prop.as_deref(),
            Some("<p:x xmlns:p=\"urn:x-personium:xmlns\" a=\"1\">t</p:x>")
        );
    }

    #[test]
    fn another_root_and_no_xml_are_told_apart() {
        let read = |body: &str| parse(body.as_bytes(), &XmlLimits::REQUEST);
        assert_eq!(read("<mkcol/>"), Err(MkcolError::WrongRoot));
        assert_eq!(
            read("<D:propfind xmlns:D='DAV:'/>"),
            Err(MkcolError::WrongRoot)
        );
        assert!(matches!(
            read("<D:mkcol xmlns:D='DAV:'>"),
            Err(MkcolError::NotXml(_))
        ));
        assert!(matches!(read(""), Err(MkcolError::NotXml(_))));
    }
}
