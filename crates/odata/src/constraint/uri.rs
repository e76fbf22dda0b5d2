//! Formats of URIs. Schemes are case-sensitive.

/// The maximum length of a URI in characters.
pub const MAX_URI_CHARS: usize = 1024;

const LOCAL_UNIT: &str = "personium-localunit:";
const LOCAL_CELL: &str = "personium-localcell:";
const LOCAL_BOX: &str = "personium-localbox:";

/// Returns true for a URI with the scheme `http`, `https`, `urn` or `personium-localunit`.
#[must_use]
pub fn is_uri(text: &str) -> bool {
    has_uri_characters(text)
        && (http_rest(text).is_some_and(is_authority_and_path)
            || ["urn:", LOCAL_UNIT].iter().any(|scheme| {
                text.strip_prefix(scheme)
                    .is_some_and(|rest| !rest.is_empty())
            }))
}

/// Returns true for an `http` or `https` URL with a normalized path: no segment is `.` or `..`, only the last one empty.
#[must_use]
pub fn is_http_url(text: &str) -> bool {
    has_uri_characters(text)
        && http_rest(text)
            .is_some_and(|rest| is_authority_and_path(rest) && is_normalized(path_of(rest)))
}

/// Returns true for the URL of a cell: an `http` or `https` URL, `personium-localunit:/{name}/` or
/// `personium-localunit:{name}:/...`, with a normalized path that ends with `/`.
#[must_use]
pub fn is_cell_url(text: &str) -> bool {
    if !has_uri_characters(text) || !text.ends_with('/') {
        return false;
    }
    if let Some(rest) = http_rest(text) {
        return is_authority_and_path(rest) && is_normalized(path_of(rest));
    }
    let Some(rest) = text.strip_prefix(LOCAL_UNIT) else {
        return false;
    };
    match rest.strip_prefix('/') {
        Some(path) => path.strip_suffix('/').is_some_and(super::is_plain_name),
        None => rest
            .split_once(":/")
            .is_some_and(|(name, path)| super::is_plain_name(name) && is_normalized(path)),
    }
}

/// Returns true for a `urn:` URI or the URL of a cell.
#[must_use]
pub fn is_schema_uri(text: &str) -> bool {
    (text.starts_with("urn:") && is_uri(text)) || is_cell_url(text)
}

/// Returns true for a `personium-localcell` URL with a normalized path.
#[must_use]
pub fn is_cell_local_url(text: &str) -> bool {
    is_local(text, LOCAL_CELL)
}

/// Returns true for a `personium-localbox` URL with a normalized path.
#[must_use]
pub fn is_box_url(text: &str) -> bool {
    is_local(text, LOCAL_BOX)
}

/// Returns true for a `personium-localunit` URL with a normalized path.
#[must_use]
pub fn is_unit_local_url(text: &str) -> bool {
    has_uri_characters(text)
        && text
            .strip_prefix(LOCAL_UNIT)
            .is_some_and(|rest| match rest.split_once(":/") {
                Some((name, path)) if !name.contains('/') => {
                    !name.is_empty() && is_normalized(path)
                }
                _ => rest.strip_prefix('/').is_some_and(is_normalized),
            })
}

fn is_local(text: &str, scheme: &str) -> bool {
    has_uri_characters(text)
        && text
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(is_normalized)
}

fn http_rest(text: &str) -> Option<&str> {
    text.strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"))
}

/// Returns true if length and characters are those of a URI (RFC 3986, section 2).
fn has_uri_characters(text: &str) -> bool {
    if text.len() > MAX_URI_CHARS && text.chars().count() > MAX_URI_CHARS {
        return false;
    }
    let mut bytes = text.bytes();
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

/// The path of a URL without scheme, without its first slash.
fn path_of(rest: &str) -> &str {
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    rest.get(..end)
        .and_then(|plain| plain.split_once('/'))
        .map_or("", |(_, path)| path)
}

/// Returns true if no segment of the path is `.` or `..` and only the last one is empty.
fn is_normalized(path: &str) -> bool {
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
    fn uri_has_a_known_scheme_and_a_host() {
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
    fn cell_url_is_normalized_and_ends_with_a_slash() {
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
    fn local_url_has_its_scheme_and_a_normalized_path() {
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
