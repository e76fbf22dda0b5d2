//! The body of PROPFIND (RFC 4918, section 9.1).

use crate::DAV_NS;
use personium_xml::{Element, Name, XmlError, XmlLimits};

/// The number of different properties that a request may name. Those that a resource lacks are repeated for each resource of
/// the response.
pub const MAX_NAMES: usize = 256;

/// A PROPFIND request body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropFind {
    /// No body, or one without a known selection: the same as `allprop`. Listings of logs refuse it.
    Unspecified,
    /// The properties that are not expensive, and these.
    AllProp {
        /// The names in `include`.
        include: Vec<Name>,
    },
    /// The names of all properties.
    PropName,
    /// The properties with these names, each once.
    Prop(Vec<Name>),
}

impl PropFind {
    /// Whether the body names this property of `DAV:`.
    #[must_use]
    pub fn names(&self, local: &str) -> bool {
        let names = match self {
            Self::Prop(names) | Self::AllProp { include: names } => names,
            Self::Unspecified | Self::PropName => return false,
        };
        names.iter().any(|name| name.is(DAV_NS, local))
    }
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
    /// The body names more than [`MAX_NAMES`] properties.
    #[error("more than {MAX_NAMES} properties are named")]
    TooManyNames,
}

/// Parses a PROPFIND body. Unknown elements are ignored; of `prop`, `propname` and `allprop`, the first one counts.
///
/// # Errors
/// [`PropFindError::NotXml`], [`PropFindError::WrongRoot`], [`PropFindError::TooManyNames`].
///
/// ```
/// use personium_dav::propfind::{PropFind, parse};
/// use personium_xml::XmlLimits;
///
/// let body = br#"<propfind xmlns="DAV:"><prop><getetag/></prop></propfind>"#;
/// let Ok(PropFind::Prop(names)) = parse(body, &XmlLimits::REQUEST) else { panic!() };
/// assert!(names[0].is("DAV:", "getetag"));
/// ```
pub fn parse(body: &[u8], limits: &XmlLimits) -> Result<PropFind, PropFindError> {
    let root = Element::parse(body, limits).map_err(PropFindError::NotXml)?;
    if !root.is(DAV_NS, "propfind") {
        return Err(PropFindError::WrongRoot);
    }
    let selection = root.elements().find_map(|child| {
        let name = child.name();
        ["prop", "propname", "allprop"]
            .into_iter()
            .find(|known| name.is(DAV_NS, known))
    });
    Ok(match selection {
        Some("prop") => PropFind::Prop(names(&root, "prop")?),
        Some("propname") => PropFind::PropName,
        Some(_) => PropFind::AllProp {
            include: names(&root, "include")?,
        },
        None => PropFind::Unspecified,
    })
}

/// The names in all elements with this name, each once.
fn names(root: &Element, parent: &str) -> Result<Vec<Name>, PropFindError> {
    let mut names: Vec<Name> = Vec::new();
    for named in root
        .elements_named(DAV_NS, parent)
        .flat_map(Element::elements)
    {
        if names.contains(named.name()) {
            continue;
        }
        if names.len() == MAX_NAMES {
            return Err(PropFindError::TooManyNames);
        }
        names.push(named.name().clone());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<PropFind, PropFindError> {
        parse(body.as_bytes(), &XmlLimits::REQUEST)
    }

    fn locals(names: &[Name]) -> Vec<(&str, &str)> {
        names.iter().map(|n| (n.namespace(), n.local())).collect()
    }

    #[test]
    fn each_selection_is_read() {
        let Ok(PropFind::Prop(names)) = read(
            "<propfind xmlns='DAV:'><hoge/><prop><getetag/><a xmlns='urn:x'/><getetag/><a xmlns=''/></prop></propfind>",
        ) else {
            panic!("no names");
        };
        assert_eq!(
            locals(&names),
            [("DAV:", "getetag"), ("urn:x", "a"), ("", "a")]
        );
        assert_eq!(
            read("<propfind xmlns='DAV:'><prop/></propfind>"),
            Ok(PropFind::Prop(vec![]))
        );
        assert_eq!(
            read("<propfind xmlns='DAV:'><propname/></propfind>"),
            Ok(PropFind::PropName)
        );
        assert_eq!(
            read("<D:propfind xmlns:D='DAV:'><D:allprop/></D:propfind>"),
            Ok(PropFind::AllProp { include: vec![] })
        );
        let Ok(PropFind::AllProp { include }) = read(
            "<propfind xmlns='DAV:'><allprop/><include><getetag/><displayname/></include></propfind>",
        ) else {
            panic!("no included names");
        };
        assert_eq!(
            locals(&include),
            [("DAV:", "getetag"), ("DAV:", "displayname")]
        );
    }

    #[test]
    fn unknown_children_select_nothing() {
        for body in [
            "<propfind xmlns='DAV:'/>",
            "<propfind xmlns='DAV:'><hoge/><allprop xmlns='urn:x'/></propfind>",
            "<propfind xmlns='DAV:'><include><getetag/></include></propfind>",
        ] {
            assert_eq!(read(body), Ok(PropFind::Unspecified), "{body}");
        }
    }

    #[test]
    fn number_of_names_is_limited() {
        let with = |count: usize| {
            let names: String = (0..count).map(|n| format!("<p{n}/>")).collect();
            read(&format!(
                "<propfind xmlns='DAV:'><prop>{names}</prop></propfind>"
            ))
        };
        assert!(matches!(with(MAX_NAMES), Ok(PropFind::Prop(_))));
        assert_eq!(with(MAX_NAMES + 1), Err(PropFindError::TooManyNames));
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
