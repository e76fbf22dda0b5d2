//! The consequences of events, which are part of one batch: lines of the log, hit counts, and requests of rules.

use std::collections::HashMap;
use std::sync::Arc;

use personium_store::{Batch, Key};
use personium_types::{Code, Result};

use super::dead_letter::{self, DeadLetter};
use super::log;
use super::outbox;
use super::outbox_owner::OutboxState;
use super::published;
use super::record::Event;
use super::rule::{EventRule, RuleAction};
use super::rule_request::stored::StoredOutboxEntry;
use super::rule_request::{Attempts, OutboxEntry};
use crate::outbox_queue::OutboxPartition;
use crate::records::{self, Records};
use crate::{CellContext, PostCommit, Unit, keys};

/// The limit on the bytes of log lines and requests of the events of one batch. When it is exceeded, the remaining rules are
/// skipped.
const OUTPUT_MAX_BYTES: usize = 8 << 20;
/// The largest number of requests in the outbox of a cell.
const OUTBOX_MAX: i64 = 10_000;
/// The outcome of a request that the outbox has no room for, as it is shown.
const OUTBOX_FULL: &str = "outbox full";

/// The treatment of an event whose requests the outbox has no room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FullOutbox {
    /// It is refused.
    Refuse,
    /// It is posted without its requests: the change that it reports must not depend on them.
    SkipRequests,
}

/// The consequences of the events of one batch, while they are collected.
pub(super) struct Consequences<'a> {
    unit: &'a Unit,
    context: &'a CellContext,
    /// The records that the batch is for: those of the cell, or staged ones over them.
    records: &'a Records,
    lines: Vec<String>,
    /// The requests, each with its rule.
    requests: Vec<(String, Vec<u8>)>,
    /// The events that are to be published.
    published: Vec<Vec<u8>>,
    hits: Vec<String>,
    output_bytes: usize,
}

impl<'a> Consequences<'a> {
    pub(super) fn new(unit: &'a Unit, context: &'a CellContext, records: &'a Records) -> Self {
        Self {
            unit,
            context,
            records,
            lines: Vec::new(),
            requests: Vec::new(),
            published: Vec::new(),
            hits: Vec::new(),
            output_bytes: 0,
        }
    }

    /// Adds what the rules do that an event matches. `event` is in the form that logs and requests show.
    pub(super) fn apply(&mut self, event: &Event, matching: &[Arc<EventRule>]) -> Result<()> {
        let at = self.unit.now_ms();
        let mut logged = None;
        for (index, rule) in matching.iter().enumerate() {
            if self.output_bytes > OUTPUT_MAX_BYTES {
                let skipped = matching.len() - index;
                tracing::warn!(
                    cell.id = %self.context.cell().id,
                    rules.skipped = skipped,
                    "events exceeded the output limit, rules skipped"
                );
                break;
            }
            match rule.action {
                RuleAction::Log(level) => {
                    let event =
                        logged.get_or_insert_with(|| log::with_request_key(self.unit, event));
                    let line = log::line(event, level, at);
                    self.output_bytes += line.len();
                    self.lines.push(line);
                }
                RuleAction::Send(kind) => {
                    let entry = OutboxEntry {
                        event: event.clone(),
                        kind,
                        target: rule.target.clone().unwrap_or_default(),
                        at_ms: at,
                        attempts: Attempts::default(),
                    };
                    self.add_request(rule.id.clone(), &entry)?;
                }
            }
            self.hits.push(rule.id.clone());
        }
        Ok(())
    }

    /// Adds an event that is to be published to other systems.
    pub(super) fn publish(&mut self, event: &Event) -> Result<()> {
        let record = published::encode(event, self.unit.now_ms())?;
        self.published.push(record);
        Ok(())
    }

    /// Adds a request of a rule.
    pub(super) fn add_request(&mut self, rule: String, entry: &OutboxEntry) -> Result<()> {
        let record = entry.encode()?;
        self.output_bytes += record.len();
        self.requests.push((rule, record));
        Ok(())
    }

    /// Adds everything to a batch. Returns the post-commit actions, and whether the log is full after it.
    ///
    /// # Errors
    /// [`Code::ServerBusy`] if the outbox is full and the event is to be refused then; a failure of the store.
    pub(super) async fn add_to(
        mut self,
        batch: &mut Batch,
        full_outbox: FullOutbox,
    ) -> Result<(PostCommit, bool)> {
        for rule in std::mem::take(&mut self.hits) {
            batch.add(keys::rule_hits(&rule), 1);
        }
        let post_commit = self.add_requests(batch, full_outbox).await?;
        let lines = std::mem::take(&mut self.lines);
        let log_is_full = log::append(self.unit, self.records, batch, lines).await?;
        Ok((post_commit, log_is_full))
    }

    /// Adds the requests, and what comes with them.
    async fn add_requests(
        &mut self,
        batch: &mut Batch,
        full_outbox: FullOutbox,
    ) -> Result<PostCommit> {
        let mut requests = std::mem::take(&mut self.requests);
        let mut post_commit = PostCommit::none();
        if requests.is_empty() && self.published.is_empty() {
            return Ok(post_commit);
        }
        let cell = self.context.cell().id;
        let state = OutboxState::read(self.records).await?;
        let count = i64::try_from(requests.len()).unwrap_or(i64::MAX);
        if count > 0 && state.waiting.saturating_add(count) > OUTBOX_MAX {
            if full_outbox == FullOutbox::Refuse {
                return Err(Code::ServerBusy.into());
            }
            tracing::warn!(
                cell.id = %cell,
                requests.skipped = count,
                "outbox is full, requests of rules skipped"
            );
            self.set_aside(batch, std::mem::take(&mut requests)).await?;
        }
        let is_published = self.add_published(batch).await?;
        if requests.is_empty() && !is_published {
            return Ok(post_commit);
        }
        if !requests.is_empty() {
            batch.add(keys::outbox_count(), count);
        }
        let owner = state.add_owner(self.unit, &cell, batch).await?;
        if let Some(mark) = &owner.mark {
            post_commit = post_commit.with_mark(mark);
        }
        let mut last: HashMap<String, Key> = HashMap::new();
        for (rule, record) in requests {
            let found = outbox::next_key(self.unit, self.records, &rule).await?;
            let key = match last.get(&rule) {
                Some(last) if *last >= found => successor(&rule, last).unwrap_or(found),
                _ => found,
            };
            batch.put(key.clone(), record);
            last.insert(rule, key);
        }
        // Another owner finds them by itself.
        if self.unit.node_id() == Some(owner.node) {
            post_commit = post_commit.own_outbox(cell, owner.node);
            for rule in last.into_keys() {
                post_commit = post_commit.enqueue(OutboxPartition { cell, rule });
            }
            if is_published {
                post_commit = post_commit.enqueue(OutboxPartition::of_published(cell));
            }
        }
        Ok(post_commit)
    }

    /// Adds requests that the outbox has no room for to those that were given up, if there is room: the change must not depend on them,
    /// so none is removed for them.
    async fn set_aside(&self, batch: &mut Batch, requests: Vec<(String, Vec<u8>)>) -> Result<()> {
        let count = requests.len() as u64;
        self.unit.outbox().totals().note_skipped_requests(count);
        let given_up_ms = self.unit.now_ms();
        let mut letters = Vec::new();
        for (rule, record) in requests {
            letters.push(DeadLetter {
                rule,
                entry: records::decode::<StoredOutboxEntry>(&record)?.into(),
                outcome: OUTBOX_FULL.to_owned(),
                given_up_ms,
            });
        }
        dead_letter::add_if_possible(self.unit, self.records, batch, letters).await
    }

    /// Adds the events that are to be published. If too many wait, they are lost. Returns whether some were added.
    async fn add_published(&mut self, batch: &mut Batch) -> Result<bool> {
        let published = std::mem::take(&mut self.published);
        let Some(max) = self.unit.settings().events.published_max else {
            return Ok(false);
        };
        if published.is_empty() {
            return Ok(false);
        }
        let waiting = published::count(self.records).await?;
        let count = published.len() as u64;
        if waiting.saturating_add(count) > max {
            if self.unit.event_bus().note_lost(count) {
                tracing::warn!(
                    cell.id = %self.context.cell().id,
                    events.waiting = waiting,
                    "too many events wait to be published, further ones are lost"
                );
            }
            return Ok(false);
        }
        batch.add(
            keys::published_count(),
            i64::try_from(count).unwrap_or(i64::MAX),
        );
        for record in published {
            batch.put_sequenced(keys::published_events_prefix(), record);
        }
        Ok(true)
    }
}

/// The key after another one of the same rule.
fn successor(rule: &str, last: &Key) -> Option<Key> {
    let id = keys::event_id_of_outbox_entry(last)?;
    Some(keys::outbox_entry(rule, &keys::successor_of_event_id(&id)))
}
