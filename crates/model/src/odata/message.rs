//! Messages between cells: sending, receiving, and status changes of received messages.

mod approval;
mod approved_changes;
mod attempt;
mod receipt;
mod receiving;
mod sending;
pub mod waiting;

pub use approval::{MessageCommand, change_status};
pub use attempt::{AttemptOutcome, DeliveryResult, NOT_DELIVERED_BY_COPY, NOT_REACHED, WAITS};
pub use receiving::{Received, ReceivedDelivery, receive};
pub use sending::{MAX_RECIPIENTS, OutgoingMessage, prepare};
pub use waiting::{DeliverySender, WaitingDelivery, store_sent};

use std::collections::BTreeMap;

use personium_odata::body::ValidatedBody;
use personium_odata::value::Properties;
use personium_types::{Code, Result};

use super::creation::Creation;
use super::root::{ServiceRoot, SetRef};
use crate::entity;

/// The id of the box with this schema URL in any of its spellings.
async fn find_box_of(root: &ServiceRoot, schema: &str) -> Result<Option<String>> {
    for spelling in root.unit.urls().spellings(schema) {
        let key = super::rules::box_of_schema(&spelling);
        if let Some(id) = entity::find_id(&root.records, &key).await? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// The creation of an entity from valid properties.
fn creation(set: &SetRef, properties: Properties) -> Creation {
    Creation {
        set: set.clone(),
        body: ValidatedBody {
            properties,
            new_properties: Vec::new(),
        },
        hidden: BTreeMap::new(),
        navigation: None,
        exists: Code::EntityExists,
        history: None,
    }
}
