//! The addresses of the requests in a batch.

use percent_encoding::percent_decode_str;

use super::{BatchMethod, BatchTarget};
use crate::edm::ID;
use crate::key::KeyPredicate;
use crate::path::ResourcePath;

/// The service root of a batch, to which the addresses of its requests are relative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRoot<'a> {
    /// The URL, with its final slash.
    pub url: &'a str,
    /// The host by which the client names the unit, if it is another one than in the URL.
    pub host: Option<&'a str>,
}

impl BatchRoot<'_> {
    /// The part of an address below the service root, without its first slash. The address is relative to the root, begins
    /// with a slash, or is absolute.
    pub(super) fn path_below<'p>(&self, address: &'p str) -> Option<&'p str> {
        let (own_host, own_path) = split_url(self.url)?;
        if let Some((host, path)) = split_url(address) {
            let is_own = |own: &str| own.eq_ignore_ascii_case(host);
            let is_known = is_own(own_host) || self.host.is_some_and(is_own);
            return is_known.then(|| below(own_path, path)).flatten();
        }
        match address.starts_with('/') {
            true => below(own_path, address),
            false => Some(address.strip_prefix("./").unwrap_or(address)),
        }
    }
}

/// Splits a URL of HTTP into host and path.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    rest.split_at_checked(rest.find('/')?)
}

/// The part of a path below another one. Segments are compared decoded.
fn below<'p>(root: &str, path: &'p str) -> Option<&'p str> {
    if let Some(rest) = path.strip_prefix(root) {
        return Some(rest);
    }
    let mut rest = path;
    for expected in root.split_inclusive('/') {
        let (segment, tail) = rest.split_once('/')?;
        let expected = expected.strip_suffix('/').unwrap_or(expected);
        if !percent_decode_str(segment).eq(percent_decode_str(expected)) {
            return None;
        }
        rest = tail;
    }
    Some(rest)
}

/// The target that a path below the service root names for a method; `None` if a batch does not support it.
#[must_use]
pub fn target_of(method: BatchMethod, path: &str) -> Option<BatchTarget> {
    // The path parser ignores a final slash, after which the name of a property is missing here.
    if path.ends_with('/') || path.starts_with('/') {
        return None;
    }
    let target = match ResourcePath::parse(path).ok()? {
        ResourcePath::Set(set) if is_name(&set) => BatchTarget::Set(set),
        ResourcePath::Entity { set, key } => BatchTarget::Entity {
            set,
            id: id_of(key)?,
        },
        ResourcePath::Navigation {
            set,
            key,
            navigation,
            target,
        } if navigation.starts_with('_') => BatchTarget::Navigation {
            set,
            id: id_of(key)?,
            navigation,
            target: id_of_target(target)?,
        },
        ResourcePath::Links {
            set,
            key,
            navigation,
            target,
        } if navigation.starts_with('_') => BatchTarget::Links {
            set,
            id: id_of(key)?,
            navigation,
            target: id_of_target(target)?,
        },
        ResourcePath::Batch | ResourcePath::Set(_) | ResourcePath::Links { .. } => return None,
        _ => BatchTarget::Other,
    };
    is_supported(method, &target).then_some(target)
}

fn is_supported(method: BatchMethod, target: &BatchTarget) -> bool {
    match target {
        BatchTarget::Set(_) => matches!(method, BatchMethod::Get | BatchMethod::Post),
        BatchTarget::Entity { .. } => method != BatchMethod::Post,
        BatchTarget::Navigation { target: None, .. } => {
            matches!(method, BatchMethod::Get | BatchMethod::Post)
        }
        BatchTarget::Other => method == BatchMethod::Get,
        BatchTarget::Navigation { .. }
        | BatchTarget::Links { .. }
        | BatchTarget::Reference { .. } => true,
    }
}

/// The id in the key of user data.
fn id_of(key: KeyPredicate) -> Option<String> {
    match key {
        KeyPredicate::Single(id) => Some(id),
        KeyPredicate::Named(parts) => match <[_; 1]>::try_from(parts) {
            Ok([(name, Some(id))]) if name == ID => Some(id),
            _ => None,
        },
    }
}

fn id_of_target(key: Option<KeyPredicate>) -> Option<Option<String>> {
    match key {
        None => Some(None),
        Some(key) => id_of(key).map(Some),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_relative_to_the_root_or_to_its_host_or_absolute() {
        let root = BatchRoot {
            url: "http://unit.example/c/b/od/",
            host: Some("proxy:8080"),
        };
        for (address, path) in [
            ("Book", Some("Book")),
            ("./Book", Some("Book")),
            ("Book('http://h/')", Some("Book('http://h/')")),
            ("/c/b/od/Book('1')", Some("Book('1')")),
            ("/c/%62/o%64/Book", Some("Book")),
            ("http://unit.example/c/b/od/Book", Some("Book")),
            ("HTTPS://Unit.Example/c/b/od/Book", Some("Book")),
            ("http://proxy:8080/c/b/od/Book", Some("Book")),
            ("http://other/c/b/od/Book", None),
            ("/c/b/other/Book", None),
            ("/c/b/od", None),
            ("/C/b/od/Book", None),
            ("//unit.example/c/b/od/Book", None),
            ("http://unit.example", Some("http://unit.example")),
        ] {
            assert_eq!(root.path_below(address), path, "{address}");
        }
    }
}
