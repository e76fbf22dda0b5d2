//! Keys of other versions and implementations that have no effect here, and what to do instead.

/// Keys without the common prefix `io.personium.`; a final `*` stands for any ending.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    // Keys that no version reads any more.
    (
        "core.unitPath",
        "the unit is always at the root of its host",
    ),
    (
        "core.defaultBaseUrl",
        "use unitScheme, unitFqdn and unitPort",
    ),
    ("core.engine.enabled", "scripts need no switch"),
    ("core.es.cluster.name", STORE),
    ("core.es.ads.type", STORE),
    ("core.es.routingFlag", STORE),
    (
        "core.lock.accountlock.time",
        "use authn.account.lockCount and authn.account.lockTime",
    ),
    (
        "core.account.lastauthenticated.enabled",
        "the last login is always kept",
    ),
    (
        "core.thread.pool.num",
        "use the three thread.pool.num.* keys",
    ),
    (
        "core.event.log.current.dir",
        "event logs are kept with the records in data.dir",
    ),
    (
        "core.bar.progress.expireInSec",
        "how far an installation is stays with its box",
    ),
    ("core.bar.installfile.dir", "use bar.tmp.dir"),
    ("core.eventbus.activemq.*", IN_PROCESS),
    ("core.eventbus.kafka.*", IN_PROCESS),
    ("core.elasticsearch.hosts", STORE),
    ("core.elasticsearch.cluster", STORE),
    // Keys of parts that this program has no need of.
    ("core.es.*", STORE),
    ("es.*", STORE),
    (
        "core.lock.*",
        "no request waits for a lock; changes are checked against the version they were made for",
    ),
    ("core.cache.memcached.*", IN_PROCESS),
    ("core.engine.host", SCRIPTS),
    ("core.engine.port", SCRIPTS),
    ("core.engine.path", SCRIPTS),
    (
        "core.plugin.defaultClassname",
        "plugins are not Java classes here",
    ),
    (
        "core.binaryData.dav.*",
        "writing a file needs no repetition",
    ),
    (
        "core.binaryData.physical.delete.mode",
        "deleted files are always removed",
    ),
    (
        "core.odata.batch.sleep*",
        "a batch makes room for others by itself",
    ),
    ("core.plugin.path", PROVIDERS),
    ("core.oidc.google.trustedClientIds", PROVIDERS),
    // Keys of parts that this version does not have.
    (
        "core.engine.script.*",
        "this version keeps services and does not run them",
    ),
    ("core.cellSnapshot.*", "this version makes no snapshots"),
    (
        "core.thread.pool.num.io.cell",
        "this version makes no snapshots",
    ),
    ("core.rule.timerEvent.*", "this version has no timers"),
    ("core.cache.type", IN_PROCESS),
    ("core.cache.cell.enabled", CACHED),
    ("core.cache.box.enabled", CACHED),
    ("core.cache.schema.enabled", CACHED),
    ("core.version", "answers tell the version of the API"),
    ("core.eventbus.eventProcessing.*", IN_PROCESS),
    ("core.eventbus.mq", IN_PROCESS),
    ("core.eventbus.broker", IN_PROCESS),
    ("core.eventbus.queue", IN_PROCESS),
    ("core.eventbus.topic.*", IN_PROCESS),
    (
        "core.stream.*",
        "this version keeps stream collections and sends nothing through them",
    ),
];

const CACHED: &str = "what is read often is always cached";
const PROVIDERS: &str = "providers are built in: describe each by plugin.oidc.*";

/// Keys that have an effect, although others that begin like them have none.
const WITH_EFFECT: &[&str] = &["core.es.index.maxResultWindow"];

const STORE: &str = "records are kept in data.dir, not in a search engine";
const IN_PROCESS: &str = "short-lived state and events are kept in the process";
const SCRIPTS: &str = "there is no script engine outside of the process";

/// What an operator should know about a key that has no effect; `None` for other keys.
pub(super) fn instead(name: &str) -> Option<&'static str> {
    let name = name
        .strip_prefix("io.personium.")
        .filter(|name| !WITH_EFFECT.contains(name))?;
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    };
    WITHOUT_EFFECT
        .iter()
        .find(|(pattern, _)| matches(pattern))
        .map(|(_, instead)| *instead)
}
