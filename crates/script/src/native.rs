//! The functions of the server that the JavaScript of the engine calls.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rquickjs::context::EvalOptions;
use rquickjs::function::IntoJsFunc;
use rquickjs::object::{AsProperty, Property};
use rquickjs::{ArrayBuffer, Atom, Ctx, Exception, Function, Object, Result, Value, qjs};

use crate::aws_signature::SignedPost;
use crate::error_stacks;
use crate::host::{HostError, HostErrorKind, LogLevel};
use crate::library;
use crate::output::ResponseHead;
use crate::running_script::{ReceivedBody, RunningScript, ScriptSlot, SentHead};
use crate::text_encoding;

/// The largest headers of a response as JSON, in bytes.
pub(crate) const HEADERS_MAX_BYTES: usize = 64 << 10;

/// The longest line that a script may log, in bytes.
const LOG_LINE_MAX_BYTES: usize = 8 << 10;

/// The header of a response that the library reads of each.
const VERSION: &str = "x-personium-version";

/// The functions under construction.
struct Functions<'js> {
    ctx: Ctx<'js>,
    object: Object<'js>,
    slot: ScriptSlot,
}

/// The object with the functions that every script needs, for the script in a slot. Its function `more` adds those of a part of the
/// library to an object. `put` and `putAccessor` define properties without descriptors, which cost more than the properties.
///
/// # Errors
/// No memory.
pub(crate) fn object<'js>(ctx: &Ctx<'js>, slot: &ScriptSlot) -> Result<Object<'js>> {
    let functions = Functions {
        ctx: ctx.clone(),
        object: Object::new(ctx.clone())?,
        slot: slot.clone(),
    };
    functions.add_library()?;
    functions.add("put", put)?;
    functions.add("putAccessor", put_accessor)?;
    let watched = slot.clone();
    functions.add(
        "watchErrors",
        move |ctx: Ctx<'js>, class: Object<'js>, setter: Function<'js>| {
            error_stacks::watch(&ctx, &watched, class, setter)
        },
    )?;
    let slot = slot.clone();
    let more = move |ctx: Ctx<'js>, object: Object<'js>, part: String| {
        let functions = Functions {
            ctx,
            object,
            slot: slot.clone(),
        };
        match part.as_str() {
            "output" => functions.add_output()?,
            "methods" => functions.add("putMethods", put_methods)?,
            "send" => functions.add_send()?,
            "calls" => functions.add_calls()?,
            "log" => functions.add_log()?,
            "streams" => functions.add_streams()?,
            "texts" => functions.add_texts()?,
            "sources" => functions.add_sources()?,
            _ => {}
        }
        Ok::<_, rquickjs::Error>(functions.object)
    };
    functions.add("more", more)?;
    Ok(functions.object)
}

/// The options for sources of scripts.
pub(crate) fn sloppy(file: String) -> EvalOptions {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(file);
    options
}

/// Throws a failure of the host.
fn throw(ctx: &Ctx<'_>, error: &HostError) -> rquickjs::Error {
    match Exception::from_message(ctx.clone(), &error.message) {
        Ok(exception) => match exception.as_object().set("code", error.kind.as_str()) {
            Ok(()) => exception.throw(),
            Err(failure) => failure,
        },
        Err(failure) => failure,
    }
}

fn caught<T>(ctx: &Ctx<'_>, outcome: std::result::Result<T, HostError>) -> Result<T> {
    outcome.map_err(|error| throw(ctx, &error))
}

/// Does something with the running script.
pub(crate) fn with<T>(
    ctx: &Ctx<'_>,
    slot: &ScriptSlot,
    act: impl FnOnce(&mut RunningScript) -> std::result::Result<T, HostError>,
) -> Result<T> {
    let outcome = match slot.try_borrow_mut() {
        Ok(mut slot) => match slot.as_mut() {
            Some(script) => act(script),
            None => Err(ended()),
        },
        Err(_) => Err(ended()),
    };
    caught(ctx, outcome)
}

fn ended() -> HostError {
    HostError::new(HostErrorKind::Internal, "no script runs")
}

impl<'js> Functions<'js> {
    fn add<P>(&self, name: &str, function: impl IntoJsFunc<'js, P> + 'js) -> Result<()> {
        let function = Function::new(self.ctx.clone(), function)?;
        self.object.set(name, function)
    }

    fn add_send(&self) -> Result<()> {
        let slot = self.slot.clone();
        let send = move |ctx: Ctx<'js>,
                         answer: Object<'js>,
                         head: String,
                         url: String,
                         headers: u32,
                         body: String,
                         takes_text: bool| {
            let received = with(&ctx, &slot, |script| {
                let invalid = || HostError::new(HostErrorKind::Argument, "invalid request");
                let head = SentHead::read(&head, url, headers).ok_or_else(invalid)?;
                script.send(head, body, takes_text)
            })?;
            let lines = serde_json::to_string(&received.headers);
            answer.set("lines", lines.unwrap_or_default())?;
            answer.set("status", received.status)?;
            if let Some(version) = received.header(VERSION) {
                answer.set("version", version)?;
            }
            match received.body {
                ReceivedBody::Stream(handle) => answer.set("handle", handle),
                ReceivedBody::Text(text) => answer.set("body", text),
            }
        };
        self.add("send", send)
    }

    fn add_calls(&self) -> Result<()> {
        let slot = self.slot.clone();
        self.add("sendMail", move |ctx: Ctx<'js>, mail: String| {
            with(&ctx, &slot, |script| {
                let invalid = |_| HostError::new(HostErrorKind::Argument, "invalid mail");
                script.send_mail(serde_json::from_str(&mail).map_err(invalid)?)
            })
        })?;
        let slot = self.slot.clone();
        self.add("callExtension", move |ctx: Ctx<'js>, call: String| {
            with(&ctx, &slot, |script| {
                let invalid = |_| HostError::new(HostErrorKind::Argument, "invalid call");
                let value = script.call_extension(serde_json::from_str(&call).map_err(invalid)?)?;
                serde_json::to_string(&value).map_err(invalid)
            })
        })?;
        let slot = self.slot.clone();
        self.add("tokenOfService", move |ctx: Ctx<'js>, cell_url: String| {
            with(&ctx, &slot, |script| {
                let host = std::sync::Arc::clone(&script.host);
                script.wait(async move { host.service_token(&cell_url).await })
            })
        })?;
        self.add("signForAws", |ctx: Ctx<'js>, request: String| {
            let invalid = |_| HostError::new(HostErrorKind::Argument, "invalid request");
            let request = serde_json::from_str::<SignedPost>(&request).map_err(invalid);
            Ok::<_, rquickjs::Error>(caught(&ctx, request)?.authorization())
        })
    }

    fn add_log(&self) -> Result<()> {
        let slot = self.slot.clone();
        self.add(
            "log",
            move |ctx: Ctx<'js>, level: String, mut text: String| {
                with(&ctx, &slot, |script| {
                    text.truncate(text.floor_char_boundary(LOG_LINE_MAX_BYTES));
                    script.host.log(LogLevel::of(&level), &text);
                    Ok(())
                })
            },
        )
    }

    fn add_streams(&self) -> Result<()> {
        let slot = self.slot.clone();
        self.add("readBytes", move |ctx: Ctx<'js>, handle: u32, max: f64| {
            let bytes = with(&ctx, &slot, |script| match max < 0.0 {
                true => script.read_all(handle),
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "it is not negative, and saturates"
                )]
                false => script.read_some(handle, max as usize),
            })?;
            ArrayBuffer::new_copy(ctx, &bytes)
        })?;
        let slot = self.slot.clone();
        self.add(
            "readText",
            move |ctx: Ctx<'js>, handle: u32, charset: String| {
                with(&ctx, &slot, |script| {
                    text_encoding::encoding(&charset)?;
                    text_encoding::decode(&script.read_all(handle)?, &charset)
                })
            },
        )?;
        let slot = self.slot.clone();
        self.add(
            "readLine",
            move |ctx: Ctx<'js>, handle: u32, charset: String| {
                let line = with(&ctx, &slot, |script| {
                    text_encoding::encoding(&charset)?;
                    let line = script.read_line(handle)?;
                    line.map(|line| text_encoding::decode(&line, &charset))
                        .transpose()
                })?;
                nullable(&ctx, line)
            },
        )
    }

    fn add_output(&self) -> Result<()> {
        let slot = self.slot.clone();
        self.add(
            "head",
            move |ctx: Ctx<'js>, status: u16, headers: String| {
                with(&ctx, &slot, |script| {
                    let invalid = |_| HostError::new(HostErrorKind::Argument, "invalid headers");
                    if headers.len() > HEADERS_MAX_BYTES {
                        let text = "the headers of the response are too large";
                        return Err(HostError::new(HostErrorKind::TooLarge, text));
                    }
                    let headers = serde_json::from_str(&headers).map_err(invalid)?;
                    script.output.set_head(ResponseHead { status, headers });
                    Ok(())
                })
            },
        )?;
        let slot = self.slot.clone();
        self.add(
            "write",
            move |ctx: Ctx<'js>, text: String, charset: String| {
                with(&ctx, &slot, |script| {
                    let bytes = match charset.as_str() {
                        "utf-8" => text.into_bytes(),
                        other => text_encoding::encode(&text, other)?,
                    };
                    script.write(bytes)
                })
            },
        )?;
        let slot = self.slot.clone();
        self.add("pipe", move |ctx: Ctx<'js>, handle: u32| {
            with(&ctx, &slot, |script| script.pipe(handle))
        })?;
        self.add("hasCharset", |name: String| {
            text_encoding::encoding(&name).is_ok()
        })
    }

    fn add_library(&self) -> Result<()> {
        self.add("library", |ctx: Ctx<'js>, name: String| {
            library::load(&ctx, &name)
        })
    }

    fn add_texts(&self) -> Result<()> {
        self.add("decode", |ctx: Ctx<'js>, bytes: String, charset: String| {
            let decoded = text_encoding::from_binary_text(&bytes)
                .and_then(|bytes| text_encoding::decode(&bytes, &charset));
            caught(&ctx, decoded)
        })?;
        self.add("encode", |ctx: Ctx<'js>, text: String, charset: String| {
            let bytes = caught(&ctx, text_encoding::encode(&text, &charset))?;
            ArrayBuffer::new_copy(ctx, bytes)
        })?;
        self.add(
            "percentDecode",
            |ctx: Ctx<'js>, text: String, charset: String| {
                caught(&ctx, text_encoding::percent_decode(&text, &charset))
            },
        )?;
        self.add("base64", |ctx: Ctx<'js>, bytes: String| {
            let bytes = caught(&ctx, text_encoding::from_binary_text(&bytes))?;
            Ok::<_, rquickjs::Error>(STANDARD.encode(bytes))
        })?;
        self.add("fromBase64", |ctx: Ctx<'js>, text: String| {
            let invalid = |_| HostError::new(HostErrorKind::Argument, "invalid Base64");
            let bytes = caught(&ctx, STANDARD.decode(text).map_err(invalid))?;
            ArrayBuffer::new_copy(ctx, bytes)
        })
    }

    fn add_sources(&self) -> Result<()> {
        let slot = self.slot.clone();
        self.add("readSource", move |ctx: Ctx<'js>, name: String| {
            let text = with(&ctx, &slot, |script| script.read_source(&name))?;
            nullable(&ctx, text)
        })?;
        self.add("evaluate", |ctx: Ctx<'js>, text: String, file: String| {
            ctx.eval_with_options::<Value<'js>, _>(text, sloppy(file))
        })?;
        self.add("lineOf", |stack: String| {
            stack_line(&stack).map_or(1, |(_, line)| line)
        })
    }
}

/// Defines a property that can be written and defined again, as `Object.defineProperty` does.
fn put<'js>(
    ctx: Ctx<'js>,
    object: Object<'js>,
    name: Value<'js>,
    value: Value<'js>,
    is_enumerable: bool,
) -> Result<()> {
    let name = Atom::from_value(ctx, &name)?;
    let property = Property::from(value).writable().configurable();
    match is_enumerable {
        true => object.prop(name, property.enumerable()),
        false => object.prop(name, property),
    }
}

/// Defines a property with a getter and a setter that can be defined again, as `Object.defineProperty` does.
fn put_accessor<'js>(
    object: Object<'js>,
    name: Value<'js>,
    get: Value<'js>,
    set: Value<'js>,
    is_enumerable: bool,
) -> Result<()> {
    let name = Atom::from_value(object.ctx().clone(), &name)?;
    let accessor = AccessorOfFunctions {
        get,
        set,
        is_enumerable,
    };
    object.prop(name, accessor)
}

/// A property with a getter and a setter that are functions of JavaScript.
struct AccessorOfFunctions<'js> {
    get: Value<'js>,
    set: Value<'js>,
    is_enumerable: bool,
}

/// The kind of property that [`AccessorOfFunctions`] is, for [`AsProperty`].
enum FunctionPair {}

impl<'js> AsProperty<'js, FunctionPair> for AccessorOfFunctions<'js> {
    fn config(self, ctx: &Ctx<'js>) -> Result<(i32, Value<'js>, Value<'js>, Value<'js>)> {
        let is_enumerable = match self.is_enumerable {
            true => qjs::JS_PROP_ENUMERABLE,
            false => 0,
        };
        let given = qjs::JS_PROP_HAS_GET
            | qjs::JS_PROP_HAS_SET
            | qjs::JS_PROP_HAS_CONFIGURABLE
            | qjs::JS_PROP_HAS_ENUMERABLE;
        let flags = given | qjs::JS_PROP_CONFIGURABLE | is_enumerable;
        let flags = i32::try_from(flags).unwrap_or_default();
        Ok((flags, Value::new_undefined(ctx.clone()), self.get, self.set))
    }
}

/// Defines properties that are not enumerated, from the members of an object of the library.
fn put_methods<'js>(object: Object<'js>, methods: Object<'js>) -> Result<()> {
    for method in methods.props::<Atom<'js>, Value<'js>>() {
        let (name, function) = method?;
        object.prop(name, Property::from(function).writable().configurable())?;
    }
    Ok(())
}

/// A text, or `null`.
fn nullable<'js>(ctx: &Ctx<'js>, text: Option<String>) -> Result<Value<'js>> {
    match text {
        Some(text) => {
            rquickjs::String::from_str(ctx.clone(), &text).map(rquickjs::String::into_value)
        }
        None => Ok(Value::new_null(ctx.clone())),
    }
}

/// File and line of the first frame of a stack that is in a file of the service: not in the engine, nor in text that the script
/// evaluates, which is called `<input>`.
pub(crate) fn stack_line(stack: &str) -> Option<(&str, u32)> {
    stack.lines().find_map(|frame| {
        let place = frame.trim().trim_end_matches(')');
        let place = place.rsplit_once('(').map_or(place, |(_, place)| place);
        let place = place.strip_prefix("at ").unwrap_or(place);
        let (place, last) = place.rsplit_once(':')?;
        let last: u32 = last.parse().ok()?;
        // A syntax error may have no column.
        let (file, line) = match place.rsplit_once(':') {
            Some((file, line)) if line.parse::<u32>().is_ok() => (file, line.parse().ok()?),
            _ => (place, last),
        };
        let is_a_file = !file.starts_with(library::FILE_PREFIX) && !file.starts_with('<');
        is_a_file.then_some((file, line))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_frame_outside_the_engine_is_found() {
        let stack = "    at send (personium:runtime.js:5:3)\n    at f (my file.js:12:7)\n    at <eval> (my file.js:1:1)\n";
        assert_eq!(stack_line(stack), Some(("my file.js", 12)));
        let evaluated = "    at <anonymous> (<input>:7:1)\n    at f (t.js:4:2)\n";
        assert_eq!(stack_line(evaluated), Some(("t.js", 4)));
        assert_eq!(stack_line("    at t.js:3:9\n"), Some(("t.js", 3)));
        assert_eq!(stack_line("    at t.js:3\n"), Some(("t.js", 3)));
        assert_eq!(stack_line("    at forEach (native)\n"), None);
        assert_eq!(stack_line(""), None);
    }
}
