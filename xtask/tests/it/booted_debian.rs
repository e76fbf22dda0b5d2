//! A Debian system that is booted in a container, with systemd as its first process.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::test_network::{BRIDGE, TestNetwork};

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

/// The folder of systems that are made once and kept.
fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").expect("HOME is set");
    let cache = Path::new(&home).join(".cache/personium-tests");
    fs::create_dir_all(&cache).unwrap();
    cache
}

/// The folder of a minimal system.
fn minimal() -> PathBuf {
    let cache = cache();
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

/// The packages of a machine that an operator gets: those that Ansible needs on it.
const REACHABLE: &str = "python3 python3-apt openssh-server iproute2";

/// The packages that playbooks install. A system has them as a source of packages in a folder.
const PLAYBOOKS: &str = "ca-certificates chrony logrotate nftables unattended-upgrades nginx-light openssl memcached postgresql-15";

/// The line for the list of sources of a reachable system.
pub const PACKAGE_SOURCE: &str = "deb [trusted=yes] file:/opt/packages ./";

/// The folder of a system that Ansible can use and that needs no network for packages.
fn reachable() -> PathBuf {
    let minimal = minimal();
    let cache = cache();
    let base = cache.join(format!("debian-{RELEASE}-reachable"));
    let lock = File::create(cache.join("debian-reachable.lock")).unwrap();
    lock.lock().unwrap();
    let wanted = format!("{REACHABLE}\n{PLAYBOOKS}\n");
    let list = base.join("opt/packages/list");
    if fs::read_to_string(&list).is_ok_and(|found| found == wanted) {
        return base;
    }
    let new = base.with_extension("new");
    for folder in [&new, &base] {
        let _ = fs::remove_dir_all(folder);
    }
    expect(Command::new("cp").arg("-a").arg(minimal).arg(&new));
    fs::copy("/etc/resolv.conf", new.join("etc/resolv.conf")).unwrap();
    let script = format!(
        "set -e; export DEBIAN_FRONTEND=noninteractive; apt-get update -q; \
         apt-get install -y -q --no-install-recommends {REACHABLE}; apt-get clean; \
         apt-get install -y -q --no-install-recommends --download-only {PLAYBOOKS}; \
         mkdir -p /opt/packages; mv /var/cache/apt/archives/*.deb /opt/packages/; \
         rm -rf /var/lib/apt/lists/*; \
         systemctl enable systemd-networkd.service ssh.service"
    );
    expect(
        Command::new("chroot")
            .env_remove("TMPDIR")
            .arg(&new)
            .args(["/bin/sh", "-c", &script]),
    );
    let packages = new.join("opt/packages");
    let index = Command::new("dpkg-scanpackages")
        .args(["--multiversion", "."])
        .current_dir(&packages)
        .output()
        .unwrap();
    assert!(index.status.success(), "{}", text(&index));
    fs::write(packages.join("Packages"), index.stdout).unwrap();
    fs::write(packages.join("list"), wanted).unwrap();
    fs::rename(&new, &base).unwrap();
    base
}

impl DebianFiles {
    /// A system in a temporary folder. Needs to be root.
    pub fn new() -> Self {
        Self::copy_of(&minimal())
    }

    /// A system with an SSH server that lets the owner of a public key in, at an address such as `172.16.0.11/24` whose gateway is
    /// the first of its network.
    pub fn reachable(address: &str, public_key: &str) -> Self {
        let files = Self::copy_of(&reachable());
        let (network, _) = address.rsplit_once('.').unwrap();
        fs::write(
            files.path("etc/systemd/network/10-host0.network"),
            format!(
                "[Match]\nName=host0\n[Network]\nAddress={address}\nGateway={network}.1\nLinkLocalAddressing=no\n"
            ),
        )
        .unwrap();
        let keys = files.path("root").join(".ssh");
        fs::create_dir_all(&keys).unwrap();
        fs::write(keys.join("authorized_keys"), public_key).unwrap();
        files
    }

    fn copy_of(base: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        expect(Command::new("cp").arg("-a").arg(base).arg(&root));
        Self(folder)
    }

    /// The path of a file of the system.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("root").join(name)
    }

    /// Boots the system without a network.
    pub fn boot(&self) -> BootedDebian {
        let mut command = Command::new("sh");
        command.args(in_own_groups()).args([
            "systemd-nspawn",
            "--private-network",
            "--machine=unit",
        ]);
        self.boot_by(command)
    }

    /// Boots the system on a network, with a name of at most 12 characters.
    pub fn boot_on(&self, network: &TestNetwork, name: &str) -> BootedDebian {
        let mut command = network.command("sh");
        command
            .args(in_own_groups())
            .arg("systemd-nspawn")
            .arg(format!("--network-bridge={BRIDGE}"))
            .arg(format!("--machine={name}"));
        self.boot_by(command)
    }

    fn boot_by(&self, mut command: Command) -> BootedDebian {
        let log = File::create(self.0.path().join("console")).unwrap();
        command
            .args(["--quiet", "--register=no", "--keep-unit", "--boot"])
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
            // Before it is the container, the process is a shell with children of its own.
            first = Some(container.id())
                .filter(|id| is_container(*id))
                .and_then(child_of);
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

/// The arguments of a shell that runs a program in control groups of its own. Systems that share them disturb each other, because
/// each keeps its services in groups of the same names.
fn in_own_groups() -> [String; 3] {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let script = r#"for hierarchy in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        if [ -e $hierarchy/cgroup.procs ]; then
            mkdir -p $hierarchy/$0 && echo $$ > $hierarchy/$0/cgroup.procs
        fi
    done
    exec "$@""#;
    let name = format!("personium-test-{}-{number}", std::process::id());
    ["-c".to_owned(), script.to_owned(), name]
}

/// Whether a process is the one that keeps a container.
fn is_container(process: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{process}/comm"));
    name.is_ok_and(|name| name.trim() == "systemd-nspawn")
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
