//! The settings and plugins of a unit, which administrators change outside of it. A record has the state that was noted last, so that
//! what was changed while no process ran has an entry at the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use personium_store::Batch;
use personium_types::Result;
use personium_types::error::chain;

use super::append::append_to;
use super::chain::AuditStamp;
use crate::audit_event::{AuditActor, AuditEvent, AuditEventKind};
use crate::records::put_checked;
use crate::{Unit, keys};

/// A part of what a unit works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotedPart {
    /// The settings.
    Settings,
    /// The files of plugins.
    Plugins,
}

impl NotedPart {
    fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings",
            Self::Plugins => "plugins",
        }
    }

    /// The operation of the entry.
    fn operation(self) -> &'static str {
        match self {
            Self::Settings => "settings.change",
            Self::Plugins => "plugin.change",
        }
    }
}

/// The state of a part: digests by names.
pub type NotedState = BTreeMap<String, String>;

/// The consequence of a state that differs from the one that was noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoteWith {
    /// An entry that names what has changed.
    Entry,
    /// Nothing: there is an entry already.
    Nothing,
}

impl Unit {
    /// Compares the state of a part with the one that was noted last, and notes it, without waiting. If they differ, an entry of the audit log
    /// names what has changed; the first state ever has none. `all_differ_with`: the name that all digests depend on. If it has changed,
    /// it alone is named.
    pub fn note_state_later(
        &self,
        part: NotedPart,
        state: NotedState,
        all_differ_with: Option<String>,
    ) {
        self.spawn_note(part, state, all_differ_with, NoteWith::Entry);
    }

    /// Notes the state of a part, whose change has an entry already, without waiting.
    pub fn remember_state_later(&self, part: NotedPart, state: NotedState) {
        self.spawn_note(part, state, None, NoteWith::Nothing);
    }

    fn spawn_note(
        &self,
        part: NotedPart,
        state: NotedState,
        all_differ_with: Option<String>,
        with: NoteWith,
    ) {
        let unit = self.share();
        tokio::spawn(async move {
            let in_flight = Arc::clone(unit.commits()).read_owned().await;
            let noted = unit
                .note(part, &state, all_differ_with.as_deref(), with)
                .await;
            if let Err(error) = noted {
                unit.audit_log().count_lost(1);
                tracing::error!(
                    part = part.name(), error = %chain(&error),
                    "failed to write what has changed into the audit log"
                );
            }
            drop(in_flight);
        });
    }

    async fn note(
        &self,
        part: NotedPart,
        state: &NotedState,
        all_differ_with: Option<&str>,
        with: NoteWith,
    ) -> Result<()> {
        let _writing = self.audit_log().writing.lock().await;
        let records = self.records();
        let node = self.server_node().info.lock().host.clone();
        let stamp = AuditStamp::new(self.now_ms(), &node);
        let (records, stamp) = (&records, &stamp);
        records
            .transact(|| async move {
                let key = keys::noted_state(part.name());
                let found = records.find::<NotedState>(&key).await?;
                let version = found.as_ref().map(|found| found.version);
                let before = found.map(|found| found.value);
                let mut batch = Batch::new();
                if before.as_ref() == Some(state) {
                    return Ok((batch, ()));
                }
                if let Some(before) = before.filter(|_| with == NoteWith::Entry) {
                    let target = differences(&before, state, all_differ_with);
                    let event = AuditEvent::new(AuditEventKind::Note, part.operation())
                        .by(AuditActor::unit(), None)
                        .with_target(&target);
                    append_to(&mut batch, records, &[&event], stamp).await?;
                }
                put_checked(&mut batch, key, version, state)?;
                Ok((batch, ()))
            })
            .await
    }
}

/// The names that were added, removed and changed, as text.
fn differences(before: &NotedState, after: &NotedState, all_differ_with: Option<&str>) -> String {
    if let Some(name) = all_differ_with.filter(|name| before.get(*name) != after.get(*name)) {
        return format!("changed {name}");
    }
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changes = names.into_iter().filter_map(|name| {
        let change = match (before.get(name), after.get(name)) {
            (Some(before), Some(after)) if before == after => return None,
            (Some(_), Some(_)) => "changed",
            (None, _) => "added",
            (_, None) => "removed",
        };
        Some(format!("{change} {name}"))
    });
    changes.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(parts: &[(&str, &str)]) -> NotedState {
        let parts = parts.iter().copied();
        parts
            .map(|(name, digest)| (name.to_owned(), digest.to_owned()))
            .collect()
    }

    #[test]
    fn differences_are_named_and_only_the_name_that_all_depend_on_if_it_has_changed() {
        let before = state(&[("a", "1"), ("b", "1"), ("c", "1"), ("secret", "1")]);
        let after = state(&[("a", "2"), ("b", "1"), ("d", "1"), ("secret", "1")]);
        let all = "changed a, removed c, added d";
        assert_eq!(differences(&before, &after, None), all);
        assert_eq!(differences(&before, &after, Some("secret")), all);
        let after = state(&[("a", "2"), ("secret", "2")]);
        let only = differences(&before, &after, Some("secret"));
        assert_eq!(only, "changed secret");
    }
}
