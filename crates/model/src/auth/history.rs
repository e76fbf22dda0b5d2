//! When an account last logged in, and how often that failed since.

use personium_store::Batch;
use personium_types::Result;
use serde::{Deserialize, Serialize};

use crate::CellView;
use crate::keys;
use crate::records;

/// The dead property of a cell that lists accounts whose history is not kept.
const NOT_RECORDED: &str = "accountsnotrecordingauthhistory@urn:x-personium:xmlns";

/// The history of one account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
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
pub async fn is_recorded(view: &CellView, account: &str) -> Result<bool> {
    let node = view.cell_node().await?;
    let Some(element) = node.value.properties.get(NOT_RECORDED) else {
        return Ok(true);
    };
    Ok(!text_of(element)
        .split(',')
        .any(|name| name.trim() == account))
}

/// The text inside of a serialised element; account names need no escapes.
fn text_of(element: &str) -> &str {
    let Some(begin) = element.find('>') else {
        return element;
    };
    let inside = element.get(begin + 1..).unwrap_or_default();
    inside
        .rfind("</")
        .and_then(|end| inside.get(..end))
        .unwrap_or_default()
}

/// The history as it is now.
pub async fn find(view: &CellView, account_id: &str) -> Result<History> {
    let found = view.records().find(&key(account_id)).await?;
    Ok(found.map(|v| v.value).unwrap_or_default())
}

/// Records a login; the history before it.
pub async fn succeeded(view: &CellView, account_id: &str, now_ms: i64) -> Result<History> {
    change(view, account_id, |_| History {
        last_authenticated: Some(now_ms),
        failed_count: 0,
    })
    .await
}

/// Records a failed attempt.
pub async fn failed(view: &CellView, account_id: &str) -> Result<()> {
    change(view, account_id, |old| History {
        failed_count: old.failed_count.saturating_add(1),
        ..old
    })
    .await
    .map(|_| ())
}

async fn change(
    view: &CellView,
    account_id: &str,
    new: impl Fn(History) -> History,
) -> Result<History> {
    let key = key(account_id);
    view.records()
        .transact(|| async {
            let found = view.records().find::<History>(&key).await?;
            let old = found.as_ref().map(|v| v.value).unwrap_or_default();
            let mut batch = Batch::new();
            let read = found.map(|v| v.version);
            records::put_checked(&mut batch, key.clone(), read, &new(old))?;
            Ok((batch, old))
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::text_of;

    #[test]
    fn names_in_a_property() {
        assert_eq!(text_of("<p:a xmlns:p=\"u\">a1,b2</p:a>"), "a1,b2");
        assert_eq!(text_of("<p:a xmlns:p=\"u\"/>"), "");
        assert_eq!(text_of("a1"), "a1");
    }
}
