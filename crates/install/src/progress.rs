//! The stored state of an installation: a record that belongs to the box. When an installation has failed and the box is
//! removed, a record under the name of the box tells why.

use personium_model::commit::Invalidation;
use personium_model::entity::StoredEntity;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::records::{self, Records};
use personium_model::{BoxInfo, CellContext, Unit};
use personium_store::{Batch, Direction, Expect, Key};
use personium_types::{Code, Error, NodeId, Result};
use serde::{Deserialize, Serialize};

use crate::error::SERVER_ERROR;

/// An installation whose last heartbeat is older has failed: its server was stopped.
const HEARTBEAT_TIMEOUT_MS: i64 = 60_000;
/// How long the failure of an installation is known after its box was removed.
const FAILURE_RETENTION_MS: i64 = 3 * 24 * 3_600_000;
/// The largest number of such failures of a cell.
const FAILURES_MAX: usize = 100;
/// The number of records that are read at once.
const PAGE_RECORDS: usize = 100;

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

/// An installation that failed and whose box was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredFailure {
    /// The id of the removed box.
    #[serde(rename = "b")]
    box_id: NodeId,
    /// Its schema.
    #[serde(rename = "u")]
    schema: Option<String>,
    /// The start, milliseconds since 1970.
    #[serde(rename = "s")]
    started_at: i64,
    /// The time of the failure, milliseconds since 1970.
    #[serde(rename = "a")]
    failed_at: i64,
    /// The part of the archive that was done.
    #[serde(rename = "p")]
    percent: u64,
    /// The code of the error.
    #[serde(rename = "c")]
    code: String,
    /// The error, for people.
    #[serde(rename = "t")]
    text: String,
}

/// An installation that failed and whose box was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedInstallation {
    /// The schema of the box.
    pub schema: Option<String>,
    /// [`InstallationStatus::Failed`].
    pub status: InstallationStatus,
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

/// Stores that an installation failed, and that the removal of its box has begun. The failure can be seen when the box is gone.
///
/// # Errors
/// [`Code::NoSuchBox`] if the box was removed; failures of the store.
pub(crate) async fn store_failure(
    unit: &Unit,
    context: &CellContext,
    box_id: &NodeId,
    failed: &StoredInstallation,
) -> Result<()> {
    let id = box_id.to_string();
    let Some(InstallationResult::Failed { code, text }) = &failed.result else {
        return Err(Error::internal("the installation has not failed"));
    };
    let now_ms = unit.now_ms();
    let expired = list_expired(context, now_ms).await?;
    unit.transact(context, Invalidation::None, || async {
        let mut batch = Batch::new();
        let entity = keys::entity(&SetKey::control(ControlSet::Box), &id);
        let found = context.records().find::<StoredEntity>(&entity).await?;
        let found = found.ok_or_else(|| Error::new(Code::NoSuchBox).with(id.as_str()))?;
        batch.assert(entity, Expect::Version(found.version));
        for key in &expired {
            batch.delete(key.clone());
        }
        let name = found.value.text("Name").ok_or(Code::OdataInconsistent)?;
        let failure = StoredFailure {
            box_id: *box_id,
            schema: found.value.text("Schema"),
            started_at: failed.started_at,
            failed_at: now_ms,
            percent: failed.percent,
            code: code.clone(),
            text: text.clone(),
        };
        records::put(&mut batch, keys::failed_installation(&name), &failure)?;
        Ok((batch, ()))
    })
    .await
}

/// The keys of the failures that are not kept any longer: those that are old, and the oldest beyond the largest number.
async fn list_expired(context: &CellContext, now_ms: i64) -> Result<Vec<Key>> {
    let range = keys::failed_installations();
    let records = context.records();
    let mut found = records
        .list::<StoredFailure>(&range, Direction::Up, 2 * FAILURES_MAX)
        .await?;
    found.sort_by_key(|(_, failure)| std::cmp::Reverse(failure.value.failed_at));
    let is_old = |failure: &StoredFailure| now_ms - failure.failed_at > FAILURE_RETENTION_MS;
    let expired = found.into_iter().enumerate();
    let expired = expired
        .filter(|(at, (_, failure))| *at + 1 >= FAILURES_MAX || is_old(&failure.value))
        .map(|(_, (key, _))| key);
    Ok(expired.collect())
}

/// Finds the failed installation whose box had a name, if that was removed less than three days ago.
///
/// # Errors
/// Failures of the store.
pub async fn find_failure(
    unit: &Unit,
    context: &CellContext,
    box_name: &str,
) -> Result<Option<FailedInstallation>> {
    let key = keys::failed_installation(box_name);
    let stored = context.records().find::<StoredFailure>(&key).await?;
    let kept = stored
        .map(|stored| stored.value)
        .filter(|failure| unit.now_ms() - failure.failed_at <= FAILURE_RETENTION_MS);
    Ok(kept.map(|failure| FailedInstallation {
        schema: failure.schema,
        status: InstallationStatus::Failed {
            started: failure.started_at,
            percent: failure.percent,
            code: failure.code,
            text: failure.text,
        },
    }))
}

/// The boxes of a cell whose installations have not ended.
///
/// # Errors
/// Failures of the store.
pub(crate) async fn list_unfinished(
    records: &Records,
) -> Result<Vec<(NodeId, StoredInstallation)>> {
    let mut range = keys::installations();
    let mut unfinished = Vec::new();
    loop {
        let found = records
            .list::<StoredInstallation>(&range, Direction::Up, PAGE_RECORDS)
            .await?;
        for (key, stored) in &found {
            if stored.value.result.is_none()
                && let Some(id) = keys::box_of_installation(key)
            {
                unfinished.push((id, stored.value.clone()));
            }
        }
        match found.last() {
            Some((last, _)) if found.len() == PAGE_RECORDS => range = range.after(last),
            _ => return Ok(unfinished),
        }
    }
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
