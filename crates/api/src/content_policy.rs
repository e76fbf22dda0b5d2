//! Content that cells store or choose, as browsers get it: kept apart from the origin of the unit where that is the origin of
//! all cells.

use http::header::{self, HeaderValue};
use personium_model::Unit;

use crate::response::Response;

/// The policy that gives a page an origin of its own. The page may do what applications need, but it has no access to the
/// origin that serves it: no cookies, no storage, no responses that other origins may not read. Windows that it opens are not
/// restricted, so that the login form works in them.
const SANDBOX: &str = "sandbox allow-downloads allow-forms allow-modals allow-popups \
     allow-popups-to-escape-sandbox allow-scripts allow-top-navigation-by-user-activation";
/// The media type that browsers refuse to show with that policy. Their viewers keep its scripts apart from the page.
const PDF: &str = "application/pdf";

/// Whether browsers must keep the content of cells apart from the origin that serves it.
pub(crate) fn is_sandboxed(unit: &Unit) -> bool {
    let sandbox = unit.settings().content_sandbox;
    sandbox.covers(unit.urls().path_based())
}

/// Adds the policy to a response with content of a cell, if it is to be kept apart. The media type does not matter: browsers run
/// scripts in many of them.
pub(crate) fn sandbox(unit: &Unit, mut response: Response) -> Response {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let is_pdf =
        media_type.is_some_and(|value| essence(value).eq_ignore_ascii_case(PDF.as_bytes()));
    if is_sandboxed(unit) && !is_pdf {
        response.headers_mut().append(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static(SANDBOX),
        );
    }
    response
}

/// The media type without its parameters.
fn essence(value: &HeaderValue) -> &[u8] {
    let bytes = value.as_bytes();
    let end = bytes.iter().position(|b| *b == b';').unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_do_not_belong_to_the_essence() {
        for (value, essence_of) in [
            ("application/pdf", "application/pdf"),
            ("Application/PDF ; a=b", "Application/PDF"),
            ("text/html;x=application/pdf", "text/html"),
            ("", ""),
        ] {
            let value = HeaderValue::from_static(value);
            assert_eq!(essence(&value), essence_of.as_bytes());
        }
    }

    #[test]
    fn sandbox_never_gives_the_origin_back() {
        assert!(!SANDBOX.contains("same-origin") && !SANDBOX.contains("  "));
    }
}
