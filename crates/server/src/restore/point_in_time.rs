//! The times that back-ups lead to: a generation, and the journals since.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use personium_store::Space;
use personium_types::time::iso_time;
use personium_types::{BlobId, CellId};

use crate::backup::journal_pass::JournalPass;
use crate::backup::manifest::{Manifest, ended_ms, member};
use crate::backup::store::BackupStore;
use crate::backup::{BackupResult, Generation};

/// A time, and the way to it.
#[derive(Debug, Clone)]
pub(super) struct PointInTime {
    pub(super) at_ms: i64,
    /// The segments of the journal of each space since the generation, in their order.
    pub(super) segments: HashMap<Space, Vec<SegmentOnWay>>,
    /// The cells that the generation does not have.
    pub(super) new_cells: BTreeSet<CellId>,
    /// The number of cells, once it is known. Journals from which a cell was removed for good have another one.
    pub(super) cells: Option<i64>,
    /// The cells that were removed after their journals were read last, with the time of that.
    pub(super) gone: BTreeMap<CellId, i64>,
    /// The spaces whose journal does not go on, with the time until which it was read before.
    pub(super) gaps: HashMap<Space, i64>,
}

/// A segment of a journal on the way to a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentOnWay {
    pub(super) file: BlobId,
    /// Whether it can have something that was acknowledged before the time. Otherwise it has at most what was under way then.
    pub(super) is_needed: bool,
}

/// The content of a store of back-ups.
struct Content {
    generations: Vec<Generation>,
    passes: Vec<JournalPass>,
    wrong: Vec<String>,
}

impl Content {
    async fn read(store: &BackupStore) -> BackupResult<Self> {
        let (generations, mut wrong) = store.generations().await?;
        let (passes, wrong_passes) = store.passes().await?;
        wrong.extend(wrong_passes);
        Ok(Self {
            generations,
            passes,
            wrong,
        })
    }

    /// The passes that lead on from a generation without a gap between two of them.
    fn passes_after(&self, generation: &Generation) -> Vec<&JournalPass> {
        let stores = member(&generation.summary, "stores").as_str();
        let mut found: Vec<&JournalPass> = Vec::new();
        for pass in &self.passes {
            if *pass.name < *generation.name || pass.stores.as_deref() != stores {
                continue;
            }
            let goes_on = match found.last() {
                Some(last) => pass.after.as_deref() == Some(&*last.name),
                None => match &pass.after {
                    // One that is missing in between has commits that the generation has not.
                    Some(after) => **after < *generation.name,
                    None => pass.generation == generation.name,
                },
            };
            if !goes_on {
                break;
            }
            found.push(pass);
        }
        found
    }

    /// The spans of time that can be reached whole, in milliseconds.
    fn spans(&self) -> Vec<(i64, i64)> {
        let mut spans: Vec<(i64, i64)> = Vec::new();
        for generation in &self.generations {
            let Some(begin) = ended_ms(generation) else {
                continue;
            };
            let passes = self.passes_after(generation);
            let whole = passes.iter().take_while(|pass| pass.gaps == 0);
            let Some(end) = whole.last().map(|pass| pass.until_ms) else {
                continue;
            };
            match spans.last_mut() {
                Some(last) if begin <= last.1 => last.1 = last.1.max(end),
                _ if begin <= end => spans.push((begin, end)),
                _ => {}
            }
        }
        spans
    }
}

/// Returns the times that can be reached, for people. Empty if there is no journal.
///
/// # Errors
/// A text for the operator.
pub(super) async fn describe(store: &BackupStore) -> BackupResult<String> {
    let content = Content::read(store).await?;
    let lines = content
        .spans()
        .into_iter()
        .map(|(begin, end)| format!("Any time from {} to {}.\n", iso_time(begin), iso_time(end)));
    let wrong = content.wrong.iter().map(|text| format!("{text}\n"));
    Ok(lines.chain(wrong).collect())
}

/// Finds the generation and the journals that lead to a time. If the list of a generation is damaged, the journals lead there from an earlier
/// one. Returns its list too.
///
/// # Errors
/// A text for the operator if the time cannot be reached; it names those that can.
pub(super) async fn resolve(
    store: &BackupStore,
    at_ms: i64,
) -> BackupResult<(Generation, Manifest, PointInTime)> {
    let content = Content::read(store).await?;
    let has_ended = |found: &&Generation| ended_ms(found).is_some_and(|ended| ended <= at_ms);
    let mut damage = None;
    for generation in content.generations.iter().rev().filter(has_ended) {
        let passes = content.passes_after(generation);
        let until = passes.last().map(|pass| pass.until_ms);
        let until = until.or(ended_ms(generation));
        if until.is_none_or(|until| at_ms > until) {
            break;
        }
        match store.manifest(generation).await {
            Ok(manifest) => {
                let point = way(store, passes, at_ms).await?;
                return Ok((generation.clone(), manifest, point));
            }
            Err(error) => drop(damage.get_or_insert(error)),
        }
    }
    let unreachable = unreachable(&content, at_ms);
    Err(match damage {
        None => unreachable,
        Some(damage) => format!("{damage}; from the generations before it, {unreachable}"),
    })
}

/// The way to a time by these passes.
async fn way(
    store: &BackupStore,
    passes: Vec<&JournalPass>,
    at_ms: i64,
) -> BackupResult<PointInTime> {
    let mut point = PointInTime {
        at_ms,
        segments: HashMap::new(),
        new_cells: BTreeSet::new(),
        cells: None,
        gone: BTreeMap::new(),
        gaps: HashMap::new(),
    };
    let needed = passes.iter().rposition(|pass| pass.can_have(at_ms));
    let needed = needed.map_or(0, |last| last + 1);
    // The commits of the next one are those after it was begun, so all after this time, or under way then.
    for (number, pass) in passes.into_iter().enumerate().take(needed + 1) {
        let is_needed = number < needed;
        let list = match store.pass_list(pass).await {
            Ok(list) => list,
            Err(_) if !is_needed => break,
            Err(error) => return Err(error),
        };
        for segment in list.segments {
            let file = segment.file;
            let on_way = point.segments.entry(segment.space).or_default();
            on_way.push(SegmentOnWay { file, is_needed });
        }
        if !is_needed {
            break;
        }
        let begun_ms = pass.from_ms.min(pass.until_ms);
        for id in list.gone {
            point.gone.entry(id).or_insert(begun_ms);
        }
        for space in list.gaps {
            point.gaps.entry(space).or_insert(begun_ms);
        }
    }
    Ok(point)
}

fn unreachable(content: &Content, at_ms: i64) -> String {
    let spans = content.spans().into_iter();
    let spans = spans.map(|(begin, end)| format!("from {} to {}", iso_time(begin), iso_time(end)));
    let spans: Vec<String> = spans.collect();
    let reached = match spans.is_empty() {
        true => "there is no journal that goes on from a generation".to_owned(),
        false => format!("the back-ups lead to any time {}", spans.join(", ")),
    };
    let wrong: String = content
        .wrong
        .iter()
        .map(|text| format!("; {text}"))
        .collect();
    format!("{} cannot be reached: {reached}{wrong}", iso_time(at_ms))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn generation(name: &str, ended: i64) -> Generation {
        Generation {
            name: name.to_owned(),
            manifest: BlobId::from_bytes([1; 16]),
            summary: json!({"stores": "s", "ended": ended}),
        }
    }

    fn pass(name: &str, (from_ms, until_ms): (i64, i64), after: Option<&str>) -> JournalPass {
        JournalPass {
            name: name.to_owned(),
            list: BlobId::from_bytes([2; 16]),
            stores: Some("s".to_owned()),
            after: after.map(str::to_owned),
            generation: "10".to_owned(),
            from_ms,
            until_ms,
            gaps: 0,
        }
    }

    #[test]
    fn spans_end_where_a_pass_is_missing_and_go_on_over_generations() {
        let mut content = Content {
            generations: vec![generation("10", 11), generation("20", 22)],
            passes: vec![
                pass("12", (11, 12), None),
                pass("15", (12, 15), Some("12")),
                pass("23", (15, 23), Some("15")),
                pass("30", (23, 30), Some("23")),
            ],
            wrong: Vec::new(),
        };
        assert_eq!(content.spans(), [(11, 30)]);
        content.passes[2].gaps = 1;
        assert_eq!(content.spans(), [(11, 15)]);
        content.passes[2].gaps = 0;
        content.passes.remove(1);
        assert_eq!(content.spans(), [(11, 12), (22, 30)]);
        content.passes[0].stores = None;
        assert_eq!(content.spans(), [(22, 30)]);
        // The first pass after the generation is missing.
        content.passes.remove(1);
        assert_eq!(content.spans(), []);
    }
}
