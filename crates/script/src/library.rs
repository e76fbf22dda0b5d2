//! The JavaScript files of the engine, as bytecode.
//!
//! The files are compiled once in a process, from the texts in it. Bytecode never comes from anywhere else: QuickJS trusts it.

use std::sync::OnceLock;

use rquickjs::loader::Loader;
use rquickjs::loader::bundle::Bundle;
use rquickjs::module::WriteOptions;
use rquickjs::{Context, Ctx, Error, Function, Module, Result, Runtime};

/// The surroundings of a script: the request, the loader of the other files.
pub(crate) const RUNTIME: &str = "runtime.js";

/// The files. Each is an expression whose value is a function.
const FILES: &[(&str, &str)] = &[
    (RUNTIME, include_str!("../js/runtime.js")),
    ("generics.js", include_str!("../js/generics.js")),
    ("messages.js", include_str!("../js/messages.js")),
    ("locale.js", include_str!("../js/locale.js")),
    ("dates.js", include_str!("../js/dates.js")),
    ("matches.js", include_str!("../js/matches.js")),
    ("response.js", include_str!("../js/response.js")),
    ("host.js", include_str!("../js/host.js")),
    ("globals.js", include_str!("../js/globals.js")),
    ("base.js", include_str!("../js/base.js")),
    ("xml.js", include_str!("../js/xml.js")),
    ("access.js", include_str!("../js/access.js")),
    ("grants.js", include_str!("../js/grants.js")),
    ("query.js", include_str!("../js/query.js")),
    ("control.js", include_str!("../js/control.js")),
    ("dav.js", include_str!("../js/dav.js")),
    ("folders.js", include_str!("../js/folders.js")),
    ("acl.js", include_str!("../js/acl.js")),
    ("odata.js", include_str!("../js/odata.js")),
    ("service.js", include_str!("../js/service.js")),
    ("cell.js", include_str!("../js/cell.js")),
    ("java.js", include_str!("../js/java.js")),
    ("extension.js", include_str!("../js/extension.js")),
    ("slack.js", include_str!("../js/slack.js")),
    ("mail.js", include_str!("../js/mail.js")),
    ("aws.js", include_str!("../js/aws.js")),
    ("operated.js", include_str!("../js/operated.js")),
    ("p_util.js", include_str!("../js/p_util.js")),
    ("pjvm.js", include_str!("../js/pjvm.js")),
    ("entry.js", include_str!("../js/entry.js")),
];

/// The beginning of the file names of the engine in stacks.
pub(crate) const FILE_PREFIX: &str = "personium:";

/// Names with bytecode.
type Compiled = &'static [(&'static str, &'static [u8])];

/// The bytecode of the files, which lasts as long as the process.
static COMPILED: OnceLock<std::result::Result<Compiled, String>> = OnceLock::new();

/// Compiles the files, unless this process has done so.
///
/// # Errors
/// A text if that fails.
pub(crate) fn prepare() -> std::result::Result<Compiled, String> {
    let compiled = COMPILED.get_or_init(|| compile().map_err(|error| error.to_string()));
    compiled.clone()
}

/// The function of a file, in a context that has not used it yet.
///
/// # Errors
/// There is none of this name; no memory.
pub(crate) fn load<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Function<'js>> {
    let compiled = prepare().map_err(|_| Error::Unknown)?;
    let module = Bundle(compiled).load(ctx, name, None)?;
    let (module, _) = module.eval()?;
    module.get("default")
}

fn compile() -> Result<Compiled> {
    let runtime = Runtime::new()?;
    let context = Context::full(&runtime)?;
    context.with(|ctx| {
        let compile = |(name, text): &(&'static str, &'static str)| {
            let file = format!("{FILE_PREFIX}{name}");
            let module = Module::declare(ctx.clone(), file, format!("export default {text}"))?;
            let options = WriteOptions {
                strip_source: true,
                ..WriteOptions::default()
            };
            Ok((*name, &*module.write(options)?.leak()))
        };
        let compiled: Vec<_> = FILES.iter().map(compile).collect::<Result<_>>()?;
        Ok(&*compiled.leak())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_function() {
        let runtime = Runtime::new().unwrap();
        let context = Context::full(&runtime).unwrap();
        context.with(|ctx| {
            for (name, _) in FILES {
                assert!(load(&ctx, name).is_ok(), "{name}");
            }
            assert!(load(&ctx, "none.js").is_err());
        });
    }
}
