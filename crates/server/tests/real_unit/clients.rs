//! Clients, providers and judges that others wrote: Python and Node programs on the packages that `clients/` pins.
//! `cargo xtask clients` installs those; without them a test fails.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part of it"
)]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::process::Scratch;

/// Where the programs are: tests run in the folder of their crate.
fn programs() -> PathBuf {
    std::path::absolute("tests/clients").unwrap()
}

/// A folder that `cargo xtask clients` made out of this list of packages.
fn installed(name: &str, list: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("clients")
        .join(name);
    let wanted = std::fs::read(programs().join(list)).unwrap();
    let there = std::fs::read(folder.join("installed.lock")).unwrap_or_default();
    assert!(
        wanted == there,
        "the packages of tests/clients/{list} are not installed; run `cargo xtask clients`"
    );
    folder
}

fn python_command(program: &str) -> Command {
    let packages = installed("python", "requirements.txt");
    let mut command = Command::new(packages.join("bin/python"));
    command
        .arg(programs().join(program))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Node finds packages beside the program, so both are put into one folder.
fn node_command(program: &str, beside: &Scratch) -> Command {
    let packages = installed("node", "package-lock.json");
    let copy = beside.path().join(program);
    std::fs::copy(programs().join(program), &copy).unwrap();
    symlink(
        packages.join("node_modules"),
        beside.path().join("node_modules"),
    )
    .unwrap();
    let mut command = Command::new("node");
    command.arg(copy);
    command
}

/// Runs a Python program to its end; it must succeed. Gives the JSON of its last line.
pub fn python(program: &str, given: &Value) -> Value {
    finish(program, python_command(program).arg(given.to_string()))
}

/// Runs a Node program to its end; it must succeed. Gives the JSON of its last line.
pub fn node(program: &str, given: &Value) -> Value {
    let beside = Scratch::new("node");
    finish(
        program,
        node_command(program, &beside).arg(given.to_string()),
    )
}

fn finish(program: &str, command: &mut Command) -> Value {
    let out = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(
        out.status.success(),
        "{program}: {}\n{said}\n{}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    let last = said.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{program} said no JSON ({e}): {said}"))
}

/// A Node program that serves. Dropping it ends it.
pub struct Server {
    child: Child,
    /// What it told when it was ready.
    pub told: Value,
    _beside: Scratch,
}

impl Server {
    /// Starts it; it tells a line of JSON as soon as it listens.
    pub fn start(program: &str, given: &Value) -> Self {
        let beside = Scratch::new("node");
        let log = beside.path().join("server.log");
        let mut child = node_command(program, &beside)
            .arg(given.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        // It may say more; nobody listens, but the pipe must not be full or gone.
        std::thread::spawn(move || stdout.lines().for_each(drop));
        let mut server = Self {
            child,
            told: Value::Null,
            _beside: beside,
        };
        server.told = serde_json::from_str(&line).unwrap_or_else(|e| {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            panic!("{program} told no JSON ({e}): {line}\n{log}")
        });
        server
    }

    /// A text out of what it told.
    pub fn text(&self, name: &str) -> &str {
        self.told[name].as_str().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
