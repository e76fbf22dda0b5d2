//! `$metadata` and service documents.

use http::{Method, StatusCode};
use personium_model::odata::RootScope;
use personium_odata::query::Options;
use personium_odata::{control, edmx, negotiate, service_doc};
use personium_types::{Code, Error, Result};

use super::service::{Service, version_1};
use super::service_authorizer::ServiceAuthorizer;
use crate::answer::{self, Answer};
use crate::preflight;

/// A request to `$metadata` of a root.
pub(super) fn metadata(service: &Service) -> Result<Answer> {
    let asks = match service.call.method {
        Method::GET => false,
        Method::OPTIONS => true,
        _ => return Err(service.call.method_not_allowed()),
    };
    if asks || matches!(service.gate, ServiceAuthorizer::Collection { .. }) {
        service
            .gate
            .permit_description(&service.root, &service.call.access)?;
    }
    if asks {
        return Ok(preflight::allow("OPTIONS, GET"));
    }
    let options = Options::parse(&service.call.query);
    let asks_service = match options.get("$format") {
        Some(format) => format == "atomsvc",
        None => negotiate::lists(service.call.header("accept"), "application/atomsvc+xml"),
    };
    if matches!(service.root.scope(), RootScope::Data(_)) && asks_service {
        let root = format!("{}$metadata/", service.base);
        return Ok(xml(service_doc::atom(control::schema(), &root)));
    }
    Ok(xml(edmx::document(service.root.edm())))
}

/// The service document of a root.
pub(super) fn service_document(service: &Service) -> Result<Answer> {
    service
        .gate
        .permit_description(&service.root, &service.call.access)?;
    let options = Options::parse(&service.call.query);
    match options.get("$format") {
        None => Ok(xml(service_doc::atom(service.root.edm(), &service.base))),
        Some(format) if format.eq_ignore_ascii_case("json") => Ok(version_1(answer::content(
            StatusCode::OK,
            "text/javascript;charset=utf-8",
            service_doc::script(service.root.edm()),
        ))),
        Some(format) => Err(Error::new(Code::FormatUnknown).with(format)),
    }
}

fn xml(body: String) -> Answer {
    version_1(answer::content(
        StatusCode::OK,
        "application/xml;charset=utf-8",
        body,
    ))
}
