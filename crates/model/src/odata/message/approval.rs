//! Status changes of received messages: read, approved (then the requested changes are made) or rejected.

use std::collections::BTreeSet;
use std::str::FromStr;

use personium_odata::edm::UPDATED;
use personium_odata::value::{Properties, Value};
use personium_types::{Code, Error, Operation, Result};

use super::super::creation_batch::CreationBatch;
use super::super::load::{self, Entity};
use super::super::pending_entity::PendingEntity;
use super::super::root::ServiceRoot;
use super::approved_changes::{ApprovedChanges, requests};
use crate::commit::Invalidation;
use crate::keys::ControlSet;
use crate::{Permit, PostCommit};

/// A command that changes the status of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageCommand {
    /// Marks it as read.
    Read,
    /// Marks it as unread.
    Unread,
    /// Makes the changes that it requests.
    Approve,
    /// Refuses the changes that it requests.
    Reject,
}

impl MessageCommand {
    /// The status after the command.
    fn status(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Unread => "unread",
            Self::Approve => "approved",
            Self::Reject => "rejected",
        }
    }

    /// The type of the event that it causes.
    fn event(self) -> &'static str {
        match self {
            Self::Read => "message.read",
            Self::Unread => "message.unread",
            Self::Approve => "message.approve",
            Self::Reject => "message.reject",
        }
    }

    /// Whether the command is allowed for this message.
    fn is_allowed(self, message: &Entity) -> bool {
        let is_request = message.properties.text("Type") == Some("request");
        match self {
            Self::Read | Self::Unread => !is_request,
            Self::Approve | Self::Reject => {
                is_request && message.properties.text("Status") == Some("none")
            }
        }
    }
}

impl FromStr for MessageCommand {
    type Err = Error;

    /// Parses the status after the command.
    fn from_str(text: &str) -> Result<Self> {
        [Self::Read, Self::Unread, Self::Approve, Self::Reject]
            .into_iter()
            .find(|command| command.status() == text)
            .ok_or_else(invalid_command)
    }
}

fn invalid_command() -> Error {
    Error::new(Code::FieldFormat).with("Command")
}

/// The kind of a change that a message requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestedChange {
    /// The cells of a relation.
    Relation,
    /// The cells of a role.
    Role,
    /// The rules of the cell.
    Rule,
}

impl RequestedChange {
    /// The kind of a request object.
    fn of(request: &Properties) -> Self {
        match request.text("RequestType").unwrap_or_default() {
            kind if kind.starts_with("rule.") => Self::Rule,
            kind if kind.starts_with("relation.") => Self::Relation,
            // The kind with the highest requirement; changes of other kinds are refused.
            _ => Self::Role,
        }
    }

    /// The operations that approving such a change is: they need what the same change without a message needs.
    fn operations(self) -> &'static [Operation] {
        match self {
            Self::Relation => &[Operation::ApproveSocial],
            Self::Role => &[Operation::ApproveRoles, Operation::ApproveSocial],
            Self::Rule => &[Operation::ApproveRules],
        }
    }
}

/// The operations that the changes are which a message requests, each once.
fn requested_operations(message: &Entity) -> BTreeSet<Operation> {
    requests(message)
        .into_iter()
        .flat_map(|request| RequestedChange::of(request).operations())
        .copied()
        .collect()
}

/// Changes the status of a received message. Approval makes all changes that the message requests, or none. After the
/// message was found, `permit_change` is called for each operation that its changes are.
///
/// # Errors
/// [`Code::NoSuchEntity`] if there is no such message, [`Code::FieldFormat`] if the command cannot be given about it. Of an
/// approval also what `permit_change` refuses with, and [`Code::RequestedLinkExists`], [`Code::RequestedClassMissing`],
/// [`Code::RequestedObjectMissing`], [`Code::LinkSourceMissing`] or another code about what cannot be changed as it asks. An
/// internal error if a permit is not for that.
pub async fn change_status(
    root: &ServiceRoot,
    permit: &Permit,
    id: &str,
    command: MessageCommand,
    permit_change: &(dyn Fn(Operation) -> Result<Permit> + Sync),
) -> Result<Entity> {
    permit.check(Operation::ChangeMessageStatus, &root.permit_target())?;
    let set = root.set(ControlSet::ReceivedMessage.name())?;
    let invalidation = match command {
        MessageCommand::Approve => root.invalidation(),
        MessageCommand::Read | MessageCommand::Unread | MessageCommand::Reject => {
            Invalidation::None
        }
    };
    root.transact_with(invalidation, || async {
        let found = load::find_by_id(root, &set, id).await?;
        let found = found.ok_or(Code::NoSuchEntity)?;
        if !command.is_allowed(&found) {
            return Err(invalid_command());
        }
        let mut creations = CreationBatch::new(root);
        let mut post_commit = PostCommit::none();
        if command == MessageCommand::Approve {
            for operation in requested_operations(&found) {
                permit_change(operation)?.check(operation, &root.permit_target())?;
            }
            let events = ApprovedChanges::new(&found, &mut creations)?
                .apply()
                .await?;
            post_commit = events
                .into_iter()
                .fold(post_commit, |all, event| all.posting(Some(event)));
        }
        let mut batch = creations.batch;
        let now = root.unit.now_ms();
        let mut properties = found.properties.clone();
        properties.set("Status", command.status());
        properties.set(UPDATED, Value::DateTime(now));
        let mut pending = PendingEntity::of_stored(&set, found);
        pending.replace(properties, now);
        let after = pending.write(root, &mut batch)?;
        let event = root.status_event(&set, &after, command.event());
        Ok((batch, post_commit.posting(event), after))
    })
    .await
}
