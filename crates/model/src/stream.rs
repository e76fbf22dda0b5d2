//! Stream collections: which queues and topics they have.
//!
//! Two dead properties of the collection list their names: `p:queues` with `p:queue`, `p:topics` with `p:topic`.

use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use personium_dav::proppatch::DeadProperty;
use personium_dav::{PERSONIUM_NS, proppatch};
pub use personium_store::{
    Channel, ChannelKind, Delivery, Message, MessageQueue, SubscriptionEnd, TopicMessage,
    TopicSubscription,
};
use personium_types::{Code, Error, Operation, Result};
use personium_xml::{Element, XmlLimits};

use crate::locate::Target;
use crate::message_queue::RecordMessageQueue;
use crate::node::{Node, NodeKind};
use crate::{Resource, Unit};

/// The operations on its collection that a subscriber of a topic must be permitted.
pub const NEEDED_TO_SUBSCRIBE: [Operation; 3] = [
    Operation::ReadProperties,
    Operation::OptionsStream,
    Operation::ReceiveFromStream,
];
/// The longest name of a queue or topic in bytes.
const NAME_MAX_BYTES: usize = 128;
/// The characters of a name that are encoded in an address: so two channels never have the same address.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');

impl Unit {
    /// The queues and topics of the unit.
    #[must_use]
    pub fn message_queue(&self) -> Arc<dyn MessageQueue> {
        match self.broker() {
            Some(broker) => Arc::clone(broker),
            None => Arc::new(RecordMessageQueue::new(self)),
        }
    }
}

/// The queue or topic of a stream collection, which is the deepest node of the target; `None` if it has none with this name.
#[must_use]
pub fn find_channel(target: &Target, kind: ChannelKind, name: &str) -> Option<Channel> {
    let node = target.node().value();
    let is_there = node.kind == NodeKind::Stream && is_registered(node, kind, name);
    is_there.then(|| Channel {
        cell: target.context.cell().id,
        collection: node.id,
        kind,
        name: name.to_owned(),
        address: address(target, kind, name),
    })
}

/// The topic of a stream collection, for one who wants to subscribe; `None` if there is none, or who asks may not.
///
/// # Errors
/// A failure of the store.
pub async fn find_topic(resource: &Resource, name: &str) -> Result<Option<Channel>> {
    let target = resource.locate().await?;
    let mut needed = NEEDED_TO_SUBSCRIBE.into_iter();
    if !target.exists() || !needed.all(|it| resource.permit(&target, it).is_ok()) {
        return Ok(None);
    }
    Ok(find_channel(&target, ChannelKind::Topic, name))
}

/// The property with the names of the channels of a kind, and its elements.
const fn elements(kind: ChannelKind) -> (&'static str, &'static str) {
    match kind {
        ChannelKind::Queue => ("queues", "queue"),
        ChannelKind::Topic => ("topics", "topic"),
    }
}

const fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_MAX_BYTES
}

fn is_registered(node: &Node, kind: ChannelKind, name: &str) -> bool {
    let (list, item) = elements(kind);
    let Some(xml) = node.properties.get(&proppatch::key(PERSONIUM_NS, list)) else {
        return false;
    };
    if !is_name(name) {
        return false;
    }
    Element::parse(xml.as_bytes(), &XmlLimits::REQUEST).is_ok_and(|names| {
        let mut items = names.elements_named(PERSONIUM_NS, item);
        items.any(|it| it.text().trim() == name)
    })
}

/// Refuses names of queues and topics that no request could use.
///
/// # Errors
/// [`Code::RequestFieldFormat`]
pub(crate) fn check_names(property: &DeadProperty) -> Result<()> {
    for (list, item) in [ChannelKind::Queue, ChannelKind::Topic].map(elements) {
        if property.key != proppatch::key(PERSONIUM_NS, list) {
            continue;
        }
        let Ok(names) = Element::parse(property.xml.as_bytes(), &XmlLimits::REQUEST) else {
            continue;
        };
        for named in names.elements_named(PERSONIUM_NS, item) {
            let text = named.text();
            let name = text.trim();
            if !is_name(name) || name.contains(['(', '/']) {
                return Err(Error::new(Code::RequestFieldFormat).with(item));
            }
        }
    }
    Ok(())
}

/// The address of a channel at a broker. All characters of names but letters, digits, `-` and `_` are percent-encoded.
fn address(target: &Target, kind: ChannelKind, name: &str) -> String {
    let encoded = |name: &str| utf8_percent_encode(name, ENCODED).to_string();
    let cell = encoded(&target.context.cell().name);
    let mut parts = vec![cell, encoded(&target.target_box.name)];
    let collections = target.found().iter().skip(1);
    parts.extend(collections.map(|it| encoded(&it.name)));
    parts.extend([kind.as_str().to_owned(), encoded(name)]);
    parts.join(".")
}
