//! The clock that interrupts code of plugins.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use wasmtime::Engine;

/// The time after which code of a plugin lets other calls run.
pub(crate) const TICK: Duration = Duration::from_millis(5);

#[derive(Default)]
struct State {
    calls: usize,
    is_stopped: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

/// A thread that increments the epoch of an engine every [`TICK`] while calls run. It ends with this value.
pub(crate) struct EpochTicker(Arc<Shared>);

impl EpochTicker {
    /// Starts the thread.
    ///
    /// # Errors
    /// An error if the system has no thread left.
    pub(crate) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let (ticking, engine) = (Arc::clone(&shared), engine.clone());
        thread::Builder::new()
            .name("plugin-epochs".to_owned())
            .spawn(move || run(&ticking, &engine))?;
        Ok(Self(shared))
    }

    /// Begins a call.
    pub(crate) fn begin_call(&self) -> RunningCall {
        self.0.state.lock().calls += 1;
        self.0.changed.notify_one();
        RunningCall(Arc::clone(&self.0))
    }
}

impl Drop for EpochTicker {
    fn drop(&mut self) {
        self.0.state.lock().is_stopped = true;
        self.0.changed.notify_one();
    }
}

/// A call that runs.
pub(crate) struct RunningCall(Arc<Shared>);

impl Drop for RunningCall {
    fn drop(&mut self) {
        self.0.state.lock().calls -= 1;
    }
}

fn run(shared: &Shared, engine: &Engine) {
    loop {
        let mut state = shared.state.lock();
        while state.calls == 0 && !state.is_stopped {
            shared.changed.wait(&mut state);
        }
        if state.is_stopped && state.calls == 0 {
            return;
        }
        drop(state);
        thread::sleep(TICK);
        engine.increment_epoch();
    }
}
