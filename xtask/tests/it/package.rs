//! The packages of `cargo xtask package`: their files, and their life in a booted Debian.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;
use tempfile::TempDir;

use crate::booted_debian::{BootedDebian, DebianFiles, expect, wait_until};
use crate::test_network::TestNetwork;

/// The version that is installed first, and the one of the upgrade.
pub const OLD: &str = "0.0.9";
pub const NEW: &str = "0.0.10";

/// The settings file of the package.
const SETTINGS: &str = "/etc/personium/personium-unit-config.properties";

/// The program of the same build.
pub fn program() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("personium");
    assert!(
        program.exists(),
        "{} is built with the workspace",
        program.display()
    );
    program
}

/// Makes the packages of a version, with the program of the same build.
pub fn make(version: &str, output: &Path) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .args(["package", "--package-version", version, "--program"])
        .arg(program())
        .arg("--output")
        .arg(output);
    expect(&mut command)
}

/// A folder with packages of both versions. Tests that run at the same time share it.
pub fn packages() -> Arc<TempDir> {
    static SHARED: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(folder) = shared.upgrade() {
        return folder;
    }
    let folder = Arc::new(tempfile::tempdir().unwrap());
    for version in [OLD, NEW] {
        make(version, &folder.path().join(version));
    }
    *shared = Arc::downgrade(&folder);
    folder
}

/// The path of a Debian package in such a folder.
pub fn deb_in(folder: &TempDir, version: &str) -> PathBuf {
    folder.path().join(version).join(deb(version))
}

fn architecture() -> String {
    let text = expect(Command::new("dpkg").arg("--print-architecture"));
    text.trim().to_owned()
}

/// The name of a Debian package.
pub fn deb(version: &str) -> String {
    format!("personium_{version}_{}.deb", architecture())
}

#[test]
fn packages_have_program_manual_completions_parts_and_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let printed = make(NEW, folder.path());
    expect(
        Command::new("sha256sum")
            .args(["-c", "SHA256SUMS"])
            .current_dir(folder.path()),
    );
    let names: Vec<PathBuf> = printed.lines().map(PathBuf::from).collect();
    assert_eq!(names.len(), 3);
    let tarball = names
        .iter()
        .find(|name| name.extension().is_some_and(|e| e == "gz"));
    let tarball = tarball.unwrap();
    let (listed, contents) = (
        expect(Command::new("tar").arg("-tzf").arg(tarball)),
        expect(
            Command::new("dpkg-deb")
                .arg("--contents")
                .arg(folder.path().join(deb(NEW))),
        ),
    );
    for file in [
        "usr/bin/personium",
        "usr/lib/systemd/system/personium.service",
        "usr/share/man/man1/personium.1.gz",
        "usr/share/man/man1/personium-config-show.1.gz",
        "usr/share/man/man1/personium-cert-renew.1.gz",
        "usr/share/bash-completion/completions/personium",
        "usr/share/zsh/vendor-completions/_personium",
        "usr/share/fish/vendor_completions.d/personium.fish",
        "usr/share/doc/personium/copyright",
        "usr/share/personium/nginx/site.conf.template",
        "usr/share/personium/nginx/personium/http.conf",
        "usr/share/personium/plugins/wit/authentication.wit",
        "usr/share/personium/plugins/rust/sample.rs",
        "usr/share/personium/monitoring/personium.rules.yml",
        "usr/share/personium/monitoring/prometheus.yml",
        "usr/share/personium/monitoring/grafana-dashboard.json",
        "etc/logrotate.d/personium",
    ] {
        let file = format!("./{file}\n");
        assert!(listed.contains(&file) && contents.contains(&file), "{file}");
    }
    let libraries = [
        "usr/lib/personium/libc.so.6",
        "usr/share/doc/personium/LIBRARIES",
    ];
    for file in libraries.map(|file| format!("./{file}\n")) {
        assert!(
            listed.contains(&file) && !contents.contains(&file),
            "{file}"
        );
    }
    let owners = contents.lines().filter(|line| !line.contains("root/root"));
    assert_eq!(owners.count(), 0, "{contents}");
    let parts = std::fs::read(folder.path().join(format!("personium-{NEW}.cdx.json"))).unwrap();
    let parts: Value = serde_json::from_slice(&parts).unwrap();
    let names: Vec<&str> = parts["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"hyper") && names.contains(&"personium-api"),
        "{names:?}"
    );
    assert!(!names.contains(&"proptest"), "crates of tests are no parts");
}

/// A process that ends when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn program_of_the_tarball_makes_and_serves_a_unit_where_no_other_file_is() {
    if expect(Command::new("id").arg("-u")).trim() != "0" {
        println!("SKIPPED: only root changes the root folder");
        return;
    }
    let packages = packages();
    let name = format!("personium-{NEW}-{}-linux.tar.gz", architecture());
    let tarball = packages.path().join(NEW).join(name);
    let root = tempfile::tempdir().unwrap();
    let mut unpack = Command::new("tar");
    expect(unpack.arg("-xzf").arg(tarball).arg("-C").arg(root.path()));
    std::fs::create_dir_all(root.path().join("srv")).unwrap();
    let network = TestNetwork::new(&[]);
    let command = |arguments: &[&str]| {
        let mut command = network.command("chroot");
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .arg(root.path())
            .arg("/usr/bin/personium")
            .args(arguments);
        command
    };
    let made = expect(&mut command(&["init", "--data", "/srv/unit"]));
    let mut lines = made.lines();
    let password = lines.find_map(|line| line.trim().strip_prefix("password "));
    let password = password.unwrap_or_else(|| panic!("no password: {made}"));
    let log = root.path().join("log");
    let mut serve = command(&["serve", "--data", "/srv/unit"]);
    serve
        .stdout(File::create(&log).unwrap())
        .stderr(Stdio::null());
    let mut unit = Running(serve.spawn().unwrap());
    wait_until("the unit answers", || {
        let ended = unit.0.try_wait().unwrap();
        assert!(ended.is_none(), "{:?}", std::fs::read_to_string(&log));
        let mut curl = network.command("curl");
        curl.args(["-s", "-o", "/dev/null", "http://127.0.0.1:9998/"]);
        curl.status().unwrap().success()
    });
    // A cell with a file, an entity and a service, which runs in a process of its own.
    let mut selftest = command(&["selftest", "--url", "http://localhost:9998/"]);
    selftest.args(["--address", "127.0.0.1"]);
    let password_file = root.path().join("password");
    std::fs::write(&password_file, password.trim()).unwrap();
    expect(selftest.stdin(File::open(password_file).unwrap()));
}

/// Sends a request to the unit in the system. Returns the status and the body.
fn send(system: &BootedDebian, arguments: &[&str], path: &str) -> (String, String) {
    let mut command = system.on_its_network("curl");
    command
        .args(["-s", "--max-time", "20", "-w", "\n%{http_code}"])
        .args(arguments)
        .arg(format!("http://localhost:9998/{path}"));
    let text = String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.to_owned(), body.to_owned())
}

fn wait_for_answers(system: &BootedDebian) {
    wait_until("the unit answers", || send(system, &[], "").0 == "200");
}

/// Logs the administrator in; returns the header with the token.
fn log_in(system: &BootedDebian, password: &str) -> String {
    let form = format!(
        "grant_type=password&username=unitadmin&password={password}&p_target=http://localhost:9998/"
    );
    let (status, body) = send(system, &["-d", &form], "unitadmin/__token");
    assert_eq!(status, "200", "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    format!(
        "Authorization: Bearer {}",
        body["access_token"].as_str().unwrap()
    )
}

fn install(system: &BootedDebian, version: &str) -> (bool, String) {
    system.run(&format!("dpkg -i /opt/{}", deb(version)))
}

fn version(system: &BootedDebian) -> String {
    system.expect("dpkg-query -W -f '${Version}' personium")
}

/// Checks what an installed package has put where, before there is a unit.
fn check_installation(system: &BootedDebian) {
    let modes = system.expect(&format!(
        "stat -c '%U:%G %a' {SETTINGS} /etc/personium /var/lib/personium /usr/bin/personium"
    ));
    let expected = [
        "root:personium 640",
        "root:personium 750",
        "personium:personium 700",
        "root:root 755",
    ];
    assert_eq!(modes.lines().collect::<Vec<_>>(), expected);
    assert!(!system.run("systemctl is-active personium").0);
    // A service makes no unit: the password would be in the journal.
    system.run("systemctl start personium");
    wait_until("the journal has the reason", || {
        let journal = system.expect("journalctl -u personium --no-pager");
        assert!(!journal.contains("password "), "{journal}");
        journal.contains("contains no unit")
    });
    system.expect("systemctl stop personium; systemctl reset-failed personium || true");
    let security = system.expect("systemd-analyze security --no-pager personium.service | tail -1");
    let score = security
        .split_whitespace()
        .find_map(|word| word.parse::<f32>().ok());
    assert!(score.is_some_and(|score| score <= 2.0), "{security}");
    system.expect(
        "bash -c '. /usr/share/bash-completion/completions/personium; complete -p personium'",
    );
}

/// Makes the unit, starts it, and makes a cell. Returns the header with a token.
fn make_unit(system: &BootedDebian) -> String {
    system.expect(&format!("echo '# changed by the operator' >> {SETTINGS}"));
    let as_unit = format!("runuser -u personium -- personium init --config {SETTINGS}");
    let made = system.expect(&as_unit);
    let password = made
        .lines()
        .find_map(|line| line.trim().strip_prefix("password "));
    let password = password
        .unwrap_or_else(|| panic!("no password: {made}"))
        .trim();
    system.expect("systemctl enable --now personium");
    wait_for_answers(system);
    let token = log_in(system, password);
    let cell = ["-H", &token, "-d", "{\"Name\":\"kept\"}"];
    let (status, body) = send(system, &cell, "__ctl/Cell");
    assert_eq!(status, "201", "{body}");
    token
}

fn expect_cell(system: &BootedDebian, token: &str) {
    let (status, body) = send(system, &["-H", token], "__ctl/Cell('kept')");
    assert_eq!(status, "200", "{body}");
}

#[test]
fn package_lives_in_a_booted_debian_from_installation_to_purge() {
    if expect(Command::new("id").arg("-u")).trim() != "0" {
        println!("SKIPPED: only root boots a system");
        return;
    }
    let files = DebianFiles::new();
    let packages = packages();
    for version in [OLD, NEW] {
        let to = files.path("opt").join(deb(version));
        std::fs::copy(deb_in(&packages, version), to).unwrap();
    }
    drop(packages);
    let system = files.boot();
    let (installed, text) = install(&system, OLD);
    assert!(installed && text.contains("personium init"), "{text}");
    check_installation(&system);
    let token = make_unit(&system);

    system.expect("systemctl reload personium");
    wait_until("the settings are reloaded", || {
        system
            .expect("journalctl -u personium --no-pager")
            .contains("settings reloaded")
    });
    // A killed unit is started again.
    let process = "systemctl show -p MainPID --value personium";
    let before = system.expect(process);
    system.expect("systemctl kill -s KILL personium");
    wait_until("another process runs", || {
        let now = system.expect(process);
        now.trim() != "0" && now != before
    });
    wait_for_answers(&system);
    expect_cell(&system, &token);

    let before = system.expect(process);
    let (installed, text) = install(&system, NEW);
    assert!(installed, "{text}");
    assert_eq!(version(&system), NEW);
    assert_ne!(
        system.expect(process),
        before,
        "the upgrade restarts the unit"
    );
    wait_for_answers(&system);
    expect_cell(&system, &token);
    assert!(
        system
            .expect(&format!("cat {SETTINGS}"))
            .contains("changed by the operator")
    );

    let (installed, text) = install(&system, OLD);
    assert!(
        !installed && text.contains("downgrade is refused"),
        "{text}"
    );
    assert_eq!(version(&system), NEW);
    expect_cell(&system, &token);

    drop(system);
    let system = files.boot();
    wait_for_answers(&system);
    expect_cell(&system, &token);
    remove(&system);
}

fn remove(system: &BootedDebian) {
    system.expect("dpkg -r personium");
    assert!(!system.run("systemctl is-active personium").0);
    system.expect(&format!("test ! -e /usr/bin/personium && test -e {SETTINGS} && test -e /var/lib/personium/unit.secret"));
    let purged = system.expect("dpkg -P personium");
    assert!(purged.contains("is kept"), "{purged}");
    system.expect(&format!(
        "test ! -e {SETTINGS} && test -e /var/lib/personium/unit.secret"
    ));
    // A package that never had a unit leaves nothing.
    system.expect(&format!(
        "rm -r /var/lib/personium && dpkg -i /opt/{} && dpkg -P personium",
        deb(NEW)
    ));
    system.expect("test ! -e /var/lib/personium && test ! -e /etc/personium && ! id personium");
}
