//! The check of the text of a script, which is not run.

use rquickjs::{CatchResultExt, CaughtError, Context, Runtime};

use crate::native;

/// The memory of a check, in bytes.
const MEMORY_BYTES: usize = 512 << 20;

/// How often the engine may ask whether to go on: seldom while it compiles a text.
const INTERRUPTS_MAX: usize = 100;

/// Returns why the text of a script file cannot be compiled, with file and line; `None` if it can.
///
/// It is compiled as the body of a function that is never called. What a text runs nevertheless, because it ends that function, is stopped
/// soon.
#[must_use]
pub fn find_syntax_error(text: &str, file: &str) -> Option<String> {
    let failed = |error: rquickjs::Error| Some(format!("{file}: {error}"));
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return failed(error),
    };
    runtime.set_memory_limit(MEMORY_BYTES);
    let mut asked = 0;
    runtime.set_interrupt_handler(Some(Box::new(move || {
        asked += 1;
        asked > INTERRUPTS_MAX
    })));
    let context = match Context::full(&runtime) {
        Ok(context) => context,
        Err(error) => return failed(error),
    };
    context.with(|ctx| {
        let source = format!("(function(){{let __personium_checked = {text}\n}})");
        let options = native::sloppy(file.to_owned());
        let compiled: rquickjs::Result<()> = ctx.eval_with_options(source, options);
        let (text, stack) = match compiled.catch(&ctx).err()? {
            CaughtError::Exception(error) => (error.message(), error.stack()),
            other => (Some(other.to_string()), None),
        };
        let text = text.unwrap_or_default();
        Some(match native::stack_line(&stack.unwrap_or_default()) {
            Some((place, line)) if place == file => format!("{file}:{line}: {text}"),
            _ => format!("{file}: {text}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_the_engine_runs_compile_and_others_are_named_with_file_and_line() {
        for text in [
            "function (request) { return { status: 200 }; }",
            "request => ({ status: 200, headers: {}, body: [] }) // the end",
            "async function f(request) { await 1; with (request) { body; } }\nvar helper = 1;",
        ] {
            assert_eq!(find_syntax_error(text, "a.js"), None, "{text}");
        }
        for text in [
            "function (request) {\n  return {{;\n}",
            "\n\nfunction (",
            "function () {}\n;}",
        ] {
            let found = find_syntax_error(text, "a.js").unwrap();
            assert!(found.contains("a.js"), "{found}");
        }
        let found = find_syntax_error("function (request) {\n  return {{;\n}", "a.js").unwrap();
        assert!(found.contains("a.js:2"), "{found}");
        let ended = find_syntax_error("1}); for (;;) {} (function(){", "a.js");
        assert!(ended.unwrap().contains("interrupted"));
    }
}
