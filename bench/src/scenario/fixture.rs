//! The set-up of the recorded exchanges: about 1,240 requests one after the other, 100 of which hash a password.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use personium_testkit::free_port;

use super::BenchContext;
use crate::load::median_of;
use crate::report::{Bound, Section};
use crate::server_process::ServerProcess;
use crate::{BenchResult, baseline};

/// The number of passwords that the set-up hashes.
const HASHES: &str = "100";
/// The port in the URLs of the recordings; with another one some requests are refused.
const RECORDED_PORT: u16 = 9998;
/// Runs the replayer with its arguments. The last line that it prints is the replayer's own processor time in seconds.
const TIMED_REPLAYER: &str = "import resource, runpy, sys
sys.argv = sys.argv[1:]
try:
    runpy.run_path(sys.argv[0], run_name='__main__')
except SystemExit:
    pass
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)";
/// A prefix that no test class has, so that the replayer stops after the set-up.
const NO_CLASS: &str = "no-class";

/// A measured set-up.
struct SetupRun {
    seconds: f64,
    /// The processor time of the replayer.
    replayer_secs: f64,
    /// The line in which the replayer reports the set-up.
    summary: String,
}

pub(super) async fn run(context: &BenchContext) -> BenchResult<Section> {
    let recordings = std::fs::canonicalize(&context.options.recordings)
        .map_err(|error| format!("no recordings: {error}"))?;
    let (mut totals, mut replayers, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    let mut summary = String::new();
    for run in 0..context.options.runs {
        let folder = context.scratch.join(format!("fixture{run}"));
        let setup = set_up(context, &recordings, &folder)?;
        totals.push(setup.seconds);
        replayers.push(setup.replayer_secs);
        summary = setup.summary;
        let printed = baseline::run(&["hash-sequence", "--count", HASHES])?;
        hashes.push(baseline::number(&printed, "seconds")?);
    }
    let (total, replayer) = (median_of(totals), median_of(replayers));
    let hashes = median_of(hashes);
    let mut section = Section::new("fixture");
    section.require(
        format!("seconds of the set-up ({total:.2} less {replayer:.2} of the replayer) over its {HASHES} hashes alone ({hashes:.2})"),
        (total - replayer) / hashes,
        Bound::AtMost,
        1.5,
    );
    section.note(format!(
        "{summary}; client and unit work alternately, so the client's processor time can be subtracted"
    ));
    Ok(section)
}

fn set_up(context: &BenchContext, recordings: &Path, folder: &Path) -> BenchResult<SetupRun> {
    let port = if std::net::TcpListener::bind(("127.0.0.1", RECORDED_PORT)).is_ok() {
        RECORDED_PORT
    } else {
        free_port()
    };
    let mut command = Command::new(&context.options.server);
    command
        .arg("serve")
        .arg("--config")
        .arg(recordings.join("unit.properties"))
        .arg("--data")
        .arg(folder)
        .args(["--port", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _unit = ServerProcess::start(&mut command, port)?;
    let start = Instant::now();
    let output = Command::new("python3")
        .args(["-c", TIMED_REPLAYER])
        .arg(recordings.join("replay"))
        .args(["--target", &format!("http://localhost:{port}/"), NO_CLASS])
        .output()
        .map_err(|error| format!("cannot run the replayer: {error}"))?;
    let seconds = start.elapsed().as_secs_f64();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let replayer_secs = text
        .lines()
        .last()
        .and_then(|line| line.parse().ok())
        .ok_or("the replayer failed")?;
    let summary = text
        .lines()
        .find(|line| line.starts_with("setup:"))
        .ok_or("the replayer reported no set-up")?;
    Ok(SetupRun {
        seconds,
        replayer_secs,
        summary: format!("{summary}, on port {port}"),
    })
}
