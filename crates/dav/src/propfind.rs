//! The body of PROPFIND (RFC 4918, section 9.1).

use crate::DAV_NS;
use personium_xml::{Element, XmlError, XmlLimits};

/// A PROPFIND request body.
///
/// Responses always contain all properties. Only listings of logs require `allprop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PropFind {
    /// Whether the body contains `allprop`.
    pub allprop: bool,
}

/// An error in a PROPFIND body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropFindError {
    /// The body is not valid XML.
    #[error("cannot parse the PROPFIND body")]
    NotXml(#[source] XmlError),
    /// The root element is not `propfind` in the namespace `DAV:`.
    #[error("the root element is not propfind")]
    WrongRoot,
}

/// Parses a PROPFIND body. Elements other than `allprop` are ignored.
///
/// # Errors
/// [`PropFindError::NotXml`], [`PropFindError::WrongRoot`].
pub fn parse(body: &[u8], limits: &XmlLimits) -> Result<PropFind, PropFindError> {
    let root = Element::parse(body, limits).map_err(PropFindError::NotXml)?;
    if !root.is(DAV_NS, "propfind") {
        return Err(PropFindError::WrongRoot);
    }
    Ok(PropFind {
        allprop: root.elements_named(DAV_NS, "allprop").next().is_some(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<PropFind, PropFindError> {
        parse(body.as_bytes(), &XmlLimits::REQUEST)
    }

    #[test]
    fn only_root_and_allprop_are_read() {
        assert_eq!(
            read("<D:propfind xmlns:D='DAV:'><D:allprop/></D:propfind>"),
            Ok(PropFind { allprop: true })
        );
        for body in [
            "<propfind xmlns='DAV:'/>",
            "<propfind xmlns='DAV:'><propname/></propfind>",
            "<propfind xmlns='DAV:'><prop><x/></prop></propfind>",
            "<propfind xmlns='DAV:'><hoge/><allprop xmlns='urn:x'/></propfind>",
        ] {
            assert_eq!(read(body), Ok(PropFind { allprop: false }), "{body}");
        }
    }

    #[test]
    fn wrong_root_and_invalid_xml_are_different_errors() {
        for body in [
            "<propfind/>",
            "<D:mkcol xmlns:D='DAV:'/>",
            "<propfind xmlns='dav:'/>",
        ] {
            assert_eq!(read(body), Err(PropFindError::WrongRoot), "{body}");
        }
        for body in ["", "{}", "<propfind xmlns='DAV:'>", "<D:propfind/>"] {
            assert!(
                matches!(read(body), Err(PropFindError::NotXml(_))),
                "{body}"
            );
        }
    }
}
