//! The body of extended MKCOL (RFC 5689).

use crate::proppatch::{DeadProperty, is_live, property};
use crate::refused_properties::RefusedProperties;
use crate::{DAV_NS, PERSONIUM_NS};
use personium_xml::{Element, XML_NS, XmlError, XmlLimits};

/// The kind of collection that a MKCOL request creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CollectionKind {
    /// A folder of files and collections. A request without body creates this kind too.
    WebDav,
    /// A collection of OData entities.
    OData,
    /// A collection of scripts.
    Service,
    /// A collection of queues and topics.
    Stream,
}

/// The collection that a MKCOL request creates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCollection {
    /// Its kind.
    pub kind: CollectionKind,
    /// Its dead properties, in document order. A later one replaces an earlier one with the same key.
    pub properties: Vec<DeadProperty>,
}

/// An error in a MKCOL body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MkcolError {
    /// The body is not valid XML.
    #[error("cannot parse the MKCOL body")]
    NotXml(#[source] XmlError),
    /// The root element is not `mkcol` in the namespace `DAV:`.
    #[error("the root element is not mkcol")]
    WrongRoot,
    /// The resource type is not exactly one of the supported kinds.
    #[error("invalid resource type: {reason}")]
    ResourceType {
        /// The reason.
        reason: &'static str,
        /// The first property of the request as self-contained XML, for the response. `None` if there is no property.
        first_prop: Option<String>,
    },
    /// A property other than the resource type is a live one. The resource type is among the others.
    #[error("the body sets a live property")]
    Protected(RefusedProperties),
}

/// Parses a MKCOL body.
///
/// The resource type must be `collection`, alone or with one of `odata`, `service` and `stream` in the Personium
/// namespace. Other properties are dead ones.
///
/// # Errors
/// [`MkcolError::NotXml`], [`MkcolError::WrongRoot`], [`MkcolError::ResourceType`], [`MkcolError::Protected`].
///
/// ```
/// use personium_dav::mkcol::{CollectionKind, parse};
/// use personium_xml::XmlLimits;
///
/// let body = br#"<mkcol xmlns="DAV:" xmlns:p="urn:x-personium:xmlns">
///     <set><prop><resourcetype><collection/><p:odata/></resourcetype></prop></set>
/// </mkcol>"#;
/// assert_eq!(parse(body, &XmlLimits::REQUEST).unwrap().kind, CollectionKind::OData);
/// ```
pub fn parse(body: &[u8], limits: &XmlLimits) -> Result<NewCollection, MkcolError> {
    let root = Element::parse(body, limits).map_err(MkcolError::NotXml)?;
    if !root.is(DAV_NS, "mkcol") {
        return Err(MkcolError::WrongRoot);
    }
    let kind = kind(&root).map_err(|reason| MkcolError::ResourceType {
        reason,
        first_prop: properties(&root).next().map(Element::to_xml),
    })?;
    let properties = dead_properties(&root)?;
    Ok(NewCollection { kind, properties })
}

/// The properties beside the resource type.
fn dead_properties(root: &Element) -> Result<Vec<DeadProperty>, MkcolError> {
    let (mut dead, mut protected, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for set in root.elements_named(DAV_NS, "set") {
        for prop in set.elements_named(DAV_NS, "prop") {
            let language = [prop, set, root]
                .into_iter()
                .find_map(|e| e.attribute(XML_NS, "lang"));
            for element in prop.elements() {
                if element.is(DAV_NS, "resourcetype") {
                    others.push(element.to_xml());
                } else if is_live(element.name().namespace(), element.name().local()) {
                    protected.push(element.to_xml());
                } else {
                    dead.push(property(element, language));
                }
            }
        }
    }
    if protected.is_empty() {
        return Ok(dead);
    }
    others.extend(dead.into_iter().map(|property| property.xml));
    Err(MkcolError::Protected(RefusedProperties {
        protected,
        others,
    }))
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
            _ => return Err("an element of resourcetype is unknown"),
        };
        if extension.replace(kind).is_some() {
            return Err("resourcetype has more than one kind of collection");
        }
    }
    if is_collection {
        Ok(extension.unwrap_or(CollectionKind::WebDav))
    } else {
        Err("resourcetype does not contain collection")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(inside: &str) -> Result<CollectionKind, MkcolError> {
        let body =
            format!("<D:mkcol xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'>{inside}</D:mkcol>");
        parse(body.as_bytes(), &XmlLimits::REQUEST).map(|new| new.kind)
    }

    fn read_type(types: &str) -> Result<CollectionKind, MkcolError> {
        read(&format!(
            "<D:set><D:prop><D:resourcetype>{types}</D:resourcetype></D:prop></D:set>"
        ))
    }

    #[test]
    fn each_kind_has_an_element() {
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
    fn other_resource_types_are_refused_with_the_first_property() {
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
    fn other_properties_are_dead_ones_or_protected() {
        let read = |props: &str| {
            let body = format!(
                "<D:mkcol xmlns:D='DAV:' xmlns:Z='urn:z'><D:set><D:prop><D:resourcetype><D:collection/></D:resourcetype>{props}\
                 </D:prop></D:set></D:mkcol>"
            );
            parse(body.as_bytes(), &XmlLimits::REQUEST)
        };
        let new = read("<D:displayname>My</D:displayname><Z:a/>").unwrap();
        let keys: Vec<&str> = new.properties.iter().map(|p| p.key.as_str()).collect();
        assert_eq!(keys, ["displayname@DAV:", "a@urn:z"]);
        let Err(MkcolError::Protected(refused)) = read("<Z:a/><D:getetag>x</D:getetag>") else {
            panic!("accepted");
        };
        assert_eq!((refused.protected.len(), refused.others.len()), (1, 2));
    }

    #[test]
    fn wrong_root_and_invalid_xml_are_different_errors() {
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
