//! Floors: the least that any server would have to do for the same work, each as a process of its own.

pub(crate) mod body_writes;
pub(crate) mod document_server;
pub(crate) mod hashes;
pub(crate) mod record_writes;
pub(crate) mod web_server;

use std::process::Command;

use serde_json::Value;

use crate::Outcome;

/// Runs a floor that ends by itself and prints one line of JSON.
///
/// # Errors
/// When it fails or prints something else.
pub(crate) fn run(arguments: &[String]) -> Outcome<Value> {
    let program = std::env::current_exe().map_err(|e| format!("cannot find myself: {e}"))?;
    let out = Command::new(program)
        .arg("floor")
        .args(arguments)
        .output()
        .map_err(|e| format!("cannot start a floor: {e}"))?;
    if !out.status.success() {
        return Err(format!(
            "floor {} failed: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&out.stderr)
        ));
    }
    serde_json::from_slice(&out.stdout)
        .map_err(|e| format!("floor {} printed no figures: {e}", arguments.join(" ")))
}

/// A number out of what a floor printed.
///
/// # Errors
/// When it is not there.
pub(crate) fn figure(figures: &Value, name: &str) -> Outcome<f64> {
    figures
        .get(name)
        .and_then(Value::as_f64)
        .ok_or_else(|| format!("a floor printed no {name}"))
}

/// Processor time of this process so far, in microseconds.
pub(crate) fn own_cpu_micros() -> f64 {
    crate::process::Watched::this()
        .cpu()
        .map_or(0.0, |d| d.as_secs_f64() * 1e6)
}
