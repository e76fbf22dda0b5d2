//! The chain of rules that led to an event, and the headers that carry it.
//!
//! Rules that cause the events of each other must end, also through other units, and nobody may gain anything by headers that he makes
//! up. So a unit believes the length that its own requests say, and else only what it has written itself: the request of each rule has a
//! proof for its cell that so many rules led to it, which every unit passes on. What other units count is passed on to them, and has
//! no effect here.

use personium_types::CellId;

use crate::Unit;

/// The header with the number of rules that led to an event, as the original has it.
pub const RULE_CHAIN: &str = "x-personium-rulechain";
/// The header with the number of rules that led to an event in this unit, and the proofs of cells: `2,1.20000.{proof},...`. A
/// proof has the number of rules, and the day since 1970 on which it was made.
pub const RULE_CHAIN_PROOF: &str = "x-personium-rulechainproof";

/// The largest number of proofs that are passed on. Older ones are left out.
const PROOFS_MAX: usize = 16;
/// The largest proof in bytes.
const PROOF_MAX_BYTES: usize = 80;
/// The length of a day in milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// The length of a day in seconds.
const DAY_SECS: u64 = 24 * 60 * 60;

/// The chain of rules that led to an event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleChain {
    /// The number of rules that certainly led to it.
    pub length: u32,
    /// The number of rules that other units count, which has no effect in this one.
    pub claimed: u32,
    /// The proofs of cells, the oldest first.
    pub proofs: Vec<String>,
}

/// The headers of a request about the chain.
#[derive(Debug, Clone, Copy)]
pub struct ChainHeaders<'a> {
    /// [`RULE_CHAIN`].
    pub number: Option<&'a str>,
    /// [`RULE_CHAIN_PROOF`].
    pub proofs: Option<&'a str>,
    /// Whether this unit sends the request itself.
    pub is_of_unit: bool,
}

impl RuleChain {
    /// A chain of so many rules of this unit.
    #[must_use]
    pub fn of_length(length: u32) -> Self {
        Self {
            length,
            ..Self::default()
        }
    }

    /// The chain that led to a request to a cell.
    #[must_use]
    pub fn received(unit: &Unit, cell: &CellId, headers: ChainHeaders<'_>) -> Self {
        let (own, proofs) = headers.proofs.map_or((0, Vec::new()), |text| {
            let (length, rest) = text.split_once(',').unwrap_or((text, ""));
            let length = length.trim().parse().ok();
            let length = length.filter(|_| headers.is_of_unit).unwrap_or(0);
            (length, read_proofs(rest))
        });
        let verified = proofs.iter().filter_map(|it| verified(unit, cell, it));
        Self {
            length: verified.fold(own, u32::max),
            claimed: headers.number.map_or(0, read_number),
            proofs,
        }
    }

    /// The chain after a rule of a cell.
    #[must_use]
    pub fn after_rule_of(&self, unit: &Unit, cell: &CellId) -> Self {
        let length = self.length.saturating_add(1);
        Self {
            length,
            claimed: self.claimed.saturating_add(1),
            proofs: self.proofs_with(unit, cell, length),
        }
    }

    /// The chain of a request of a cell that has waited, with a proof that is made now.
    #[must_use]
    pub fn renewed(&self, unit: &Unit, cell: &CellId) -> Self {
        match self.length {
            0 => self.clone(),
            length => Self {
                proofs: self.proofs_with(unit, cell, length),
                ..self.clone()
            },
        }
    }

    /// The proofs of other cells, and a new one of this cell in place of its own.
    fn proofs_with(&self, unit: &Unit, cell: &CellId, length: u32) -> Vec<String> {
        let is_of_other = |it: &&String| read_own(unit, cell, it).is_none();
        let mut proofs: Vec<_> = self.proofs.iter().filter(is_of_other).cloned().collect();
        proofs.drain(..(proofs.len() + 1).saturating_sub(PROOFS_MAX));
        proofs.push(prove(unit, cell, length));
        proofs
    }

    /// The headers that carry the chain; none before the first rule.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let number = self.claimed.max(self.length);
        if number == 0 && self.proofs.is_empty() {
            return Vec::new();
        }
        let mut proofs = self.length.to_string();
        for proof in &self.proofs {
            proofs.push(',');
            proofs.push_str(proof);
        }
        vec![(RULE_CHAIN, number.to_string()), (RULE_CHAIN_PROOF, proofs)]
    }
}

/// The number that another unit counts. A negative one is zero, as is one that is no number.
fn read_number(text: &str) -> u32 {
    let number = text.trim().parse::<i64>().unwrap_or_default();
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// The last proofs of a header, whosever they are.
fn read_proofs(text: &str) -> Vec<String> {
    let is_of_proof = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let found = text.rsplit(',').map(str::trim).take(PROOFS_MAX);
    let found = found
        .filter(|it| !it.is_empty() && it.len() <= PROOF_MAX_BYTES && it.bytes().all(is_of_proof));
    let mut out: Vec<_> = found.map(str::to_owned).collect();
    out.reverse();
    out
}

fn today(unit: &Unit) -> i64 {
    unit.now_ms().div_euclid(DAY_MS)
}

fn prove(unit: &Unit, cell: &CellId, length: u32) -> String {
    let text = format!("{length}.{}", today(unit));
    let keys = &unit.keys().local_tokens;
    let proof = keys.rule_chain_proof(&cell.to_string(), &text);
    format!("{text}.{proof}")
}

/// The number of rules that a proof shows, if this unit made it for the cell lately, or by a clock that is ahead.
fn verified(unit: &Unit, cell: &CellId, proof: &str) -> Option<u32> {
    let (length, day) = read_own(unit, cell, proof)?;
    let oldest = today(unit) - 1 - waiting_days(unit);
    (oldest..=today(unit) + 1).contains(&day).then_some(length)
}

/// The number of rules that a proof shows, and its day, if this unit made it for the cell.
fn read_own(unit: &Unit, cell: &CellId, proof: &str) -> Option<(u32, i64)> {
    let (text, tag) = proof.rsplit_once('.')?;
    let (length, day) = text.split_once('.')?;
    let read = (length.parse().ok()?, day.parse().ok()?);
    let keys = &unit.keys().local_tokens;
    keys.is_rule_chain_proof(&cell.to_string(), text, tag)
        .then_some(read)
}

/// The days for which a request with a proof may wait at another unit, whose settings are taken to be those of this one.
fn waiting_days(unit: &Unit) -> i64 {
    let events = &unit.settings().events;
    let waiting_secs = events.request_secs.max(events.delivery_secs);
    i64::try_from(waiting_secs.div_ceil(DAY_SECS)).unwrap_or(i64::MAX / 2)
}
