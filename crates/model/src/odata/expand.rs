//! The related entities that `$expand` includes.

use personium_types::{Code, Result};

use super::association::Association;
use super::fetch::{FETCH_BATCH, fetch};
use super::link_cursor::LinkCursor;
use super::load::Entity;
use super::page_collector::{SCAN_BATCH, memory_bytes, size_bytes};
use super::query_budget::QueryBudget;
use super::root::{ServiceRoot, SetRef};
use crate::answer_memory::AnswerReservation;

/// The related entities that a response includes.
#[derive(Debug, Clone, Copy)]
pub struct Expansion<'a> {
    /// The names of the navigation properties.
    pub navigations: &'a [String],
    /// The largest number of entities for each of them.
    pub max: usize,
}

/// Returns the entities that `$expand` includes for an entity, newest first. `memory` holds them.
///
/// # Errors
/// [`Code::QueryRefused`] if the entities of one property are too large for a response, or take too long; as
/// [`AnswerReservation::hold`]; failures of the store.
pub async fn expand(
    root: &ServiceRoot,
    set: &SetRef,
    source: &Entity,
    expansion: Expansion<'_>,
    memory: &mut AnswerReservation,
) -> Result<Vec<(Association, Vec<Entity>)>> {
    let Expansion { navigations, max } = expansion;
    let mut out = Vec::with_capacity(navigations.len());
    let mut budget = QueryBudget::for_query(root);
    let max_bytes = root.unit.settings().odata.response_max_bytes;
    for name in navigations {
        let Some(association) = root.association(set, name) else {
            continue;
        };
        let mut found = Vec::new();
        let mut bytes = 0;
        let mut held = 0;
        let mut batch = FETCH_BATCH;
        let mut cursor = LinkCursor::new(&association, source);
        loop {
            let ids = cursor.next(root, batch).await?;
            if ids.is_empty() {
                break;
            }
            budget.tick().await?;
            let fetched = fetch(root, &association.target.set, &ids, memory).await?;
            batch = fetched.next_batch();
            held += fetched.memory_bytes;
            bytes += size_bytes(&fetched.entities);
            found.extend(fetched.entities);
            if bytes > max_bytes || found.len() >= max.saturating_add(SCAN_BATCH) {
                keep_newest(&mut found, max);
                bytes = size_bytes(&found);
                let kept = memory_bytes(&found);
                memory.correct(held, kept);
                held = kept;
            }
            if bytes > max_bytes {
                return Err(Code::QueryRefused.into());
            }
        }
        if found.len() > max {
            keep_newest(&mut found, max);
            memory.correct(held, memory_bytes(&found));
        } else {
            keep_newest(&mut found, max);
        }
        out.push((association, found));
    }
    Ok(out)
}

fn keep_newest(entities: &mut Vec<Entity>, max: usize) {
    entities.sort_by_key(|entity| std::cmp::Reverse(entity.stored.published));
    entities.truncate(max);
}
