//! Receipts of messages: which messages a cell has received, so that one that is delivered again is not stored again, also after it was
//! deleted.
//!
//! A receipt is kept for longer than any sender tries to deliver a message.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use personium_store::{Batch, Direction, Key};
use personium_types::Result;

use super::super::root::ServiceRoot;
use crate::keys;

const DAY_MS: i64 = 86_400_000;
/// The number of days for which a receipt is kept: one more than the longest time that settings permit for deliveries.
const KEPT_DAYS: u32 = 15;
/// The largest number of outdated records that one receipt removes.
const GC_BATCH: usize = 8;

/// The key of a receipt that is kept until this day is over.
fn key(until: u32, sender: &str, id: &str) -> Key {
    let digest = digest(&SHA256, format!("{sender} {id}").as_bytes());
    keys::consumed_token(
        until,
        &format!("message/{}", URL_SAFE_NO_PAD.encode(digest)),
    )
}

/// The number of the day, counted from 1970.
fn today(root: &ServiceRoot) -> u32 {
    u32::try_from(root.unit.now_ms().div_euclid(DAY_MS)).unwrap_or(0)
}

/// Adds to the batch of a message that its sender has delivered it, and removes some receipts that are outdated.
///
/// # Errors
/// A failure of the store.
pub(super) async fn add(
    root: &ServiceRoot,
    batch: &mut Batch,
    sender: &str,
    id: &str,
) -> Result<()> {
    let today = today(root);
    batch.put(key(today.saturating_add(KEPT_DAYS), sender, id), Vec::new());
    // The clocks of server nodes differ.
    let outdated = keys::consumed_tokens_before(today.saturating_sub(1));
    let outdated = root
        .records
        .list_keys(&outdated, Direction::Up, GC_BATCH)
        .await?;
    for key in outdated {
        batch.delete(key);
    }
    Ok(())
}

/// Whether a cell has received a message.
///
/// # Errors
/// A failure of the store.
pub(super) async fn exists(root: &ServiceRoot, sender: &str, id: &str) -> Result<bool> {
    let today = today(root);
    let days = today.saturating_sub(1)..=today.saturating_add(KEPT_DAYS + 1);
    let keys: Vec<Key> = days.map(|day| key(day, sender, id)).collect();
    Ok(root.records.are_present(&keys).await?.contains(&true))
}
