//! Runs the program to its end, and sends signals to running units.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use personium_testkit::ProcessUnit;

/// The time that something may take to appear in a log.
const LOG_TIMEOUT: Duration = Duration::from_secs(30);

/// Runs the program with these arguments.
pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// A command of the program without settings of the environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_personium"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// Checks that a unit does not start with settings, for a reason that names what is wrong.
pub fn expect_refused_start(data: &Path, settings: &[String], reason: &str) {
    let data = data.display().to_string();
    let mut options = vec!["serve", "--data", &data, "-c", "listen=127.0.0.1:0"];
    for setting in settings {
        options.extend(["-c", setting]);
    }
    let output = run(&options);
    let text = text(&output);
    assert!(!output.status.success() && text.contains(reason), "{text}");
}

/// The text that a command wrote to its outputs.
pub fn text(output: &Output) -> String {
    let (stdout, stderr) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(stdout),
        String::from_utf8_lossy(stderr)
    )
}

/// Sends a signal to a process.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// Waits until a text appears in the log of a unit after the first `from` bytes. Returns the log from there on.
pub async fn logged_after(unit: &ProcessUnit, from: usize, text: &str) -> String {
    let until = Instant::now() + LOG_TIMEOUT;
    loop {
        let log = unit.log().get(from..).unwrap_or_default().to_owned();
        if log.contains(text) {
            return log;
        }
        assert!(Instant::now() < until, "no {text:?} in the log: {log}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
