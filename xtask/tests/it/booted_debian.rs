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
pub struct DebianFiles {
    folder: TempDir,
    disk: Option<Disk>,
}

/// A disk of a system beside its files: a loop device. Dropping it removes it.
struct Disk {
    device: String,
    image: PathBuf,
    label: String,
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("losetup")
            .args(["--detach", &self.device])
            .status();
    }
}

/// A system that runs. Dropping it ends it.
pub struct BootedDebian {
    container: Child,
    /// The name of its control groups.
    groups: String,
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
pub fn cache() -> PathBuf {
    let home = std::env::var_os("HOME").expect("HOME is set");
    let cache = Path::new(&home).join(".cache/personium-tests");
    fs::create_dir_all(&cache).unwrap();
    cache
}

/// The folder of a minimal system.
pub fn minimal() -> PathBuf {
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

/// A system that is made once and kept.
struct PreparedSystem {
    /// The name of its folder.
    name: &'static str,
    /// The packages that are installed.
    installed: &'static str,
    /// The packages that can be installed without a network: the system has them as a source of packages in a folder.
    available: &'static str,
    /// The services that start with it.
    services: &'static str,
}

/// A machine as an operator gets it for Ansible, with what playbooks install.
const REACHABLE: PreparedSystem = PreparedSystem {
    name: "reachable",
    installed: "python3 python3-apt openssh-server iproute2",
    available: "ca-certificates chrony logrotate nftables unattended-upgrades nginx-light openssl memcached postgresql-15",
    services: "systemd-networkd.service ssh.service",
};

/// A machine for Ansible that can become a broker, which takes many packages.
const BROKER: PreparedSystem = PreparedSystem {
    name: "broker",
    installed: REACHABLE.installed,
    available: "ca-certificates chrony logrotate nftables unattended-upgrades openssl memcached activemq default-jre-headless",
    services: REACHABLE.services,
};

/// A machine for Ansible through which others are reached, and their proxy; or one whose disks are of other kinds.
const BASTION: PreparedSystem = PreparedSystem {
    name: "bastion",
    installed: REACHABLE.installed,
    available: "ca-certificates chrony logrotate nftables unattended-upgrades nginx-light openssl postgresql-15 tinyproxy xfsprogs nfs-common",
    services: REACHABLE.services,
};

/// A machine on which somebody follows the pages of the operator's guide.
const GUIDE: PreparedSystem = PreparedSystem {
    name: "guide",
    installed: "iproute2 procps postgresql-15",
    available: "nginx-light gettext-base curl openssl",
    services: "",
};

/// The line for the list of sources of a prepared system.
pub const PACKAGE_SOURCE: &str = "deb [trusted=yes] file:/opt/packages ./";

impl PreparedSystem {
    /// The folder of the system.
    fn folder(&self) -> PathBuf {
        let minimal = minimal();
        let (name, cache) = (self.name, cache());
        let base = cache.join(format!("debian-{RELEASE}-{name}"));
        let lock = File::create(cache.join(format!("debian-{name}.lock"))).unwrap();
        lock.lock().unwrap();
        let (installed, available) = (self.installed, self.available);
        let wanted = format!("{installed}\n{available}\n");
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
        let services = match self.services {
            "" => "true".to_owned(),
            services => format!("systemctl enable {services}"),
        };
        let script = format!(
            "set -e; export DEBIAN_FRONTEND=noninteractive; apt-get update -q; \
             apt-get install -y -q --no-install-recommends {installed}; apt-get clean; \
             apt-get install -y -q --no-install-recommends --download-only {available}; \
             mkdir -p /opt/packages; mv /var/cache/apt/archives/*.deb /opt/packages/; \
             rm -rf /var/lib/apt/lists/*; {services}"
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
}

impl DebianFiles {
    /// A system in a temporary folder. Needs to be root.
    pub fn new() -> Self {
        Self::copy_of(&minimal())
    }

    /// A system with an SSH server that lets the owner of a public key in, at an address such as `172.16.0.11/24` whose gateway is
    /// the first of its network.
    pub fn reachable(address: &str, public_key: &str) -> Self {
        Self::copy_of(&REACHABLE.folder()).let_in(address, public_key)
    }

    /// The same for a machine that can become a broker.
    pub fn of_a_broker(address: &str, public_key: &str) -> Self {
        Self::copy_of(&BROKER.folder()).let_in(address, public_key)
    }

    /// The same for a machine through which others are reached, or which uses a share. Its folder of packages has what those install.
    pub fn of_a_bastion(address: &str, public_key: &str) -> Self {
        Self::copy_of(&BASTION.folder()).let_in(address, public_key)
    }

    fn let_in(self, address: &str, public_key: &str) -> Self {
        let files = self;
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

    /// A system whose packages come from a folder of its own, without any network.
    pub fn of_the_guide() -> Self {
        let files = Self::copy_of(&GUIDE.folder());
        let source = format!("{PACKAGE_SOURCE}\n");
        fs::write(files.path("etc/apt/sources.list"), source).unwrap();
        fs::write(files.path("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        files
    }

    fn copy_of(base: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        expect(Command::new("cp").arg("-a").arg(base).arg(&root));
        Self { folder, disk: None }
    }

    /// The same with an empty disk of so many MiB, which also has the name `/dev/disk/by-label/LABEL` in the system. In a container, nobody
    /// else makes this name.
    pub fn with_disk(mut self, mebibytes: u64, label: &str) -> Self {
        let image = self.folder.path().join("disk");
        let file = File::create(&image).unwrap();
        file.set_len(mebibytes << 20).unwrap();
        let mut attach = Command::new("losetup");
        let device = expect(attach.args(["--find", "--show"]).arg(&image));
        let device = device.trim().to_owned();
        self.disk = Some(Disk {
            device,
            image,
            label: label.to_owned(),
        });
        self
    }

    /// The device of the disk, in the system too.
    pub fn device(&self) -> &str {
        &self.disk.as_ref().unwrap().device
    }

    /// Gives the disk another size in MiB, also while the system runs.
    pub fn enlarge_disk(&self, mebibytes: u64) {
        let disk = self.disk.as_ref().unwrap();
        let file = File::options().write(true).open(&disk.image).unwrap();
        file.set_len(mebibytes << 20).unwrap();
        expect(Command::new("losetup").args(["--set-capacity", &disk.device]));
    }

    /// The path of a file of the system.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("root").join(name)
    }

    /// Boots the system without a network.
    pub fn boot(&self) -> BootedDebian {
        let groups = new_groups();
        let mut command = Command::new("sh");
        command.args(in_groups(&groups)).args([
            "systemd-nspawn",
            "--private-network",
            "--machine=unit",
        ]);
        self.boot_by(command, groups)
    }

    /// Boots the system on a network, with a name of at most 12 characters.
    pub fn boot_on(&self, network: &TestNetwork, name: &str) -> BootedDebian {
        self.boot_with(network, name, self.disk.as_ref())
    }

    /// The same while its disk is missing.
    pub fn boot_without_disk(&self, network: &TestNetwork, name: &str) -> BootedDebian {
        self.boot_with(network, name, None)
    }

    fn boot_with(&self, network: &TestNetwork, name: &str, disk: Option<&Disk>) -> BootedDebian {
        let groups = new_groups();
        let mut command = network.command("sh");
        command
            .args(in_groups(&groups))
            .arg("systemd-nspawn")
            .arg(format!("--network-bridge={BRIDGE}"))
            .arg(format!("--machine={name}"))
            .args(disk.into_iter().flat_map(|disk| {
                let Disk { device, label, .. } = disk;
                [
                    format!("--bind={device}"),
                    format!("--bind={device}:/dev/disk/by-label/{label}"),
                ]
            }));
        self.boot_by(command, groups)
    }

    fn boot_by(&self, mut command: Command, groups: String) -> BootedDebian {
        let log = File::create(self.folder.path().join("console")).unwrap();
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
            let console = || fs::read_to_string(self.folder.path().join("console"));
            assert!(ended.is_none(), "the container ended: {:?}", console());
            // Before it is the container, the process is a shell with children of its own.
            first = Some(container.id())
                .filter(|id| is_container(*id))
                .and_then(child_of)
                .filter(|id| has_own_processes(*id));
            first.is_some()
        });
        let system = BootedDebian {
            container,
            groups,
            first: first.unwrap(),
        };
        wait_until("the system is booted", || {
            let (_, state) = system.run("systemctl is-system-running");
            matches!(state.trim(), "running" | "degraded")
        });
        system
    }
}

/// The folders in which hierarchies of control groups are mounted: the unified one, or those of systemd.
const HIERARCHIES: [&str; 3] = [
    "/sys/fs/cgroup",
    "/sys/fs/cgroup/systemd",
    "/sys/fs/cgroup/unified",
];

/// The name of control groups that nothing else has. Systems that share them disturb each other, because each keeps its services in
/// groups of the same names.
fn new_groups() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("{GROUPS}{}-{number}", std::process::id())
}

/// The begin of the names of control groups.
const GROUPS: &str = "personium-test-";

/// The arguments of a shell that runs a program in control groups of its own.
fn in_groups(name: &str) -> [String; 3] {
    let script = format!(
        r#"for hierarchy in {}; do
        if [ -e $hierarchy/cgroup.procs ]; then
            mkdir -p $hierarchy/$0 && echo $$ > $hierarchy/$0/cgroup.procs
        fi
    done
    exec "$@""#,
        HIERARCHIES.join(" ")
    );
    ["-c".to_owned(), script, name.to_owned()]
}

/// Removes a control group with those below it, and says whether it is gone. One with processes stays.
fn remove_group(group: &Path) -> bool {
    let below = fs::read_dir(group).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_group(&entry.path());
    }
    let _ = fs::remove_dir(group);
    !group.exists()
}

/// Removes the control groups of tests that were ended before they could do it.
fn remove_abandoned_groups() {
    for hierarchy in HIERARCHIES {
        for entry in fs::read_dir(hierarchy).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let process = name.to_str().and_then(|name| name.strip_prefix(GROUPS));
            let process = process.and_then(|rest| rest.split('-').next());
            if process.is_some_and(|id| !Path::new("/proc").join(id).exists()) {
                remove_group(&entry.path());
            }
        }
    }
}

/// Whether a process is the one that keeps a container.
fn is_container(process: u32) -> bool {
    let name = fs::read_to_string(format!("/proc/{process}/comm"));
    name.is_ok_and(|name| name.trim() == "systemd-nspawn")
}

/// Whether a process is in a process namespace of its own. The container has another child for a moment, which makes the first process
/// of the system and ends.
fn has_own_processes(process: u32) -> bool {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/pid"));
    match (namespace(&process.to_string()), namespace("self")) {
        (Ok(other), Ok(own)) => other != own,
        _ => false,
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
        for hierarchy in HIERARCHIES {
            let group = Path::new(hierarchy).join(&self.groups);
            // Its last processes may still be ending.
            while !remove_group(&group) && Instant::now() < until {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        remove_abandoned_groups();
    }
}
