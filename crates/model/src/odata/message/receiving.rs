//! Messages that a cell receives.

use personium_odata::body::{Intent, Route};
use personium_odata::control::{BOX_SCHEMA, message_to_receive};
use personium_odata::entity_rules::{MessageCheck, MessageSide, check_message};
use personium_types::{Code, Error, Operation, Result};

use super::super::load::Entity;
use super::super::root::ServiceRoot;
use super::super::validate::validate_as;
use super::find_box_of;
use super::sending::{box_name, store};
use crate::keys::ControlSet;
use crate::{Permit, PermitTarget};

/// Stores a message that the cell `sender` delivers.
///
/// # Errors
/// [`Code::FieldFormat`] or another code about the body if it is not that of a message, or if it does not name `sender` as
/// its origin; [`Code::MessageSchemaMissing`] if no box has the schema that it belongs to; [`Code::EntityExists`] if there is
/// a message with its id. An internal error if the permit is not for deliveries of `sender` to this cell.
pub async fn receive(
    root: &ServiceRoot,
    permit: &Permit,
    sender: &str,
    bytes: &[u8],
) -> Result<Entity> {
    let context = root.context().ok_or(Code::OdataInconsistent)?;
    let target = PermitTarget::Delivery {
        cell: context.cell().id,
        sender: sender.to_owned(),
    };
    permit.check(Operation::DeliverMessage, &target)?;
    let body = validate_as(
        root,
        message_to_receive(),
        bytes,
        Intent::Create,
        Route::Direct,
    );
    let mut properties = body.await?.properties;
    let invalid = |member: &str| Error::new(Code::FieldFormat).with(member);
    let from = properties
        .text("From")
        .and_then(|url| root.unit.urls().resolve(url));
    if from.as_deref() != Some(sender) {
        return Err(invalid("From"));
    }
    let schema = properties.remove(BOX_SCHEMA);
    let schema = schema
        .as_ref()
        .and_then(|v| v.as_str())
        .filter(|s| !s.is_empty());
    if let Some(schema) = schema {
        let id = find_box_of(root, schema).await?;
        let id = id.ok_or_else(|| Error::new(Code::MessageSchemaMissing).with(schema))?;
        properties.set("_Box.Name", box_name(root, &id).await?);
    }
    let check = MessageCheck {
        side: MessageSide::Receiver,
        in_box: schema.is_some(),
    };
    check_message(&properties, check).map_err(|error| invalid(error.member))?;
    let set = root.set(ControlSet::ReceivedMessage.name())?;
    store(root, &set, properties).await
}
