//! The background tasks of a unit: they keep its server node registered, and work on what nobody works on.
//!
//! If the store is not shared, that is what the last run left, and it is looked for once. On a shared store it is also what server
//! nodes leave when they end or die; every server node looks for it every two seconds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use personium_api::ApiService;
use personium_model::Unit;
use personium_model::audit::{self, AuditRetention, NotedEntry};
use personium_model::server_node::{self, ServerNodeInfo};
use personium_types::error::chain;

use crate::system_user;

/// The time between two scans for orphaned file bodies.
const ORPHAN_SCAN_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// The time between two scans on a shared store: the second one removes what the first one found.
const SHARED_ORPHAN_SCAN_INTERVAL: Duration = Duration::from_secs(3600);

/// The age from which on a file body without a record is an orphan; a younger one may belong to an upload that is not committed
/// yet.
const ORPHAN_MIN_AGE: Duration = Duration::from_secs(3600);

/// The time between two looks for old entries of the audit log.
const AUDIT_INTERVAL: Duration = Duration::from_secs(3600);

/// The pause between two cells during a scan.
const ORPHAN_SCAN_PAUSE: Duration = Duration::from_millis(50);

/// The time between two looks for work that nobody works on.
const RESUME_INTERVAL: Duration = Duration::from_secs(2);

/// The properties of this process that operators and other nodes see. `settings` and `plugins` are digests.
pub(crate) fn node_info(
    address: SocketAddr,
    started_at_ms: i64,
    (settings, plugins): (BTreeMap<String, String>, BTreeMap<String, String>),
) -> ServerNodeInfo {
    ServerNodeInfo {
        host: system_user::host_name(),
        address: address.to_string(),
        version: crate::VERSION.to_owned(),
        started_at_ms,
        common: BTreeMap::new(),
        clock_ms: started_at_ms,
        settings,
        plugins: Some(plugins),
    }
}

/// Keeps this process registered, and removes server nodes that are dead.
pub(crate) async fn maintain_node(unit: Arc<Unit>) {
    server_node::maintain(&unit).await;
}

/// Goes on with the garbage collections that nobody works on.
pub(crate) async fn collect_garbage(unit: Arc<Unit>) {
    loop {
        let resumed = match unit.store().is_shared() {
            true => unit.take_over_garbage_collection().await,
            false => unit.resume_garbage_collection().await,
        };
        if let Err(error) = resumed {
            tracing::warn!(error = %chain(&error), "failed to resume garbage collection");
        }
        if !unit.store().is_shared() {
            return;
        }
        tokio::time::sleep(RESUME_INTERVAL).await;
    }
}

/// Counts what the cells store that an earlier version has filled, once.
pub(crate) async fn count_content(unit: Arc<Unit>) {
    if let Err(error) = unit.count_content().await {
        tracing::warn!(error = %chain(&error), "failed to count what the cells store, the next start will retry");
    }
}

/// Scans for orphaned file bodies from time to time.
pub(crate) async fn collect_orphans(unit: Arc<Unit>, first_scan: Duration) {
    tokio::time::sleep(first_scan).await;
    if unit.store().is_shared() {
        loop {
            scan_for_orphans(&unit, ORPHAN_MIN_AGE).await;
            tokio::time::sleep(SHARED_ORPHAN_SCAN_INTERVAL).await;
        }
    }
    // Bodies without a record that are older than this run belong to uploads that the last run did not finish.
    scan_for_orphans(&unit, first_scan).await;
    loop {
        tokio::time::sleep(ORPHAN_SCAN_INTERVAL).await;
        scan_for_orphans(&unit, ORPHAN_MIN_AGE).await;
    }
}

async fn scan_for_orphans(unit: &Unit, min_age: Duration) {
    let span = personium_trace::work("orphans.collect");
    let scanning = unit.collect_orphaned_blobs(ORPHAN_SCAN_PAUSE, min_age);
    let scanned = span.scope(scanning).await;
    if scanned.is_err() {
        span.fail("store");
    }
    match scanned {
        Ok(0) => {}
        Ok(removed) => tracing::info!(removed, "removed orphaned file bodies"),
        Err(error) => {
            tracing::warn!(error = %chain(&error), "failed to scan for orphaned file bodies");
        }
    }
}

/// Removes the entries of the audit log that are too old or too many, from time to time, and writes the number and the hash of the last
/// one to the log: whoever keeps them elsewhere can prove later that no entry before was changed.
pub(crate) async fn keep_audit_log(unit: Arc<Unit>, retention: AuditRetention) {
    let mut logged = None;
    loop {
        let span = personium_trace::work("audit.retain");
        let removed = span.scope(unit.remove_old_audit_entries(retention)).await;
        drop(span);
        match removed {
            Ok(0) => {}
            Ok(removed) => tracing::info!(removed, "removed old entries of the audit log"),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "failed to remove old entries of the audit log");
            }
        }
        match audit::last_entry(&unit.records()).await {
            Ok(last) if last != logged => {
                if let Some(NotedEntry { sequence, hash }) = &last {
                    tracing::info!(
                        audit.sequence = sequence,
                        audit.hash = hash,
                        "last entry of the audit log"
                    );
                }
                logged = last;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = %chain(&error), "failed to read the audit log"),
        }
        tokio::time::sleep(AUDIT_INTERVAL).await;
    }
}

/// Removes what installations have made that nobody works on.
pub(crate) async fn remove_unfinished_installations(unit: Arc<Unit>, service: ApiService) {
    loop {
        if let Err(error) = service.remove_unfinished_installations().await {
            tracing::warn!(error = %chain(&error), "failed to list unfinished installations");
        }
        if !unit.store().is_shared() {
            return;
        }
        tokio::time::sleep(RESUME_INTERVAL).await;
    }
}
