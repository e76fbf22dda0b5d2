//! The workers of a unit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use personium_types::{Clock, ScriptLimits};

use super::connection::Connection;
use super::conversation::Conversation;
use super::message::UnitMessage;
use crate::failure::ScriptFailure;
use crate::output::LocalSink;
use crate::run::ScriptCall;
use crate::script_stop::ScriptStop;

/// The time that a worker may take to end its script after its time is over. Then it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// The number of scripts after which a worker is replaced.
const RUNS_MAX: u32 = 10_000;
/// The number of workers that a script is offered to; one may have died while it was idle.
const ATTEMPTS: u32 = 3;

/// Starts workers, gives them scripts, and kills those that do not end.
pub(crate) struct WorkerPool {
    limits: ScriptLimits,
    clock: Arc<dyn Clock>,
    idle: Mutex<Vec<Connection>>,
    idle_max: usize,
    busy: AtomicUsize,
    lost: AtomicU64,
}

impl WorkerPool {
    pub(crate) fn new(limits: &ScriptLimits, clock: Arc<dyn Clock>) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            limits: *limits,
            clock,
            idle: Mutex::default(),
            idle_max: processors * 2,
            busy: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// The number of workers.
    pub(crate) fn workers(&self) -> usize {
        self.idle.lock().len() + self.busy.load(Ordering::Relaxed)
    }

    /// The number of workers that died or were killed while they ran a script.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Runs a script to its end. Its response goes to the sink.
    pub(crate) async fn run(&self, call: ScriptCall, sink: LocalSink) {
        let limits = ScriptLimits {
            timeout: call.timeout.unwrap_or(self.limits.timeout),
            ..self.limits
        };
        let run = UnitMessage::Run {
            file: call.file,
            context: call.context,
            request: call.request,
            timeout_ms: u64::try_from(limits.timeout.as_millis()).unwrap_or(u64::MAX),
        };
        let clock = Arc::clone(&self.clock);
        let mut conversation = Conversation::new((call.host, call.input), sink, &limits, clock);
        let mut worker = match self.begin(&run, call.source.as_bytes()).await {
            Ok(worker) => worker,
            Err(error) => {
                let text = format!("no worker process could be started: {error}");
                return conversation.fail(ScriptFailure::Engine(text)).await;
            }
        };
        self.busy.fetch_add(1, Ordering::Relaxed);
        let held = tokio::time::timeout(limits.timeout + END_TIMEOUT, async {
            tokio::select! {
                held = conversation.hold(&mut worker) => Some(held),
                () = ScriptStop::wait(call.stop) => None,
            }
        });
        let held = held.await.ok().flatten();
        self.busy.fetch_sub(1, Ordering::Relaxed);
        match held {
            Some(Ok(())) => self.put_back(worker),
            Some(Err(error)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                let status = worker.last_words().await;
                let text = format!("the worker process has ended ({status}): {error}");
                conversation.fail(ScriptFailure::Engine(text)).await;
            }
            None => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                drop(worker);
                conversation.fail(ScriptFailure::Timeout).await;
            }
        }
    }

    /// Gives a script to a worker.
    async fn begin(&self, run: &UnitMessage, source: &[u8]) -> std::io::Result<Connection> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let idle = self.idle.lock().pop();
            let mut worker = match idle {
                Some(worker) => worker,
                None => Connection::start(&self.limits).await?,
            };
            match worker.begin(run, source).await {
                Ok(()) => return Ok(worker),
                // It has not begun: another one may.
                Err(error) if attempt == ATTEMPTS => return Err(error),
                Err(_) => {}
            }
        }
    }

    fn put_back(&self, worker: Connection) {
        let mut idle = self.idle.lock();
        if worker.runs < RUNS_MAX && idle.len() < self.idle_max {
            idle.push(worker);
        }
    }
}
