//! The virtual image: its files, and its life under QEMU. Making and booting it takes too long for `cargo xtask test`;
//! `cargo xtask deploy` does it.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ansible::is_root;
use crate::booted_debian::{cache, expect};
use crate::package::{deb, make};
use crate::unit_answers::{self, HOST};

const VERSION: &str = "0.0.9";

/// The time of a boot. Without the processor's support for virtual machines it is long.
const BOOT_TIMEOUT: Duration = Duration::from_secs(1200);

fn folder_of_sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/image")
}

#[test]
fn scripts_of_the_image_can_be_read_by_the_shell() {
    for name in ["first-boot", "console", "grow"] {
        expect(
            Command::new("sh")
                .arg("-n")
                .arg(folder_of_sources().join(name)),
        );
    }
}

/// Makes the image in a folder.
fn make_image(folder: &Path) {
    make(VERSION, folder);
    let cache = cache();
    let lock = File::create(cache.join("image.lock")).unwrap();
    lock.lock().unwrap();
    expect(
        Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["image", "--size", "3"])
            .arg("--deb")
            .arg(folder.join(deb(VERSION)))
            .arg("--base")
            .arg(cache.join("image"))
            .arg("--output")
            .arg(folder),
    );
}

/// The path of a format of the image.
fn image(folder: &Path, format: &str) -> PathBuf {
    folder.join(format!("personium-{VERSION}-amd64.{format}"))
}

/// Checks that the file system of the image has nothing that each machine must have for itself.
fn check_that_image_has_no_secrets(folder: &Path) {
    let raw = folder.join("check.raw");
    let mut convert = Command::new("qemu-img");
    convert.args(["convert", "-f", "qcow2", "-O", "raw"]);
    expect(convert.arg(image(folder, "qcow2")).arg(&raw));
    // The place of the root file system, as partitions have it.
    let table = expect(Command::new("sfdisk").arg("--json").arg(&raw));
    let table: Value = serde_json::from_str(&table).unwrap();
    let root = table["partitiontable"]["partitions"][2]["start"]
        .as_u64()
        .unwrap();
    let device = format!("{}?offset={}", raw.display(), root * 512);
    let ask = |request: &str| {
        let output = Command::new("debugfs")
            .args(["-R", request, &device])
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    // Each line is /inode/mode/owner/group/name/size/.
    let list = |path: &str| -> Vec<(String, String)> {
        let text = ask(&format!("ls -p {path}"));
        let entries = text.lines().filter_map(|line| {
            let mut fields = line.split('/').skip(5);
            Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
        });
        entries
            .filter(|(name, _)| !matches!(name.as_str(), "." | ".."))
            .collect()
    };
    let names =
        |path: &str| -> Vec<String> { list(path).into_iter().map(|(name, _)| name).collect() };
    let has = |path: &str, name: &str| names(path).iter().any(|found| found == name);
    assert!(
        has("/etc/ssh", "sshd_config")
            && !names("/etc/ssh").iter().any(|name| name.contains("_key"))
    );
    assert!(list("/etc").contains(&("machine-id".to_owned(), "0".to_owned())));
    for (path, name) in [
        ("/var/lib/dbus", "machine-id"),
        ("/var/lib/systemd", "random-seed"),
        ("/var/lib", "personium-image"),
        ("/etc/nginx", "tls"),
        ("/usr/sbin", "policy-rc.d"),
        ("/opt", "personium.deb"),
    ] {
        assert!(!has(path, name), "{path}/{name}");
    }
    for path in ["/var/lib/personium", "/etc/ssl/private", "/run", "/tmp"] {
        assert_eq!(names(path), [""; 0], "{path}");
    }
    assert!(has("/usr/bin", "personium") && has("/usr/lib/personium-image", "first-boot"));
    let resolver = ask("stat /etc/resolv.conf");
    assert!(resolver.contains("systemd/resolve/stub"), "{resolver}");
    let shadow = ask("cat /etc/shadow");
    assert!(shadow.contains("personium:!"), "{shadow}");
    let hashes = shadow.lines().filter(|line| line.contains(":$"));
    assert_eq!(hashes.count(), 0, "a user has a password: {shadow}");
    fs::remove_file(raw).unwrap();
}

/// Checks the formats of other virtual machines: the same disk, and what the description says of it.
fn check_other_formats(folder: &Path) {
    expect(
        Command::new("sha256sum")
            .args(["-c", "--quiet", "SHA256SUMS"])
            .current_dir(folder),
    );
    let unpacked = folder.join("appliance");
    fs::create_dir(&unpacked).unwrap();
    let listed = expect(Command::new("tar").arg("-tf").arg(image(folder, "ova")));
    let names: Vec<&str> = listed.lines().collect();
    assert!(names[0].ends_with(".ovf") && names[1].ends_with(".mf") && names[2].ends_with(".vmdk"));
    let mut unpack = Command::new("tar");
    unpack.arg("-xf").arg(image(folder, "ova")).arg("-C");
    expect(unpack.arg(&unpacked));
    let vmdk = unpacked.join(names[2]);
    let mut compare = Command::new("qemu-img");
    compare.args(["compare", "-f", "qcow2", "-F", "vmdk"]);
    expect(compare.arg(image(folder, "qcow2")).arg(&vmdk));
    let information = Command::new("qemu-img")
        .args(["info", "--output=json"])
        .arg(&vmdk)
        .output()
        .unwrap();
    let information: Value = serde_json::from_slice(&information.stdout).unwrap();
    let data = &information["format-specific"]["data"];
    assert_eq!(data["create-type"], "streamOptimized");
    let ovf = fs::read_to_string(unpacked.join(names[0])).unwrap();
    for part in [
        format!("ovf:capacity=\"{}\"", information["virtual-size"]),
        format!("ovf:href=\"{}\"", names[2]),
        format!("ovf:size=\"{}\"", fs::metadata(&vmdk).unwrap().len()),
    ] {
        assert!(ovf.contains(&part), "{part}: {ovf}");
    }
    let manifest = fs::read_to_string(unpacked.join(names[1])).unwrap();
    for line in manifest.lines() {
        let (name, sum) = line
            .strip_prefix("SHA256(")
            .and_then(|line| line.split_once(")= "))
            .unwrap();
        let found = expect(Command::new("sha256sum").arg(unpacked.join(name)));
        assert!(found.starts_with(sum), "{name}: {found}");
    }
    fs::remove_dir_all(unpacked).unwrap();
}

/// The firmware that starts the boot loader of a virtual machine.
#[derive(Debug, Clone, Copy)]
enum Firmware {
    Bios,
    Uefi,
}

impl Firmware {
    /// The options of QEMU. The variables of UEFI are those of a machine that has never booted.
    fn options(self, folder: &Path) -> Vec<String> {
        const FILES: &str = "/usr/share/OVMF";
        match self {
            Self::Bios => Vec::new(),
            Self::Uefi => {
                let variables = folder.join("uefi-variables.fd");
                fs::copy(format!("{FILES}/OVMF_VARS_4M.fd"), &variables).unwrap();
                let flash = "if=pflash,format=raw";
                vec![
                    "-drive".to_owned(),
                    format!("{flash},readonly=on,file={FILES}/OVMF_CODE_4M.fd"),
                    "-drive".to_owned(),
                    format!("{flash},file={}", variables.display()),
                ]
            }
        }
    }
}

/// A virtual machine with a disk and what a cloud gives it. Dropping it ends it, as a power failure.
struct Machine {
    process: Child,
    console: PathBuf,
    https: u16,
    ssh: u16,
}

impl Machine {
    fn start(folder: &Path, firmware: Firmware) -> Self {
        let ports = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let [https, ssh] = ports
            .each_ref()
            .map(|listener| listener.local_addr().unwrap().port());
        drop(ports);
        let console = folder.join("console.log");
        let _ = fs::remove_file(&console);
        let log = File::create(folder.join("qemu.log")).unwrap();
        let process = Command::new("qemu-system-x86_64")
            .args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1024"])
            .args(firmware.options(folder))
            .args(["-display", "none", "-no-reboot", "-serial"])
            .arg(format!("file:{}", console.display()))
            .arg("-drive")
            .arg(format!("file={},if=virtio,format=qcow2", folder.join("disk.qcow2").display()))
            .arg("-drive")
            .arg(format!("file={},media=cdrom,readonly=on", folder.join("seed.iso").display()))
            .arg("-nic")
            .arg(format!(
                "user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{https}-:443,hostfwd=tcp:127.0.0.1:{ssh}-:22"
            ))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self {
            process,
            console,
            https,
            ssh,
        }
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.console).unwrap_or_default()).replace('\r', "")
    }

    /// Waits until a condition holds; fails if the machine ends.
    fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + BOOT_TIMEOUT;
        while !holds(self) {
            let ended = self.process.try_wait().unwrap();
            let in_time = Instant::now() < until;
            assert!(
                ended.is_none() && in_time,
                "waited in vain until {what} ({ended:?}): {}",
                self.console()
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Sends a request to the unit. Returns the status, 000 if there is no answer, and the body.
    fn send(&self, arguments: &[&str], path: &str) -> (String, String) {
        let output = Command::new("curl")
            .args(["-sk", "--max-time", "60", "-w", "\n%{http_code}"])
            .args(["--resolve", &format!("{HOST}:{}:127.0.0.1", self.https)])
            .args(["-H", &format!("Host: {HOST}")])
            .args(arguments)
            .arg(format!("https://{HOST}:{}/{path}", self.https))
            .output()
            .unwrap();
        unit_answers::status_and_body(&output)
    }

    fn wait_for_answers(&mut self) {
        self.wait_until("the unit answers", |machine| {
            machine.send(&[], "").0 == "200"
        });
    }

    fn ssh(&self, folder: &Path, script: &str) -> Command {
        let mut command = Command::new("ssh");
        command
            .args([
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
            ])
            .args(["-o", "LogLevel=ERROR", "-o", "BatchMode=yes", "-i"])
            .arg(folder.join("key"))
            .args(["-p", &self.ssh.to_string(), "debian@127.0.0.1"])
            .arg(script)
            .stdin(Stdio::null());
        command
    }

    /// Whether a text stands in the settings or logs of the machine. The text is no argument there: sudo logs those.
    fn has_in_files(&self, folder: &Path, text: &str) -> bool {
        let script = "read -r text; echo begun; \
            printf '%s\\n' \"$text\" | sudo grep -rlF -f - /etc /var/log; sudo journalctl --no-pager | grep -F \"$text\"; true";
        let mut command = self.ssh(folder, script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut input = process.stdin.take().unwrap();
        writeln!(input, "{text}").unwrap();
        drop(input);
        let output = process.wait_with_output().unwrap();
        let found = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{found}");
        assert!(found.starts_with("begun\n"));
        found != "begun\n"
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Writes the volume with what a cloud says to a machine: its name, who may log in, and settings of the unit.
fn write_seed(folder: &Path) {
    let key = folder.join("key");
    expect(
        Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key),
    );
    let key = fs::read_to_string(folder.join("key.pub")).unwrap();
    let user_data = format!(
        "#cloud-config\nfqdn: {HOST}\nssh_authorized_keys:\n  - {}\nwrite_files:\n  \
         - path: /etc/personium/unit-settings.properties\n    content: |\n      \
         io.personium.core.server.threads=3\n",
        key.trim()
    );
    fs::write(folder.join("user-data"), user_data).unwrap();
    fs::write(folder.join("meta-data"), "instance-id: one\n").unwrap();
    let mut write = Command::new("genisoimage");
    write.args(["-quiet", "-volid", "cidata", "-joliet", "-rock", "-output"]);
    write.arg("seed.iso").args(["user-data", "meta-data"]);
    expect(write.current_dir(folder));
}

/// The value of a line of the console, such as `password`.
fn shown(console: &str, name: &str) -> Option<String> {
    let found = console.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next()? == name).then(|| words.next().map(str::to_owned))?
    });
    found.filter(|_| console.contains("Personium unit:"))
}

/// Logs the administrator of the console in; returns the header with the token.
fn log_in(machine: &Machine) -> String {
    let console = machine.console();
    let password = shown(&console, "password").unwrap();
    assert_eq!(shown(&console, "account").as_deref(), Some("unitadmin"));
    unit_answers::log_in(&password, |arguments, path| machine.send(arguments, path))
}

#[test]
#[ignore = "takes many minutes: cargo xtask deploy"]
fn image_has_no_secrets_makes_its_unit_at_its_first_boot_and_keeps_it() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    make_image(folder);
    check_that_image_has_no_secrets(folder);
    check_other_formats(folder);
    write_seed(folder);
    // A copy that is one GiB larger than the image.
    let mut copy = Command::new("qemu-img");
    copy.args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"]);
    expect(
        copy.arg(image(folder, "qcow2"))
            .arg(folder.join("disk.qcow2"))
            .arg("4G"),
    );

    let mut machine = Machine::start(folder, Firmware::Bios);
    machine.wait_until("the console has the administrator", |machine| {
        shown(&machine.console(), "password").is_some()
    });
    machine.wait_for_answers();
    assert!(machine.console().contains(&format!("https://{HOST}/")));
    let token = log_in(&machine);
    let cell = ["-H", &token, "-d", "{\"Name\":\"kept\"}"];
    let (status, body) = machine.send(&cell, "__ctl/Cell");
    assert_eq!(status, "201", "{body}");

    machine.wait_until("SSH lets the owner of the key in", |machine| {
        machine
            .ssh(folder, "true")
            .output()
            .unwrap()
            .status
            .success()
    });
    let on_it = |machine: &Machine, script: &str| expect(&mut machine.ssh(folder, script));
    let first = "hostname; df --output=size -B1M / | tail -1; cat /etc/machine-id; sudo sha256sum /etc/ssh/ssh_host_ed25519_key";
    let facts = on_it(&machine, first);
    let mut lines = facts.lines();
    assert_eq!(lines.next(), Some(HOST));
    let size: u64 = lines.next().unwrap().trim().parse().unwrap();
    assert!(size > 3 * 1024, "the root file system has {size} MiB");
    let password = shown(&machine.console(), "password").unwrap();
    for script in [
        "sudo grep -q '^io.personium.core.server.threads=3' /etc/personium/personium-unit-config.properties",
        "sudo stat -c %a /var/lib/personium-image/administrator /etc/nginx/tls/server.key | sort -u | grep -x 400",
        "systemctl --failed --plain --no-legend; ! systemctl --failed --plain --no-legend | grep -q .",
    ] {
        on_it(&machine, script);
    }

    assert!(!machine.has_in_files(folder, &password));
    assert!(machine.has_in_files(folder, "personium-first-boot"));

    on_it(&machine, "! test -d /sys/firmware/efi");

    // The power fails. The next machine has a firmware of the other kind.
    drop(machine);
    let mut machine = Machine::start(folder, Firmware::Uefi);
    machine.wait_for_answers();
    let (status, body) = machine.send(&["-H", &token], "__ctl/Cell('kept')");
    assert_eq!(status, "200", "{body}");
    machine.wait_until("the console has the address", |machine| {
        machine.console().contains("Personium unit:")
    });
    assert!(!machine.console().contains(&password));
    assert_eq!(on_it(&machine, first), facts);
    on_it(&machine, "test -d /sys/firmware/efi");
}
