//! A replay through three nodes while another one runs. Both need the port of the recordings, so it gets a network of its own.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::REPLAY_TIMEOUT;
use crate::TaskResult;
use crate::child_process::{ChildProcess, TempFolder};

/// Runs a program in a new network that has a loopback interface only.
const IN_OWN_NETWORK: [&str; 5] = [
    "--net",
    "sh",
    "-c",
    "ip link set lo up && exec \"$@\"",
    "sh",
];

/// A replay that runs in the background. Its output is shown at its end.
pub(crate) struct BackgroundReplay {
    process: ChildProcess,
    output: PathBuf,
    _folder: TempFolder,
}

impl BackgroundReplay {
    /// Starts a replay of the test classes that begin with one of the prefixes. `None` if this user may not make networks.
    ///
    /// # Errors
    /// A message if it cannot be started.
    pub(crate) fn start(class_prefixes: &[&str]) -> TaskResult<Option<Self>> {
        let mut probe = Command::new("unshare");
        probe.args(IN_OWN_NETWORK).arg("true");
        probe.stdout(Stdio::null()).stderr(Stdio::null());
        if !probe.status().is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let failed = |error: std::io::Error| format!("cannot start a replay: {error}");
        let folder = TempFolder::new("background-replay")?;
        let output = folder.path().join("output");
        let stdout = std::fs::File::create(&output).map_err(failed)?;
        let stderr = stdout.try_clone().map_err(failed)?;
        let mut command = Command::new("unshare");
        command
            .args(IN_OWN_NETWORK)
            // This program also if its file was replaced since, as by the build of the tests.
            .arg(format!("/proc/{}/exe", std::process::id()))
            .args(["conformance", "--nodes"])
            .args(class_prefixes)
            .stdout(stdout)
            .stderr(stderr);
        Ok(Some(Self {
            process: ChildProcess::start(&mut command)?,
            output,
            _folder: folder,
        }))
    }

    /// Waits for its end, and shows its output.
    ///
    /// # Errors
    /// A message if it failed, or does not end.
    pub(crate) fn end(self) -> TaskResult {
        let status = self.process.wait_at_most(REPLAY_TIMEOUT);
        let output = std::fs::read_to_string(&self.output).unwrap_or_default();
        println!("\n$ replay through three nodes, in the background\n{output}");
        match status {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(format!("the replay through three nodes: {status}")),
            None => Err(format!("the replay did not end within {REPLAY_TIMEOUT:?}")),
        }
    }
}
