//! Resolution of URI references (RFC 3986, section 5.2) that keeps their spelling.
//!
//! Role URLs are compared as text, and documents of other implementations contain references that RFC 3986 does not
//! allow. The libraries `fluent-uri` and `iri-string` were considered: both refuse malformed percent escapes and brackets
//! in paths, and `fluent-uri` does not resolve against a base without authority and leading slash, such as
//! `personium-localunit:cell:/`. This module accepts all of these.

/// Resolves `reference` against `base`, a URI with a scheme.
///
/// Dot segments are removed; nothing else is normalized. Any scheme is accepted, for instance
/// `personium-localunit:/cell/`.
///
/// Returns `None` if the result has no scheme, if one of the texts contains a character that must be escaped in a URI
/// (white space, control characters, `<>"{}|\^` and the backquote), or if one of them is longer than
/// [`MAX_LENGTH_BYTES`].
///
/// ```
/// use personium_dav::uri_reference::resolve;
///
/// let base = "https://cell1.unit.example/__role/box1/";
/// let url = resolve(base, "../box2/reader").unwrap();
/// assert_eq!(url, "https://cell1.unit.example/__role/box2/reader");
/// ```
#[must_use]
pub fn resolve(base: &str, reference: &str) -> Option<String> {
    let reference = UriParts::split(reference)?;
    if let Some(scheme) = reference.scheme {
        return Some(recompose(
            scheme,
            reference.authority,
            &remove_dot_segments(reference.path),
            &reference,
        ));
    }
    let base = UriParts::split(base)?;
    let scheme = base.scheme?;
    if reference.authority.is_some() {
        return Some(recompose(
            scheme,
            reference.authority,
            &remove_dot_segments(reference.path),
            &reference,
        ));
    }
    let (path, tail) = if reference.path.is_empty() {
        let query = reference.query.or(base.query);
        (base.path.to_owned(), UriParts { query, ..reference })
    } else if reference.path.starts_with('/') {
        (remove_dot_segments(reference.path), reference)
    } else {
        (remove_dot_segments(&base.merge(reference.path)), reference)
    };
    Some(recompose(scheme, base.authority, &path, &tail))
}

/// The maximum length of a base or a reference in bytes.
pub const MAX_LENGTH_BYTES: usize = 2048;

/// The five components of a URI (RFC 3986, section 3) without their delimiters.
#[derive(Clone, Copy)]
struct UriParts<'u> {
    scheme: Option<&'u str>,
    authority: Option<&'u str>,
    path: &'u str,
    query: Option<&'u str>,
    fragment: Option<&'u str>,
}

impl<'u> UriParts<'u> {
    fn split(url: &'u str) -> Option<Self> {
        let refused = |c: char| {
            c.is_whitespace()
                || c.is_control()
                || matches!(c, '<' | '>' | '"' | '{' | '}' | '|' | '\\' | '^' | '`')
        };
        if url.len() > MAX_LENGTH_BYTES || url.contains(refused) {
            return None;
        }
        let (rest, fragment) = split_at_delimiter(url, '#');
        let (rest, query) = split_at_delimiter(rest, '?');
        let (scheme, rest) = match rest.split_once(':') {
            Some((scheme, rest)) if is_scheme(scheme) => (Some(scheme), rest),
            Some((before, _)) if !before.contains('/') => return None,
            _ => (None, rest),
        };
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at_checked(end)?;
                (Some(authority), path)
            }
            None => (None, rest),
        };
        Some(Self {
            scheme,
            authority,
            path,
            query,
            fragment,
        })
    }

    /// Merges a relative path with the path of the base (RFC 3986, section 5.2.3).
    fn merge(&self, path: &str) -> String {
        match self.path.rfind('/') {
            Some(slash) => format!("{}/{path}", self.path.get(..slash).unwrap_or_default()),
            None if self.authority.is_some() => format!("/{path}"),
            None => path.to_owned(),
        }
    }
}

fn split_at_delimiter(text: &str, delimiter: char) -> (&str, Option<&str>) {
    match text.split_once(delimiter) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Removes `.` and `..` segments (RFC 3986, section 5.2.4).
fn remove_dot_segments(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut output: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                output.pop();
            }
            segment => {
                output.push(segment);
                continue;
            }
        }
        if last {
            output.push("");
        }
    }
    let joined = output.join("/");
    if absolute {
        format!("/{joined}")
    } else {
        joined
    }
}

fn recompose(scheme: &str, authority: Option<&str>, path: &str, tail: &UriParts<'_>) -> String {
    let mut url = format!("{scheme}:");
    for (delimiter, part) in [
        ("//", authority),
        ("", Some(path)),
        ("?", tail.query),
        ("#", tail.fragment),
    ] {
        if let Some(part) = part {
            url.push_str(delimiter);
            url.push_str(part);
        }
    }
    url
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn examples_of_rfc_3986() {
        for (reference, expected) in [
            ("g:h", "g:h"),
            ("g", "http://a/b/c/g"),
            ("./g", "http://a/b/c/g"),
            ("g/", "http://a/b/c/g/"),
            ("/g", "http://a/g"),
            ("//g", "http://g"),
            ("?y", "http://a/b/c/d;p?y"),
            ("g?y", "http://a/b/c/g?y"),
            ("#s", "http://a/b/c/d;p?q#s"),
            ("g#s", "http://a/b/c/g#s"),
            (";x", "http://a/b/c/;x"),
            ("", "http://a/b/c/d;p?q"),
            (".", "http://a/b/c/"),
            ("./", "http://a/b/c/"),
            ("..", "http://a/b/"),
            ("../g", "http://a/b/g"),
            ("../..", "http://a/"),
            ("../../g", "http://a/g"),
            ("../../../g", "http://a/g"),
            ("/./g", "http://a/g"),
            ("/../g", "http://a/g"),
            ("g.", "http://a/b/c/g."),
            ("..g", "http://a/b/c/..g"),
            ("./g/.", "http://a/b/c/g/"),
            ("g/../h", "http://a/b/c/h"),
            ("g;x=1/../y", "http://a/b/c/y"),
        ] {
            assert_eq!(
                resolve("http://a/b/c/d;p?q", reference).as_deref(),
                Some(expected),
                "{reference}"
            );
        }
    }

    #[test]
    fn role_references_resolve_against_the_role_base() {
        let base = "https://cell1.unit.example:8443/__role/box1/";
        assert_eq!(resolve(base, "reader").unwrap(), format!("{base}reader"));
        assert_eq!(
            resolve(base, "../box2/reader").unwrap(),
            "https://cell1.unit.example:8443/__role/box2/reader"
        );
        assert_eq!(
            resolve("http://h/c/__role/__/old", "new").unwrap(),
            "http://h/c/__role/__/new"
        );
        assert_eq!(
            resolve("personium-localunit:/cell/__role/__/", "../b/r").unwrap(),
            "personium-localunit:/cell/__role/b/r"
        );
        assert_eq!(
            resolve("personium-localunit:cell:/__role/__/", "r").unwrap(),
            "personium-localunit:cell:/__role/__/r"
        );
        assert_eq!(
            resolve("not absolute", "http://h/c/__role/__/r"),
            Some("http://h/c/__role/__/r".to_owned())
        );
    }

    #[test]
    fn invalid_uris_are_refused() {
        let base = "http://h/__role/__/";
        for reference in [
            "a b",
            "a\u{7f}",
            "<a>",
            "a\\b",
            "\"",
            "1a:b",
            ":b",
            "\u{3000}",
            &"x".repeat(2049),
        ] {
            assert_eq!(resolve(base, reference), None, "{reference}");
        }
        for base in [
            "",
            "/path/",
            "h/x",
            "http://h/ /",
            &format!("http://h/{}", "x".repeat(2048)),
        ] {
            assert_eq!(resolve(base, "role"), None, "{base}");
        }
    }
}
