//! The entries of commands in the audit log.

use std::future::Future;

use personium_model::Unit;
use personium_model::audit::{self, AuditActor, AuditEvent, AuditEventKind, AuditStamp};
use personium_model::records::Records;
use personium_types::Result;
use personium_types::error::chain;

use crate::system_user;

/// The name of the removal of a cell from back-ups.
pub(crate) const FORGET_OPERATION: &str = "backup.forget";

/// A command as the audit log names it.
#[derive(Debug, Clone)]
pub(crate) struct AuditedCommand {
    /// The name, such as `admin.password`.
    pub(crate) operation: &'static str,
    /// The target. It must not contain secrets.
    pub(crate) target: String,
}

impl AuditedCommand {
    fn event(&self, kind: AuditEventKind) -> AuditEvent {
        self.event_by(kind, &system_user::describe())
    }

    fn event_by(&self, kind: AuditEventKind, user: &str) -> AuditEvent {
        let from = format!("command line of {}", system_user::host_name());
        AuditEvent::new(kind, self.operation)
            .by(AuditActor::command(user), Some(&from))
            .with_target(&self.target)
    }

    /// Runs a command between the entry of its begin and that of its end.
    ///
    /// # Errors
    /// A text if an entry cannot be written: the command is not run if it is the first. Otherwise that of the command.
    pub(crate) async fn run<T>(
        &self,
        unit: &Unit,
        command: impl Future<Output = std::result::Result<T, String>>,
    ) -> std::result::Result<T, String> {
        let failed = |error| format!("the audit log cannot be written: {}", chain(&error));
        let begin = self.event(AuditEventKind::Begin);
        let begin = unit.append_audit_entry(begin).await.map_err(failed)?;
        let done = command.await;
        let outcome = match &done {
            Ok(_) => "done",
            // The text of an error may repeat what the operator gave.
            Err(_) => "failed",
        };
        let end = self.event(AuditEventKind::End).of_begin(begin);
        let ended = unit.append_audit_entry(end.with_outcome(outcome)).await;
        let done = done?;
        ended.map_err(failed)?;
        Ok(done)
    }

    /// Writes that a command was done to the unit with these records.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn note(&self, records: &Records, now_ms: i64) -> Result<()> {
        self.note_by(records, &system_user::describe(), now_ms)
            .await
    }

    /// As [`note`](Self::note), of a command that a user ran in another process of this machine.
    ///
    /// # Errors
    /// A failure of the store.
    pub(crate) async fn note_by(&self, records: &Records, user: &str, now_ms: i64) -> Result<()> {
        let event = self.event_by(AuditEventKind::Note, user);
        let stamp = AuditStamp::new(now_ms, &system_user::host_name());
        audit::append(records, &[&event], &stamp).await?;
        Ok(())
    }
}
