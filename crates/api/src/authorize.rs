//! The OAuth2 authorization endpoint: a login form for the browser, and redirects to applications.

mod flow;
mod page;
mod redirect;
mod request;

use http::{Method, StatusCode, header};
use personium_types::{Code, Result};

use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};
use crate::token::Form;
use request::Refusal;

/// Largest body, in bytes.
const BODY_MAX: usize = 1 << 20;

/// A request to `__authz`.
pub async fn handle(mut request: CellRequest) -> Result<Response> {
    let form = match request.method {
        Method::GET => Form::parse(request.query.as_bytes()),
        Method::POST => Form::parse(&request.read_body(BODY_MAX).await?),
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, GET, POST")),
        _ => return Err(request.method_not_allowed()),
    };
    let authorization = match request::read(&request, form).await {
        Ok(authorization) => authorization,
        Err(Refusal::Page(code)) => return Ok(error_page(&request, code)),
        Err(Refusal::Client(back, code)) => return Ok(see_other(&back.refusal(code))),
        Err(Refusal::Other(refusal)) => return Err(refusal),
    };
    if request.method == Method::GET {
        flow::get(&request, &authorization).await
    } else {
        flow::post(&request, &authorization).await
    }
}

/// A redirect to the page that explains an error. Whoever asked is not sent to a URL that may not be theirs.
fn error_page(request: &CellRequest, code: Code) -> Response {
    see_other(&format!(
        "{}__html/error?code={}",
        request.cell_url(),
        code.as_str()
    ))
}

/// A redirect that the browser follows with GET.
fn see_other(url: &str) -> Response {
    let mut out = response::status(StatusCode::SEE_OTHER)
        .with_header(header::LOCATION, url)
        .with_header(header::CACHE_CONTROL, "no-store");
    out.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    out
}
