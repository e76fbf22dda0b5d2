//! The script engine of the unit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use personium_model::settings::ScriptSettings;
use personium_script::{Isolation, ScriptEngine, ScriptMetrics};
use personium_types::{Clock, Code, Error, Result, ScriptLimits};

/// The script engine, which the first script starts. Its limits stay those of the start of the unit.
pub struct Scripts {
    limits: ScriptLimits,
    isolation: Isolation,
    clock: Arc<dyn Clock>,
    started: AtomicU64,
    engine: OnceLock<std::result::Result<ScriptEngine, String>>,
}

impl Scripts {
    /// The engine with the limits of these settings.
    #[must_use]
    pub fn new(settings: &ScriptSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            limits: settings.limits,
            isolation: match settings.in_processes {
                true => Isolation::Process,
                false => Isolation::Thread,
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

    /// The numbers of scripts and workers of now.
    #[must_use]
    pub fn metrics(&self) -> ScriptMetrics {
        let engine = self.engine.get().and_then(|engine| engine.as_ref().ok());
        engine.map_or_else(ScriptMetrics::default, ScriptEngine::metrics)
    }

    /// The engine, for one script.
    ///
    /// # Errors
    /// [`Code::ServiceConnect`] if the system has no resources for it.
    pub fn engine(&self) -> Result<&ScriptEngine> {
        self.started.fetch_add(1, Ordering::Relaxed);
        let start = || {
            let engine = ScriptEngine::new(self.limits, self.isolation, Arc::clone(&self.clock));
            engine.map_err(|error| error.to_string())
        };
        let engine = self.engine.get_or_init(start);
        engine
            .as_ref()
            .map_err(|error| Error::new(Code::ServiceConnect).with_source(error.clone()))
    }
}
