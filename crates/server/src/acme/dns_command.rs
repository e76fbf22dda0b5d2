//! The command of the operator that sets and removes records of the name system.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::AcmeError;

/// The time that one call may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The part of its error output that is shown.
const SHOWN_BYTES: u64 = 2048;

/// The only variable of its environment.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A TXT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TxtRecord {
    /// The name, without a final dot.
    pub(super) name: String,
    /// The value.
    pub(super) value: String,
}

/// The change of a record that the command is called for.
#[derive(Debug, Clone, Copy)]
pub(super) enum RecordChange {
    Add,
    Remove,
}

/// Calls the command for a record.
///
/// # Errors
/// [`AcmeError::Command`] if it cannot be started, fails, or takes longer than 120 seconds.
pub(super) async fn call(
    command: &Path,
    change: RecordChange,
    record: &TxtRecord,
) -> Result<(), AcmeError> {
    let failed = |reason: String| AcmeError::Command {
        command: command.to_owned(),
        reason,
    };
    let verb = match change {
        RecordChange::Add => "add",
        RecordChange::Remove => "remove",
    };
    let child = Command::new(command)
        .args([verb, &record.name, &record.value])
        .env_clear()
        .env("PATH", PATH)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    let mut child = child.map_err(|error| failed(error.to_string()))?;
    let errors = child.stderr.take();
    let reading = async {
        let mut shown = Vec::new();
        if let Some(mut errors) = errors {
            let _ = (&mut errors)
                .take(SHOWN_BYTES)
                .read_to_end(&mut shown)
                .await;
            // It must not wait for somebody who reads the rest.
            let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
        }
        shown
    };
    let run = async { tokio::join!(child.wait(), reading) };
    let (status, shown) = tokio::time::timeout(TIMEOUT, run)
        .await
        .map_err(|_| failed(format!("took longer than {} s", TIMEOUT.as_secs())))?;
    let status = status.map_err(|error| failed(error.to_string()))?;
    if status.success() {
        return Ok(());
    }
    let shown: String = String::from_utf8_lossy(&shown)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    Err(failed(format!(
        "{verb} {}: {status} {}",
        record.name,
        shown.trim()
    )))
}
