//! The login history of an account: its last login, and the failed attempts since then.

use personium_store::Batch;
use personium_types::Result;
use serde::{Deserialize, Serialize};

use crate::CellContext;
use crate::cell_policy::cell_property;
use crate::keys;
use crate::records::{self, Records};

/// The dead property of a cell with the accounts whose history is not recorded.
const NOT_RECORDED: &str = "accountsnotrecordingauthhistory";

/// The login history of one account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginHistory {
    /// The time of its last login with a password, milliseconds since 1970; `None` if it never logged in.
    #[serde(rename = "l", default)]
    pub last_authenticated: Option<i64>,
    /// The number of failed attempts since then.
    #[serde(rename = "f", default)]
    pub failed_count: u64,
}

/// Whether the history of this account is recorded.
///
/// # Errors
/// Failures of the store.
pub async fn is_recorded(context: &CellContext, account: &str) -> Result<bool> {
    let names = cell_property(context, NOT_RECORDED).await?;
    Ok(!names.is_some_and(|names| names.split(',').any(|name| name.trim() == account)))
}

/// Returns the history as it is stored; an empty one if there is none.
///
/// # Errors
/// Failures of the store.
pub async fn find(records: &Records, account_id: &str) -> Result<LoginHistory> {
    let found = records.find(&keys::login_history(account_id)).await?;
    Ok(found.map(|v| v.value).unwrap_or_default())
}

/// Adds a login to a batch. Returns the history before it.
///
/// # Errors
/// Failures of the store.
pub async fn add_login(
    records: &Records,
    account_id: &str,
    now_ms: i64,
    batch: &mut Batch,
) -> Result<LoginHistory> {
    let new = |_| LoginHistory {
        last_authenticated: Some(now_ms),
        failed_count: 0,
    };
    add(records, account_id, batch, new).await
}

/// Adds a failed attempt to a batch.
///
/// # Errors
/// Failures of the store.
pub async fn add_failure(records: &Records, account_id: &str, batch: &mut Batch) -> Result<()> {
    let new = |old: LoginHistory| LoginHistory {
        failed_count: old.failed_count.saturating_add(1),
        ..old
    };
    add(records, account_id, batch, new).await.map(|_| ())
}

/// Adds the history of an account that is taken over from another unit to a batch.
///
/// # Errors
/// If the record cannot be encoded.
pub fn put(batch: &mut Batch, account_id: &str, history: &LoginHistory) -> Result<()> {
    records::put(batch, keys::login_history(account_id), history)
}

/// Adds the replacement of the history to a batch. Returns the one before.
async fn add(
    records: &Records,
    account_id: &str,
    batch: &mut Batch,
    new: impl Fn(LoginHistory) -> LoginHistory,
) -> Result<LoginHistory> {
    let key = keys::login_history(account_id);
    let found = records.find::<LoginHistory>(&key).await?;
    let old = found.as_ref().map(|v| v.value).unwrap_or_default();
    let read = found.map(|v| v.version);
    records::put_checked(batch, key, read, &new(old))?;
    Ok(old)
}
