//! `__html/error`: the page that explains an error code to a person.

use http::StatusCode;
use personium_types::{Code, Result};

use crate::response::{self, Response};

/// The page for an error code.
///
/// # Errors
/// None in practice: [`Code::Unknown`] if the template fails.
pub(crate) fn show(code: Option<&str>) -> Result<Response> {
    let message = Code::ALL
        .iter()
        .find(|known| Some(known.as_str()) == code)
        .map_or("undefined", |known| known.message());
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Error</title></head>\
         <body><h1>Error</h1><p>{message}</p></body></html>\n"
    );
    Ok(response::content(
        StatusCode::OK,
        "text/html;charset=UTF-8",
        page,
    ))
}
