//! The check of the nodes of a unit whose records are in a database.

use std::time::Duration;

use personium_model::records::Records;
use personium_model::server_node::{self, ListedNode, RENEWAL_INTERVAL, ServerNodeInfo};
use personium_types::Result;
use personium_types::time::iso_time;

use super::report::CheckReport;
use crate::system;

/// The name of the check.
const CHECK: &str = "node";

/// The time in which a node that runs renews its record.
const WATCH: Duration = RENEWAL_INTERVAL.saturating_mul(2);
const PAUSE: Duration = Duration::from_millis(200);

/// A node, and whether it runs.
pub(super) struct SeenNode {
    node: ListedNode,
    is_alive: bool,
}

/// Lists the nodes, and watches whether they renew their records. This takes some seconds if one does not.
///
/// # Errors
/// A failure of the store.
pub(super) async fn watch(unit: &Records) -> Result<Vec<SeenNode>> {
    let clock = system::clock();
    let start = clock.monotonic();
    let first = server_node::list(unit).await?;
    loop {
        let now = server_node::list(unit).await?;
        let is_unchanged = |node: &ListedNode| {
            let mut before = first.iter();
            before.any(|known| known.id == node.id && known.version == node.version)
        };
        let is_over = clock.monotonic().saturating_duration_since(start) >= WATCH;
        if is_over || !now.iter().any(is_unchanged) {
            let seen = now.into_iter().map(|node| SeenNode {
                is_alive: !is_unchanged(&node),
                node,
            });
            return Ok(seen.collect());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reports the nodes. `own` has the version of this program and the digests of these settings.
pub(super) fn check(report: &mut CheckReport, seen: &[SeenNode], own: &ServerNodeInfo) {
    if seen.is_empty() {
        report.ok(CHECK, "none runs");
    }
    for SeenNode { node, is_alive } in seen {
        let info = &node.info;
        let since = iso_time(info.started_at_ms);
        let shown = format!("{info}, started at {since} by its clock");
        if *is_alive {
            report.ok(CHECK, format!("{shown}, runs"));
        } else {
            report.warning(
                CHECK,
                format!("{shown}, does not renew its record: it is dead, stopped, or cannot reach the database"),
            );
        }
        if info.version != own.version {
            let (theirs, own) = (&info.version, &own.version);
            report.warning(
                CHECK,
                format!("{shown}, runs version {theirs}, and this is {own}"),
            );
        }
        // Without keys there are no digests to compare.
        let settings = match own.settings.is_empty() {
            true => Vec::new(),
            false => own.different_settings(info),
        };
        if !settings.is_empty() {
            let settings = settings.join(", ");
            report.warning(
                CHECK,
                format!(
                    "{shown}, has other settings than these, answers depend on the node: {settings}"
                ),
            );
        }
    }
}
