//! Entries of the audit log, before they are appended.

use serde::Serialize;

use crate::access::{Access, Identity, NamedBy};

/// The largest number of characters of a text that an entry repeats.
const MAX_TEXT_CHARS: usize = 1_000;

/// The content of an entry. Time, number and hash are added when it is appended.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEvent {
    /// Whether it is the begin or the end of something, or all of it.
    event: AuditEventKind,
    /// The name of the operation, such as `account.change`.
    operation: String,
    /// The actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<AuditActor>,
    /// The address of the client, or the command.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The key of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_key: Option<String>,
    /// The method of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// The target.
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    /// The number of the entry of its begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    begin: Option<u64>,
    /// The status of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// The URL of what was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// The outcome in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
}

/// The part of what is done that an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AuditEventKind {
    /// It is about to be done.
    Begin,
    /// It was done, or refused, or given up.
    End,
    /// All of something that is reported once.
    Note,
}

/// The actor of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditActor {
    /// The credentials.
    kind: AuditActorKind,
    /// The account, by its URL; for a command the user of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// The owner of cells for whom an administrator acts.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    acting_for: Option<String>,
}

/// The kind of credentials of an actor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum AuditActorKind {
    /// The master token of the settings.
    MasterToken,
    /// An administrator of the unit.
    UnitAdmin,
    /// A unit user, who owns cells.
    UnitUser,
    /// A command of the program.
    Command,
    /// The unit by itself.
    Unit,
}

impl AuditActor {
    /// The actor of a request. `None` if its credentials are not those of the level of the unit.
    #[must_use]
    pub fn of_access(access: &Access) -> Option<Self> {
        let administrator = access.administrator.as_deref();
        let of_administrator = match administrator {
            Some(_) => AuditActorKind::UnitAdmin,
            None => AuditActorKind::MasterToken,
        };
        let (kind, subject, acting_for) = match &access.identity {
            Identity::UnitMaster => (AuditActorKind::MasterToken, None, None),
            Identity::UnitAdmin { .. } => (AuditActorKind::UnitAdmin, administrator, None),
            Identity::UnitUser {
                subject,
                named_by: NamedBy::Token,
                ..
            } => (AuditActorKind::UnitUser, Some(subject.as_str()), None),
            Identity::UnitUser {
                subject: owner,
                named_by: NamedBy::Administrator,
                ..
            } => (of_administrator, administrator, Some(owner.as_str())),
            _ => return None,
        };
        Some(Self {
            kind,
            subject: subject.map(bounded),
            acting_for: acting_for.map(bounded),
        })
    }

    /// The actor of a command: the user of the system.
    #[must_use]
    pub fn command(user: &str) -> Self {
        Self {
            kind: AuditActorKind::Command,
            subject: Some(bounded(user)),
            acting_for: None,
        }
    }

    /// The unit itself.
    #[must_use]
    pub fn unit() -> Self {
        Self {
            kind: AuditActorKind::Unit,
            subject: None,
            acting_for: None,
        }
    }
}

impl AuditEvent {
    /// An entry about an operation.
    #[must_use]
    pub fn new(event: AuditEventKind, operation: &str) -> Self {
        Self {
            event,
            operation: operation.to_owned(),
            actor: None,
            from: None,
            request_key: None,
            method: None,
            target: None,
            begin: None,
            status: None,
            created: None,
            outcome: None,
        }
    }

    /// The same with who does it, and from where.
    #[must_use]
    pub fn by(self, actor: AuditActor, from: Option<&str>) -> Self {
        Self {
            actor: Some(actor),
            from: from.map(bounded),
            ..self
        }
    }

    /// The same with the key of the request.
    #[must_use]
    pub fn with_request_key(self, key: &str) -> Self {
        Self {
            request_key: Some(bounded(key)),
            ..self
        }
    }

    /// The same with the method of the request.
    #[must_use]
    pub fn with_method(self, method: &str) -> Self {
        Self {
            method: Some(bounded(method)),
            ..self
        }
    }

    /// The same with what it is done to.
    #[must_use]
    pub fn with_target(self, target: &str) -> Self {
        Self {
            target: Some(bounded(target)),
            ..self
        }
    }

    /// The same as the end of what the entry with this number has begun.
    #[must_use]
    pub fn of_begin(self, begin: u64) -> Self {
        Self {
            begin: Some(begin),
            ..self
        }
    }

    /// The same with the status of the response, and what was made.
    #[must_use]
    pub fn with_response(self, status: u16, created: Option<&str>) -> Self {
        Self {
            status: Some(status),
            created: created.map(bounded),
            ..self
        }
    }

    /// The same with the outcome in words.
    #[must_use]
    pub fn with_outcome(self, outcome: &str) -> Self {
        Self {
            outcome: Some(bounded(outcome)),
            ..self
        }
    }
}

/// A text up to the largest number of characters.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
    }
}
