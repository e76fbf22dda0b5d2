//! The account that a service acts as: its scripts get tokens of it.

use std::collections::BTreeMap;

use personium_dav::PERSONIUM_NS;
use personium_dav::proppatch::{self, DeadProperty};
use personium_types::{Operation, Result};
use personium_xml::{Element, XmlLimits};

use crate::Resource;
use crate::locate::Target;
use crate::node::{Node, NodeKind};

/// The attribute of the property `service` that names the account.
const SUBJECT: &str = "subject";

/// The key of the property that describes a service.
#[must_use]
pub fn property_key() -> String {
    proppatch::key(PERSONIUM_NS, "service")
}

/// The account that a description of a service names; `None` if there is none, or the description is not valid.
fn named(description: Option<&String>) -> Option<String> {
    let service = Element::parse(description?.as_bytes(), &XmlLimits::REQUEST).ok()?;
    let subject = service.attribute("", SUBJECT)?;
    (!subject.is_empty()).then(|| subject.to_owned())
}

/// Checks that a request may let a service act as the account that its new properties name. A service that goes on to act as the same
/// account may be described anew by everyone who may change its properties.
///
/// # Errors
/// The refusals of [`Target::permit_cell`] for [`Operation::WriteAccounts`]: who may not change accounts cannot act as any of them
/// either.
pub(crate) fn check(
    resource: &Resource,
    target: &Target,
    before: Option<&Node>,
    after: &Node,
) -> Result<()> {
    if after.kind != NodeKind::Service {
        return Ok(());
    }
    let key = property_key();
    let described = |properties: &BTreeMap<String, String>| named(properties.get(&key));
    let Some(subject) = described(&after.properties) else {
        return Ok(());
    };
    if before.and_then(|node| described(&node.properties)) == Some(subject) {
        return Ok(());
    }
    let urls = resource.unit.urls();
    target
        .permit_cell(urls, &resource.access, Operation::WriteAccounts)
        .map(drop)
}

/// The properties of an archive for a service that acts as no account; `None` if they name none.
#[must_use]
pub fn without_subject(properties: &[DeadProperty]) -> Option<Vec<DeadProperty>> {
    let key = property_key();
    let mut without = properties.to_vec();
    let mut is_named = false;
    for described in without.iter_mut().filter(|property| property.key == key) {
        if let Ok(mut service) = Element::parse(described.xml.as_bytes(), &XmlLimits::REQUEST)
            && service.attribute("", SUBJECT).is_some()
        {
            service.remove_attribute("", SUBJECT);
            described.xml = service.to_xml();
            is_named = true;
        }
    }
    is_named.then_some(without)
}
