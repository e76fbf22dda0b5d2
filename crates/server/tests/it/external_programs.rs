//! Clients, identity providers and validators of others: Python, Node and Java programs on the packages that `clients/` pins.
//! `cargo xtask clients` installs those; without them a test fails.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use personium_testkit::{OnDrop, Process};
use serde_json::Value;
use tempfile::TempDir;

/// The folder of the programs. Tests run in the folder of their crate.
fn programs() -> PathBuf {
    std::path::absolute("tests/clients").unwrap()
}

/// The folder of the packages that `cargo xtask clients` installed from a list.
fn packages(name: &str, list: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .unwrap()
        .join("clients")
        .join(name);
    let wanted = std::fs::read(programs().join(list)).unwrap();
    let installed = std::fs::read(folder.join("installed.lock")).unwrap_or_default();
    assert!(
        wanted == installed,
        "the packages of tests/clients/{list} are not installed; run `cargo xtask clients`"
    );
    folder
}

/// The Python packages and the Node packages that make plugins.
pub fn plugin_tools() -> [PathBuf; 2] {
    [
        packages("plugin-tools", "plugin-requirements.txt"),
        packages("plugin-tools-node", "plugins/package-lock.json"),
    ]
}

fn python_command(name: &str, list: &str, program: &str) -> Command {
    let packages = packages(name, list);
    let mut command = Command::new(packages.join("bin/python"));
    command
        .arg(programs().join(program))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

/// Node finds packages beside the program, so both are put into one folder.
fn node_command(program: &str, folder: &TempDir) -> Command {
    let packages = packages("node", "package-lock.json");
    let copy = folder.path().join(program);
    std::fs::copy(programs().join(program), &copy).unwrap();
    symlink(
        packages.join("node_modules"),
        folder.path().join("node_modules"),
    )
    .unwrap();
    let mut command = Command::new("node");
    command.arg(copy);
    command
}

/// Runs a Python program to its end; it must succeed. Returns the JSON of its last line.
pub fn run_python(program: &str, input: &Value) -> Value {
    let mut command = python_command("python", "requirements.txt", program);
    run(program, command.arg(input.to_string()))
}

/// Runs a Node program to its end; it must succeed. Returns the JSON of its last line.
pub fn run_node(program: &str, input: &Value) -> Value {
    let folder = tempfile::tempdir().unwrap();
    run(
        program,
        node_command(program, &folder).arg(input.to_string()),
    )
}

/// Runs a Java program of a folder to its end, on the packages that the folder pins; it must succeed. Returns the JSON of
/// its last line.
pub fn run_java(folder: &str, program: &str, arguments: &[String]) -> Value {
    run(program, java_command(folder, program).args(arguments))
}

/// The command of a Java program of a folder, on the packages that the folder pins.
pub fn java_command(folder: &str, program: &str) -> Command {
    let packages = packages(folder, &format!("{folder}/packages.sha256"));
    let mut command = Command::new("java");
    command
        .arg("--class-path")
        .arg(packages.join("*"))
        .arg(programs().join(folder).join(program));
    command
}

/// Runs a program of `docs/examples` to its end: Python, JavaScript or Java. Returns its last line.
pub fn run_example(program: &str, arguments: &[&str]) -> String {
    let file = std::path::absolute("../../docs/examples")
        .unwrap()
        .join(program);
    let file = file.to_str().unwrap();
    let mut command = match program.rsplit_once('.').unwrap().1 {
        "py" => python_command("python", "requirements.txt", file),
        "mjs" => {
            let mut node = Command::new("node");
            node.arg(file);
            node
        }
        _ => {
            let mut java = Command::new("java");
            java.arg(file);
            java
        }
    };
    let result = command.args(arguments).stdin(Stdio::null()).output();
    let result = result.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let output = String::from_utf8_lossy(&result.stdout);
    let errors = String::from_utf8_lossy(&result.stderr);
    assert!(result.status.success(), "{program}: {output}\n{errors}");
    output.lines().last().unwrap_or_default().to_owned()
}

fn run(program: &str, command: &mut Command) -> Value {
    let result = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let output = String::from_utf8_lossy(&result.stdout);
    assert!(
        result.status.success(),
        "{program}: {}\n{output}\n{}",
        result.status,
        String::from_utf8_lossy(&result.stderr)
    );
    let last = output.lines().last().unwrap_or_default();
    serde_json::from_str(last)
        .unwrap_or_else(|e| panic!("{program} printed no JSON ({e}): {output}"))
}

/// The time that a program may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A Node program that serves. Dropping it ends the program.
pub struct NodeServer {
    _process: Process,
    /// The JSON that the program printed when it listened.
    pub info: Value,
    _folder: TempDir,
}

impl NodeServer {
    /// Starts a program, and waits until it prints a line of JSON.
    pub fn start(program: &str, input: &Value) -> Self {
        // On a busy machine it was seen that Node stopped for ever while it started.
        Self::try_start(program, input)
            .or_else(|_| Self::try_start(program, input))
            .unwrap_or_else(|e| panic!("{program}: {e}"))
    }

    fn try_start(program: &str, input: &Value) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        let mut command = node_command(program, &folder);
        command.arg(input.to_string());
        let (process, info) = serve(&mut command, &folder)?;
        Ok(Self {
            _process: process,
            info,
            _folder: folder,
        })
    }

    /// A text member of the JSON that the program printed.
    pub fn text(&self, name: &str) -> &str {
        self.info[name].as_str().unwrap()
    }

    /// A port of the JSON that the program printed.
    pub fn port(&self, name: &str) -> u16 {
        u16::try_from(self.info[name].as_u64().unwrap()).unwrap()
    }
}

/// Starts a program, and waits until it prints a line of JSON, which is returned. A failure is its log.
fn serve(command: &mut Command, folder: &TempDir) -> Result<(Process, Value), String> {
    let log = folder.path().join("server.log");
    let mut process = Process::spawn(
        command
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap()),
        OnDrop::Kill,
    );
    let stdout = BufReader::new(process.take_stdout().unwrap());
    let (sender, first_line) = mpsc::channel();
    // All output is read, so that the pipe is neither full nor closed if the program prints more.
    std::thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let line = first_line.recv_timeout(START_TIMEOUT);
    let info = line.ok().and_then(|line| serde_json::from_str(&line).ok());
    match info {
        Some(info) => Ok((process, info)),
        None => Err(std::fs::read_to_string(&log).unwrap_or_default()),
    }
}

/// A program on this machine that serves. Dropping it ends the program.
pub struct LocalServer {
    _process: Process,
    info: Value,
    _folder: TempDir,
}

impl LocalServer {
    /// Starts a program, and waits until it prints a line of JSON.
    pub fn start(command: &mut Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let served = serve(command, &folder);
        let (process, info) = served.unwrap_or_else(|e| panic!("{command:?}: {e}"));
        Self {
            _process: process,
            info,
            _folder: folder,
        }
    }

    /// A port of the JSON that the program printed.
    pub fn port(&self, name: &str) -> u16 {
        u16::try_from(self.info[name].as_u64().unwrap()).unwrap()
    }
}

/// A Python program that is a server, on the packages of the mail server. Dropping it ends the program.
pub struct PythonServer {
    _process: Process,
    info: Value,
    _folder: TempDir,
}

impl PythonServer {
    /// Starts a program, and waits until it prints a line of JSON.
    pub fn start(program: &str, input: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = python_command("mail", "mail-requirements.txt", program);
        command.arg(input.to_string());
        let served = serve(&mut command, &folder);
        let (process, info) = served.unwrap_or_else(|e| panic!("{program}: {e}"));
        Self {
            _process: process,
            info,
            _folder: folder,
        }
    }

    /// A port of the JSON that the program printed.
    pub fn port(&self, name: &str) -> u16 {
        u16::try_from(self.info[name].as_u64().unwrap()).unwrap()
    }
}

/// Whether a program is on the path. Prints a note if it is not.
pub fn is_installed(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    if !found {
        println!("SKIPPED: {program} is not installed, so this test shows nothing");
    }
    found
}
