//! The script engine of the unit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use personium_model::settings::ScriptSettings;
use personium_script::{ScriptEngine, ScriptLimits};
use personium_types::{Clock, Code, Error, Result};

/// The script engine, which the first script starts. Its limits stay those of the start of the unit.
pub struct Scripts {
    limits: ScriptLimits,
    clock: Arc<dyn Clock>,
    started: AtomicU64,
    engine: OnceLock<std::result::Result<ScriptEngine, String>>,
}

impl Scripts {
    /// The engine with the limits of these settings.
    #[must_use]
    pub fn new(settings: &ScriptSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            limits: ScriptLimits {
                timeout: settings.timeout,
                memory_max_bytes: settings.memory_max_bytes,
                stack_max_bytes: settings.stack_max_bytes,
                output_max_bytes: settings.output_max_bytes,
                calls_max: settings.calls_max,
                running_max: settings.running_max,
                running_of_cell_max: settings.running_of_cell_max,
            },
            clock,
            started: AtomicU64::new(0),
            engine: OnceLock::new(),
        }
    }

    /// The number of scripts that were started since the start of the process.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// The engine, for one script.
    ///
    /// # Errors
    /// [`Code::ServiceConnect`] if the system has no resources for it.
    pub fn engine(&self) -> Result<&ScriptEngine> {
        self.started.fetch_add(1, Ordering::Relaxed);
        let start = || {
            let engine = ScriptEngine::new(self.limits, Arc::clone(&self.clock));
            engine.map_err(|error| error.to_string())
        };
        let engine = self.engine.get_or_init(start);
        engine
            .as_ref()
            .map_err(|error| Error::new(Code::ServiceConnect).with_source(error.clone()))
    }
}
