//! The stored state of an installation: a record that belongs to the box.

use personium_model::commit::Invalidation;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::{BoxInfo, CellContext, Unit, records};
use personium_store::{Batch, Expect};
use personium_types::{Code, Error, NodeId, Result};
use serde::{Deserialize, Serialize};

use crate::error::SERVER_ERROR;

/// An installation whose last heartbeat is older has failed: its server was stopped.
const HEARTBEAT_TIMEOUT_MS: i64 = 60_000;

/// The stored state of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredInstallation {
    /// The start, milliseconds since 1970.
    #[serde(rename = "s")]
    pub started_at: i64,
    /// The part of the archive that is done.
    #[serde(rename = "p")]
    pub percent: u64,
    /// The last heartbeat, milliseconds since 1970.
    #[serde(rename = "a")]
    pub heartbeat_at: i64,
    /// The result, once it has ended.
    #[serde(rename = "e", default)]
    pub result: Option<InstallationResult>,
}

/// The result of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum InstallationResult {
    /// Everything was installed.
    Done,
    /// It was ended by an error.
    Failed {
        /// The code of the error.
        code: String,
        /// The error, for people.
        text: String,
    },
}

/// The status of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallationStatus {
    /// It can be used.
    Ready {
        /// Since when, milliseconds since 1970.
        since: i64,
    },
    /// It is being installed.
    Running {
        /// The start of the installation, milliseconds since 1970.
        started: i64,
        /// The part of the archive that is done.
        percent: u64,
    },
    /// Its installation failed.
    Failed {
        /// The start of the installation, milliseconds since 1970.
        started: i64,
        /// The part of the archive that was done.
        percent: u64,
        /// The code of the error.
        code: String,
        /// The error, for people.
        text: String,
    },
}

/// Stores the state of the installation of a box.
///
/// # Errors
/// [`Code::NoSuchBox`] if the box was removed; failures of the store.
pub(crate) async fn store(
    unit: &Unit,
    context: &CellContext,
    box_id: &NodeId,
    installation: &StoredInstallation,
) -> Result<()> {
    let id = box_id.to_string();
    unit.transact(context, Invalidation::None, || async {
        let mut batch = Batch::new();
        let entity = keys::entity(&SetKey::control(ControlSet::Box), &id);
        if context.records().find_version(&entity).await?.is_none() {
            return Err(Error::new(Code::NoSuchBox).with(id.as_str()));
        }
        batch.assert(entity, Expect::Present);
        records::put(&mut batch, keys::installation(&id), installation)?;
        Ok((batch, ()))
    })
    .await
}

/// Returns the status of a box.
///
/// # Errors
/// Failures of the store.
pub async fn status(
    unit: &Unit,
    context: &CellContext,
    info: &BoxInfo,
) -> Result<InstallationStatus> {
    let key = keys::installation(&info.id.to_string());
    let stored = context.records().find::<StoredInstallation>(&key).await?;
    Ok(match stored {
        None => InstallationStatus::Ready {
            since: info.published,
        },
        Some(stored) => stored.value.status_at(unit.now_ms()),
    })
}

impl StoredInstallation {
    fn status_at(self, now_ms: i64) -> InstallationStatus {
        let (started, percent) = (self.started_at, self.percent);
        match self.result {
            Some(InstallationResult::Done) => InstallationStatus::Ready { since: started },
            Some(InstallationResult::Failed { code, text }) => InstallationStatus::Failed {
                started,
                percent,
                code,
                text,
            },
            None if now_ms - self.heartbeat_at <= HEARTBEAT_TIMEOUT_MS => {
                InstallationStatus::Running { started, percent }
            }
            None => InstallationStatus::Failed {
                started,
                percent,
                code: SERVER_ERROR.to_owned(),
                text: "the server stopped while it installed the box".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installation_without_heartbeat_has_failed() {
        let running = StoredInstallation {
            started_at: 1_000,
            percent: 40,
            heartbeat_at: 5_000,
            result: None,
        };
        let (started, percent) = (1_000, 40);
        assert_eq!(
            running.clone().status_at(5_000 + HEARTBEAT_TIMEOUT_MS),
            InstallationStatus::Running { started, percent }
        );
        assert!(matches!(
            running.clone().status_at(5_001 + HEARTBEAT_TIMEOUT_MS),
            InstallationStatus::Failed { started: 1_000, percent: 40, code, .. }
                if code == SERVER_ERROR
        ));
        let done = StoredInstallation {
            result: Some(InstallationResult::Done),
            ..running
        };
        assert_eq!(
            done.status_at(i64::MAX),
            InstallationStatus::Ready { since: 1_000 }
        );
    }
}
