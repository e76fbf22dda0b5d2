//! The OAuth2 authorization endpoint: a login form for the browser, and redirects to applications.

mod flow;
mod page;
mod redirect;
mod request;

use http::{Method, StatusCode, header};
use personium_types::{Code, Result};

use crate::answer::{self, Answer, WithHeader};
use crate::preflight;
use crate::request_context::CellRequest;
use crate::token::Form;
use request::Refusal;

/// Largest body, in bytes.
const BODY_MAX: usize = 1 << 20;

/// A request to `__authz`.
pub async fn handle(mut call: CellRequest) -> Result<Answer> {
    let form = match call.call.method {
        Method::GET => Form::parse(call.call.query.as_bytes()),
        Method::POST => Form::parse(&call.call.read_body(BODY_MAX).await?),
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, GET, POST")),
        _ => return Err(call.call.method_not_allowed()),
    };
    let request = match request::read(&call, form).await {
        Ok(request) => request,
        Err(Refusal::Page(code)) => return Ok(error_page(&call, code)),
        Err(Refusal::Client(back, code)) => return Ok(see_other(&back.refusal(code))),
        Err(Refusal::Other(refusal)) => return Err(refusal),
    };
    if call.call.method == Method::GET {
        flow::get(&call, &request).await
    } else {
        flow::post(&call, &request).await
    }
}

/// A redirect to the page that explains an error. Whoever asked is not sent to a URL that may not be theirs.
fn error_page(call: &CellRequest, code: Code) -> Answer {
    see_other(&format!(
        "{}__html/error?code={}",
        call.cell_url(),
        code.as_str()
    ))
}

/// A redirect that the browser follows with GET.
fn see_other(url: &str) -> Answer {
    let mut out = answer::status(StatusCode::SEE_OTHER)
        .with(header::LOCATION, url)
        .with(header::CACHE_CONTROL, "no-store");
    out.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    out
}
