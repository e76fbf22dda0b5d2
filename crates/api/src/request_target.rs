//! The target of a request: what must not be cut off or be read as something else.

use http::request::Parts;
use http::{HeaderValue, Method, Version, header};
use personium_types::{Code, Error, Result};

use crate::locate::Addressee;
use crate::route::SNAPSHOT_SEGMENT;

/// The extension of a request whose target was sent with a fragment (`#...`), which a parsed URI does not contain.
#[derive(Debug, Clone, Copy)]
pub struct TargetWithFragment;

/// Checks the target of a request (RFC 9112, section 3.2), and that the content is not a part of the one to write, unless that is a
/// snapshot.
///
/// # Errors
/// [`Code::RequestTarget`] for a fragment, a backslash in the path, `*` with another method than OPTIONS, or a `Host` that is not
/// the `:authority` of HTTP/2 (RFC 9113, section 8.3.1);
/// [`Code::HeaderInvalid`] for `Content-Range` (RFC 9110, section 14.4).
pub(crate) fn check(head: &Parts, addressee: &Addressee) -> Result<()> {
    let invalid = |what: &str| Err(Error::new(Code::RequestTarget).with(what));
    if head.extensions.get::<TargetWithFragment>().is_some() {
        return invalid("a fragment");
    }
    let path = head.uri.path();
    if path.contains('\\') {
        return invalid("a backslash");
    }
    if path == "*" && head.method != Method::OPTIONS {
        return invalid("an asterisk");
    }
    if names_two_hosts(head) {
        return invalid("two hosts");
    }
    match head.headers.get(header::CONTENT_RANGE) {
        Some(_) if head.method == Method::PUT && is_snapshot(addressee) => Ok(()),
        Some(range) if is_content_write(&head.method) => Err(Error::new(Code::HeaderInvalid)
            .with("Content-Range")
            .with(String::from_utf8_lossy(range.as_bytes()))),
        _ => Ok(()),
    }
}

/// Whether a request of HTTP/2 has a `Host` that differs from its `:authority`: a proxy before and the unit could take it for
/// requests of different cells.
fn names_two_hosts(head: &Parts) -> bool {
    let Some(authority) = head.uri.authority() else {
        return false;
    };
    let port = match head.uri.scheme_str() {
        Some("http") => ":80",
        _ => ":443",
    };
    let host_of = |text: &[u8]| text.strip_suffix(port.as_bytes()).unwrap_or(text).to_vec();
    let expected = host_of(authority.as_str().as_bytes());
    let differs = |host: &HeaderValue| !host_of(host.as_bytes()).eq_ignore_ascii_case(&expected);
    head.version == Version::HTTP_2 && head.headers.get_all(header::HOST).iter().any(differs)
}

/// Whether it is a file among the snapshots of a cell.
fn is_snapshot(addressee: &Addressee) -> bool {
    let Addressee::Cell { path, .. } = addressee else {
        return false;
    };
    let mut segments = path.trim_start_matches('/').split('/');
    segments.next() == Some(SNAPSHOT_SEGMENT) && segments.count() == 1
}

fn is_content_write(method: &Method) -> bool {
    matches!(method.as_str(), "PUT" | "POST" | "PATCH" | "MERGE")
}

#[cfg(test)]
mod tests {
    use http::{Request, Version};

    use super::names_two_hosts;

    #[test]
    fn host_of_http2_is_its_authority() {
        for (version, host, differs) in [
            (Version::HTTP_2, Some("Unit.example:8080"), false),
            (Version::HTTP_2, None, false),
            (Version::HTTP_2, Some("unit.example"), true),
            (Version::HTTP_2, Some("other.example:8080"), true),
            (Version::HTTP_11, Some("other.example:8080"), false),
        ] {
            let mut request = Request::get("https://unit.example:8080/").version(version);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            let (head, ()) = request.body(()).expect("a request").into_parts();
            assert_eq!(names_two_hosts(&head), differs, "{version:?} {host:?}");
        }
    }
}
