//! The script engine of the unit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use personium_model::settings::ScriptSettings;
use personium_script::{Isolation, ScriptEngine, ScriptMetrics};
use personium_types::{Clock, ScriptLimits};

use crate::job_queue::JobQueue;

/// The script engine, which the first script starts. Its limits stay those of the start of the unit.
pub struct Scripts {
    limits: ScriptLimits,
    isolation: Isolation,
    clock: Arc<dyn Clock>,
    started: AtomicU64,
    engine: OnceLock<ScriptEngine>,
    jobs: Arc<JobQueue>,
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
            jobs: Arc::default(),
        }
    }

    /// The number of scripts that were started since the start of the process.
    #[must_use]
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// The jobs that this process runs, or is to run.
    pub(crate) fn jobs(&self) -> &Arc<JobQueue> {
        &self.jobs
    }

    /// The numbers of scripts and workers of now.
    #[must_use]
    pub fn metrics(&self) -> ScriptMetrics {
        let engine = self.engine.get();
        engine.map_or_else(ScriptMetrics::default, ScriptEngine::metrics)
    }

    /// The engine, for one script.
    pub fn engine(&self) -> &ScriptEngine {
        self.started.fetch_add(1, Ordering::Relaxed);
        let start = || ScriptEngine::new(self.limits, self.isolation, Arc::clone(&self.clock));
        self.engine.get_or_init(start)
    }
}
