//! The stored state of an installation: a record that belongs to the box. When an installation has failed and the box is
//! removed, a record under the name of the box tells why.

use personium_model::commit::Invalidation;
use personium_model::entity::StoredEntity;
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::records::{self, Records, Versioned};
use personium_model::{BoxInfo, CellContext, Unit};
use personium_store::{Batch, Direction, Expect, Key};
use personium_types::{Code, Error, NodeId, Result, ServerNodeId};
use serde::{Deserialize, Serialize};

use crate::error::{SERVER_ERROR, SERVER_STOPPED};

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
    /// The process that works on it. Installations of earlier versions have none.
    #[serde(rename = "n", default)]
    pub worker: Option<InstallationWorker>,
    /// The result, once it has ended.
    #[serde(rename = "e", default)]
    pub result: Option<InstallationResult>,
}

/// The process that works on an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstallationWorker {
    /// The server node.
    #[serde(rename = "n")]
    pub node: ServerNodeId,
    /// The id of the installation, in the key of its claim.
    #[serde(rename = "c")]
    pub claim: NodeId,
    /// Whether it removes the box, because the server node that installed it is dead.
    #[serde(rename = "r", default)]
    pub removes: bool,
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

/// Removes what [`store_failure`] has stored about a box, after a request has removed the box.
///
/// # Errors
/// Failures of the store.
pub async fn remove_failure(
    unit: &Unit,
    context: &CellContext,
    box_id: &NodeId,
    box_name: &str,
) -> Result<()> {
    let key = keys::failed_installation(box_name);
    unit.transact(context, Invalidation::None, || async {
        let mut batch = Batch::new();
        let found = context.records().find::<StoredFailure>(&key).await?;
        if let Some(found) = found.filter(|found| found.value.box_id == *box_id) {
            batch.assert(key.clone(), Expect::Version(found.version));
            batch.delete(key.clone());
        }
        Ok((batch, ()))
    })
    .await
}

/// The boxes of a cell whose installation with this claim has not ended. Without a claim: those of earlier versions.
///
/// # Errors
/// Failures of the store.
pub(crate) async fn list_unfinished(
    records: &Records,
    claim: Option<&NodeId>,
) -> Result<Vec<(NodeId, Versioned<StoredInstallation>)>> {
    let mut range = keys::installations();
    let mut unfinished = Vec::new();
    loop {
        let found = records
            .list::<StoredInstallation>(&range, Direction::Up, PAGE_RECORDS)
            .await?;
        for (key, stored) in &found {
            let worker = stored.value.worker.as_ref();
            if stored.value.result.is_none()
                && worker.map(|worker| &worker.claim) == claim
                && let Some(id) = keys::box_of_installation(key)
            {
                unfinished.push((id, stored.clone()));
            }
        }
        match found.last() {
            Some((last, _)) if found.len() == PAGE_RECORDS => range = range.after(last),
            _ => return Ok(unfinished),
        }
    }
}

/// Stores the state of the installation of a box. Its worker must not have changed.
///
/// # Errors
/// [`Code::NoSuchBox`] if the box was removed, or another server node removes it; failures of the store.
pub(crate) async fn store(
    unit: &Unit,
    context: &CellContext,
    box_id: &NodeId,
    installation: &StoredInstallation,
) -> Result<()> {
    let id = box_id.to_string();
    let key = keys::installation(&id);
    unit.transact(context, Invalidation::None, || async {
        let mut batch = Batch::new();
        let entity = keys::entity(&SetKey::control(ControlSet::Box), &id);
        let found = context.records().find::<StoredInstallation>(&key).await?;
        let found = found.filter(|found| found.value.worker == installation.worker);
        let (Some(found), Some(_)) = (found, context.records().find_version(&entity).await?) else {
            return Err(Error::new(Code::NoSuchBox).with(id.as_str()));
        };
        batch.assert(entity, Expect::Present);
        records::put_checked(&mut batch, key.clone(), Some(found.version), installation)?;
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
    let found = context.records().find::<StoredInstallation>(&key).await?;
    let Some(found) = found else {
        return Ok(InstallationStatus::Ready {
            since: info.published,
        });
    };
    let is_alive = match found.value.worker {
        Some(worker) if found.value.result.is_none() && !worker.removes => {
            unit.is_node_alive(&worker.node).await?
        }
        _ => false,
    };
    Ok(found.value.status(is_alive))
}

/// Refuses an export or import of a cell while a box of it is installed.
///
/// # Errors
/// [`Code::CellBusy`]; failures of the store.
pub(crate) async fn check_not_installing(unit: &Unit, context: &CellContext) -> Result<()> {
    for info in context.boxes().await?.iter() {
        if let InstallationStatus::Running { .. } = status(unit, context, info).await? {
            return Err(Code::CellBusy.into());
        }
    }
    Ok(())
}

impl StoredInstallation {
    /// The status, if the server node that installs the box is alive or not.
    fn status(self, is_alive: bool) -> InstallationStatus {
        let (started, percent) = (self.started_at, self.percent);
        match self.result {
            Some(InstallationResult::Done) => InstallationStatus::Ready { since: started },
            Some(InstallationResult::Failed { code, text }) => InstallationStatus::Failed {
                started,
                percent,
                code,
                text,
            },
            None if is_alive => InstallationStatus::Running { started, percent },
            None => InstallationStatus::Failed {
                started,
                percent,
                code: SERVER_ERROR.to_owned(),
                text: SERVER_STOPPED.to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installation_of_a_dead_server_node_has_failed() {
        let running = StoredInstallation {
            started_at: 1_000,
            percent: 40,
            worker: None,
            result: None,
        };
        let (started, percent) = (1_000, 40);
        assert_eq!(
            running.clone().status(true),
            InstallationStatus::Running { started, percent }
        );
        assert!(matches!(
            running.clone().status(false),
            InstallationStatus::Failed { started: 1_000, percent: 40, code, .. }
                if code == SERVER_ERROR
        ));
        let done = StoredInstallation {
            result: Some(InstallationResult::Done),
            ..running
        };
        assert_eq!(
            done.status(false),
            InstallationStatus::Ready { since: 1_000 }
        );
    }

    #[test]
    fn installation_of_an_earlier_version_is_read() {
        let stored = r#"{"s":1,"p":2,"a":3}"#;
        let read: StoredInstallation = serde_json::from_str(stored).unwrap();
        assert_eq!((read.started_at, read.percent, read.worker), (1, 2, None));
    }
}
