//! Checks the folder of plugins. A plugin that is broken stops nothing.

use personium_plugin::PluginState;
use personium_types::error::chain;

use super::CheckReport;
use crate::config::LoadedConfig;
use crate::plugins;

const CHECK: &str = "plugins";

/// Adds a finding for each plugin. Nothing is asked over the network.
pub(super) fn check(report: &mut CheckReport, loaded: &LoadedConfig) {
    let Some(folder) = plugins::folder(&loaded.config) else {
        return;
    };
    let found = match folder.load() {
        Ok(found) => found,
        Err(error) => return report.warning(CHECK, chain(&error)),
    };
    for plugin in found {
        let name = &plugin.name;
        match &plugin.state {
            PluginState::Loaded(loaded) => {
                let grant_type = &loaded.declaration().grant_type;
                report.ok(CHECK, format!("{name}: {grant_type}"));
            }
            PluginState::Extension(loaded) => {
                let class = &loaded.declaration().class;
                report.ok(CHECK, format!("{name}: extension {class}"));
            }
            PluginState::Disabled => report.ok(CHECK, format!("{name}: disabled")),
            PluginState::Broken(reason) => report.warning(CHECK, format!("{name}: {reason}")),
        }
    }
}
