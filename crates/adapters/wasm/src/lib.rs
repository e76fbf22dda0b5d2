//! Authentication plugins and script extensions that are components of WebAssembly, run within limits.
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
//! | `contract` | what components export and may import |
//! | `loaded_component` | a component with its settings, which can be asked |
//! | `authentication` | the authentication plugin |
//! | `extension` | the script extension |

mod authentication;
mod bindings;
mod component;
mod contract;
mod epoch_ticker;
mod extension;
mod guests;
mod host;
mod loaded_component;
mod memory_budget;
mod settings;

use std::sync::{Arc, OnceLock};

use personium_plugin::{AuthPlugin, ExtensionSource, PluginKind, PluginSource, ScriptExtension};

use crate::authentication::WasmPlugin;
use crate::extension::WasmExtension;
use crate::guests::{Execution, Guests};
use crate::loaded_component::LoadedComponent;
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

    fn guests(&self) -> Result<Arc<Guests>, String> {
        let start = || Guests::start(self.execution).map(Arc::new);
        self.guests.get_or_init(start).clone()
    }
}

impl PluginKind for WasmPluginKind {
    fn name(&self) -> &'static str {
        "wasm"
    }

    fn load(&self, source: PluginSource<'_>) -> Result<Arc<dyn AuthPlugin>, String> {
        let declared = source.declaration;
        let settings = WasmSettings::read(source.settings, source.folder, &declared.name)?;
        let component = LoadedComponent::load(self.guests()?, settings, &declared.name)?;
        Ok(Arc::new(WasmPlugin::new(component, declared)))
    }

    fn load_extension(
        &self,
        source: ExtensionSource<'_>,
    ) -> Result<Arc<dyn ScriptExtension>, String> {
        let declared = source.declaration;
        let settings = WasmSettings::read(source.settings, source.folder, &declared.name)?;
        if settings.fields.is_some() {
            return Err("fields are those of authentication plugins".to_owned());
        }
        let component = LoadedComponent::load(self.guests()?, settings, &declared.name)?;
        Ok(Arc::new(WasmExtension::new(component, declared)))
    }
}
