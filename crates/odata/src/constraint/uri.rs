//! Formats of URIs. Schemes are compared in lower case as written.

/// Longest URI value in characters.
pub const MAX_URI_CHARS: usize = 1024;

const LOCAL_UNIT: &str = "personium-localunit:";
const LOCAL_CELL: &str = "personium-localcell:";
const LOCAL_BOX: &str = "personium-localbox:";

/// True for a parseable URI of scheme http, https, urn or personium-localunit.
#[must_use]
pub fn is_uri(text: &str) -> bool {
    within_limits(text)
        && (http_rest(text).is_some_and(is_authority_and_path)
            || ["urn:", LOCAL_UNIT].iter().any(|scheme| {
                text.strip_prefix(scheme)
                    .is_some_and(|rest| !rest.is_empty())
            }))
}

/// True for an http or https URL whose path has no `.`, `..` or empty segment.
#[must_use]
pub fn is_http_url(text: &str) -> bool {
    within_limits(text)
        && http_rest(text)
            .is_some_and(|rest| is_authority_and_path(rest) && is_normal(path_of(rest)))
}

/// True for the URL of a cell: http or https, `personium-localunit:/{name}/` or `personium-localunit:{name}:/...`,
/// normalised, ending with `/`.
#[must_use]
pub fn is_cell_url(text: &str) -> bool {
    if !within_limits(text) || !text.ends_with('/') {
        return false;
    }
    if let Some(rest) = http_rest(text) {
        return is_authority_and_path(rest) && is_normal(path_of(rest));
    }
    let Some(rest) = text.strip_prefix(LOCAL_UNIT) else {
        return false;
    };
    match rest.strip_prefix('/') {
        Some(path) => path
            .strip_suffix('/')
            .is_some_and(|name| super::is_name(name, |_| false, 128)),
        None => rest
            .split_once(":/")
            .is_some_and(|(name, path)| super::is_name(name, |_| false, 128) && is_normal(path)),
    }
}

/// True for a `urn:` URI or the URL of a cell.
#[must_use]
pub fn is_schema_uri(text: &str) -> bool {
    (text.starts_with("urn:") && is_uri(text)) || is_cell_url(text)
}

/// True for a normalised URL of scheme personium-localcell.
#[must_use]
pub fn is_cell_local_url(text: &str) -> bool {
    is_local(text, LOCAL_CELL)
}

/// True for a normalised URL of scheme personium-localbox.
#[must_use]
pub fn is_box_url(text: &str) -> bool {
    is_local(text, LOCAL_BOX)
}

/// True for a normalised URL of scheme personium-localunit.
#[must_use]
pub fn is_unit_local_url(text: &str) -> bool {
    within_limits(text)
        && text
            .strip_prefix(LOCAL_UNIT)
            .is_some_and(|rest| match rest.split_once(":/") {
                Some((name, path)) if !name.contains('/') => !name.is_empty() && is_normal(path),
                _ => rest.strip_prefix('/').is_some_and(is_normal),
            })
}

fn is_local(text: &str, scheme: &str) -> bool {
    within_limits(text)
        && text
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(is_normal)
}

fn http_rest(text: &str) -> Option<&str> {
    text.strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
}

/// Length and characters of RFC 3986; `%` has to start a pair of hex digits.
fn within_limits(text: &str) -> bool {
    let mut bytes = text.bytes();
    if text.len() > MAX_URI_CHARS && text.chars().count() > MAX_URI_CHARS {
        return false;
    }
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit());
                if !hex(bytes.next()) || !hex(bytes.next()) {
                    return false;
                }
            }
            0..=b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | 0x7f => {
                return false;
            }
            _ => {}
        }
    }
    true
}

fn is_authority_and_path(rest: &str) -> bool {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end).unwrap_or("");
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    !name.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// The path behind the authority, without its first slash.
fn path_of(rest: &str) -> &str {
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    rest.get(..end)
        .and_then(|plain| plain.split_once('/'))
        .map_or("", |(_, path)| path)
}

/// True when no segment is `.` or `..` and only the last one is empty.
fn is_normal(path: &str) -> bool {
    let end = path.find(['?', '#']).unwrap_or(path.len());
    let path = path.get(..end).unwrap_or(path);
    let segments = path.strip_suffix('/').unwrap_or(path);
    path.is_empty()
        || segments
            .split('/')
            .all(|segment| !matches!(segment, "" | "." | ".."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_need_a_known_scheme_and_a_host() {
        for text in [
            "http://h",
            "https://h:8080/a?b#c",
            "urn:x-a:b",
            "personium-localunit:/c/",
            "http://h/a/../b",
        ] {
            assert!(is_uri(text), "{text}");
        }
        let long = format!("http://h/{}", "a".repeat(1016));
        for text in [
            "",
            "h",
            "http:",
            "http://",
            "HTTP://h",
            "ftp://h/",
            "urn:",
            "http://h:x/",
            "http://h/a b",
            "http://h/%g1",
            &long,
        ] {
            assert!(!is_uri(text), "{text}");
        }
        assert!(is_uri(&format!("http://h/{}", "a".repeat(1015))));
    }

    #[test]
    fn cell_urls_are_normal_and_end_with_a_slash() {
        for text in [
            "http://h/",
            "https://h:1/c/",
            "personium-localunit:/c/",
            "personium-localunit:c:/",
            "personium-localunit:c:/a/",
        ] {
            assert!(is_cell_url(text), "{text}");
        }
        for text in [
            "",
            "http://h/c",
            "http://h/a/../c/",
            "http://h//c/",
            "http://h/./",
            "personium-localunit:/a/b/",
            "personium-localunit:/",
            "personium-localcell:/c/",
            "ftp://h/c/",
            "urn:a/",
        ] {
            assert!(!is_cell_url(text), "{text}");
        }
        assert!(is_schema_uri("urn:x") && is_schema_uri("http://h/") && !is_schema_uri("http://h"));
    }

    #[test]
    fn local_urls() {
        assert!(
            is_cell_local_url("personium-localcell:/b/c")
                && !is_cell_local_url("personium-localcell:/b/../c")
        );
        assert!(
            is_cell_local_url("personium-localcell:/")
                && !is_cell_local_url("personium-localcell:")
        );
        assert!(is_box_url("personium-localbox:/a") && !is_box_url("personium-localcell:/a"));
        assert!(
            is_unit_local_url("personium-localunit:/c/b")
                && is_unit_local_url("personium-localunit:c:/b")
        );
        assert!(!is_unit_local_url("personium-localunit:c") && !is_unit_local_url("http://h/"));
        assert!(is_http_url("http://h/a/b?c=/../") && !is_http_url("http://h/a//b"));
    }
}
