//! The set-up of the recorded exchanges: some 1,240 requests one after the other, 100 of which hash a password.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Bench, middle};
use crate::process::{Running, free_port};
use crate::report::{Bound, Section};
use crate::{Outcome, floor};

const HASHES: &str = "100";
/// The recordings hold addresses with this port; with another one some requests are refused.
const RECORDED_PORT: u16 = 9998;
/// Runs the replayer with its arguments, and prints the processor time that it took itself as the last line.
const TIMED: &str = "import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit:
    pass
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)";
/// Begins no class, so that the replayer stops after the set-up.
const NO_CLASS: &str = "no-class";

/// One set-up: seconds, those of the replayer itself, and what it said.
struct SetUp {
    seconds: f64,
    own: f64,
    said: String,
}

pub(super) async fn run(bench: &Bench) -> Outcome<Section> {
    let recordings = std::fs::canonicalize(&bench.options.recordings)
        .map_err(|e| format!("no recordings: {e}"))?;
    let (mut ours, mut own, mut least, mut said) =
        (Vec::new(), Vec::new(), Vec::new(), String::new());
    for run in 0..bench.options.runs {
        let done = set_up(
            bench,
            &recordings,
            &bench.scratch.join(format!("fixture{run}")),
        )?;
        ours.push(done.seconds);
        own.push(done.own);
        said = done.said;
        let row = floor::run(&[
            "hash-row".to_owned(),
            "--count".to_owned(),
            HASHES.to_owned(),
        ])?;
        least.push(floor::figure(&row, "seconds")?);
    }
    let (ours, own, least) = (middle(ours), middle(own), middle(least));
    let mut section = Section::new("fixture");
    section.demand(
        format!("seconds of the set-up ({ours:.2} less {own:.2} of the replayer's own) over its {HASHES} hashes alone ({least:.2})"),
        (ours - own) / least,
        Bound::AtMost,
        1.5,
    );
    section.notes.push(format!(
        "{said}; client and unit take turns, so the client's own processor time can be taken off"
    ));
    Ok(section)
}

fn set_up(bench: &Bench, recordings: &Path, folder: &Path) -> Outcome<SetUp> {
    let port = if std::net::TcpListener::bind(("127.0.0.1", RECORDED_PORT)).is_ok() {
        RECORDED_PORT
    } else {
        free_port()?
    };
    let mut command = Command::new(&bench.options.server);
    command
        .arg("serve")
        .arg("--config")
        .arg(recordings.join("unit.properties"))
        .arg("--data")
        .arg(folder);
    command
        .args(["--port", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let (_unit, _) = Running::start(&mut command, port)?;
    let began = Instant::now();
    let out = Command::new("python3")
        .args(["-c", TIMED])
        .arg(recordings.join("replay"))
        .args(["--target", &format!("http://localhost:{port}/"), NO_CLASS])
        .output()
        .map_err(|e| format!("cannot run the replayer: {e}"))?;
    let seconds = began.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let own = text
        .lines()
        .last()
        .and_then(|l| l.parse().ok())
        .ok_or("the replayer did not end well")?;
    let said = text
        .lines()
        .find(|l| l.starts_with("setup:"))
        .ok_or("the replayer made no set-up")?;
    Ok(SetUp {
        seconds,
        own,
        said: format!("{said}, on port {port}"),
    })
}
