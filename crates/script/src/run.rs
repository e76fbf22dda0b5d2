//! One run of a script in its context.

use std::rc::Rc;
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
use crate::running_script::{MAIN_PREFIX, RunningScript, ScriptSlot, ScriptText};
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

/// Runs a script to its end in a new context of this thread. Returns its turn, which may still have a slot.
pub(crate) fn start(running: RunningScript) -> Option<ComputeTurn> {
    match Prepared::take(&running.limits) {
        Ok(prepared) => run(prepared, running),
        Err(failure) => {
            let (output, turn) = running.end(Some(&failure));
            output.fail(failure);
            Some(turn)
        }
    }
}

/// Runs a script to its end. Its response goes to the output of `running`.
fn run(prepared: Prepared, running: RunningScript) -> Option<ComputeTurn> {
    let text = &*Rc::clone(&running.text);
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
    if names_matches(&text.source) {
        functions
            .get::<_, Function<'js>>("keepMatches")?
            .call::<_, ()>(())?;
    }
    let source = format!("{MAIN_PREFIX}{}", text.source);
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

/// Whether a text may ask for what the last match of a regular expression found, such as `RegExp.$1`.
fn names_matches(text: &str) -> bool {
    const MEMBERS: [&str; 6] = [
        "$",
        "lastMatch",
        "lastParen",
        "leftContext",
        "rightContext",
        "input",
    ];
    text.match_indices("RegExp.").any(|(at, name)| {
        let rest = text.get(at + name.len()..).unwrap_or_default();
        MEMBERS.iter().any(|member| rest.starts_with(member))
    })
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
    if let Some(text) = (!made).then(|| own_text(&message)).flatten() {
        return ScriptFailure::Failed {
            text: text.to_owned(),
            stack: format!("{message}\n{stack}"),
        };
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
    // As in the original, what the parser says about the file is not an error of the script.
    if !made && stack.starts_with(&format!("    at {}:", text.file)) {
        message = message.trim_start_matches("SyntaxError: ").to_owned();
    }
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

/// The text that clients see of an error that has its own place, or of one of the server: not its class, and no place in the script.
fn own_text(message: &str) -> Option<&str> {
    if let Some(failure) = message.strip_prefix("JavaException: ") {
        return failure.split_once(": ").map(|(_, text)| text);
    }
    let module = message.strip_prefix("InternalError: ")?;
    module.starts_with("syntax error (").then_some(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_the_last_match_are_found_in_texts() {
        assert!(names_matches("if (/(a)/.test(x)) return RegExp.$1;"));
        assert!(names_matches("RegExp.prototype; y = RegExp.leftContext"));
        assert!(!names_matches("new RegExp('$'); RegExp.prototype.exec"));
    }

    #[test]
    fn errors_with_a_place_of_their_own_are_shown_without_their_class() {
        let missing = "JavaException: io.personium.engine.PersoniumEngineException: 404 Not Found";
        assert_eq!(own_text(missing), Some("404 Not Found"));
        let module = "InternalError: syntax error (m#3)";
        assert_eq!(own_text(module), Some("syntax error (m#3)"));
        assert_eq!(own_text("InternalError: out of memory"), None);
        assert_eq!(own_text("Error: a: b"), None);
    }
}
