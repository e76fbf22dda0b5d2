//! The properties that all server nodes of a unit must have in common, and those that they should.
//!
//! Each server node puts both into its record. One that registers compares them with those of the server nodes that run. So
//! that two that start at once do not overlook each other, each registration also changes one record, [`keys::node_agreement`],
//! and asserts that it is as it was before the others were read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use personium_store::{Batch, Expect};
use personium_types::error::chain;
use personium_types::{Error, Result, ServerNodeId};
use serde::{Deserialize, Serialize};

use super::{DEAD_AFTER, ServerNodeInfo};
use crate::records::{self, Versioned};
use crate::{Unit, keys};

/// The version of the records that this program writes. A program that writes records which earlier ones do not understand has a
/// higher one.
pub const DATA_VERSION: u32 = 1;

/// The time for which a server node that must not register waits whether those that keep it from that are dead.
const JOIN_WAIT: Duration = DEAD_AFTER.saturating_add(Duration::from_secs(4));
/// The pause between two attempts.
const JOIN_PAUSE: Duration = Duration::from_millis(500);

/// The difference between the clocks of two server nodes that operators are told of, in milliseconds.
const CLOCK_TOLERANCE_MS: u64 = 30_000;

/// The number of renewals after which operators are told of other plugins of a server node.
const RENEWALS_BEFORE_REPORT: u32 = 3;

/// The setting under which the digest of the unit secret is compared. If it differs, all digests do.
pub const SECRET_SETTING: &str = "security.secret16";

/// The record that each registration changes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct NodeAgreement {
    /// The version of the records of the unit.
    #[serde(rename = "d")]
    data_version: u32,
}

/// A server node that must not register.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// One that runs differs in what all must have in common.
    #[error(
        "server node {node} runs with {name} = {theirs}, and this one has {own}: all nodes of a unit need the same; \
         to change it, stop all of them first"
    )]
    Differs {
        /// The one that runs: host, address, version.
        node: String,
        /// The setting or property.
        name: String,
        /// Its value there.
        theirs: String,
        /// Its value here.
        own: String,
    },
    /// The records were written by a newer version of the program.
    #[error(
        "the records of the unit have version {found}, and this program knows versions up to {DATA_VERSION}: \
         use the newer program that wrote them"
    )]
    NewerData {
        /// Their version.
        found: u32,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<JoinError> for Error {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Store(error) => error,
            other => Self::internal(other),
        }
    }
}

impl fmt::Display for ServerNodeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            address,
            version,
            ..
        } = self;
        write!(f, "{host} ({address}, version {version})")
    }
}

impl ServerNodeInfo {
    /// Compares what must be the same. A property that one of them does not state is not compared.
    fn check(&self, other: &Self) -> std::result::Result<(), JoinError> {
        for (name, own) in &self.common {
            match other.common.get(name) {
                Some(theirs) if theirs != own => {
                    return Err(JoinError::Differs {
                        node: other.to_string(),
                        name: name.clone(),
                        theirs: theirs.clone(),
                        own: own.clone(),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The names of the settings that should be the same, and are not, and then those of such files of plugins.
    #[must_use]
    pub fn different_settings(&self, other: &Self) -> Vec<String> {
        let mut different = different(&self.settings, &other.settings);
        match different.iter().find(|name| name.ends_with(SECRET_SETTING)) {
            Some(secret) => vec![secret.clone()],
            None => {
                different.extend(self.different_plugins(other));
                different
            }
        }
    }

    /// The names of the files of plugins that are not the same. Unless both state them, none.
    fn different_plugins(&self, other: &Self) -> Vec<String> {
        let both = self.plugins.as_ref().zip(other.plugins.as_ref());
        both.map_or_else(Vec::new, |(own, other)| different(own, other))
    }

    /// Tells operators of another server node that was not seen before.
    pub(super) fn report(&self, id: &ServerNodeId, other: &Self) {
        let host = &other.host;
        let address = &other.address;
        if let Err(error) = self.check(other) {
            tracing::error!(server_node.id = %id, error = %error, "server node must not run beside this one");
        }
        let own_settings = Self {
            plugins: None,
            ..self.clone()
        };
        let settings = own_settings.different_settings(other).join(", ");
        if !settings.is_empty() {
            tracing::warn!(
                server_node.id = %id, host, address, settings,
                "another server node has other settings: answers depend on the node"
            );
        }
        if self.version != other.version {
            tracing::warn!(
                server_node.id = %id, host, address, version = other.version, own_version = self.version,
                "another server node runs another version"
            );
        }
    }
}

/// The names whose values differ.
fn different(own: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = own.keys().chain(other.keys()).collect();
    let differs = |name: &&String| own.get(*name) != other.get(*name);
    names.into_iter().filter(differs).cloned().collect()
}

impl Unit {
    /// Sets the digests of the files of plugins, by name, after they have changed.
    pub fn set_node_plugins(&self, plugins: BTreeMap<String, String>) {
        self.server_node().info.lock().plugins = Some(plugins);
    }

    /// Sets the digests of the settings that should be the same on all server nodes, after they were read again.
    pub fn set_node_settings(&self, settings: BTreeMap<String, String>) {
        self.server_node().info.lock().settings = settings;
    }

    /// The properties of this process that operators and other server nodes see.
    pub(super) fn node_info(&self) -> ServerNodeInfo {
        let mut info = self.server_node().info.lock().clone();
        let certificates = self.credentials().keys.certificates();
        let common = [
            ("unit URL", self.urls().unit()),
            (
                "pathBasedCellUrl.enabled",
                self.urls().path_based().to_string(),
            ),
            ("digest of x509.key", certificates.signing.key_digest()),
            ("version of records", DATA_VERSION.to_string()),
        ];
        info.clock_ms = self.now_ms();
        info.common = common
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect();
        info
    }

    /// As [`Unit::register_node`], for a process that has just started: if a server node that runs differs in what all must have
    /// in common, this waits ten seconds whether that one is dead.
    ///
    /// # Errors
    /// [`JoinError`] if it is not, the records are of a newer version, or the store fails.
    pub async fn join_nodes(&self) -> std::result::Result<ServerNodeId, JoinError> {
        let start = self.monotonic();
        loop {
            let joined = self.try_register_node().await;
            let waited = self.monotonic().saturating_duration_since(start);
            match joined {
                Err(JoinError::Differs { .. }) if waited < JOIN_WAIT => {}
                other => return other,
            }
            if let Err(error) = self.remove_dead_nodes().await {
                tracing::warn!(error = %chain(&error), "failed to look at other server nodes, will retry");
            }
            tokio::time::sleep(JOIN_PAUSE).await;
        }
    }

    /// Checks that a server node with these properties may register now. Adds to the batch what must still hold then.
    pub(super) async fn agree(
        &self,
        batch: &mut Batch,
        info: &ServerNodeInfo,
    ) -> std::result::Result<(), JoinError> {
        let key = keys::node_agreement();
        let found: Option<Versioned<NodeAgreement>> = self.records().find(&key).await?;
        let before = match &found {
            Some(found) if found.value.data_version > DATA_VERSION => {
                let found = found.value.data_version;
                return Err(JoinError::NewerData { found });
            }
            Some(found) => Expect::Version(found.version),
            None => Expect::Absent,
        };
        if self.store().is_shared() {
            for (_, other) in self.list_nodes().await? {
                info.check(&other)?;
            }
        }
        batch.assert(key.clone(), before);
        let agreement = NodeAgreement {
            data_version: DATA_VERSION,
        };
        Ok(records::put(batch, key, &agreement)?)
    }
}

/// Tells operators of server nodes that were not seen before.
pub(super) fn report_new(
    unit: &Unit,
    found: &[(ServerNodeId, personium_store::Record)],
) -> Result<()> {
    let own = unit.node_id();
    let new: Vec<_> = {
        let observed = unit.server_node().observed.lock();
        let is_new = |id: &ServerNodeId| Some(*id) != own && !observed.contains_key(id);
        found.iter().filter(|(id, _)| is_new(id)).collect()
    };
    if new.is_empty() {
        return Ok(());
    }
    let info = unit.node_info();
    for (id, record) in new {
        info.report(id, &records::decode(&record.value)?);
    }
    Ok(())
}

/// Tells operators of server nodes whose clock differs from that of this one. A record that has changed since the last look was
/// renewed a moment ago.
pub(super) fn report_clocks(
    unit: &Unit,
    found: &[(ServerNodeId, personium_store::Record)],
) -> Result<()> {
    let now_ms = unit.now_ms();
    let mut observed = unit.server_node().observed.lock();
    for (id, record) in found {
        let Some(seen) = observed.get_mut(id) else {
            continue;
        };
        if seen.version == record.version || seen.is_clock_reported {
            continue;
        }
        let other: ServerNodeInfo = records::decode(&record.value)?;
        let ahead_ms = other.clock_ms.saturating_sub(now_ms);
        if ahead_ms.unsigned_abs() > CLOCK_TOLERANCE_MS && other.clock_ms > 0 {
            seen.is_clock_reported = true;
            tracing::error!(
                server_node.id = %id, host = other.host, address = other.address, ahead_s = ahead_ms / 1_000,
                "the clock of another server node differs: tokens, codes and locks may end too early or too late"
            );
        }
    }
    Ok(())
}

/// Tells operators of server nodes whose plugins differ from those of this one, unless that is over after some seconds: an operator
/// changes one node after the other.
pub(super) fn report_plugins(
    unit: &Unit,
    found: &[(ServerNodeId, personium_store::Record)],
) -> Result<()> {
    let own = unit.node_info();
    let mut observed = unit.server_node().observed.lock();
    for (id, record) in found {
        let Some(seen) = observed.get_mut(id) else {
            continue;
        };
        if seen.version == record.version {
            continue;
        }
        let other: ServerNodeInfo = records::decode(&record.value)?;
        // With another secret, all digests differ.
        let is_same_secret = !different(&own.settings, &other.settings)
            .iter()
            .any(|name| name.ends_with(SECRET_SETTING));
        let files = match is_same_secret {
            true => own.different_plugins(&other).join(", "),
            false => String::new(),
        };
        seen.renewals_with_other_plugins = match files.is_empty() {
            true => 0,
            false => seen.renewals_with_other_plugins.saturating_add(1),
        };
        if seen.renewals_with_other_plugins == RENEWALS_BEFORE_REPORT {
            tracing::warn!(
                server_node.id = %id, host = other.host, address = other.address, files,
                "another server node has other plugins: log-ins and scripts depend on the node"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(settings: &[(&str, &str)]) -> ServerNodeInfo {
        let settings = settings.iter();
        ServerNodeInfo {
            settings: settings
                .map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned()))
                .collect(),
            ..ServerNodeInfo::default()
        }
    }

    #[test]
    fn different_common_values_are_refused_unless_one_node_does_not_state_them() {
        let of = |name: &str, value: &str| ServerNodeInfo {
            common: [(name.to_owned(), value.to_owned())].into(),
            ..ServerNodeInfo::default()
        };
        let own = of("unit URL", "https://a/");
        assert!(own.check(&own).is_ok());
        assert!(own.check(&of("other", "x")).is_ok());
        let refused = own.check(&of("unit URL", "https://b/")).unwrap_err();
        let text = refused.to_string();
        let expected = "unit URL = https://b/, and this one has https://a/";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn different_settings_are_those_of_either_node_or_the_secret_alone() {
        let own = info(&[("a", "1"), ("b", "2"), ("x.security.secret16", "3")]);
        assert!(own.different_settings(&own).is_empty());
        let other = info(&[("b", "4"), ("c", "5"), ("x.security.secret16", "3")]);
        assert_eq!(own.different_settings(&other), ["a", "b", "c"]);
        let other = info(&[("x.security.secret16", "9")]);
        assert_eq!(own.different_settings(&other), ["x.security.secret16"]);
    }

    #[test]
    fn different_plugins_are_named_if_both_nodes_state_them() {
        let of = |plugins: &[(&str, &str)]| ServerNodeInfo {
            plugins: Some(info(plugins).settings),
            ..info(&[("a", "1")])
        };
        let own = of(&[("x.toml", "1"), ("x.wasm", "2")]);
        assert!(own.different_settings(&own).is_empty());
        assert!(own.different_settings(&info(&[("a", "1")])).is_empty());
        let other = of(&[("x.wasm", "3")]);
        assert_eq!(own.different_settings(&other), ["x.toml", "x.wasm"]);
        let other = of(&[("x.toml", "1"), ("x.wasm", "2"), ("y.toml", "4")]);
        assert_eq!(own.different_settings(&other), ["y.toml"]);
    }
}
