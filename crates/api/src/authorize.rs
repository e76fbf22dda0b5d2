//! `__authz`, the OAuth2 authorization endpoint: login forms for browsers, and redirects to applications.

mod cookie_login;
mod destination;
mod flow;
mod form_page;
mod form_redirect;
mod form_texts;
mod logged_in_account;
mod notice;
mod redirect_response;
mod redirect_target;
mod request;

use http::{Method, StatusCode, header};
use personium_types::{Code, Result};

use crate::form::Form;
use crate::preflight;
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};
use request::AuthorizationRefusal;

/// The largest body in bytes.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Answers a request to `__authz`.
///
/// # Errors
/// [`Code::MethodNotAllowed`], [`Code::BodyTooLarge`], or an error of the server. Other refusals are redirects.
pub async fn handle(mut request: CellRequest) -> Result<Response> {
    let form = match request.method {
        Method::GET => Form::parse(request.query.as_bytes()),
        Method::POST => Form::parse(&request.read_body(MAX_BODY_BYTES).await?),
        Method::OPTIONS => return Ok(preflight::allow("OPTIONS, GET, POST")),
        _ => return Err(request.method_not_allowed()),
    };
    let authorization = match request::read(&request, form).await {
        Ok(authorization) => authorization,
        Err(AuthorizationRefusal::ErrorPage(code)) => return Ok(error_page(&request, code)),
        Err(AuthorizationRefusal::Redirect(target, code)) => {
            return Ok(see_other(&target.refusal_url(code)));
        }
        Err(AuthorizationRefusal::Response(refusal)) => return Err(refusal),
    };
    if request.method == Method::GET {
        flow::get(&request, &authorization).await
    } else {
        flow::post(&request, &authorization).await
    }
}

/// A redirect to the page that explains an error. A redirect URI that is not valid gets nothing.
fn error_page(request: &CellRequest, code: Code) -> Response {
    see_other(&format!(
        "{}__html/error?code={}",
        request.cell_url(),
        code.as_str()
    ))
}

/// A redirect that the browser follows with GET.
fn see_other(url: &str) -> Response {
    let mut response = response::status(StatusCode::SEE_OTHER).with_header(header::LOCATION, url);
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}
