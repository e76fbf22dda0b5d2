//! `__html/error`: the page that explains an error code to a person.

use askama::Template;
use http::{StatusCode, header};
use personium_types::{Code, Error, Result};

use crate::response::{self, Response, WithHeader};

/// The page has no scripts, styles or images.
const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    message: &'static str,
}

/// Shows the page for an error code.
///
/// # Errors
/// [`Code::Unknown`] if the template fails.
pub(crate) fn show(code: Option<&str>) -> Result<Response> {
    let known = Code::ALL.iter().find(|known| Some(known.as_str()) == code);
    let page = ErrorPage {
        message: known.map_or("undefined", |known| known.message()),
    };
    let page = page.render().map_err(Error::internal)?;
    Ok(
        response::content(StatusCode::OK, "text/html;charset=UTF-8", page)
            .with_header(header::CONTENT_SECURITY_POLICY, POLICY),
    )
}
