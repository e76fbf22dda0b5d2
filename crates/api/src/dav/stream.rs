//! Queues and topics of stream collections.

use personium_dav::PERSONIUM_NS;
use personium_dav::proppatch;
use personium_model::Resource;
use personium_model::locate::Target;
use personium_model::node::Node;
use personium_types::{Code, Error, Operation, Result};
use personium_xml::{Element, XmlLimits};

use crate::preflight;
use crate::request_context::RequestContext;
use crate::response::Response;

/// The kind of a name in a stream collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Queue,
    Topic,
}

/// A request to a queue or topic. There is no message broker yet, so it is refused even if the name is registered.
///
/// # Errors
/// The refusal of the request.
pub(super) fn handle(
    request: &RequestContext,
    resource: &Resource,
    target: &Target,
) -> Result<Response> {
    let (channel, name) = match target.rest.as_slice() {
        [kind, name] if kind == "queue" => (Channel::Queue, name),
        [kind, name] if kind == "topic" => (Channel::Topic, name),
        _ => return Err(Code::NoSuchPath.into()),
    };
    let may = |operation| resource.permit(target, operation);
    match (request.method.as_str(), channel) {
        ("OPTIONS", _) => {
            may(Operation::OptionsStream)?;
            let mut methods = "OPTIONS".to_owned();
            if may(Operation::SendToStream).is_ok() {
                methods.push_str(", POST, PUT");
            }
            if may(Operation::ReceiveFromStream).is_ok() {
                methods.push_str(", GET");
            }
            return Ok(preflight::allow(&methods));
        }
        ("GET", _) => may(Operation::ReceiveFromStream)?,
        ("POST" | "PUT", _) => may(Operation::SendToStream)?,
        _ => return Err(Code::MethodNotAllowed.into()),
    };
    let name = name.split('(').next().unwrap_or(name);
    if !is_registered(target.node().value(), channel, name) {
        return Err(resource.not_found());
    }
    if request.method == http::Method::GET && channel == Channel::Topic {
        return Err(Code::MethodNotAllowed.into());
    }
    Err(Error::new(Code::NotImplementedFeature).with("streams"))
}

fn is_registered(node: &Node, channel: Channel, name: &str) -> bool {
    let (list, item) = match channel {
        Channel::Queue => ("queues", "queue"),
        Channel::Topic => ("topics", "topic"),
    };
    let Some(xml) = node.properties.get(&proppatch::key(PERSONIUM_NS, list)) else {
        return false;
    };
    Element::parse(xml.as_bytes(), &XmlLimits::REQUEST).is_ok_and(|names| {
        names
            .elements_named(PERSONIUM_NS, item)
            .any(|e| e.text().trim() == name)
    })
}
