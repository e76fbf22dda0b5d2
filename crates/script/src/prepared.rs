//! A context that waits for its script.

use std::cell::RefCell;
use std::rc::Rc;

use personium_types::ScriptLimits;
use rquickjs::{CatchResultExt, Context, Ctx, Function, Object, Persistent, Runtime};

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
        let runtime = Runtime::new().map_err(failed)?;
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

/// Evaluates the files of the engine and defines their globals.
fn load(ctx: &Ctx<'_>, slot: &ScriptSlot) -> rquickjs::Result<Persistent<Object<'static>>> {
    let (name, text) = library::RUNTIME;
    let file = |name: &str| native::sloppy(format!("{}{name}", library::FILE_PREFIX));
    let runtime: Function<'_> = ctx.eval_with_options(text, file(name))?;
    let functions: Object<'_> = runtime.call((native::object(ctx, slot)?,))?;
    define_globals(ctx, &functions.get("globals")?)?;
    let host: Object<'_> = functions.get("host")?;
    let load: Function<'_> = host.get("load")?;
    let globals: rquickjs::Value<'_> = load.call((library::PRELUDE,))?;
    if let Some(globals) = globals.as_object() {
        define_globals(ctx, globals)?;
    }
    Ok(Persistent::save(ctx, functions))
}

/// Defines globals that are writable and not enumerable.
fn define_globals<'js>(ctx: &Ctx<'js>, globals: &Object<'js>) -> rquickjs::Result<()> {
    let define: Function<'js> = ctx.eval(
        "(globals) => { for (const name of Object.keys(globals)) Object.defineProperty(globalThis, name, \
         { value: globals[name], writable: true, configurable: true }); }",
    )?;
    define.call((globals.clone(),))
}
