//! Paths below a service root.
//!
//! ```
//! use personium_odata::key::KeyPredicate;
//! use personium_odata::path::ResourcePath;
//!
//! let path = ResourcePath::parse("Account('a')/$links/_Role")?;
//! let ResourcePath::Links { set, key, navigation, target } = path else { unreachable!() };
//! assert_eq!((set.as_str(), navigation.as_str(), target), ("Account", "_Role", None));
//! assert_eq!(key, KeyPredicate::Single("a".to_owned()));
//! # Ok::<(), personium_odata::path::PathError>(())
//! ```

use percent_encoding::percent_decode_str;

use crate::key::{KeyError, KeyPredicate};

/// A parsed path below a service root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResourcePath {
    /// The service root: the service document.
    Root,
    /// `$metadata`
    Metadata,
    /// `$batch`
    Batch,
    /// `{Set}`
    Set(String),
    /// `{Set}({key})`
    Entity {
        /// The entity set.
        set: String,
        /// The key of the entity.
        key: KeyPredicate,
    },
    /// `{Set}/$count`
    Count(String),
    /// `{Set}({key})/{nav}/$count`, `{Set}({key})/$links/{nav}/$count`
    NavigationCount {
        /// The entity set of the source.
        set: String,
        /// The key of the source.
        key: KeyPredicate,
        /// The navigation property.
        navigation: String,
    },
    /// `{Set}({key})/{property}/$value`, `{Set}({key})/{property}/{member}` and so on. `{Set}({key})/{property}` is a
    /// [`Self::Navigation`] whose property the type does not have.
    Property {
        /// The entity set.
        set: String,
        /// The key of the entity.
        key: KeyPredicate,
        /// The names of the property and of members of its complex type.
        path: Vec<String>,
        /// The addressed part of the property.
        part: PropertyPart,
    },
    /// `{Set}({key})/$links/{nav}` and `{Set}({key})/$links/{nav}({target})`
    Links {
        /// The entity set of the source.
        set: String,
        /// The key of the source.
        key: KeyPredicate,
        /// The navigation property.
        navigation: String,
        /// The key of the target, if the path has one.
        target: Option<KeyPredicate>,
    },
    /// `{Set}({key})/{nav}` and `{Set}({key})/{nav}({target})`
    Navigation {
        /// The entity set of the source.
        set: String,
        /// The key of the source.
        key: KeyPredicate,
        /// The navigation property.
        navigation: String,
        /// The key of the target, if the path has one. No method accepts it.
        target: Option<KeyPredicate>,
    },
}

/// The part of a property that a path addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyPart {
    /// The property with its name.
    Whole,
    /// Its value as text (`$value`).
    Value,
}

/// The reason for which a path is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No kind of resource has such a path.
    #[error("no resource has this path")]
    UnknownResource,
    /// The first segment has an opening bracket and does not end with a closing one, as with a slash in a key that is not
    /// percent-encoded. Such a text is the name of a set, and no set has it.
    #[error("no entity set has this name")]
    UnknownSet,
    /// The key of the entity is malformed. A caller reports an unknown set first.
    #[error("the entity key is malformed")]
    MalformedKey {
        /// The entity set.
        set: String,
    },
    /// The key of the target is malformed.
    #[error("the key of the link target is malformed")]
    MalformedTargetKey,
}

impl ResourcePath {
    /// Parses the percent-encoded path after the service root, with or without its first slash. The path is split before
    /// its segments are decoded, so that `%2F` can be part of a key. A final slash is ignored. Sets and navigation properties
    /// are not looked up.
    ///
    /// # Errors
    /// [`PathError::MalformedKey`] and [`PathError::MalformedTargetKey`] for a key predicate that cannot be parsed,
    /// [`PathError::UnknownSet`] for one without closing bracket, [`PathError::UnknownResource`] for any other path.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        let raw = raw.strip_prefix('/').unwrap_or(raw);
        let raw = raw.strip_suffix('/').unwrap_or(raw);
        if raw.is_empty() {
            return Ok(Self::Root);
        }
        let mut segments = raw.split('/');
        let first = decode(segments.next().unwrap_or(""))?;
        let below = segments.clone();
        let rest = (segments.next(), segments.next(), segments.next());
        match (first.as_str(), rest) {
            ("$metadata", (None, ..)) => return Ok(Self::Metadata),
            ("$batch", (None, ..)) => return Ok(Self::Batch),
            ("", _) => return Err(PathError::UnknownResource),
            (text, _) if text.starts_with('$') => return Err(PathError::UnknownResource),
            _ => {}
        }
        if first.contains('(') && !first.ends_with(')') {
            return Err(PathError::UnknownSet);
        }
        let (set, key) = split_key(&first).map_err(|(set, _)| PathError::MalformedKey { set })?;
        match (key, rest) {
            (None, (None, ..)) => Ok(Self::Set(set)),
            (None, (Some(count), None, _)) if decode(count)? == "$count" => Ok(Self::Count(set)),
            (Some(key), (None, ..)) => Ok(Self::Entity { set, key }),
            (Some(key), (Some(links), Some(nav), None)) if decode(links)? == "$links" => {
                let (navigation, target) = split_target(nav)?;
                Ok(Self::Links {
                    set,
                    key,
                    navigation,
                    target,
                })
            }
            (Some(key), (Some(nav), None, _)) => {
                let (navigation, target) = split_target(nav)?;
                if navigation.starts_with('$') {
                    return Err(PathError::UnknownResource);
                }
                Ok(Self::Navigation {
                    set,
                    key,
                    navigation,
                    target,
                })
            }
            (Some(key), _) => Self::parse_below(set, key, below),
            _ => Err(PathError::UnknownResource),
        }
    }

    /// Parses the path of a count, or of a property below an entity.
    fn parse_below<'p>(
        set: String,
        key: KeyPredicate,
        segments: impl Iterator<Item = &'p str>,
    ) -> Result<Self, PathError> {
        let mut path = segments.map(decode).collect::<Result<Vec<_>, _>>()?;
        let is_navigation = |name: &String| name.starts_with('_') && !name.contains('(');
        match path.as_slice() {
            [navigation, count] if count == "$count" && is_navigation(navigation) => {
                return Ok(Self::NavigationCount {
                    set,
                    key,
                    navigation: navigation.clone(),
                });
            }
            [links, navigation, count]
                if links == "$links" && count == "$count" && is_navigation(navigation) =>
            {
                return Ok(Self::NavigationCount {
                    set,
                    key,
                    navigation: navigation.clone(),
                });
            }
            _ => {}
        }
        let part = match path.last().map(String::as_str) {
            Some("$value") => PropertyPart::Value,
            _ => PropertyPart::Whole,
        };
        if part == PropertyPart::Value {
            path.pop();
        }
        let is_member = |name: &String| !name.is_empty() && !name.contains(['$', '(']);
        let is_property = path
            .first()
            .is_some_and(|name| !name.starts_with('_') || name.starts_with("__"));
        if is_property && path.iter().all(is_member) {
            Ok(Self::Property {
                set,
                key,
                path,
                part,
            })
        } else {
            Err(PathError::UnknownResource)
        }
    }

    /// The entity set at the start of the path.
    #[must_use]
    pub fn set(&self) -> Option<&str> {
        match self {
            Self::Root | Self::Metadata | Self::Batch => None,
            Self::Set(set)
            | Self::Count(set)
            | Self::NavigationCount { set, .. }
            | Self::Property { set, .. }
            | Self::Entity { set, .. }
            | Self::Links { set, .. }
            | Self::Navigation { set, .. } => Some(set),
        }
    }
}

fn decode(segment: &str) -> Result<String, PathError> {
    percent_decode_str(segment)
        .decode_utf8()
        .map(Into::into)
        .map_err(|_| PathError::UnknownResource)
}

fn split_target(segment: &str) -> Result<(String, Option<KeyPredicate>), PathError> {
    let text = decode(segment)?;
    split_key(&text).map_err(|_| PathError::MalformedTargetKey)
}

/// Splits `Name(key)` into name and key, `None` without bracket. A malformed key is an error with the name.
fn split_key(text: &str) -> Result<(String, Option<KeyPredicate>), (String, KeyError)> {
    match text.split_once('(') {
        None => Ok((text.to_owned(), None)),
        Some((name, tail)) => {
            let parsed = tail
                .strip_suffix(')')
                .ok_or(KeyError)
                .and_then(KeyPredicate::parse);
            parsed
                .map(|key| (name.to_owned(), Some(key)))
                .map_err(|error| (name.to_owned(), error))
        }
    }
}

/// Parses the reference in the body of a link request, a URL below the service root or relative to it, into entity set and
/// key.
///
/// `root` is the URL of the service root with its final slash. The comparison ignores ASCII case.
///
/// # Errors
/// [`KeyError`] unless the reference is `Set(key)` below the service root.
pub fn parse_link_uri(root: &str, uri: &str) -> Result<(String, KeyPredicate), KeyError> {
    let relative = match uri.get(..root.len()) {
        Some(start) if start.eq_ignore_ascii_case(root) => uri.get(root.len()..).unwrap_or(""),
        _ if uri
            .split('(')
            .next()
            .is_some_and(|set| set.contains(['/', ':'])) =>
        {
            return Err(KeyError);
        }
        _ => uri,
    };
    let decoded = percent_decode_str(relative)
        .decode_utf8()
        .map_err(|_| KeyError)?;
    match split_key(&decoded) {
        Ok((set, Some(key))) if !set.is_empty() && !set.contains('/') => Ok((set, key)),
        _ => Err(KeyError),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn single(text: &str) -> KeyPredicate {
        KeyPredicate::Single(text.to_owned())
    }

    #[test]
    fn each_kind_of_path_is_parsed() {
        assert_eq!(ResourcePath::parse(""), Ok(ResourcePath::Root));
        assert_eq!(
            ResourcePath::parse("/$metadata"),
            Ok(ResourcePath::Metadata)
        );
        assert_eq!(ResourcePath::parse("$batch"), Ok(ResourcePath::Batch));
        assert_eq!(
            ResourcePath::parse("Role/"),
            Ok(ResourcePath::Set("Role".into()))
        );
        assert_eq!(
            ResourcePath::parse("ExtCell('http%3A%2F%2Fh%2F')"),
            Ok(ResourcePath::Entity {
                set: "ExtCell".into(),
                key: single("http://h/")
            })
        );
        let (set, key, navigation) = (String::from("A"), single("a"), String::from("_B"));
        assert_eq!(
            ResourcePath::parse("A('a')/$links/_B"),
            Ok(ResourcePath::Links {
                set: set.clone(),
                key: key.clone(),
                navigation: navigation.clone(),
                target: None
            })
        );
        assert_eq!(
            ResourcePath::parse("A('a')/%24links/_B(%27b%27)"),
            Ok(ResourcePath::Links {
                set: set.clone(),
                key: key.clone(),
                navigation: navigation.clone(),
                target: Some(single("b"))
            })
        );
        assert_eq!(
            ResourcePath::parse("A('a')/_B('b')"),
            Ok(ResourcePath::Navigation {
                set,
                key,
                navigation,
                target: Some(single("b"))
            })
        );
    }

    #[test]
    fn counts_and_properties_are_parsed() {
        let (set, key) = (String::from("A"), single("a"));
        assert_eq!(
            ResourcePath::parse("A/$count"),
            Ok(ResourcePath::Count(set.clone()))
        );
        for path in ["A('a')/_B/$count", "A('a')/$links/_B/%24count"] {
            assert_eq!(
                ResourcePath::parse(path),
                Ok(ResourcePath::NavigationCount {
                    set: set.clone(),
                    key: key.clone(),
                    navigation: "_B".into(),
                })
            );
        }
        for (path, names, part) in [
            ("A('a')/p/$value", &["p"][..], PropertyPart::Value),
            ("A('a')/__id/$value", &["__id"], PropertyPart::Value),
            ("A('a')/c/city", &["c", "city"], PropertyPart::Whole),
            (
                "A('a')/c/city/%24value",
                &["c", "city"],
                PropertyPart::Value,
            ),
        ] {
            assert_eq!(
                ResourcePath::parse(path),
                Ok(ResourcePath::Property {
                    set: set.clone(),
                    key: key.clone(),
                    path: names.iter().map(|name| (*name).to_owned()).collect(),
                    part,
                }),
                "{path}"
            );
        }
        for path in [
            "A/$count/x",
            "A('a')/$count",
            "A('a')/$value",
            "A('a')/_B('b')/$count",
            "A('a')/$links/_B('b')/$count",
            "A('a')/_B/$value",
            "A('a')/p/$count",
            "A('a')/p/$value/$value",
        ] {
            let found = ResourcePath::parse(path);
            assert_eq!(found, Err(PathError::UnknownResource), "{path}");
        }
    }

    #[test]
    fn malformed_paths_have_their_own_errors() {
        assert_eq!(
            ResourcePath::parse("A(1)"),
            Err(PathError::MalformedKey { set: "A".into() })
        );
        assert_eq!(ResourcePath::parse("A('a'"), Err(PathError::UnknownSet));
        assert_eq!(
            ResourcePath::parse("A('http://h/')"),
            Err(PathError::UnknownSet)
        );
        assert_eq!(
            ResourcePath::parse("A('a')/$links/_B(1)"),
            Err(PathError::MalformedTargetKey)
        );
        for path in [
            "$other",
            "A/_B",
            "A('a')/$links",
            "A('a')/$links/_B/x",
            "A('a')/_B/x",
            "A('%FF')",
            "$metadata/A",
        ] {
            assert_eq!(
                ResourcePath::parse(path),
                Err(PathError::UnknownResource),
                "{path}"
            );
        }
    }

    #[test]
    fn link_uri_is_below_the_root_or_relative() {
        let root = "http://h/c/__ctl/";
        let parse = |uri: &str| parse_link_uri(root, uri);
        assert_eq!(
            parse("http://h/c/__ctl/Role('r')"),
            Ok(("Role".into(), single("r")))
        );
        assert_eq!(
            parse("HTTP://H/c/__ctl/Role('r')"),
            Ok(("Role".into(), single("r")))
        );
        assert_eq!(
            parse("ExtCell('http://h/')"),
            Ok(("ExtCell".into(), single("http://h/")))
        );
        for bad in [
            "",
            "Role",
            "Role('r'",
            "Role(r)",
            "http://other/c/__ctl/Role('r')",
            "http://h/c/__ctl/a/Role('r')",
            "('r')",
        ] {
            assert_eq!(parse(bad), Err(KeyError), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_path_does_not_panic(path in "[a-zA-Z$_()'/%=,.]*|\\PC*") {
            let _ = ResourcePath::parse(&path);
            let _ = parse_link_uri("http://h/", &path);
        }
    }
}
