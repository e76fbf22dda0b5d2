//! What the unit itself answers: its root document and its control objects.

use http::{Method, StatusCode};
use personium_types::{Code, Result};
use serde_json::json;

use crate::request_context::RequestContext;
use crate::response::{self, Response};
use crate::service::ApiService;
use crate::{odata, preflight, status};

const CROSS_DOMAIN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
<!DOCTYPE cross-domain-policy SYSTEM \"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd\">\
<cross-domain-policy>\
<site-control permitted-cross-domain-policies=\"all\"/>\
<allow-access-from domain=\"*\"/>\
<allow-http-request-headers-from domain=\"*\" headers=\"*\"/>\
</cross-domain-policy>";

/// Answers a request to the unit.
pub async fn handle(request: RequestContext, service: &ApiService) -> Result<Response> {
    let first = request.path.decoded.first().map(String::as_str);
    match first {
        None => root(&request),
        Some("crossdomain.xml") if request.path.decoded.len() == 1 => match request.method {
            Method::GET => Ok(response::content(
                StatusCode::OK,
                "application/xml",
                CROSS_DOMAIN,
            )),
            _ => Err(request.method_not_allowed()),
        },
        Some("__status") if request.path.decoded.len() == 1 => {
            status::handle(request, service).await
        }
        Some("__ctl") => odata::unit_control(request).await,
        Some(_) => Err(Code::NoSuchPath.into()),
    }
}

fn root(request: &RequestContext) -> Result<Response> {
    match request.method {
        Method::GET => Ok(response::json(
            StatusCode::OK,
            &json!({"unit": document(request)}),
        )),
        Method::OPTIONS => Ok(preflight::allow("OPTIONS, GET")),
        _ => Err(request.method_not_allowed()),
    }
}

/// What documents of the unit, its cells and boxes tell about the unit.
#[must_use]
pub fn document(request: &RequestContext) -> serde_json::Value {
    let urls = request.unit.urls();
    json!({"url": urls.unit(), "path_based_cellurl_enabled": urls.path_based()})
}
