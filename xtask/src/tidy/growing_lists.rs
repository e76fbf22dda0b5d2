//! Lists that may only grow.

use std::collections::BTreeSet;

use crate::workspace;

const PASSING: &str = "conformance/passing.txt";

/// Recorded tests that were on the list before and are not now.
pub(super) fn findings() -> Vec<String> {
    let Some(before) = workspace::text_before(PASSING) else {
        return Vec::new();
    };
    let now = std::fs::read_to_string(PASSING).unwrap_or_default();
    let now: BTreeSet<&str> = now.lines().map(str::trim).collect();
    before
        .lines()
        .map(str::trim)
        .filter(|name| !name.is_empty() && !now.contains(name))
        .map(|name| format!("{PASSING}: {name} was taken off the list"))
        .collect()
}
