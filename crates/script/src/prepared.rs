//! A context that waits for its script.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};

use personium_types::ScriptLimits;
use rquickjs::allocator::RustAllocator;
use rquickjs::{CatchResultExt, Context, Ctx, Object, Persistent, Runtime};

use crate::failure::ScriptFailure;
use crate::library;
use crate::native;
use crate::running_script::ScriptSlot;

/// The stack of a thread beyond that of its script, in bytes: for the functions that scripts call.
pub(crate) const HOST_STACK_BYTES: usize = 3 << 20;

/// The memory of a context above which garbage is collected, in bytes.
const GARBAGE_BYTES: usize = 4 << 20;

/// A context with the library in it, in which nothing else has run.
pub(crate) struct Prepared {
    /// The functions that `runtime.js` returned. Declared first, since it must be dropped before the context.
    pub(crate) functions: Persistent<Object<'static>>,
    pub(crate) context: Context,
    pub(crate) slot: ScriptSlot,
}

/// Whether contexts take their memory from the system: in a worker, whose memory has a limit, the allocator of the program would keep
/// too much of it.
static USES_SYSTEM_ALLOCATOR: AtomicBool = AtomicBool::new(false);

/// Makes the contexts of this process take their memory from the system.
pub(crate) fn use_system_allocator() {
    USES_SYSTEM_ALLOCATOR.store(true, Ordering::Relaxed);
}

thread_local! {
    /// A context that the thread has made while it had nothing else to do.
    static NEXT: RefCell<Option<Prepared>> = const { RefCell::new(None) };
}

impl Prepared {
    /// A context that nothing has used.
    ///
    /// # Errors
    /// [`ScriptFailure::Engine`]
    pub(crate) fn take(limits: &ScriptLimits) -> Result<Self, ScriptFailure> {
        let next = NEXT.with(|next| next.try_borrow_mut().ok().and_then(|mut next| next.take()));
        match next {
            Some(prepared) => Ok(prepared),
            None => Self::new(limits),
        }
    }

    /// Makes the next context of this thread.
    pub(crate) fn make_next(limits: &ScriptLimits) {
        if let Ok(prepared) = Self::new(limits) {
            NEXT.with(|next| {
                if let Ok(mut next) = next.try_borrow_mut() {
                    *next = Some(prepared);
                }
            });
        }
    }

    fn new(limits: &ScriptLimits) -> Result<Self, ScriptFailure> {
        let failed = |error: rquickjs::Error| ScriptFailure::Engine(error.to_string());
        library::prepare().map_err(ScriptFailure::Engine)?;
        let runtime = match USES_SYSTEM_ALLOCATOR.load(Ordering::Relaxed) {
            true => Runtime::new(),
            false => Runtime::new_with_alloc(RustAllocator),
        };
        let runtime = runtime.map_err(failed)?;
        runtime.set_max_stack_size(limits.stack_max_bytes);
        runtime.set_gc_threshold(GARBAGE_BYTES);
        let slot = ScriptSlot::new(RefCell::new(None));
        let watched = Rc::clone(&slot);
        runtime.set_interrupt_handler(Some(Box::new(move || {
            // If the script is in use, it is in a call of the host, which looks at the time itself.
            let running = watched.try_borrow_mut();
            running.is_ok_and(|mut script| script.as_mut().is_some_and(|s| s.must_stop()))
        })));
        let context = Context::full(&runtime).map_err(failed)?;
        let loaded = context.with(|ctx| {
            let loaded = load(&ctx, &slot).catch(&ctx);
            loaded.map_err(|error| ScriptFailure::Engine(error.to_string()))
        });
        runtime.set_memory_limit(limits.memory_max_bytes);
        Ok(Self {
            functions: loaded?,
            context,
            slot,
        })
    }
}

/// Evaluates the file of the engine that surrounds every script.
fn load(ctx: &Ctx<'_>, slot: &ScriptSlot) -> rquickjs::Result<Persistent<Object<'static>>> {
    let runtime = library::load(ctx, library::RUNTIME)?;
    let functions: Object<'_> = runtime.call((native::object(ctx, slot)?,))?;
    Ok(Persistent::save(ctx, functions))
}
