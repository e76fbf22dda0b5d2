//! Paths of services.

use personium_dav::{PERSONIUM_NS, proppatch};
use personium_model::Resource;
use personium_model::locate::Target;
use personium_types::{Code, Error, Operation, Result};
use personium_xml::{Element, XmlLimits};

use crate::request_context::RequestContext;
use crate::response::Response;

/// A request to a path of a service. There is no script engine yet, so it is refused even with the privilege to execute: with
/// 501 where a script is registered, as an engine that knows no such path would elsewhere.
///
/// # Errors
/// The refusal of the request.
pub(super) fn handle(
    request: &RequestContext,
    resource: &Resource,
    target: &Target,
) -> Result<Response> {
    match request.method.as_str() {
        "GET" | "POST" | "PUT" | "DELETE" => {
            resource.permit(target, Operation::Execute)?;
            Err(match is_registered(target) {
                true => Error::new(Code::NotImplementedFeature).with("services"),
                false => Code::ServiceConnect.into(),
            })
        }
        _ => Err(Code::MethodNotAllowed.into()),
    }
}

/// Whether the property `service` of the collection names a script for the path.
fn is_registered(target: &Target) -> bool {
    let key = proppatch::key(PERSONIUM_NS, "service");
    let registered = target.node().value().properties.get(&key);
    let Some(Ok(service)) =
        registered.map(|xml| Element::parse(xml.as_bytes(), &XmlLimits::REQUEST))
    else {
        return false;
    };
    let path = target.rest.join("/");
    service
        .elements_named(PERSONIUM_NS, "path")
        .filter_map(|script| script.attribute("", "name"))
        .any(|name| name.trim_matches('/') == path)
}
