//! The login history of an account: its last login, and the failed attempts since then.

use personium_store::Batch;
use personium_types::Result;
use serde::{Deserialize, Serialize};

use crate::CellContext;
use crate::cell_policy::cell_property;
use crate::keys;
use crate::records;

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
pub async fn find(context: &CellContext, account_id: &str) -> Result<LoginHistory> {
    let found = context
        .records()
        .find(&keys::login_history(account_id))
        .await?;
    Ok(found.map(|v| v.value).unwrap_or_default())
}

/// Records a login. Returns the history before it.
///
/// # Errors
/// Failures of the store.
pub async fn record_success(
    context: &CellContext,
    account_id: &str,
    now_ms: i64,
) -> Result<LoginHistory> {
    update(context, account_id, |_| LoginHistory {
        last_authenticated: Some(now_ms),
        failed_count: 0,
    })
    .await
}

/// Records a failed attempt.
///
/// # Errors
/// Failures of the store.
pub async fn record_failure(context: &CellContext, account_id: &str) -> Result<()> {
    update(context, account_id, |old| LoginHistory {
        failed_count: old.failed_count.saturating_add(1),
        ..old
    })
    .await
    .map(|_| ())
}

/// Replaces the history. Returns the one before.
async fn update(
    context: &CellContext,
    account_id: &str,
    new: impl Fn(LoginHistory) -> LoginHistory,
) -> Result<LoginHistory> {
    let key = keys::login_history(account_id);
    context
        .records()
        .transact(|| async {
            let found = context.records().find::<LoginHistory>(&key).await?;
            let old = found.as_ref().map(|v| v.value).unwrap_or_default();
            let mut batch = Batch::new();
            let read = found.map(|v| v.version);
            records::put_checked(&mut batch, key.clone(), read, &new(old))?;
            Ok((batch, old))
        })
        .await
}
