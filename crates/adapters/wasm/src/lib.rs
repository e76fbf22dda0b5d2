//! The authentication plugin that runs a component of WebAssembly within limits.
//!
//! | Module | Content |
//! |---|---|
//! | `settings` | the table `[wasm]` of the file that describes a plugin |
//! | `component` | components: read, checked and compiled |
//! | `bindings` | the types and functions of `plugins/wit` |
//! | `host` | what a component may use of the unit |
//! | `guests` | the engine, and the threads that run the code of components |
//! | `memory_budget` | the memory of all calls, and the limits of one |
//! | `epoch_ticker` | the clock that interrupts code |
//! | `plugin` | the plugin itself |

mod bindings;
mod component;
mod epoch_ticker;
mod guests;
mod host;
mod memory_budget;
mod plugin;
mod settings;

use std::sync::{Arc, OnceLock};

use personium_plugin::{AuthPlugin, PluginKind, PluginSource};

use crate::guests::{Execution, Guests};
use crate::plugin::WasmPlugin;
use crate::settings::WasmSettings;

/// The kind of plugins that run a component of WebAssembly. Its threads are started with the first plugin.
#[derive(Default)]
pub struct WasmPluginKind {
    execution: Execution,
    guests: OnceLock<Result<Arc<Guests>, String>>,
}

impl WasmPluginKind {
    /// The kind whose code is interpreted, as it is where a process must not make code executable.
    #[must_use]
    pub fn interpreted() -> Self {
        Self {
            execution: Execution::Interpreted,
            guests: OnceLock::new(),
        }
    }
}

impl PluginKind for WasmPluginKind {
    fn name(&self) -> &'static str {
        "wasm"
    }

    fn load(&self, source: PluginSource<'_>) -> Result<Arc<dyn AuthPlugin>, String> {
        let declared = source.declaration;
        let settings = WasmSettings::read(source.settings, source.folder, &declared.name)?;
        let guests = self
            .guests
            .get_or_init(|| Guests::start(self.execution).map(Arc::new));
        let plugin = WasmPlugin::load(guests.clone()?, settings, declared)?;
        Ok(Arc::new(plugin))
    }
}
