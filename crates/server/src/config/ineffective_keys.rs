//! Keys of other versions and implementations that have no effect, with an explanation for operators.

const RECORDS: &str = "records are stored in data.dir, not in a search engine";
const IN_PROCESS: &str = "the queue of events is in the records and in the memory of the process";
const SCRIPTS: &str = "scripts of services run in the process of the unit";
const SNAPSHOTS: &str = "snapshots of cells are stored with the file bodies, see blobStore.root";
const CACHED: &str = "cells, boxes and schemas are always cached";
const OIDC: &str = "OpenID Connect is built in: describe each provider with plugin.oidc.*";

/// Keys without the common prefix `io.personium.`, with an explanation each. A final `*` matches any suffix.
const INEFFECTIVE: &[(&str, &str)] = &[
    // Keys that no version reads any more.
    (
        "core.unitPath",
        "the unit is always at the root of its host",
    ),
    (
        "core.defaultBaseUrl",
        "use unitScheme, unitFqdn and unitPort",
    ),
    ("core.engine.enabled", SCRIPTS),
    ("core.es.cluster.name", RECORDS),
    ("core.es.ads.type", RECORDS),
    ("core.es.routingFlag", RECORDS),
    (
        "core.lock.accountlock.time",
        "use authn.account.lockCount and authn.account.lockTime",
    ),
    (
        "core.account.lastauthenticated.enabled",
        "the time of the last login is always stored",
    ),
    (
        "core.thread.pool.num",
        "use the three thread.pool.num.* keys",
    ),
    (
        "core.event.log.current.dir",
        "event logs are stored with the records in data.dir",
    ),
    (
        "core.bar.progress.expireInSec",
        "the progress of an installation is stored with its box",
    ),
    ("core.bar.installfile.dir", "use bar.tmp.dir"),
    (
        "core.store.postgres.startTimeoutInSec",
        "use server.start.waitInSec, the time for all layers",
    ),
    ("core.eventbus.activemq.*", IN_PROCESS),
    ("core.eventbus.kafka.*", IN_PROCESS),
    ("core.elasticsearch.hosts", RECORDS),
    ("core.elasticsearch.cluster", RECORDS),
    // Keys of components that this implementation does not need.
    ("core.es.*", RECORDS),
    ("es.*", RECORDS),
    (
        "core.lock.*",
        "there are no locks: a commit asserts the versions that it is based on",
    ),
    ("core.engine.host", SCRIPTS),
    ("core.engine.port", SCRIPTS),
    ("core.engine.path", SCRIPTS),
    (
        "core.engine.script.cache.maxNum",
        "scripts are compiled when they run",
    ),
    ("core.plugin.defaultClassname", OIDC),
    ("core.binaryData.dav.*", "file operations are not retried"),
    (
        "core.binaryData.physical.delete.mode",
        "deleted files are always removed",
    ),
    (
        "core.odata.batch.sleep*",
        "a batch yields to other requests by itself",
    ),
    ("core.oidc.google.trustedClientIds", OIDC),
    // Keys of features that this version does not have.
    ("core.cellSnapshot.*", SNAPSHOTS),
    (
        "core.thread.pool.num.io.cell",
        "exports and imports of cells have no threads of their own",
    ),
    ("core.cache.cell.enabled", CACHED),
    ("core.cache.box.enabled", CACHED),
    ("core.cache.schema.enabled", CACHED),
    ("core.version", "responses name the version of the API"),
    ("core.eventbus.eventProcessing.*", IN_PROCESS),
    ("core.eventbus.queue", IN_PROCESS),
    ("core.eventbus.topic.rule", IN_PROCESS),
];

/// Keys that have an effect, although a pattern of [`INEFFECTIVE`] matches them.
const EXCEPTIONS: &[&str] = &["core.es.index.maxResultWindow"];

/// Returns the keys without effect, without the common prefix `io.personium.`, each with its explanation. A final `*` stands
/// for any suffix.
pub fn retired_keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    INEFFECTIVE.iter().copied()
}

/// Returns the explanation for a key without effect; `None` for other keys.
#[must_use]
pub fn explanation(name: &str) -> Option<&'static str> {
    let name = name
        .strip_prefix("io.personium.")
        .filter(|name| !EXCEPTIONS.contains(name))?;
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => name == pattern,
    };
    INEFFECTIVE
        .iter()
        .find(|(pattern, _)| matches(pattern))
        .map(|(_, explanation)| *explanation)
}
