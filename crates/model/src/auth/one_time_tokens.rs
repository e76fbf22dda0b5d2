//! Replay detection for tokens that may be used only once.
//!
//! A consumed token is recorded until it would have expired anyway. Each use removes some older records.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use personium_store::{Batch, Direction, Expect, Key};
use personium_token::local::LocalToken;
use personium_types::Result;

use super::claims;
use crate::keys;
use crate::{CellContext, Unit};

const DAY_MS: i64 = 86_400_000;
/// The largest number of outdated records that one use removes.
const GC_BATCH: usize = 8;

/// The number of the day, counted from 1970, to which a time belongs.
fn day(ms: i64) -> u32 {
    u32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(0)
}

fn token_digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// Consumes a refresh token. Returns `true` for its first use. A second use revokes its token family, all refresh
/// tokens that descend from the same login: one of the two users has stolen the token.
///
/// # Errors
/// Failures of the store.
pub async fn consume_refresh_token(
    unit: &Unit,
    context: &CellContext,
    text: &str,
    token: &LocalToken,
) -> Result<bool> {
    let now = unit.now_ms();
    let consumed = keys::consumed_token(day(token.expires_at_ms()), &token_digest(text));
    // A token that was issued while rotation was off has no family: it is a family of its own.
    let family = token.extra.get(claims::FAMILY).cloned();
    let family = family.unwrap_or_else(|| token_digest(text));
    // All tokens of a revoked family expire within one day.
    let revoked = |day: u32| keys::consumed_token(day, &format!("family/{family}"));
    let today = day(now);
    context
        .records()
        .transact(|| async {
            let mut batch = Batch::new();
            for at in [today, today + 1] {
                if context.records().find_bytes(&revoked(at)).await?.is_some() {
                    return Ok((batch, false));
                }
            }
            let is_first = consume(context, &consumed, today, &mut batch).await?;
            if !is_first {
                batch.put(revoked(today + 1), Vec::new());
            }
            Ok((batch, is_first))
        })
        .await
}

/// Consumes an authorization code. Returns `true` for its first use.
///
/// # Errors
/// Failures of the store.
pub async fn consume_code(
    unit: &Unit,
    context: &CellContext,
    text: &str,
    token: &LocalToken,
) -> Result<bool> {
    let today = day(unit.now_ms());
    let consumed = keys::consumed_token(day(token.expires_at_ms()), &token_digest(text));
    context
        .records()
        .transact(|| async {
            let mut batch = Batch::new();
            let is_first = consume(context, &consumed, today, &mut batch).await?;
            Ok((batch, is_first))
        })
        .await
}

/// Adds the first use of a token to the batch, and the removal of some outdated records. Returns `false` if the token
/// was consumed before.
async fn consume(
    context: &CellContext,
    consumed: &Key,
    today: u32,
    batch: &mut Batch,
) -> Result<bool> {
    if context.records().find_bytes(consumed).await?.is_some() {
        return Ok(false);
    }
    batch.assert(consumed.clone(), Expect::Absent);
    batch.put(consumed.clone(), Vec::new());
    let outdated = keys::consumed_tokens_before(today);
    for key in context
        .records()
        .list_keys(&outdated, Direction::Up, GC_BATCH)
        .await?
    {
        batch.delete(key);
    }
    Ok(true)
}
