//! Replay detection for tokens that may be used only once.
//!
//! A consumed token is recorded until it would have expired anyway. Each use removes some older records. One use too many
//! revokes the token family: all tokens that descend from the same login or code, because one of the users has stolen a token.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use personium_store::{Batch, CommitSeq, Direction, Expect, Key};
use personium_token::local::LocalToken;
use personium_types::Result;
use serde::{Deserialize, Serialize};

use super::claims;
use crate::commit::Invalidation;
use crate::keys;
use crate::records;
use crate::settings::TokenReuse;
use crate::{CellContext, Unit};

const DAY_MS: i64 = 86_400_000;
/// The time for which a client can repeat the use of a refresh token, in milliseconds.
const RETRY_MS: i64 = 30_000;
/// The largest number of targets that one code is exchanged for.
const MAX_TARGETS: usize = 16;
/// The largest number of outdated records that one use removes.
const GC_BATCH: usize = 8;

/// The record of a consumed token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ConsumedToken {
    /// The time of its first use, milliseconds since 1970.
    #[serde(rename = "u")]
    first_used_ms: i64,
    /// The digest of the refresh token that replaced it, once that was used.
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    successor: Option<String>,
    /// The targets that a code was exchanged for; the empty one is this cell.
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    targets: Vec<String>,
}

impl ConsumedToken {
    fn at(now_ms: i64) -> Self {
        Self {
            first_used_ms: now_ms,
            successor: None,
            targets: Vec::new(),
        }
    }

    /// Reads a record. One without content is of a version that permitted no retries.
    fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self {
                successor: Some(String::new()),
                ..Self::at(0)
            });
        }
        records::decode(bytes)
    }

    /// Whether a refresh token can be used again: its successor has not been used, as if the client had not got it.
    fn permits_retry(&self, reuse: TokenReuse, now_ms: i64) -> bool {
        let age_ms = now_ms.saturating_sub(self.first_used_ms);
        reuse == TokenReuse::Retries && self.successor.is_none() && age_ms.abs() <= RETRY_MS
    }
}

/// The days under which a record of a token that is valid now, or of its family, can be: the clock of the node that stored it may
/// be up to a day off.
fn possible_days(today: u32) -> [u32; 4] {
    [
        today.saturating_sub(1),
        today,
        today.saturating_add(1),
        today.saturating_add(2),
    ]
}

/// The number of the day, counted from 1970, to which a time belongs.
fn day(ms: i64) -> u32 {
    u32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(0)
}

/// The digest that stands for a token in records and claims.
#[must_use]
pub(super) fn token_digest(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// The key of the record that revokes a family. All tokens of a revoked family expire within one day.
fn revoked(day: u32, family: &str) -> Key {
    keys::consumed_token(day, &format!("family/{family}"))
}

/// Whether the family of a token was revoked.
///
/// # Errors
/// Failures of the store.
pub(super) async fn is_family_revoked(
    unit: &Unit,
    context: &CellContext,
    token: &LocalToken,
) -> Result<bool> {
    let Some(family) = token.extra.get(claims::FAMILY) else {
        return Ok(false);
    };
    let cache_key = format!("valid-family/{family}");
    if context.get_cached::<()>(&cache_key).is_some() {
        return Ok(false);
    }
    let is_revoked = find_revocation(context, family, day(unit.now_ms())).await?;
    if !is_revoked {
        context.insert_cached(cache_key, ());
    }
    Ok(is_revoked)
}

async fn find_revocation(context: &CellContext, family: &str, today: u32) -> Result<bool> {
    let keys = possible_days(today).map(|at| revoked(at, family));
    let found = context.records().are_present(&keys).await?;
    Ok(found.contains(&true))
}

/// The outcome of a use.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    /// It is permitted.
    Permitted,
    /// It is refused.
    Refused,
    /// It is one too many: it is refused, and the family must be revoked.
    Revoking,
}

/// Consumes a refresh token. Returns whether this use of it is permitted.
///
/// # Errors
/// Failures of the store.
pub(super) async fn consume_refresh_token(
    unit: &Unit,
    context: &CellContext,
    text: &str,
    token: &LocalToken,
) -> Result<bool> {
    let now = unit.now_ms();
    let (today, own) = (day(now), token_digest(text));
    let consumed = keys::consumed_token(day(token.expires_at_ms()), &own);
    // A token that was issued while rotation was off has no family: it is a family of its own.
    let family = token.extra.get(claims::FAMILY).unwrap_or(&own);
    let reuse = unit.settings().auth.refresh_token_reuse;
    let outcome = context
        .records()
        .transact(|| async {
            let mut batch = Batch::new();
            if find_revocation(context, family, today).await? {
                return Ok((batch, Use::Refused));
            }
            let first = ConsumedToken::at(now);
            let is_permitted = match find(context, &consumed).await? {
                None => {
                    add(context, &mut batch, (&consumed, &first), today).await?;
                    true
                }
                Some((record, _)) => record.permits_retry(reuse, now),
            };
            let parent = token.extra.get(claims::PARENT);
            let is_successor = match parent {
                Some(parent) => succeed(context, &mut batch, parent, (&own, today)).await?,
                None => true,
            };
            if is_permitted && is_successor {
                return Ok((batch, Use::Permitted));
            }
            Ok((Batch::new(), Use::Revoking))
        })
        .await?;
    conclude(unit, context, family, outcome).await
}

/// Records that the successor of a refresh token is used. Returns `false` if another successor was used before.
async fn succeed(
    context: &CellContext,
    batch: &mut Batch,
    parent: &str,
    (own, today): (&str, u32),
) -> Result<bool> {
    let keys = possible_days(today).map(|at| keys::consumed_token(at, parent));
    let found = context.records().are_present(&keys).await?;
    for (key, _) in keys.into_iter().zip(found).filter(|(_, found)| *found) {
        let Some((mut record, version)) = find(context, &key).await? else {
            continue;
        };
        match &record.successor {
            Some(successor) if !successor.is_empty() && successor != own => return Ok(false),
            Some(_) => {}
            None => {
                record.successor = Some(own.to_owned());
                records::put_checked(batch, key, Some(version), &record)?;
            }
        }
    }
    Ok(true)
}

/// A use of an authorization code.
#[derive(Debug, Clone, Copy)]
pub(super) struct CodeUse<'a> {
    /// The code as it was sent.
    pub text: &'a str,
    /// The code.
    pub token: &'a LocalToken,
    /// The target of the tokens; `None` for this cell.
    pub target: Option<&'a str>,
    /// Whether the client has authenticated itself with a secret.
    pub has_secret: bool,
}

/// Consumes an authorization code. Returns whether this use of it is permitted.
///
/// # Errors
/// Failures of the store.
pub(super) async fn consume_code(
    unit: &Unit,
    context: &CellContext,
    code: CodeUse<'_>,
) -> Result<bool> {
    let reuse = unit.settings().auth.code_reuse;
    if reuse == TokenReuse::Always {
        return Ok(true);
    }
    let now = unit.now_ms();
    let (today, family) = (day(now), token_digest(code.text));
    let consumed = keys::consumed_token(day(code.token.expires_at_ms()), &family);
    let target = code.target.unwrap_or_default().to_owned();
    let outcome = context
        .records()
        .transact(|| async {
            let mut batch = Batch::new();
            if find_revocation(context, &family, today).await? {
                return Ok((batch, Use::Refused));
            }
            let Some((mut record, version)) = find(context, &consumed).await? else {
                let mut first = ConsumedToken::at(now);
                first.targets.push(target.clone());
                add(context, &mut batch, (&consumed, &first), today).await?;
                return Ok((batch, Use::Permitted));
            };
            let is_permitted = reuse == TokenReuse::Retries
                && code.has_secret
                && !record.targets.is_empty()
                && !record.targets.contains(&target)
                && record.targets.len() < MAX_TARGETS;
            if !is_permitted {
                return Ok((batch, Use::Revoking));
            }
            record.targets.push(target.clone());
            records::put_checked(&mut batch, consumed.clone(), Some(version), &record)?;
            Ok((batch, Use::Permitted))
        })
        .await?;
    conclude(unit, context, &family, outcome).await
}

/// Returns whether a use was permitted. Revokes the family if it was one too many.
async fn conclude(unit: &Unit, context: &CellContext, family: &str, outcome: Use) -> Result<bool> {
    if outcome == Use::Revoking {
        let key = revoked(day(unit.now_ms()).saturating_add(1), family);
        // The cell caches which families are valid.
        unit.transact(context, Invalidation::Cell, || async {
            let mut batch = Batch::new();
            batch.put(key.clone(), Vec::new());
            Ok((batch, ()))
        })
        .await?;
    }
    Ok(outcome == Use::Permitted)
}

async fn find(context: &CellContext, key: &Key) -> Result<Option<(ConsumedToken, CommitSeq)>> {
    let Some(version) = context.records().find_version(key).await? else {
        return Ok(None);
    };
    let found = context.records().find_bytes(key).await?;
    found
        .map(|bytes| Ok((ConsumedToken::read(&bytes)?, version)))
        .transpose()
}

/// Adds the record of a first use to the batch, and the removal of some outdated records.
async fn add(
    context: &CellContext,
    batch: &mut Batch,
    (key, record): (&Key, &ConsumedToken),
    today: u32,
) -> Result<()> {
    batch.assert(key.clone(), Expect::Absent);
    records::put(batch, key.clone(), record)?;
    // One day later than necessary, for nodes whose clocks are behind.
    let outdated = keys::consumed_tokens_before(today.saturating_sub(1));
    for key in context
        .records()
        .list_keys(&outdated, Direction::Up, GC_BATCH)
        .await?
    {
        batch.delete(key);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refresh_token_can_be_repeated_for_a_short_time_until_its_successor_is_used() {
        let used = ConsumedToken::at(100_000);
        let replaced = ConsumedToken {
            successor: Some("x".to_owned()),
            ..used.clone()
        };
        for (record, reuse, now_ms, permitted) in [
            (&used, TokenReuse::Retries, 100_000, true),
            (&used, TokenReuse::Retries, 100_000 + RETRY_MS, true),
            (&used, TokenReuse::Retries, 100_001 + RETRY_MS, false),
            (&used, TokenReuse::Retries, 99_999 - RETRY_MS, false),
            (&used, TokenReuse::Never, 100_000, false),
            (&replaced, TokenReuse::Retries, 100_000, false),
        ] {
            assert_eq!(
                record.permits_retry(reuse, now_ms),
                permitted,
                "{record:?} {now_ms}"
            );
        }
        let old = ConsumedToken::read(b"").unwrap();
        assert!(!old.permits_retry(TokenReuse::Retries, 0));
    }
}
