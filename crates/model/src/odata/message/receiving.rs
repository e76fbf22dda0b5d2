//! Messages that a cell receives.

use personium_odata::body::{Intent, Route};
use personium_odata::control::{BOX_SCHEMA, message_to_receive};
use personium_odata::edm::ID;
use personium_odata::entity_rules::{MessageCheck, MessageSide, check_message};
use personium_odata::value::Properties;
use personium_types::{Code, Error, Operation, Result};

use super::super::creation_batch::CreationBatch;
use super::super::load::Entity;
use super::super::root::{ServiceRoot, SetRef};
use super::super::validate::validate_as;
use super::sending::box_name;
use super::{creation, find_box_of, receipt};
use crate::commit::Invalidation;
use crate::keys::ControlSet;
use crate::{Permit, PermitTarget, PostCommit};

/// A message that a cell delivers.
#[derive(Debug, Clone, Copy)]
pub struct ReceivedDelivery<'a> {
    /// The URL of the cell that delivers it.
    pub sender: &'a str,
    /// The body of the request.
    pub bytes: &'a [u8],
    /// Whether the cell may have delivered it before, and not have got the response.
    pub is_repeated: bool,
}

/// The effect of a delivery.
#[derive(Debug)]
pub enum Received {
    /// The message is stored.
    New(Entity),
    /// It was received before, and may have been deleted since.
    Before,
}

/// Stores a message that a cell delivers. A repeated delivery of a message that was received changes nothing.
///
/// # Errors
/// [`Code::FieldFormat`] or another code about the body if it is not that of a message, or if it does not name the sender as
/// its origin; [`Code::MessageSchemaMissing`] if no box has the schema that it belongs to; [`Code::EntityExists`] if there is
/// a message with its id, or [`Code::MessageIdTaken`] if the delivery is a repeated one. An internal error if the permit is not for
/// deliveries of the sender to this cell.
pub async fn receive(
    root: &ServiceRoot,
    permit: &Permit,
    delivery: ReceivedDelivery<'_>,
) -> Result<Received> {
    let ReceivedDelivery { sender, bytes, .. } = delivery;
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
    let id = properties.text(ID).unwrap_or_default().to_owned();
    if delivery.is_repeated && receipt::exists(root, sender, &id).await? {
        return Ok(Received::Before);
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
    match store_received(root, &set, sender, properties).await {
        Ok(entity) => Ok(Received::New(entity)),
        Err(error) if delivery.is_repeated && error.code() == Code::EntityExists => {
            // Maybe the delivery before was still in progress.
            match receipt::exists(root, sender, &id).await? {
                true => Ok(Received::Before),
                false => Err(Code::MessageIdTaken.into()),
            }
        }
        Err(error) => Err(error),
    }
}

async fn store_received(
    root: &ServiceRoot,
    set: &SetRef,
    sender: &str,
    properties: Properties,
) -> Result<Entity> {
    let creation = creation(set, properties);
    root.transact_with(Invalidation::None, || async {
        let mut creations = CreationBatch::new(root);
        let entity = Box::pin(creations.add(&creation)).await?;
        let mut batch = creations.batch;
        receipt::add(root, &mut batch, sender, &entity.id).await?;
        let event = root.creation_event(&creation, &entity);
        Ok((batch, PostCommit::none().posting(event), entity))
    })
    .await
}
