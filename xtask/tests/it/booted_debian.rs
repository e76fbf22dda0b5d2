//! A Debian system that is booted in a container, with systemd as its first process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The release of Debian.
const RELEASE: &str = "bookworm";

/// The time that something may take in the system.
const TIMEOUT: Duration = Duration::from_secs(300);

/// The files of a system, which can be booted again and again.
pub struct DebianFiles(TempDir);

/// A system that runs. Dropping it ends it.
pub struct BootedDebian {
    container: Child,
    /// The first process of the system.
    first: u32,
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

/// Runs a program that must succeed.
pub fn expect(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    text(&output)
}

/// Waits until a condition holds.
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + TIMEOUT;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The folder of a minimal system, which is made once and kept in the user's cache folder.
fn base() -> PathBuf {
    let home = std::env::var_os("HOME").expect("HOME is set");
    let cache = Path::new(&home).join(".cache/personium-tests");
    fs::create_dir_all(&cache).unwrap();
    let base = cache.join(format!("debian-{RELEASE}"));
    let lock = File::create(cache.join("debian.lock")).unwrap();
    lock.lock().unwrap();
    if !base.exists() {
        let new = base.with_extension("new");
        let _ = fs::remove_dir_all(&new);
        expect(
            Command::new("debootstrap")
                .args([
                    "--variant=minbase",
                    "--include=systemd,systemd-sysv,dbus,ca-certificates,openssl",
                ])
                .arg(RELEASE)
                .arg(&new),
        );
        fs::rename(&new, &base).unwrap();
    }
    base
}

impl DebianFiles {
    /// A system in a temporary folder. Needs to be root.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        expect(Command::new("cp").arg("-a").arg(base()).arg(&root));
        Self(folder)
    }

    /// The path of a file of the system.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("root").join(name)
    }

    /// Boots the system.
    pub fn boot(&self) -> BootedDebian {
        let log = File::create(self.0.path().join("console")).unwrap();
        let mut command = Command::new("systemd-nspawn");
        command
            .args([
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--boot",
            ])
            .arg("--machine=unit")
            .arg("--console=pipe")
            .arg("-D")
            .arg(self.path(""))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        let mut container = command.spawn().unwrap();
        let mut first = None;
        wait_until("the system has a first process", || {
            let ended = container.try_wait().unwrap();
            let console = || fs::read_to_string(self.0.path().join("console"));
            assert!(ended.is_none(), "the container ended: {:?}", console());
            first = child_of(container.id());
            first.is_some()
        });
        let system = BootedDebian {
            container,
            first: first.unwrap(),
        };
        wait_until("the system is booted", || {
            let (_, state) = system.run("systemctl is-system-running");
            matches!(state.trim(), "running" | "degraded")
        });
        system
    }
}

/// The id of a child process.
fn child_of(parent: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

impl BootedDebian {
    fn enter(&self, namespaces: &[&str], program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--target", &self.first.to_string()])
            .args(namespaces)
            .arg("--")
            .arg(program)
            .stdin(Stdio::null());
        command
    }

    /// Runs a shell script in the system. Returns whether it succeeded, and its output.
    pub fn run(&self, script: &str) -> (bool, String) {
        let all = ["--mount", "--uts", "--ipc", "--net", "--pid"];
        let mut command = self.enter(&all, "/bin/sh");
        command
            .args(["-c", script])
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DEBIAN_FRONTEND", "noninteractive");
        let output = command.output().unwrap();
        (output.status.success(), text(&output))
    }

    /// As [`Self::run`], for a script that must succeed.
    pub fn expect(&self, script: &str) -> String {
        let (succeeded, text) = self.run(script);
        assert!(succeeded, "{script}: {text}");
        text
    }

    /// A command of this machine that uses the network of the system.
    pub fn on_its_network(&self, program: &str) -> Command {
        self.enter(&["--net"], program)
    }
}

impl Drop for BootedDebian {
    fn drop(&mut self) {
        // With its first process, all others of the system end.
        let _ = Command::new("kill")
            .args(["-KILL", &self.first.to_string()])
            .status();
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until && matches!(self.container.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.container.kill();
        let _ = self.container.wait();
    }
}
