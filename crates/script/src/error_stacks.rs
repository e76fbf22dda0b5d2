//! The function that the engine calls for each error: it makes the stack, and gives errors of the engine the messages of Rhino.
//!
//! It is the function behind `Error.prepareStackTrace`. The engine ignores what such a function throws, also that the time of the script
//! is over. It is therefore none of JavaScript, scripts cannot set another one, and it is taken away from a script whose time is over.

use std::fmt::Write as _;

use rquickjs::function::{Opt, This};
use rquickjs::object::Filter;
use rquickjs::{Array, Ctx, Function, Object, Result, Value};

use crate::error_texts::EngineError;
use crate::library;
use crate::running_script::ScriptSlot;

/// Makes the function the one that the engine calls, with the setter of `Error.prepareStackTrace`.
///
/// # Errors
/// No memory.
pub(crate) fn watch<'js>(
    ctx: &Ctx<'js>,
    slot: &ScriptSlot,
    class: Object<'js>,
    setter: Function<'js>,
) -> Result<()> {
    let slot = slot.clone();
    let prepare = move |ctx: Ctx<'js>,
                        This(class): This<Value<'js>>,
                        error: Opt<Value<'js>>,
                        sites: Opt<Value<'js>>| {
        let stack = match is_over(&slot) {
            true => None,
            false => stack_of(&ctx, &slot, error.0, sites.0),
        };
        if stack.is_none() {
            // The failure is one of memory, of the stack, or of time.
            ctx.catch();
        }
        if is_over(&slot) {
            end_watch(&ctx, &class);
        }
        // Without a stack, the engine asks for it again where there is more room.
        stack.unwrap_or_else(|| Value::new_undefined(ctx))
    };
    let prepare = Function::new(ctx.clone(), prepare)?;
    setter.call::<_, ()>((This(class), prepare))?;
    ctx.store_userdata(setter)
        .map(|_| ())
        .map_err(|_| rquickjs::Error::Unknown)
}

/// Whether the script has no time left.
fn is_over(slot: &ScriptSlot) -> bool {
    let script = slot.try_borrow();
    script.is_ok_and(|script| script.as_ref().is_some_and(|script| script.timed_out))
}

/// Takes the function away, so that the engine does not ignore the end of the script again.
fn end_watch<'js>(ctx: &Ctx<'js>, class: &Value<'js>) {
    let Some(setter) = ctx.userdata::<Function<'js>>() else {
        return;
    };
    // The first call can be stopped by the engine, the second one cannot.
    for _ in 0..2 {
        let none = Value::new_undefined(ctx.clone());
        match setter.call::<_, ()>((This(class.clone()), none)) {
            Ok(()) => return,
            Err(_) => drop(ctx.catch()),
        }
    }
}

/// A place in a stack.
struct Frame {
    function: Option<String>,
    /// None in a function of the language.
    place: Option<(String, Option<(u32, u32)>)>,
    /// Whether it is the place of an error of the syntax.
    is_parsed: bool,
}

/// The stack of an error as the engine writes it. `None` if it cannot be made.
fn stack_of<'js>(
    ctx: &Ctx<'js>,
    slot: &ScriptSlot,
    error: Option<Value<'js>>,
    sites: Option<Value<'js>>,
) -> Option<Value<'js>> {
    let sites = Array::from_value(sites?).ok()?;
    let mut text = String::new();
    let mut frames = Vec::with_capacity(sites.len());
    for site in sites.iter::<Object<'js>>() {
        let frame = read_frame(&site.ok()?).ok()?;
        write_frame(&mut text, &frame);
        frames.push(frame);
    }
    let stack = rquickjs::String::from_str(ctx.clone(), &text).ok()?;
    if let Some(error) = error.and_then(Value::into_object) {
        // The message of the engine stays if it cannot be changed.
        if rewrite(slot, &error, &frames).is_err() {
            ctx.catch();
        }
    }
    Some(stack.into_value())
}

fn read_frame(site: &Object<'_>) -> Result<Frame> {
    let read = |name: &str| {
        let method: Function<'_> = site.get(name)?;
        method.call::<_, Value<'_>>((This(site.clone()),))
    };
    let file = match read("isNative")?.as_bool() {
        Some(true) => None,
        _ => text_of(&read("getFileName")?),
    };
    let place = match file {
        None => None,
        Some(file) => {
            let number = |value: Value<'_>| value.as_int().and_then(|n| u32::try_from(n).ok());
            let line = number(read("getLineNumber")?);
            let column = number(read("getColumnNumber")?);
            Some((file, line.zip(column)))
        }
    };
    Ok(Frame {
        function: text_of(&read("getFunctionName")?),
        is_parsed: place.is_some() && read("getFunction")?.is_null(),
        place,
    })
}

/// The text of a value; `None` if it is no text, or one that is no Unicode.
fn text_of(value: &Value<'_>) -> Option<String> {
    value.as_string().and_then(|text| text.to_string().ok())
}

fn write_frame(text: &mut String, frame: &Frame) {
    let name = frame.function.as_deref().unwrap_or("<anonymous>");
    let mut place = String::new();
    match &frame.place {
        None => place.push_str("native"),
        Some((file, None)) => place.push_str(file),
        Some((file, Some((line, column)))) => {
            // Writing to a text does not fail.
            let _ = write!(place, "{file}:{line}:{column}");
        }
    }
    let _ = match frame.is_parsed {
        true => writeln!(text, "    at {place}"),
        false => writeln!(text, "    at {name} ({place})"),
    };
}

/// Gives an error of the engine in a file of the script the message of Rhino.
fn rewrite(slot: &ScriptSlot, error: &Object<'_>, frames: &[Frame]) -> Result<()> {
    const MESSAGE: &str = "message";
    if !error.is_error() {
        return Ok(());
    }
    let found = frames.iter().enumerate().find_map(|(at, frame)| {
        let (file, place) = frame.place.as_ref()?;
        Some((at, file, (*place)?))
    });
    let Some((at, file, (line, column))) = found else {
        return Ok(());
    };
    // Those that scripts make are made in a file of the engine.
    if file.starts_with(library::FILE_PREFIX) {
        return Ok(());
    }
    let mut names = error.own_keys::<String>(Filter::new().string());
    if !names.any(|name| name.is_ok_and(|name| name == MESSAGE)) {
        return Ok(());
    }
    let Some(message) = text_of(&error.get(MESSAGE)?) else {
        return Ok(());
    };
    let thrown = EngineError {
        file: file.clone(),
        line,
        column,
        message,
        is_in_native: at > 0,
        is_of_syntax: at == 0 && frames.first().is_some_and(|frame| frame.is_parsed),
    };
    let message = match slot.try_borrow_mut() {
        Ok(mut slot) => slot
            .as_mut()
            .and_then(|script| script.error_message(thrown)),
        Err(_) => None,
    };
    match message {
        Some(message) => error.prop(
            MESSAGE,
            rquickjs::object::Property::from(message)
                .writable()
                .configurable(),
        ),
        None => Ok(()),
    }
}
