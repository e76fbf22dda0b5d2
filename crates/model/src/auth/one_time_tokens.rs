//! Tokens that are good for one use only.
//!
//! What was used is remembered until it would have expired anyway; what is older is removed along the way.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use personium_store::{Batch, Direction, Expect, Key};
use personium_token::local::LocalToken;
use personium_types::Result;

use super::issue::FAMILY_CLAIM;
use crate::keys;
use crate::{CellContext, Unit};

const DAY_MS: i64 = 86_400_000;
/// Old records that one use removes at most.
const GC_BATCH: usize = 8;

fn day(ms: i64) -> u32 {
    u32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(0)
}

fn token_digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// Uses up a refresh token; whether that was its first use. After a second use, no refresh token of the same login
/// counts any more: one of the two users has stolen it.
pub async fn consume_refresh_token(
    unit: &Unit,
    context: &CellContext,
    text: &str,
    token: &LocalToken,
) -> Result<bool> {
    let now = unit.now_ms();
    let used = keys::spent(day(token.expires_at()), &token_digest(text));
    // Tokens from before the setting was on are each a login of their own.
    let family = token.extra.get(FAMILY_CLAIM).cloned();
    let family = family.unwrap_or_else(|| token_digest(text));
    // Whatever came of the login expires within a day from when it ended.
    let ended = |day: u32| keys::spent(day, &format!("family/{family}"));
    let today = day(now);
    context
        .records()
        .transact(|| async {
            let mut batch = Batch::new();
            for at in [today, today + 1] {
                if context.records().find_bytes(&ended(at)).await?.is_some() {
                    return Ok((batch, false));
                }
            }
            let first = consume(context, &used, today, &mut batch).await?;
            if !first {
                batch.put(ended(today + 1), Vec::new());
            }
            Ok((batch, first))
        })
        .await
}

/// Uses up a code; whether that was its first use.
pub async fn consume_code(
    unit: &Unit,
    context: &CellContext,
    text: &str,
    token: &LocalToken,
) -> Result<bool> {
    let today = day(unit.now_ms());
    let used = keys::spent(day(token.expires_at()), &token_digest(text));
    context
        .records()
        .transact(|| async {
            let mut batch = Batch::new();
            let first = consume(context, &used, today, &mut batch).await?;
            Ok((batch, first))
        })
        .await
}

/// Adds the first use of a token to the batch, and the removal of some old ones; false if it was used before.
async fn consume(context: &CellContext, used: &Key, today: u32, batch: &mut Batch) -> Result<bool> {
    if context.records().find_bytes(used).await?.is_some() {
        return Ok(false);
    }
    batch.assert(used.clone(), Expect::Absent);
    batch.put(used.clone(), Vec::new());
    let old = keys::spent_before(today);
    for key in context
        .records()
        .list_keys(&old, Direction::Up, GC_BATCH)
        .await?
    {
        batch.delete(key);
    }
    Ok(true)
}
