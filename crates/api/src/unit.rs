//! Requests to the unit itself: its root document, its status, its control objects.

use http::{Method, StatusCode};
use personium_types::{Code, Result};
use serde_json::json;

use crate::admin::Admin;
use crate::request_context::RequestContext;
use crate::response::{self, Response};
use crate::route::MAINTENANCE_SEGMENT;
use crate::{
    compression, dav, describe, error, maintenance_modes, odata, preflight, quota, status,
};

const CROSS_DOMAIN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
<!DOCTYPE cross-domain-policy SYSTEM \"http://www.adobe.com/xml/dtds/cross-domain-policy.dtd\">\
<cross-domain-policy>\
<site-control permitted-cross-domain-policies=\"all\"/>\
<allow-access-from domain=\"*\"/>\
<allow-http-request-headers-from domain=\"*\" headers=\"*\"/>\
</cross-domain-policy>";

/// The methods of the unit itself.
const ROOT_METHODS: &str = "OPTIONS, GET, HEAD, PROPFIND";

/// Answers a request to the unit.
///
/// # Errors
/// The refusal of the request.
pub async fn handle(request: RequestContext, admin: Option<&Admin>) -> Result<Response> {
    let method = request.method.clone();
    let methods = match request.path.decoded.first().map(String::as_str) {
        None => ROOT_METHODS,
        Some("__status" | "__quota") => "OPTIONS, GET, HEAD, POST",
        Some(MAINTENANCE_SEGMENT) => maintenance_modes::METHODS,
        _ => "GET, HEAD",
    };
    let outcome = answer(request, admin).await;
    outcome.map_err(|refusal| error::with_methods(refusal, &method, methods))
}

async fn answer(request: RequestContext, admin: Option<&Admin>) -> Result<Response> {
    let first = request.path.decoded.first().map(String::as_str);
    match first {
        None => root(request).await,
        Some("crossdomain.xml") if request.path.decoded.len() == 1 => match request.method {
            Method::GET => Ok(response::content(
                StatusCode::OK,
                "application/xml",
                CROSS_DOMAIN,
            )),
            _ => Err(request.method_not_allowed()),
        },
        Some("__status") if request.path.decoded.len() == 1 => status::handle(request, admin).await,
        Some("__quota") if request.path.decoded.len() == 1 => quota::handle(request).await,
        Some(MAINTENANCE_SEGMENT) if request.path.decoded.len() == 1 => {
            maintenance_modes::handle(request).await
        }
        Some("__ctl") => {
            let mut response = odata::unit_control(request).await?;
            compression::allow(&mut response);
            Ok(response)
        }
        Some(_) => Err(Code::NoSuchPath.into()),
    }
}

async fn root(request: RequestContext) -> Result<Response> {
    match request.method.as_str() {
        "GET" => Ok(response::json(
            StatusCode::OK,
            &json!({"unit": describe::unit(request.unit.urls())}),
        )),
        "OPTIONS" => Ok(preflight::allow_webdav(ROOT_METHODS)),
        "PROPFIND" => dav::propfind::handle_unit(request).await,
        _ => Err(request.method_not_allowed()),
    }
}
