//! What happens in a cell: events, the rules that listen to them, the event log, and what rules are still to do.
//!
//! An event is judged when it is posted, by the rules in force then. What it sets off is one batch: lines of the log,
//! and a record for each request that a rule wants to be sent. So nothing of an event that was acknowledged is lost in a
//! crash. The requests are sent afterwards, at least once, in the order of events for each rule.

pub mod log;
mod monotonic_ids;
pub mod outbox;
pub mod outbox_queue;
pub mod rule;

use std::sync::Arc;

use personium_store::Batch;
use personium_types::{Code, Operation, Random, Result};
use serde::{Deserialize, Serialize};

pub(crate) use self::monotonic_ids::MonotonicIds;
use self::outbox::OutboxEntry;
use self::outbox_queue::OutboxPartition;
use self::rule::{Rule, RuleAction};
use crate::url::LOCAL_CELL;
use crate::{CellContext, Permit, PermitTarget, PostCommit, Unit, keys};

/// The header with the id of the first event of a chain.
pub const EVENT_ID: &str = "x-personium-eventid";
/// The header with the number of rules that led to an event.
pub const RULE_CHAIN: &str = "x-personium-rulechain";
/// The header with the cells that relayed an event.
pub const VIA: &str = "x-personium-via";
/// UTF-16 units that a text of an event from outside may have.
pub const TEXT_MAX: usize = 51_200;
/// Bytes of log lines and requests that one event may set off. Rules beyond that are passed over, which goes to the log
/// of the server.
const SET_OFF_MAX: usize = 8 << 20;
/// Requests that the rules of a cell may have waiting to be sent.
const WAITING_MAX: i64 = 10_000;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Whether somebody posted it, rather than the unit itself.
    #[serde(rename = "e")]
    pub external: bool,
    /// The app of whoever caused it; empty for a token without an app, `None` where there is no token of a cell.
    #[serde(rename = "s", default)]
    pub schema: Option<String>,
    /// The URL of who caused it.
    #[serde(rename = "u", default)]
    pub subject: Option<String>,
    /// The entity id of who caused it, for an account of this cell. The text of the subject proves nothing: other cells tell
    /// it too.
    #[serde(rename = "a", default)]
    pub account: Option<String>,
    /// What kind of thing happened.
    #[serde(rename = "t", default)]
    pub kind: Option<String>,
    /// The URL of what it happened to. Rules compare `personium-localcell:` URLs; everybody else sees `http(s)`.
    #[serde(rename = "o", default)]
    pub object: Option<String>,
    /// More about it.
    #[serde(rename = "i", default)]
    pub info: Option<String>,
    /// The key that follows the request through logs and events.
    #[serde(rename = "k", default)]
    pub request_key: Option<String>,
    /// The id of the first event of a chain; `None` for the first one.
    #[serde(rename = "n", default)]
    pub id: Option<String>,
    /// How many rules led to it. `None` if that was told in a way nobody understands: then no rule is looked at.
    #[serde(rename = "h", default)]
    pub hops: Option<u32>,
    /// The cells that relayed it, separated by commas.
    #[serde(rename = "v", default)]
    pub via: Option<String>,
    /// The entity ids of the roles that whoever caused it has in the cell.
    #[serde(rename = "r", default)]
    pub roles: Vec<String>,
}

impl Event {
    /// The event as everybody but rules sees it: the object as an `http(s)` URL, with an id.
    fn told(&self, cell_url: &str, random: &dyn Random) -> Self {
        let object = self.object.as_deref().map(|object| {
            object
                .strip_prefix(LOCAL_CELL)
                .and_then(|path| path.strip_prefix('/'))
                .map_or_else(|| object.to_owned(), |path| format!("{cell_url}{path}"))
        });
        let id = self
            .id
            .clone()
            .or_else(|| Some(monotonic_ids::random_text(random)));
        Self {
            object,
            id,
            ..self.clone()
        }
    }
}

/// Lets the rules of a cell hear of an event. When this returns, what they log is logged, and what they send will be sent.
///
/// # Errors
/// [`Code::ServerBusy`] if too many requests of rules of this cell wait already: then nothing of the event is kept. An
/// internal error if the permit is not for events of this cell.
pub async fn post(unit: &Unit, context: &CellContext, permit: &Permit, event: Event) -> Result<()> {
    let target = PermitTarget::Cell(context.cell().id);
    permit.check(Operation::PostEvent, &target)?;
    let rules = rule::in_force(unit, context).await?;
    let hit = rules.hit_by(&event, unit.settings().events.hops_max);
    if hit.is_empty() {
        return Ok(());
    }
    let event = event.told(&unit.urls().cell(&context.cell().name), unit.random());
    if hit
        .iter()
        .any(|rule| matches!(rule.doing, RuleAction::Send(_)))
    {
        unit.outbox().mark_pending(unit, context.cell()).await?;
    }
    let log_is_full = unit
        .transact_with(context.records(), || set_off(unit, context, &event, &hit))
        .await?;
    if log_is_full {
        log::roll_later(unit, context);
    }
    Ok(())
}

/// The batch of an event, with those to tell that a rule has something to send; whether the log is to be archived.
async fn set_off(
    unit: &Unit,
    context: &CellContext,
    event: &Event,
    hit: &[Arc<Rule>],
) -> Result<(Batch, PostCommit, bool)> {
    let mut batch = Batch::new();
    let (mut lines, mut post_commit, mut more) = (Vec::new(), PostCommit::none(), 0);
    let mut weight = 0;
    for (passed, rule) in hit.iter().enumerate() {
        match rule.doing {
            RuleAction::Log(level) => {
                let line = log::line(event, level, unit.now_ms());
                weight += line.len();
                lines.push(line);
            }
            RuleAction::Send(sending) => {
                let action = OutboxEntry {
                    event: event.clone(),
                    sending,
                    target: rule.target.clone().unwrap_or_default(),
                };
                let record = crate::records::encode(&action)?;
                weight += record.len();
                batch.put(keys::action(&rule.id, &unit.moment()), record);
                post_commit = post_commit.ring(OutboxPartition {
                    cell: context.cell().id,
                    rule: rule.id.clone(),
                });
                more += 1;
            }
        }
        batch.add(keys::rule_hits(&rule.id), 1);
        if weight > SET_OFF_MAX {
            let left = hit.len() - passed - 1;
            tracing::warn!(cell.name = %context.cell().name, "an event set off too much: {left} rules were passed over");
            break;
        }
    }
    if more > 0 {
        let waiting = context.records().counter(&outbox::waiting()).await?;
        if waiting.saturating_add(more) > WAITING_MAX {
            return Err(Code::ServerBusy.into());
        }
        batch.add(outbox::waiting(), more);
    }
    let full = log::append(unit, context.records(), &mut batch, lines).await?;
    Ok((batch, post_commit, full))
}
