//! When an account last logged in, and how often that failed since.

use personium_store::Batch;
use personium_types::Result;
use serde::{Deserialize, Serialize};

use crate::CellContext;
use crate::cell::cell_property;
use crate::keys;
use crate::records;

/// The dead property of a cell that lists accounts whose history is not kept.
const NOT_RECORDED: &str = "accountsnotrecordingauthhistory";

/// The history of one account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginHistory {
    /// When it last logged in with its password, milliseconds since 1970; `None` if never.
    #[serde(rename = "l", default)]
    pub last_authenticated: Option<i64>,
    /// Failed attempts since.
    #[serde(rename = "f", default)]
    pub failed_count: u64,
}

fn key(account_id: &str) -> personium_store::Key {
    keys::single(&format!("login/{account_id}"))
}

/// The record of an account's history, to be deleted with the account.
#[must_use]
pub fn record_of(account_id: &str) -> personium_store::Key {
    key(account_id)
}

/// Whether the history of this account is kept.
pub async fn is_recorded(context: &CellContext, account: &str) -> Result<bool> {
    let names = cell_property(context, NOT_RECORDED).await?;
    Ok(!names.is_some_and(|names| names.split(',').any(|name| name.trim() == account)))
}

/// The history as it is now.
pub async fn find(context: &CellContext, account_id: &str) -> Result<LoginHistory> {
    let found = context.records().find(&key(account_id)).await?;
    Ok(found.map(|v| v.value).unwrap_or_default())
}

/// Records a login; the history before it.
pub async fn record_success(
    context: &CellContext,
    account_id: &str,
    now_ms: i64,
) -> Result<LoginHistory> {
    change(context, account_id, |_| LoginHistory {
        last_authenticated: Some(now_ms),
        failed_count: 0,
    })
    .await
}

/// Records a failed attempt.
pub async fn record_failure(context: &CellContext, account_id: &str) -> Result<()> {
    change(context, account_id, |old| LoginHistory {
        failed_count: old.failed_count.saturating_add(1),
        ..old
    })
    .await
    .map(|_| ())
}

async fn change(
    context: &CellContext,
    account_id: &str,
    new: impl Fn(LoginHistory) -> LoginHistory,
) -> Result<LoginHistory> {
    let key = key(account_id);
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
