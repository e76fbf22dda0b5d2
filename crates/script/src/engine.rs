//! The engine: the threads of scripts, and the limits of how many run at once.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use personium_types::{Clock, ScriptLimits};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::compute_slots::{ComputeSlots, ComputeTurn, SlotPermit};
use crate::error_texts::ErrorTexts;
use crate::failure::ScriptFailure;
use crate::output::{LocalSink, Output, ScriptResponse};
use crate::prepared::{HOST_STACK_BYTES, Prepared};
use crate::run::{self, ScriptCall};
use crate::running_script::{RunningScript, ScriptText};
use crate::scripts_at_once::{RunPermit, ScriptsAtOnce};
use crate::stream_table::StreamTable;
use crate::worker::WorkerPool;

/// The time that a script may take to end after its time is over. It may have to wait for its turn to find out.
const END_TIMEOUT: Duration = Duration::from_secs(5);

/// Where scripts run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// On threads of this process.
    Thread,
    /// In worker processes.
    Process,
}

/// The numbers of scripts and workers at a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScriptMetrics {
    /// The scripts that run.
    pub running: usize,
    /// The scripts that do not end although their time is over.
    pub stuck: usize,
    /// The worker processes.
    pub workers: usize,
    /// The worker processes that died or were killed while they ran a script, since the start.
    pub workers_lost: u64,
}

/// Runs scripts.
pub struct ScriptEngine {
    limits: ScriptLimits,
    at_once: Arc<ScriptsAtOnce>,
    slots: ComputeSlots,
    clock: Arc<dyn Clock>,
    workers: Option<Arc<WorkerPool>>,
}

impl ScriptEngine {
    /// An engine with these limits.
    #[must_use]
    pub fn new(limits: ScriptLimits, isolation: Isolation, clock: Arc<dyn Clock>) -> Self {
        let stack_bytes = limits.stack_max_bytes.saturating_add(HOST_STACK_BYTES);
        Self {
            at_once: Arc::new(ScriptsAtOnce::new(&limits)),
            slots: ComputeSlots::new(Arc::clone(&clock), stack_bytes),
            workers: (isolation == Isolation::Process)
                .then(|| Arc::new(WorkerPool::new(&limits, Arc::clone(&clock)))),
            clock,
            limits,
        }
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> &ScriptLimits {
        &self.limits
    }

    /// The numbers of now.
    #[must_use]
    pub fn metrics(&self) -> ScriptMetrics {
        let (running, stuck) = self.at_once.metrics();
        let workers = self.workers.as_deref();
        ScriptMetrics {
            running,
            stuck,
            workers: workers.map_or(0, WorkerPool::workers),
            workers_lost: workers.map_or(0, WorkerPool::lost),
        }
    }

    /// Runs a script. Returns when its response begins; the script may then still run.
    ///
    /// # Errors
    /// [`ScriptFailure`]
    pub async fn run(&self, call: ScriptCall) -> Result<ScriptResponse, ScriptFailure> {
        let permit = self.at_once.acquire(&call.cell).await?;
        call.host.begins().await?;
        match &self.workers {
            None => self.run_on_thread(call, permit).await,
            Some(workers) => {
                let (sender, receiver) = oneshot::channel();
                let workers = Arc::clone(workers);
                // The script goes on if its caller is gone.
                tokio::spawn(async move {
                    workers.run(call, LocalSink::new(sender)).await;
                    drop(permit);
                });
                receiver.await.unwrap_or_else(|_| Err(no_answer()))
            }
        }
    }

    async fn run_on_thread(
        &self,
        call: ScriptCall,
        permit: RunPermit,
    ) -> Result<ScriptResponse, ScriptFailure> {
        let (sender, receiver) = oneshot::channel();
        let timeout = call.timeout.unwrap_or(self.limits.timeout);
        let deadline = self.clock.monotonic() + timeout;
        let (stuck, used) = (permit.stuck_mark(), SlotPermit::default());
        let slot_permit = used.clone();
        let output = Output::new(
            Box::new(LocalSink::new(sender)),
            self.limits.output_max_bytes,
        );
        let (limits, slots, handle) = (self.limits, self.slots.clone(), Handle::current());
        let clock = Arc::clone(&self.clock);
        let (host, cell) = (Arc::clone(&call.host), call.cell.clone());
        let place = self.slots.begin(move |slot| {
            // What is dropped here may begin tasks, such as reading the rest of the request: the runtime of the unit gets them.
            let _entered = handle.enter();
            let text = Rc::new(ScriptText {
                file: call.file,
                source: call.source,
                context: call.context,
                request: call.request,
            });
            let running = RunningScript {
                host: call.host,
                turn: slots.turn(&handle, slot_permit, Some(slot)),
                clock,
                limits,
                deadline,
                stop: call.stop,
                streams: StreamTable::new(call.input),
                output,
                text,
                errors: ErrorTexts::default(),
                modules: std::collections::HashMap::new(),
                calls: 0,
                timed_out: false,
            };
            let turn = run::start(running);
            drop(permit);
            Prepared::make_next(&limits);
            turn.and_then(ComputeTurn::into_slot)
        });
        let mut receiver = receiver;
        let failure = match tokio::time::timeout(timeout, &mut receiver).await {
            Ok(Ok(answered)) => return answered,
            Ok(Err(_)) => no_answer(),
            // It has not begun.
            Err(_) if place.leave() => ScriptFailure::Timeout,
            Err(_) => match tokio::time::timeout(END_TIMEOUT, receiver).await {
                Ok(Ok(answered)) => return answered,
                Ok(Err(_)) => no_answer(),
                Err(_) => {
                    // It is in a function of the engine that does not look at the time.
                    stuck.set();
                    tracing::error!(cell.id = %cell, "a script does not end although its time is over; its cell begins no other until it does");
                    used.release();
                    ScriptFailure::Timeout
                }
            },
        };
        host.ended(Some(&failure)).await;
        Err(failure)
    }
}

fn no_answer() -> ScriptFailure {
    ScriptFailure::Engine("the script ended without an answer".to_owned())
}
