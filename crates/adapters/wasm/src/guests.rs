//! The engine that runs components, and the threads on which their code runs.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use wasmtime::component::Linker;
use wasmtime::{Config, Engine, Module, Store, UpdateDeadline};

use crate::component::{CompiledComponent, Compiler, reason};
use crate::contract::Contract;
use crate::epoch_ticker::{EpochTicker, RunningCall};
use crate::host::{GuestState, HostCall};
use crate::memory_budget::{CallLimits, MemoryBudget, MemoryUse};
use crate::settings::Grant;

/// The format of code that is interpreted.
const INTERPRETED: &str = "pulley64";
/// A module with an empty function, which shows whether the process may run compiled code.
const PROBE: &[u8] = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x04\x01\x02\0\x0b";
/// The stack of the code of a call in bytes.
const GUEST_STACK_BYTES: usize = 1 << 20;
/// The stack of a call in bytes, functions of the host included.
const CALL_STACK_BYTES: usize = 2 << 20;
/// The memory of all log-ins of a process together in bytes.
const TOTAL_MEMORY_BYTES: usize = 512 << 20;
/// The memory of all calls of scripts together in bytes.
const SCRIPT_MEMORY_BYTES: usize = 256 << 20;
/// The largest size of what the code passes to the host at once in bytes.
const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// The number of ticks that the code of a call may compute for: 2 seconds.
const MAX_TICKS: u32 = 400;

/// The way in which the code of plugins is run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum Execution {
    /// Compiled for this processor, or interpreted where the process may not make code executable.
    #[default]
    Fastest,
    /// Interpreted.
    Interpreted,
}

/// Runs calls of plugins. Their code gets threads of its own, at most half as many as the machine has processors.
pub(crate) struct Guests {
    engine: Engine,
    compiler: Compiler,
    ticker: EpochTicker,
    memory: Arc<MemoryBudget>,
    script_memory: Arc<MemoryBudget>,
    runtime: Option<Runtime>,
}

/// The reason why the code of a plugin has returned nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuestError {
    /// Other calls have all memory. A retry can help.
    #[error("the plugins of this process have no memory left")]
    MemoryExhausted,
    /// It has asked for more memory than it may have.
    #[error("it needs more memory than memory_mib allows: {0}")]
    MemoryLimit(String),
    /// It does not end.
    #[error("it has computed for more than 2 seconds")]
    TooLong,
    /// It has trapped, or broken the rules of components.
    #[error("{0}")]
    Trapped(String),
}

/// The result of a call, if a question was asked.
pub(crate) type CallResult<C> = Result<Option<<C as Contract>::Answer>, GuestError>;

/// A component that is linked with what it may use.
pub(crate) struct LinkedComponent<C> {
    engine: Engine,
    linked: C,
    /// Keeps its code known to the compiler.
    _component: Arc<CompiledComponent>,
}

/// A call that runs on the threads of plugins. It ends when this value is dropped.
pub(crate) struct GuestCall<C: Contract> {
    /// Its result.
    pub(crate) task: JoinHandle<CallResult<C>>,
    /// The questions of its code.
    pub(crate) questions: mpsc::Receiver<HostCall>,
    _abort: AbortOnDrop,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Guests {
    /// Starts the threads.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn start(execution: Execution) -> Result<Self, String> {
        let native = match execution {
            Execution::Fastest => native_engine(),
            Execution::Interpreted => None,
        };
        let engine = match native {
            Some(engine) => engine,
            None => {
                let mut config = config();
                let config = config.target(INTERPRETED);
                let engine = config.and_then(|config| Engine::new(config));
                engine.map_err(|error| reason(&error))?
            }
        };
        let threads = available_parallelism().map_or(1, |count| (count.get() / 2).max(1));
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("plugin-guests")
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            ticker: EpochTicker::start(&engine).map_err(|error| error.to_string())?,
            compiler: Compiler::new(engine.clone()),
            engine,
            memory: MemoryBudget::new(TOTAL_MEMORY_BYTES),
            script_memory: MemoryBudget::new(SCRIPT_MEMORY_BYTES),
            runtime: Some(runtime),
        })
    }

    /// The compiler for these threads.
    pub(crate) fn compiler(&self) -> &Compiler {
        &self.compiler
    }

    /// The limits of a new call.
    pub(crate) fn limits<C: Contract>(&self, max_bytes: usize) -> CallLimits {
        let budget = match C::MEMORY {
            MemoryUse::Logins => &self.memory,
            MemoryUse::Scripts => &self.script_memory,
        };
        CallLimits::new(budget, max_bytes)
    }

    /// Links a component with what it may use, and nothing else.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn link<C: Contract>(
        &self,
        component: Arc<CompiledComponent>,
        grants: &[Grant],
    ) -> Result<LinkedComponent<C>, String> {
        component.check::<C>(grants)?;
        let mut linker = Linker::<GuestState>::new(&self.engine);
        // A grant that is named twice is linked once.
        linker.allow_shadowing(true);
        for grant in grants {
            C::grant(&mut linker, *grant).map_err(|error| reason(&error))?;
        }
        let linked = linker.instantiate_pre(&component.0).and_then(C::link);
        Ok(LinkedComponent {
            engine: self.engine.clone(),
            linked: linked.map_err(|error| reason(&error))?,
            _component: component,
        })
    }

    /// Starts a call of a fresh instance. Without a question, the instance is only made.
    pub(crate) fn call<C: Contract>(
        &self,
        component: &Arc<LinkedComponent<C>>,
        state: impl FnOnce(mpsc::Sender<HostCall>) -> GuestState,
        question: Option<C::Question>,
    ) -> Option<GuestCall<C>> {
        let runtime = self.runtime.as_ref()?;
        let (sender, questions) = mpsc::channel(1);
        let ticking = self.ticker.begin_call();
        let call = run(Arc::clone(component), state(sender), question);
        // Code that nobody waits for any more runs until a tick interrupts it.
        let task = runtime.spawn(while_ticking(ticking, call));
        Some(GuestCall {
            _abort: AbortOnDrop(task.abort_handle()),
            task,
            questions,
        })
    }

    /// Sends the result of a call when it has ended.
    pub(crate) fn watch<C: Contract>(
        &self,
        call: GuestCall<C>,
        result: std::sync::mpsc::Sender<CallResult<C>>,
    ) {
        let Some(runtime) = &self.runtime else {
            return;
        };
        runtime.spawn(async move {
            // The whole value is moved here: without the rest of it, the call would end.
            let mut call = call;
            if let Ok(ended) = (&mut call.task).await {
                // If nobody waits any more, the result is of no use.
                let _ = result.send(ended);
            }
        });
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(GUEST_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        .wasm_backtrace_max_frames(None)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false);
    config
}

/// An engine that runs code of this processor; `None` if the process may not make code executable, as the `personium.service`
/// of the packages (`MemoryDenyWriteExecute`).
fn native_engine() -> Option<Engine> {
    let tried = Engine::new(&config()).and_then(|engine| {
        Module::new(&engine, PROBE)?;
        Ok(engine)
    });
    tried
        .inspect_err(|error| {
            tracing::info!(%error, "code of plugins is interpreted: this process must not make code executable");
        })
        .ok()
}

impl Drop for Guests {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The last plugin may be dropped by a request, which must not wait.
            runtime.shutdown_background();
        }
    }
}

async fn while_ticking<T>(ticking: RunningCall, call: impl Future<Output = T>) -> T {
    let result = call.await;
    drop(ticking);
    result
}

/// Runs a call. The code is interrupted with every tick, lets others run, and ends after the last one.
async fn run<C: Contract>(
    component: Arc<LinkedComponent<C>>,
    state: GuestState,
    question: Option<C::Question>,
) -> CallResult<C> {
    let mut store = Store::new(&component.engine, state);
    store.limiter(|state| &mut state.limits);
    store.set_hostcall_fuel(MAX_OUTPUT_BYTES);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        let state = store.data_mut();
        state.ticks += 1;
        Ok(match state.ticks > MAX_TICKS {
            true => UpdateDeadline::Interrupt,
            false => UpdateDeadline::Yield(1),
        })
    });
    let answer = component.linked.enter(&mut store, question).await;
    answer.map_err(|error| {
        let state = store.data();
        if state.ticks > MAX_TICKS {
            GuestError::TooLong
        } else if state.limits.is_budget_exhausted() {
            GuestError::MemoryExhausted
        } else if state.limits.is_over_limit() {
            GuestError::MemoryLimit(reason(&error))
        } else {
            GuestError::Trapped(reason(&error))
        }
    })
}

#[cfg(test)]
mod tests;
