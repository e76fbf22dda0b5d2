//! The set-up of the recorded exchanges: some 1,240 requests one after the other, 100 of which hash a password.

use std::process::{Command, Stdio};
use std::time::Instant;

use super::{Bench, middle};
use crate::process::{Running, free_port};
use crate::report::{Bound, Section};
use crate::{Outcome, floor};

const HASHES: &str = "100";
/// Begins no class, so that the replayer stops after the set-up.
const NO_CLASS: &str = "no-class";

pub(super) async fn run(bench: &Bench) -> Outcome<Section> {
    let recordings = std::fs::canonicalize(&bench.options.recordings)
        .map_err(|e| format!("no recordings: {e}"))?;
    let (mut ours, mut least, mut said) = (Vec::new(), Vec::new(), String::new());
    for run in 0..bench.options.runs {
        let folder = bench.scratch.join(format!("fixture{run}"));
        let port = free_port()?;
        let mut command = Command::new(&bench.options.server);
        command
            .arg("serve")
            .arg("--config")
            .arg(recordings.join("unit.properties"))
            .arg("--data")
            .arg(&folder);
        command
            .args(["--port", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let (unit, _) = Running::start(&mut command, port)?;
        let began = Instant::now();
        let out = Command::new("python3")
            .arg(recordings.join("replay"))
            .args(["--target", &format!("http://localhost:{port}/"), NO_CLASS])
            .output()
            .map_err(|e| format!("cannot run the replayer: {e}"))?;
        ours.push(began.elapsed().as_secs_f64());
        drop(unit);
        said = String::from_utf8_lossy(&out.stdout)
            .lines()
            .find(|l| l.starts_with("setup:"))
            .unwrap_or("no set-up")
            .to_owned();
        let row = floor::run(&[
            "hash-row".to_owned(),
            "--count".to_owned(),
            HASHES.to_owned(),
        ])?;
        least.push(floor::figure(&row, "seconds")?);
    }
    let (ours, least) = (middle(ours), middle(least));
    let mut section = Section::new("fixture");
    section.demand(
        format!("seconds of the set-up ({ours:.2}) over its {HASHES} hashes alone ({least:.2})"),
        ours / least,
        Bound::AtMost,
        1.5,
    );
    section.notes.push(format!(
        "{said}; the time includes the start of the replayer"
    ));
    Ok(section)
}
