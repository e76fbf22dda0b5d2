//! What the unit itself answers: its root document and its control objects.

use http::{Method, StatusCode};
use personium_types::{Code, Result};
use serde_json::json;

use crate::answer::{self, Answer};
use crate::request_context::RequestContext;
use crate::service::Service;
use crate::{odata, preflight, status};

const CROSS_DOMAIN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
<!DOCTYPE cross-domain-policy SYSTEM \"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd\">\
<cross-domain-policy>\
<site-control permitted-cross-domain-policies=\"all\"/>\
<allow-access-from domain=\"*\"/>\
<allow-http-request-headers-from domain=\"*\" headers=\"*\"/>\
</cross-domain-policy>";

/// Answers a request to the unit.
pub async fn handle(call: RequestContext, service: &Service) -> Result<Answer> {
    let first = call.path.decoded.first().map(String::as_str);
    match first {
        None => root(&call),
        Some("crossdomain.xml") if call.path.decoded.len() == 1 => match call.method {
            Method::GET => Ok(answer::content(
                StatusCode::OK,
                "application/xml",
                CROSS_DOMAIN,
            )),
            _ => Err(call.method_not_allowed()),
        },
        Some("__status") if call.path.decoded.len() == 1 => status::handle(call, service).await,
        Some("__ctl") => odata::unit_control(call).await,
        Some(_) => Err(Code::NoSuchPath.into()),
    }
}

fn root(call: &RequestContext) -> Result<Answer> {
    match call.method {
        Method::GET => Ok(answer::json(
            StatusCode::OK,
            &json!({"unit": document(call)}),
        )),
        Method::OPTIONS => Ok(preflight::allow("OPTIONS, GET")),
        _ => Err(call.method_not_allowed()),
    }
}

/// What documents of the unit, its cells and boxes tell about the unit.
#[must_use]
pub fn document(call: &RequestContext) -> serde_json::Value {
    let urls = call.unit.urls();
    json!({"url": urls.unit(), "path_based_cellurl_enabled": urls.path_based()})
}
