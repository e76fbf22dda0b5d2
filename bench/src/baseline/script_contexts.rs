//! The baseline of scripts: a fresh context of QuickJS for each evaluation, and nothing around it.

use std::path::Path;
use std::time::Duration;

use rquickjs::{CatchResultExt, Context, Function, Runtime, Value};

use super::threads::repeated_per_second;
use crate::BenchResult;

/// The request that the script gets.
const REQUEST: &str = "({method: 'GET', queryString: 'a,b,c,d,e', headers: {}, pathInfo: '/'})";

/// Evaluates a file in several threads: an expression whose value is a function, which is called with a request. Returns the number
/// of evaluations per second.
///
/// # Errors
/// A message if the file cannot be read, or its script fails.
pub(crate) fn per_second(file: &Path, threads: u64, duration: Duration) -> BenchResult<f64> {
    let script = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    let script = format!("({script})");
    repeated_per_second(threads, duration, move || evaluate(&script))
}

fn evaluate(script: &str) -> BenchResult {
    let failed = |error: rquickjs::Error| format!("QuickJS: {error}");
    let runtime = Runtime::new().map_err(failed)?;
    let context = Context::full(&runtime).map_err(failed)?;
    context.with(|ctx| {
        let run = || {
            let function: Function<'_> = ctx.eval(script)?;
            let request: Value<'_> = ctx.eval(REQUEST)?;
            let response: Value<'_> = function.call((request,))?;
            let text = ctx.json_stringify(response)?;
            Ok(text.is_some())
        };
        match run().catch(&ctx) {
            Ok(true) => Ok(()),
            Ok(false) => Err("the script returns nothing".to_owned()),
            Err(error) => Err(format!("the script fails: {error}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_evaluated_or_their_failure_named() {
        assert_eq!(evaluate("(function (r) { return {m: r.method}; })"), Ok(()));
        let failure = evaluate("(function (r) { return r.none.none; })").unwrap_err();
        assert!(failure.contains("cannot read property 'none'"), "{failure}");
    }
}
