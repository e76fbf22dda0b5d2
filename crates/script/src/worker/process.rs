//! A worker process.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use personium_types::{Clock, ScriptLimits};
use tokio::runtime::Builder;

use super::link::Link;
use super::message::{UnitMessage, WorkerLimits, WorkerMessage};
use super::remote_host::{RemoteHost, RemoteSink, RemoteStream};
use super::sandbox;
use crate::compute_slots::{ComputeSlots, SlotPermit};
use crate::error_texts::ErrorTexts;
use crate::failure::ScriptFailure;
use crate::output::Output;
use crate::prepared::{self, HOST_STACK_BYTES, Prepared};
use crate::run;
use crate::running_script::{RunningScript, ScriptText};
use crate::stream_table::{INPUT, StreamTable};

/// How much less urgent than the requests of the unit scripts are.
const NICENESS: i32 = 5;

/// Runs the scripts that the unit sends through the standard input, which is a socket, until the unit is gone. The standard output
/// is another socket, whose end says so even while a script runs.
///
/// # Errors
/// The standard input or output is no socket, or the process cannot be isolated.
pub fn run(clock: Arc<dyn Clock>) -> io::Result<()> {
    let link = Arc::new(Link::new(socket(io::stdin())?));
    let mut unit = socket(io::stdout())?;
    let (UnitMessage::Setup(limits), _) = link.receive()? else {
        return Err(io::Error::other("the unit must begin with the limits"));
    };
    // A system that refuses only loses fairness.
    let _ = rustix::process::nice(NICENESS);
    let limits = limits_of(&limits);
    std::thread::Builder::new()
        .name("script".to_owned())
        .stack_size(limits.stack_max_bytes.saturating_add(HOST_STACK_BYTES))
        .spawn(move || {
            let served = serve(&link, &limits, &clock);
            if let Err(error) = served {
                let failure = Some(ScriptFailure::Engine(error.to_string()));
                let _ = link.tell(&WorkerMessage::Finished { failure }, &[]);
            }
            std::process::exit(1);
        })?;
    // Nothing is ever sent: it returns when the unit is gone.
    let _ = unit.read(&mut [0]);
    std::process::exit(0);
}

fn socket(stream: impl AsFd) -> io::Result<UnixStream> {
    Ok(UnixStream::from(stream.as_fd().try_clone_to_owned()?))
}

fn limits_of(limits: &WorkerLimits) -> ScriptLimits {
    ScriptLimits {
        timeout: Duration::from_millis(limits.timeout_ms),
        memory_max_bytes: limits.memory_max_bytes,
        stack_max_bytes: limits.stack_max_bytes,
        output_max_bytes: limits.output_max_bytes,
        calls_max: limits.calls_max,
        // One after the other.
        running_max: 1,
        running_of_cell_max: 1,
    }
}

/// Runs one script after the other.
fn serve(link: &Arc<Link>, limits: &ScriptLimits, clock: &Arc<dyn Clock>) -> io::Result<()> {
    // It drives nothing: all that scripts wait for blocks the thread.
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let slots = ComputeSlots::new(Arc::clone(clock), HOST_STACK_BYTES);
    prepared::use_system_allocator();
    read_time_zone(limits);
    sandbox::enter(limits.memory_max_bytes)?;
    Prepared::make_next(limits);
    link.tell(&WorkerMessage::Ready, &[])?;
    loop {
        let (message, source) = link.receive()?;
        let UnitMessage::Run {
            file,
            context,
            request,
            timeout_ms,
        } = message
        else {
            return Err(io::Error::other("a script was expected"));
        };
        link.tell(&WorkerMessage::Started, &[])?;
        let text = Rc::new(ScriptText {
            file,
            source: String::from_utf8(source.into()).map_err(io::Error::other)?,
            context,
            request,
        });
        let sink = Box::new(RemoteSink(Arc::clone(link)));
        let running = RunningScript {
            host: Arc::new(RemoteHost(Arc::clone(link))),
            turn: slots.turn(
                runtime.handle(),
                SlotPermit::default(),
                runtime.block_on(slots.acquire()),
            ),
            deadline: clock.monotonic() + Duration::from_millis(timeout_ms),
            // The unit kills this process.
            stop: None,
            clock: Arc::clone(clock),
            limits: *limits,
            streams: StreamTable::new(Box::new(RemoteStream::new(link, INPUT))),
            output: Output::new(sink, limits.output_max_bytes),
            text,
            errors: ErrorTexts::default(),
            modules: HashMap::new(),
            calls: 0,
            timed_out: false,
        };
        drop(run::start(running));
        Prepared::make_next(limits);
    }
}

/// Reads the time zone while files can be read.
fn read_time_zone(limits: &ScriptLimits) {
    if let Ok(prepared) = Prepared::take(limits) {
        // If it cannot be read, it is UTC.
        let _: rquickjs::Result<i32> = prepared
            .context
            .with(|ctx| ctx.eval("new Date().getTimezoneOffset()"));
    }
}
