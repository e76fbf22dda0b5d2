//! The body of PROPFIND.

use crate::DAV_NS;
use personium_xml::{Element, XmlError, XmlLimits};

/// What a PROPFIND body asks for.
///
/// Resources answer with all their properties whatever is asked; only listings of logs insist on `allprop`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PropFind {
    /// Whether the body says `allprop`.
    pub allprop: bool,
}

/// Why a PROPFIND body was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropFindError {
    /// Not XML as this server reads it.
    #[error("cannot read the PROPFIND body")]
    NotXml(#[source] XmlError),
    /// The root is not `propfind` of `DAV:`.
    #[error("the root of the body is not propfind")]
    WrongRoot,
}

/// Reads a body that is present. What stands inside the root is not examined further.
///
/// # Errors
/// See [`PropFindError`].
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
    fn only_the_root_matters() {
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
    fn another_root_and_no_xml_are_told_apart() {
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
