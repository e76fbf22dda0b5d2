//! One run of a script in its context.

use std::sync::Arc;
use std::time::Duration;

use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Function, Object, Value};
use serde::Deserialize;

use crate::compute_slots::ComputeTurn;
use crate::failure::ScriptFailure;
use crate::host::{ByteStream, ScriptHost};
use crate::native;
use crate::prepared::Prepared;
use crate::response;
use crate::running_script::{RunningScript, ScriptSlot};
use crate::script_stop::ScriptStop;
use crate::throw_place;

/// The global that holds the value of the file of a script for a moment: the value of the expression that the file is.
const MAIN: &str = "__personium_main";

/// The longest text and the longest stack of an error that are kept, in bytes.
const MESSAGE_MAX_BYTES: usize = 8 << 10;

/// The name of a failed script, as clients see it.
const UNNAMED: &str = "unnamed script";

/// A request to a script.
pub struct ScriptCall {
    /// The cell of the service, for limits.
    pub cell: String,
    /// The name of the file of the script.
    pub file: String,
    /// The text of the script.
    pub source: String,
    /// The facts about the service for the library: a JSON object.
    pub context: String,
    /// The members of the request object: a JSON object.
    pub request: String,
    /// The body of the request.
    pub input: Box<dyn ByteStream>,
    /// The rest of the unit.
    pub host: Arc<dyn ScriptHost>,
    /// The time for the script, if it is not that of the limits.
    pub timeout: Option<Duration>,
    /// The signal that stops the script before its time is over.
    pub stop: Option<ScriptStop>,
}

/// The texts that a script is made of.
pub(crate) struct ScriptText {
    pub(crate) file: String,
    pub(crate) source: String,
    pub(crate) context: String,
    pub(crate) request: String,
}

/// Runs a script to its end in a new context of this thread. Returns its turn, which may still have a slot.
pub(crate) fn start(running: RunningScript, text: &ScriptText) -> Option<ComputeTurn> {
    match Prepared::take(&running.limits) {
        Ok(prepared) => run(prepared, running, text),
        Err(failure) => {
            let (output, turn) = running.end(Some(&failure));
            output.fail(failure);
            Some(turn)
        }
    }
}

/// Runs a script to its end. Its response goes to the output of `running`.
fn run(prepared: Prepared, running: RunningScript, text: &ScriptText) -> Option<ComputeTurn> {
    *prepared.slot.borrow_mut() = Some(running);
    let outcome = prepared.context.with(|ctx| {
        let functions = prepared.functions.clone().restore(&ctx);
        match functions {
            Ok(functions) => match steps(&ctx, &functions, &prepared.slot, text) {
                Ok(true) => Ok(()),
                Ok(false) => Err(ScriptFailure::refused("Server Error")),
                Err(error) => Err(describe(&ctx, &functions, &error, (text, &prepared.slot))),
            },
            Err(error) => Err(ScriptFailure::Engine(error.to_string())),
        }
    });
    let ended = prepared.slot.borrow_mut().take()?;
    let failure = match outcome {
        Err(_) if ended.timed_out => Some(ScriptFailure::Timeout),
        outcome => outcome.err(),
    };
    let (output, turn) = ended.end(failure.as_ref());
    match failure {
        Some(failure) => output.fail(failure),
        None => output.finish(),
    }
    Some(turn)
}

/// Evaluates the file, calls its function, and hands the result to the checks of the response. `false` if it is no function.
fn steps<'js>(
    ctx: &Ctx<'js>,
    functions: &Object<'js>,
    slot: &ScriptSlot,
    text: &ScriptText,
) -> rquickjs::Result<bool> {
    let start: Function<'js> = functions.get("start")?;
    let facts = (
        text.context.as_str(),
        text.request.as_str(),
        text.file.as_str(),
    );
    let request: Value<'js> = start.call(facts)?;
    let source = format!("{MAIN} = {}", text.source);
    ctx.eval_with_options::<(), _>(source, native::sloppy(text.file.clone()))?;
    let main: Value<'js> = ctx.globals().get(MAIN)?;
    ctx.globals().remove(MAIN)?;
    let Some(main) = main.as_function() else {
        return Ok(false);
    };
    let value: Value<'js> = main.call((request,))?;
    let value = settled(ctx, slot, value)?;
    if response::send_plain(ctx, slot, &value)? {
        return Ok(true);
    }
    let respond: Function<'js> = functions.get("respond")?;
    respond.call::<_, ()>((value,))?;
    Ok(true)
}

/// Runs the pending jobs, and returns the value of a promise.
fn settled<'js>(
    ctx: &Ctx<'js>,
    slot: &ScriptSlot,
    value: Value<'js>,
) -> rquickjs::Result<Value<'js>> {
    while ctx.execute_pending_job() {
        // Jobs can be so short that the engine looks at the time in none of them.
        if slot
            .borrow_mut()
            .as_mut()
            .is_some_and(RunningScript::must_stop)
        {
            return Err(rquickjs::Exception::throw_type(
                ctx,
                "the script has no time left",
            ));
        }
    }
    let Some(promise) = value.as_promise() else {
        return Ok(value);
    };
    if promise.state() == PromiseState::Pending {
        return Err(rquickjs::Exception::throw_type(
            ctx,
            "the promise of the script was never settled",
        ));
    }
    match promise.result::<Value<'js>>() {
        Some(result) => result,
        None => Ok(value),
    }
}

/// The result of `describe` of `runtime.js`.
#[derive(Deserialize)]
struct Description {
    refused: Option<String>,
    #[serde(default)]
    text: String,
    #[serde(default)]
    stack: String,
    /// Whether the script made the error itself.
    #[serde(default)]
    made: bool,
}

/// The failure for an uncaught error.
fn describe<'js>(
    ctx: &Ctx<'js>,
    functions: &Object<'js>,
    error: &rquickjs::Error,
    (text, slot): (&ScriptText, &ScriptSlot),
) -> ScriptFailure {
    if !error.is_exception() {
        return ScriptFailure::refused(&error.to_string());
    }
    let thrown = ctx.catch();
    let described: rquickjs::Result<String> = functions
        .get::<_, Function<'js>>("describe")
        .and_then(|describe| describe.call((thrown,)));
    let described = described
        .ok()
        .and_then(|json| serde_json::from_str(&json).ok());
    let Some(description) = described else {
        // The state of the context must not be looked at: there is no memory, or no time.
        ctx.catch();
        return ScriptFailure::refused("InternalError: out of memory");
    };
    let Description {
        refused,
        text: mut message,
        mut stack,
        made,
    } = description;
    message.truncate(message.floor_char_boundary(MESSAGE_MAX_BYTES));
    stack.truncate(stack.floor_char_boundary(MESSAGE_MAX_BYTES));
    if let Some(refused) = refused {
        return ScriptFailure::refused(&refused);
    }
    let modules = match slot.try_borrow() {
        Ok(slot) => slot.as_ref().map(|script| script.modules.clone()),
        Err(_) => None,
    };
    let modules = modules.unwrap_or_default();
    let thrown = || {
        let read = modules.iter();
        let read = read.filter_map(|(name, text)| Some((name.as_str(), text.as_deref()?)));
        let all = std::iter::once((UNNAMED, text.source.as_str())).chain(read);
        throw_place::only_throw(all, made)
    };
    let thrown = (made || stack.is_empty()).then(thrown).flatten();
    let place = match native::stack_line(&stack) {
        _ if thrown.is_some() => {
            thrown.map_or_else(String::new, |(name, line)| format!("{name}#{line}"))
        }
        Some((file, line)) if file == text.file => format!("{UNNAMED}#{line}"),
        Some((file, line)) => format!("{}#{line}", file.trim_end_matches(".js")),
        None if text.source.trim_end().contains('\n') => UNNAMED.to_owned(),
        None => format!("{UNNAMED}#1"),
    };
    ScriptFailure::Failed {
        text: format!("{message} ({place})"),
        stack: format!("{message}\n{stack}"),
    }
}
