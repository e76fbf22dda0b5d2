//! Components: read from files, checked and compiled.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Weak, mpsc};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use personium_operator_files::read_trusted_file;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::contract::{Contract, interface};
use crate::settings::Grant;

/// The largest size of a component in bytes.
const MAX_COMPONENT_BYTES: u64 = 32 << 20;
/// The largest size of compiled code in bytes.
const MAX_COMPILED_BYTES: usize = 256 << 20;
/// The time that the compiler may take.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);
/// The stack of the compiler in bytes.
const COMPILE_STACK_BYTES: usize = 8 << 20;
/// The largest length of a text of the compiler in characters.
const MAX_REASON_CHARS: usize = 500;
/// The beginning of every binary of WebAssembly.
const MAGIC: &[u8] = b"\0asm";
/// The next bytes of a component: the version and the layer of the binary format.
const COMPONENT_LAYER: &[u8] = &[0x0d, 0, 1, 0];

type Hash = [u8; 32];

/// Compiles components. One that is still used somewhere is not compiled again.
pub(crate) struct Compiler {
    engine: Engine,
    compiled: Mutex<HashMap<Hash, Weak<CompiledComponent>>>,
    /// Components that took too long.
    too_slow: Mutex<HashSet<Hash>>,
}

/// A compiled component.
pub(crate) struct CompiledComponent(pub(crate) Component);

impl Compiler {
    /// A compiler for this engine.
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            engine,
            compiled: Mutex::default(),
            too_slow: Mutex::default(),
        }
    }

    /// Reads and compiles the component in a file. The thread waits for it.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn compile_file(&self, path: &Path) -> Result<Arc<CompiledComponent>, String> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let bytes = read_trusted_file(path, MAX_COMPONENT_BYTES);
        let bytes = bytes.map_err(|reason| format!("{name}: {reason}"))?;
        self.compile(bytes)
            .map_err(|reason| format!("{name}: {reason}"))
    }

    fn compile(&self, bytes: Vec<u8>) -> Result<Arc<CompiledComponent>, String> {
        check_header(&bytes)?;
        let mut hash = Hash::default();
        hash.copy_from_slice(digest(&SHA256, &bytes).as_ref());
        let found = self.compiled.lock().get(&hash).and_then(Weak::upgrade);
        if let Some(found) = found {
            return Ok(found);
        }
        let too_slow = || format!("compiling takes more than {COMPILE_TIMEOUT:?}");
        if self.too_slow.lock().contains(&hash) {
            return Err(too_slow());
        }
        let (sender, receiver) = mpsc::channel();
        let engine = self.engine.clone();
        thread::Builder::new()
            .name("plugin-compiler".to_owned())
            .stack_size(COMPILE_STACK_BYTES)
            .spawn(move || {
                // If nobody waits any more, the component is dropped.
                let _ = sender.send(Component::from_binary(&engine, &bytes));
            })
            .map_err(|error| error.to_string())?;
        let component = match receiver.recv_timeout(COMPILE_TIMEOUT) {
            Ok(Ok(component)) => component,
            Ok(Err(error)) => return Err(reason(&error)),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.too_slow.lock().insert(hash);
                return Err(too_slow());
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err("the compiler failed".to_owned());
            }
        };
        let range = component.image_range();
        if range.end.addr() - range.start.addr() > MAX_COMPILED_BYTES {
            return Err(format!(
                "its compiled code has more than {MAX_COMPILED_BYTES} bytes"
            ));
        }
        let component = Arc::new(CompiledComponent(component));
        let mut compiled = self.compiled.lock();
        compiled.retain(|_, component| component.strong_count() > 0);
        compiled.insert(hash, Arc::downgrade(&component));
        Ok(component)
    }
}

impl CompiledComponent {
    /// Checks what it exports, and that it imports nothing that is not granted.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn check<C: Contract>(&self, grants: &[Grant]) -> Result<(), String> {
        let engine = self.0.engine();
        let component = self.0.component_type();
        let mut exports = component.exports(engine);
        if !exports.any(|(name, _)| interface::<C>(name) == Some(C::EXPORT)) {
            return Err(format!(
                "it does not export {}{}@1.0.0, which docs/plugins.md describes",
                C::PACKAGE,
                C::EXPORT
            ));
        }
        for (name, _) in component.imports(engine) {
            match interface::<C>(name).and_then(Grant::parse) {
                Some(grant) if grants.contains(&grant) => {}
                Some(_) => return Err(format!("it imports {name}, which grants does not name")),
                None => {
                    let name: String = name.chars().take(MAX_REASON_CHARS).collect();
                    return Err(format!(
                        "it imports {name:?}, which plugins cannot have; docs/plugins.md lists what they can"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn check_header(bytes: &[u8]) -> Result<(), String> {
    match bytes.strip_prefix(MAGIC) {
        Some(rest) if rest.starts_with(COMPONENT_LAYER) => Ok(()),
        Some(_) => Err(
            "it is a module of WebAssembly, not a component; docs/plugins.md says how to make one of it"
                .to_owned(),
        ),
        None => Err("it is no component of WebAssembly".to_owned()),
    }
}

/// The text of an error of the engine, which may contain texts of the component.
pub(crate) fn reason(error: &wasmtime::Error) -> String {
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    format!("{error:#}")
        .chars()
        .take(MAX_REASON_CHARS)
        .map(shown)
        .collect()
}
