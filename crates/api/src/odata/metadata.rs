//! `$metadata` and service documents.

use http::{Method, StatusCode};
use personium_model::odata::RootScope;
use personium_odata::query::QueryOptions;
use personium_odata::{control, edmx, negotiate, service_document};
use personium_types::{Code, Error, Result};

use super::request::ODataRequest;
use super::response::version_1;
use super::service_authorizer::ServiceAuthorizer;
use crate::answer;
use crate::preflight;
use crate::response::{self, Response};

/// A request to `$metadata` of a service root.
///
/// # Errors
/// The refusal of the request.
pub(super) fn metadata(request: &ODataRequest) -> Result<Response> {
    let is_options = match request.method {
        Method::GET => false,
        Method::OPTIONS => true,
        _ => return Err(request.method_not_allowed()),
    };
    if is_options || matches!(request.authorizer, ServiceAuthorizer::Collection { .. }) {
        request.permit_description()?;
    }
    if is_options {
        return Ok(preflight::allow("OPTIONS, GET"));
    }
    let options = QueryOptions::parse(&request.query);
    let wants_service_document = match options.get("$format") {
        Some(format) => format == "atomsvc",
        None => negotiate::accepts(request.header("accept"), "application/atomsvc+xml"),
    };
    if matches!(request.root.scope(), RootScope::Data(_)) && wants_service_document {
        let root = format!("{}$metadata/", request.base);
        return xml(request, service_document::atom(control::schema(), &root));
    }
    let document = edmx::document_in(request.root.edm(), request.dialect());
    xml(request, document)
}

/// The service document of a service root.
///
/// # Errors
/// The refusal of the access check; [`Code::FormatUnknown`].
pub(super) fn service_document(request: &ODataRequest) -> Result<Response> {
    request.permit_description()?;
    let options = QueryOptions::parse(&request.query);
    match options.get("$format") {
        None => xml(
            request,
            service_document::atom(request.root.edm(), &request.base),
        ),
        Some(format) if format.eq_ignore_ascii_case("json") => Ok(version_1(response::content(
            StatusCode::OK,
            "text/javascript;charset=utf-8",
            service_document::script(request.root.edm()),
        ))),
        Some(format) => Err(Error::new(Code::FormatUnknown).with(format)),
    }
}

/// # Errors
/// As [`answer::text`].
fn xml(request: &ODataRequest, body: String) -> Result<Response> {
    let memory = request.take_memory();
    let response = answer::text(memory, "application/xml;charset=utf-8", body)?;
    Ok(version_1(response))
}
