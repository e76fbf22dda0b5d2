//! The target of a request: what must not be cut off or be read as something else.

use http::request::Parts;
use http::{Method, header};
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
/// [`Code::RequestTarget`] for a fragment, a backslash in the path, or `*` with another method than OPTIONS;
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
    match head.headers.get(header::CONTENT_RANGE) {
        Some(_) if head.method == Method::PUT && is_snapshot(addressee) => Ok(()),
        Some(range) if is_content_write(&head.method) => Err(Error::new(Code::HeaderInvalid)
            .with("Content-Range")
            .with(String::from_utf8_lossy(range.as_bytes()))),
        _ => Ok(()),
    }
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
