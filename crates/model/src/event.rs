//! Events of a cell, the rules that match them, the event log, and the outbox of requests.
//!
//! A posted event is compared with the rules that exist then. Its effects are one batch: lines of the log, and an outbox
//! entry for each request of a rule. So a crash loses nothing of an acknowledged event. The requests are sent afterwards, at
//! least once, for each rule in the order of events. Events of the unit itself are part of the batch that they report.

mod cause;
mod chain;
mod consequences;
pub mod dead_letter;
pub mod feed;
pub mod log;
pub mod outbox;
pub(crate) mod outbox_owner;
pub mod pending;
pub mod published;
mod record;
mod resending;
pub mod rule;
mod rule_request;
pub mod rule_state;
pub mod timer;
pub mod waiting_counts;

use personium_store::Batch;
use personium_types::{Error, Operation, Result};

pub use self::cause::EventCause;
pub use self::chain::{ChainHeaders, RULE_CHAIN, RULE_CHAIN_PROOF, RuleChain};
use self::consequences::{Consequences, FullOutbox};
pub use self::record::{EVENT_ID, Event, MAX_TEXT_UTF16_UNITS, VIA};
pub use self::resending::send_again;
use self::rule::RuleSet;
use crate::records::Records;
use crate::{CellContext, Permit, PermitTarget, PostCommit, PostedEvent, Unit};

/// The number of events that are stored in one commit, and that of the rules that they match, from which on it ends.
const EVENTS_PER_COMMIT: usize = 50;
const MATCHES_PER_COMMIT: usize = 200;

/// Posts an event to the rules of a cell. When this returns, their log lines and outbox entries are stored.
///
/// # Errors
/// [`Code::ServerBusy`](personium_types::Code::ServerBusy) if the outbox of the cell is full: then nothing of the event is
/// stored. A failure of the store. An internal error if the permit is not for events of this cell.
pub async fn post(unit: &Unit, context: &CellContext, permit: &Permit, event: Event) -> Result<()> {
    let target = PermitTarget::Cell(context.cell().id);
    permit.check(Operation::PostEvent, &target)?;
    let rules = rule::load(unit, context).await?;
    let matching = rules.matching(&event, unit.settings().events.hops_max);
    let is_fed = context.is_fed().await?;
    let is_published = unit.settings().events.published_max.is_some();
    if matching.is_empty() && !is_fed && !is_published {
        return Ok(());
    }
    store_posted(unit, context, &rules, &[event]).await
}

/// Posts events to the rules of a cell, as [`post`] does each of them, with few commits. Returns the refusals.
///
/// # Errors
/// An internal error if the permit is not for events of this cell; a failure of the store while the rules are read.
pub async fn post_all(
    unit: &Unit,
    context: &CellContext,
    permit: &Permit,
    events: Vec<Event>,
) -> Result<Vec<Error>> {
    let target = PermitTarget::Cell(context.cell().id);
    permit.check(Operation::PostEvent, &target)?;
    let rules = rule::load(unit, context).await?;
    let hops_max = unit.settings().events.hops_max;
    let is_heard = context.is_fed().await? || unit.settings().events.published_max.is_some();
    let mut refusals = Vec::new();
    let (mut wanted, mut matching) = (Vec::new(), 0);
    for event in events {
        let count = rules.matching(&event, hops_max).len();
        if count > 0 || is_heard {
            wanted.push(event);
            matching += count;
        }
        if wanted.len() >= EVENTS_PER_COMMIT || matching >= MATCHES_PER_COMMIT {
            store_each(unit, context, &rules, &wanted, &mut refusals).await;
            (wanted, matching) = (Vec::new(), 0);
        }
    }
    store_each(unit, context, &rules, &wanted, &mut refusals).await;
    Ok(refusals)
}

/// Stores the consequences of events, together if possible. Those that are refused are left out.
async fn store_each(
    unit: &Unit,
    context: &CellContext,
    rules: &RuleSet,
    events: &[Event],
    refusals: &mut Vec<Error>,
) {
    match store_posted(unit, context, rules, events).await {
        Ok(()) => {}
        Err(refusal) if events.len() == 1 => refusals.push(refusal),
        // One of them may be why.
        Err(_) => {
            for event in events.chunks(1) {
                refusals.extend(store_posted(unit, context, rules, event).await.err());
            }
        }
    }
}

/// Stores the consequences of events that somebody listens to, in one commit.
async fn store_posted(
    unit: &Unit,
    context: &CellContext,
    rules: &RuleSet,
    events: &[Event],
) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let records = context.records();
    let hops_max = unit.settings().events.hops_max;
    let is_fed = context.is_fed().await?;
    let is_published = unit.settings().events.published_max.is_some();
    let cell_url = unit.urls().cell(&context.cell().name);
    let events: Vec<_> = events
        .iter()
        .map(|event| {
            let matching = rules.matching(event, hops_max);
            (event.to_external(&cell_url, unit.random()), matching)
        })
        .collect();
    let log_is_full = unit
        .transact_with(records, || async {
            let mut batch = Batch::new();
            let mut consequences = Consequences::new(unit, context, records);
            for (event, matching) in &events {
                consequences.apply(event, matching)?;
                if is_published {
                    consequences.publish(event)?;
                }
            }
            let (mut post_commit, log_is_full) =
                consequences.add_to(&mut batch, FullOutbox::Refuse).await?;
            if is_fed {
                for (event, _) in &events {
                    post_commit = post_commit.and(feed::add(unit, context, &mut batch, event)?);
                }
            }
            Ok((batch, post_commit, log_is_full))
        })
        .await?;
    if log_is_full {
        log::archive_in_background(unit, context);
    }
    Ok(())
}

/// The place that internal events of one cause are posted from.
#[derive(Clone, Copy)]
pub struct EventSource<'a> {
    /// The unit.
    pub unit: &'a Unit,
    /// The cell.
    pub context: &'a CellContext,
    /// The records that the batch is for: those of the cell, or staged ones over them.
    pub records: &'a Records,
    /// The cause.
    pub cause: &'a EventCause,
}

impl EventSource<'_> {
    /// Adds to a batch of the cell the consequences of internal events that it causes. Returns the post-commit actions. A full
    /// outbox does not refuse the batch; the requests are skipped then.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn add(&self, batch: &mut Batch, events: Vec<PostedEvent>) -> Result<PostCommit> {
        let Self { unit, context, .. } = *self;
        let hops_max = unit.settings().events.hops_max;
        let cell_url = unit.urls().cell(&context.cell().name);
        let mut consequences = Consequences::new(unit, context, self.records);
        let mut fed = PostCommit::none();
        for posted in events {
            let event = self.cause.complete(posted);
            let matching = self.cause.matching(&event, hops_max);
            let is_published = self.cause.publishes(&event);
            if matching.is_empty() && !self.cause.is_fed() && !is_published {
                continue;
            }
            let event = self.cause.acting(event);
            let event = event.to_external(&cell_url, unit.random());
            consequences.apply(&event, &matching)?;
            if is_published {
                consequences.publish(&event)?;
            }
            if self.cause.is_fed() {
                fed = fed.and(feed::add(unit, context, batch, &event)?);
            }
        }
        let (post_commit, log_is_full) =
            consequences.add_to(batch, FullOutbox::SkipRequests).await?;
        if log_is_full {
            // If this is before the commit, the next line tries again.
            log::archive_in_background(unit, context);
        }
        Ok(post_commit.and(fed))
    }

    /// Posts an internal event that no change of the cell comes with, in a batch of its own.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn post(&self, event: PostedEvent) -> Result<()> {
        let Self {
            unit,
            records,
            cause,
            ..
        } = *self;
        let complete = cause.complete(event.clone());
        let hops_max = unit.settings().events.hops_max;
        let is_heard = cause.is_fed() || cause.publishes(&complete);
        if !is_heard && cause.matching(&complete, hops_max).is_empty() {
            return Ok(());
        }
        unit.transact_with(records, || async {
            let mut batch = Batch::new();
            let post_commit = self.add(&mut batch, vec![event.clone()]).await?;
            Ok((batch, post_commit, ()))
        })
        .await
    }
}
