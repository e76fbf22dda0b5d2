//! A unit whose machines are reached through a bastion alone, take everything else from its proxy, keep data on volumes, and have a database
//! with a standby that takes over.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::ansible::{boot, is_root, status, succeeded};
use crate::booted_debian::{BootedDebian, DebianFiles, text, wait_until};
use crate::package::OLD;
use crate::playbook::{Operator, Run};
use crate::test_network::TestNetwork;

const BASTION: &str = "172.16.1.5";
const UNIT: &str = "172.16.1.11";
const FIRST: &str = "172.16.1.21";
const SECOND: &str = "172.16.1.22";

/// The databases.
const DB1: &str = "db1.example.org";
const DB2: &str = "db2.example.org";

/// The volumes, in MiB.
const VOLUME: u64 = 1_500;
const LARGER_VOLUME: u64 = 2_000;

const PROXY_PORT: u16 = 3128;

/// How many cells a client tries to make after what it was to survive.
const TRIES_AFTERWARDS: usize = 100;

/// The server outside: packages, and what rules send. Only the bastion knows its name.
const OUTSIDE: &str = "outside.example.org:8000";

const OUTSIDE_SERVER: &str = "
import http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        open(sys.argv[1], 'ab').write(body + b'\\n')
        self.send_response(200)
        self.send_header('Content-Length', '0')
        self.end_headers()
http.server.ThreadingHTTPServer(('172.16.1.1', 8000), Handler).serve_forever()
";

/// Packages and a receiver of requests, on the gateway. Dropping it ends it.
struct Outside {
    process: Child,
    received: TempDir,
}

impl Outside {
    fn start(network: &TestNetwork, packages: &Path) -> Self {
        let received = tempfile::tempdir().unwrap();
        let mut command = network.command("python3");
        command
            .args(["-c", OUTSIDE_SERVER])
            .arg(received.path().join("received"))
            .current_dir(packages)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = command.spawn().unwrap();
        Self { process, received }
    }

    fn received(&self) -> String {
        fs::read_to_string(self.received.path().join("received")).unwrap_or_default()
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Dropping it says that something has ended.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The scene of the test.
struct Scene<'n> {
    network: &'n TestNetwork,
    operator: &'n Operator,
    inventory: TempDir,
}

impl<'n> Scene<'n> {
    fn new(network: &'n TestNetwork, operator: &'n Operator, devices: [&str; 2]) -> Self {
        let one = json!({
            "unit_address": UNIT,
            "unit_volumes": [{"label": "pio_data", "path": "/var/lib/personium", "device": devices[0]}],
        });
        let db2 = json!({
            "unit_address": SECOND,
            "unit_volumes": [{"label": "pio_records", "path": "/var/lib/postgresql", "device": devices[1], "type": "xfs"}],
            "base_packages": ["ca-certificates", "chrony", "logrotate", "nftables", "unattended-upgrades", "xfsprogs"],
        });
        let bastion = json!({
            "unit_address": BASTION,
            "unit_time_servers": [],
            "base_open_ports": [
                {"port": PROXY_PORT, "networks": ["172.16.0.0/16"]},
                {"port": 123, "protocol": "udp", "networks": ["172.16.0.0/16"]},
            ],
        });
        let hosts = json!({"all": {"children": {
            "bastion": {"hosts": {"bastion.example.org": bastion}},
            "web": {"hosts": {"one.example.org": one}},
            "ap": {"hosts": {"one.example.org": {}}},
            "db": {"hosts": {DB1: {"unit_address": FIRST}, DB2: db2}},
        }}});
        let inventory = tempfile::tempdir().unwrap();
        fs::write(inventory.path().join("hosts.yml"), hosts.to_string()).unwrap();
        fs::create_dir(inventory.path().join("group_vars")).unwrap();
        let scene = Self {
            network,
            operator,
            inventory,
        };
        scene.write_variables(DB1, &[]);
        scene
    }

    /// Writes the variables of the group `all`.
    fn write_variables(&self, primary: &str, lost: &[&str]) {
        let variables = json!({
            "unit_db_primary": primary,
            "unit_db_lost": lost,
            "db_synchronous": true,
            "unit_name": "unit.example.org",
            "unit_proxy": format!("http://{BASTION}:{PROXY_PORT}"),
            "unit_time_servers": [BASTION],
            "unit_settings": {"outgoing.privateNetworks.enabled": true},
        });
        let path = self.inventory.path().join("group_vars/all.yml");
        fs::write(path, variables.to_string()).unwrap();
    }

    /// Runs a playbook. All machines are reached through the bastion.
    fn run(&self, playbook: &str, options: &[&str]) -> Run {
        let mut variables = self.operator.package(OLD);
        let [plain, through] = [false, true].map(|through| ssh_options(self.operator, through));
        variables.push(
            json!({
                "ansible_host": "{{ unit_address }}",
                "ansible_ssh_common_args":
                    format!("{{{{ '{plain}' if inventory_hostname in groups.bastion else '{through}' }}}}"),
                "unit_apt_sources": [format!("deb [trusted=yes] http://{OUTSIDE}/ ./")],
            })
            .to_string(),
        );
        let inventory = self.inventory.path().to_str().unwrap();
        let given = (variables.as_slice(), options);
        self.operator
            .run_playbook(playbook, self.network, inventory, given)
    }

    /// A request to the unit. Returns the status and the body.
    fn request(&self, url: &str, options: &[&str]) -> (String, String) {
        let mut curl = self.network.command("curl");
        curl.args(["-sk", "--max-time", "20", "-w", "\n%{http_code}"]);
        let to = format!("::{UNIT}:443");
        curl.args(["--connect-to", &to]).args(options).arg(url);
        let output = String::from_utf8(curl.output().unwrap().stdout).unwrap();
        let (body, status) = output.rsplit_once('\n').unwrap();
        (status.to_owned(), body.to_owned())
    }

    /// The header with a token of the administrator.
    fn log_in(&self) -> String {
        let password = format!("password={}", self.operator.password());
        let form = [
            "-d",
            "grant_type=password&username=unitadmin&p_target=https://unit.example.org/",
            "--data-urlencode",
            &password,
        ];
        let url = "https://unitadmin.unit.example.org/__token";
        let (status, answer) = self.request(url, &form);
        assert_eq!(status, "200", "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let token = answer["access_token"].as_str().unwrap();
        format!("Authorization: Bearer {token}")
    }

    /// Makes a cell. Returns the status.
    fn make_cell(&self, token: &str, name: &str) -> String {
        let body = json!({"Name": name}).to_string();
        let url = "https://unit.example.org/__ctl/Cell";
        self.request(url, &["-H", token, "-d", &body]).0
    }

    /// Does something when some cells were made and while more are, and checks then that each one that was acknowledged is there.
    fn while_cells_are_made<T>(&self, prefix: &str, act: impl FnOnce() -> T) -> T {
        let token = self.log_in();
        let (ended, count) = (AtomicBool::new(false), AtomicUsize::new(0));
        let (outcome, made) = std::thread::scope(|scope| {
            let client = scope.spawn(|| {
                let mut made = Vec::new();
                let (mut after, mut tries) = (0, 0);
                for number in 0.. {
                    let name = format!("{prefix}{number}");
                    if self.make_cell(&token, &name) == "201" {
                        made.push(name);
                        count.fetch_add(1, Ordering::Relaxed);
                        after += usize::from(ended.load(Ordering::Relaxed));
                    }
                    tries += usize::from(ended.load(Ordering::Relaxed));
                    if after > 2 || tries > TRIES_AFTERWARDS {
                        break;
                    }
                }
                made
            });
            // The client also ends when this panics.
            let end = Ended(&ended);
            wait_until("cells are made", || count.load(Ordering::Relaxed) > 5);
            let outcome = act();
            drop(end);
            (outcome, client.join().unwrap())
        });
        for name in made {
            let url = format!("https://unit.example.org/__ctl/Cell('{name}')");
            assert_eq!(self.request(&url, &["-H", &token]).0, "200", "{name}");
        }
        outcome
    }

    /// Whether a connection of this machine, as that of an operator, reaches a port.
    fn reaches(&self, address: &str, port: u16) -> bool {
        let script = format!("timeout 3 bash -c '</dev/tcp/{address}/{port}' 2> /dev/null");
        let mut command = self.network.command("sh");
        command.args(["-c", &script]).status().unwrap().success()
    }
}

fn ssh_options(operator: &Operator, through_bastion: bool) -> String {
    let plain = "-o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o StrictHostKeyChecking=no";
    let key = operator.path("key");
    match through_bastion {
        false => plain.to_owned(),
        true => format!(
            "{plain} -o ProxyCommand=\"ssh -i {} {plain} -W %h:%p root@{BASTION}\"",
            key.display()
        ),
    }
}

fn is_primary(system: &BootedDebian) -> bool {
    let (_, state) =
        system.run("runuser -u postgres -- psql -qtAc 'SELECT pg_is_in_recovery()' 2> /dev/null");
    state.trim() == "f"
}

/// Whether a machine is a primary with a standby in step, for which changes wait.
fn has_synchronous_standby(system: &BootedDebian) -> bool {
    let query =
        "SELECT sync_state, current_setting('synchronous_standby_names') FROM pg_stat_replication";
    let command = format!("runuser -u postgres -- psql -qtAc \"{query}\"");
    system.run(&command).1.trim() == "sync|*"
}

/// Lets containers have chrony, which does not set the clock there; the bastion serves the time.
fn prepare_time(files: &DebianFiles) {
    let folder = files.path("etc/systemd/system/chrony.service.d");
    fs::create_dir_all(&folder).unwrap();
    let text = "[Unit]\nConditionCapability=\n[Service]\nExecStart=\nExecStart=!/usr/sbin/chronyd -x -F 0\n";
    fs::write(folder.join("container.conf"), text).unwrap();
}

/// Makes the proxy and the server of the time on the bastion, as an operator has them before the unit is constructed.
fn prepare_bastion(bastion: &BootedDebian) {
    let script = format!(
        "set -e
        echo '172.16.1.1 {host}' >> /etc/hosts
        echo '{source}' > /etc/apt/sources.list
        apt-get update -q
        apt-get install -y -q --no-install-recommends tinyproxy chrony
        printf '%s\\n' 'User tinyproxy' 'Group tinyproxy' 'Port {PROXY_PORT}' 'Timeout 600' 'Allow 172.16.0.0/16' \
            'LogLevel Connect' 'PidFile \"/run/tinyproxy/tinyproxy.pid\"' > /etc/tinyproxy/tinyproxy.conf
        systemctl restart tinyproxy
        printf '%s\\n' 'allow 172.16.0.0/16' 'local stratum 8' > /etc/chrony/conf.d/serve.conf
        systemctl restart chrony",
        host = OUTSIDE.split(':').next().unwrap(),
        source = crate::booted_debian::PACKAGE_SOURCE,
    );
    bastion.expect(&script);
}

/// Operators come to the machines through the bastion, and to nothing else.
fn check_bastion(scene: &Scene<'_>) {
    assert!(scene.reaches(BASTION, 22) && scene.reaches(UNIT, 443));
    for address in [UNIT, FIRST, SECOND] {
        assert!(!scene.reaches(address, 22), "{address}");
    }
    let ssh = |arguments: &[&str]| {
        let mut command = scene.network.command("sh");
        let options = ssh_options(scene.operator, false).replace("LogLevel=ERROR", "LogLevel=INFO");
        let script = format!(
            "exec ssh -i {} {options} \"$@\"",
            scene.operator.path("key").display()
        );
        command.args(["-c", &script, "sh"]).args(arguments);
        text(&command.output().unwrap())
    };
    let bastion = format!("root@{BASTION}");
    let shown = ssh(&["-W", &format!("{SECOND}:22"), &bastion]);
    assert!(shown.starts_with("SSH-2.0"), "{shown}");
    for other in [format!("{FIRST}:5432"), "172.16.1.1:8000".to_owned()] {
        let refused = ssh(&["-W", &other, &bastion]);
        assert!(
            refused.contains("administratively prohibited"),
            "{other}: {refused}"
        );
    }
}

/// Packages of all machines and requests of rules went through the proxy.
fn check_proxy(scene: &Scene<'_>, bastion: &BootedDebian, outside: &Outside) {
    let log = || bastion.expect("journalctl --no-pager -o cat -u tinyproxy");
    for address in [BASTION, UNIT, FIRST, SECOND] {
        let connection = |line: &str| {
            line.contains("Connect (") && line.split([' ', '[', ']']).any(|word| word == address)
        };
        assert!(log().lines().any(connection), "{address}: {}", log());
    }
    let token = scene.log_in();
    assert_eq!(scene.make_cell(&token, "teller"), "201");
    let cell = "https://teller.unit.example.org";
    let call = |path: &str, body: Value, expected: &str| {
        let body = body.to_string();
        let options = ["-H", token.as_str(), "-d", &body];
        let (status, answer) = scene.request(&format!("{cell}/{path}"), &options);
        assert_eq!(status, expected, "{path}: {answer}");
    };
    let target = format!("http://{OUTSIDE}/heard");
    let rule = json!({"Name": "tell", "EventExternal": true, "EventType": "said", "Action": "relay", "TargetUrl": target});
    call("__ctl/Rule", rule, "201");
    let event = json!({"Type": "said", "Object": "through the proxy", "Info": ""});
    call("__event", event, "200");
    wait_until("the event has come", || {
        outside.received().contains("through the proxy")
    });
    let request = format!("POST {target} ");
    wait_until("the proxy has a line of it", || log().contains(&request));
}

/// The values of `personium check --json` about the clock.
fn clock(unit: &BootedDebian) -> Value {
    let (_, report) = unit.run(
        "runuser -u personium -- personium check --json --config /etc/personium/personium-unit-config.properties 2> /dev/null",
    );
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|e| panic!("{e}: {report}"));
    let checks = report["checks"].as_array().unwrap();
    let clock = checks.iter().find(|check| check["check"] == "clock");
    clock.unwrap()["values"].clone()
}

/// The offset of the clock that chrony measures is in the report.
fn check_clock(unit: &BootedDebian) {
    wait_until("chrony has the time", || {
        clock(unit)["synchronized"] == json!(true)
    });
    let ahead = clock(unit)["aheadMs"].as_f64().unwrap();
    assert!(ahead.abs() < 100.0, "{ahead}");
}

/// Volumes are mounted by their labels, and grow.
fn check_volumes(scene: &Scene<'_>, unit: &BootedDebian, second: (&BootedDebian, &DebianFiles)) {
    let (second, files) = second;
    for (system, path, expected) in [
        (unit, "/var/lib/personium", "pio_data ext4"),
        (second, "/var/lib/postgresql", "pio_records xfs"),
    ] {
        let script = format!(
            "device=$(findmnt -no SOURCE {path}); echo $(blkid -s LABEL -o value $device) $(blkid -s TYPE -o value $device)"
        );
        assert_eq!(system.expect(&script).trim(), expected);
    }
    // Without the right CAP_SYS_RESOURCE, which the machine of the tests may lack, XFS alone grows.
    let size = || -> u64 {
        let size = second.expect("df --output=size -BM /var/lib/postgresql | tail -1 | tr -dc 0-9");
        size.parse().unwrap()
    };
    assert!(size() < VOLUME);
    files.enlarge_disk(LARGER_VOLUME);
    let run = succeeded(scene.run("site", &["--tags", "base"]));
    assert_eq!(run.changes(), [(DB2.to_owned(), 1)], "{}", run.output);
    assert!(size() > VOLUME);
}

/// The power of the unit fails; then its volume does not come with it, and then it is there again.
fn check_power(scene: &Scene<'_>, files: &DebianFiles, unit: BootedDebian) -> BootedDebian {
    let answers = |expected: &str| {
        let url = "https://unitadmin.unit.example.org/";
        status(scene.network, url, UNIT) == expected
    };
    drop(unit);
    let unit = boot(files, scene.network, "one");
    wait_until("the unit serves from its volume", || answers("412"));
    unit.expect("mountpoint -q /var/lib/personium");
    drop(unit);
    let unit = boot_without_disk(files, scene.network);
    wait_until("Nginx serves", || answers("502"));
    let (active, state) = unit.run("systemctl is-active personium");
    assert!(!active, "{state}");
    unit.expect("! mountpoint -q /var/lib/personium && test -z \"$(ls -A /var/lib/personium)\"");
    drop(unit);
    let unit = boot(files, scene.network, "one");
    wait_until("the unit serves again", || answers("412"));
    unit
}

#[test]
#[ignore = "takes many minutes: cargo xtask deploy"]
fn secluded_machines_use_bastion_proxy_and_volumes_and_the_standby_of_their_database_takes_over() {
    if !is_root() {
        return;
    }
    let network = TestNetwork::new(&["172.16.1.1/24"]);
    let operator = Operator::new();
    let key = operator.public_key();
    let new = |address: &str| DebianFiles::reachable(&format!("{address}/24"), &key);
    let bastion_files = DebianFiles::of_a_bastion(&format!("{BASTION}/24"), &key);
    let files = [
        new(UNIT).with_disk(VOLUME, "pio_data"),
        new(FIRST),
        new(SECOND).with_disk(VOLUME, "pio_records"),
    ];
    for files in files.iter().chain([&bastion_files]) {
        prepare_time(files);
    }
    let outside = Outside::start(&network, &bastion_files.path("opt/packages"));
    let bastion = boot(&bastion_files, &network, "bastion");
    prepare_bastion(&bastion);
    let unit = boot(&files[0], &network, "one");
    let first = boot(&files[1], &network, "db1");
    let second = boot(&files[2], &network, "db2");
    let scene = Scene::new(&network, &operator, [files[0].device(), files[2].device()]);
    succeeded(scene.run("site", &[]));
    check_bastion(&scene);
    check_proxy(&scene, &bastion, &outside);
    check_clock(&unit);
    check_volumes(&scene, &unit, (&second, &files[2]));
    let _unit = check_power(&scene, &files[0], unit);
    let again = succeeded(scene.run("site", &[]));
    assert_eq!(again.changes(), [], "{}", again.output);
    let first = check_failover(&scene, &files[1], first, &second);
    check_return(&scene, &first, &second);
}

fn boot_without_disk(files: &DebianFiles, network: &TestNetwork) -> BootedDebian {
    let system = files.boot_without_disk(network, "one");
    wait_until("the SSH server listens", || {
        system.run("ss -Hltn 'sport = :22' | grep -q .").0
    });
    system
}

/// The machine of the primary is lost, the standby takes over, and the lost machine is no second primary when it is there again.
fn check_failover(
    scene: &Scene<'_>,
    files: &DebianFiles,
    first: BootedDebian,
    second: &BootedDebian,
) -> BootedDebian {
    let take_over = format!("unit_db_primary={DB2}");
    let lost = json!({"unit_db_lost": [DB1]}).to_string();
    scene.while_cells_are_made("first", || {
        drop(first);
        // Nothing says that it is off.
        let unsaid = scene.run("failover", &["-e", &take_over]);
        assert!(!unsaid.succeeded, "{}", unsaid.output);
        assert!(
            unsaid
                .output
                .contains("db1.example.org cannot be reached, and may go on as a primary"),
            "{}",
            unsaid.output
        );
        assert!(!is_primary(second));
        succeeded(scene.run("failover", &["-e", &take_over, "-e", &lost]));
        assert!(is_primary(second));
    });
    scene.write_variables(DB2, &[DB1]);
    let again = succeeded(scene.run("site", &["--limit", "!db1.example.org"]));
    assert_eq!(again.changes(), [], "{}", again.output);

    let first = boot(files, scene.network, "db1");
    let (active, _) = first.run("systemctl is-active postgresql@15-main");
    assert!(!active && is_primary(second));
    let why = first.expect("journalctl -u postgresql@15-main --no-pager");
    assert!(why.contains("db2.example.org is the primary"), "{why}");
    first
}

/// The lost machine becomes a standby, and then the primary again, without any loss.
fn check_return(scene: &Scene<'_>, first: &BootedDebian, second: &BootedDebian) {
    scene.write_variables(DB2, &[]);
    scene.while_cells_are_made("second", || succeeded(scene.run("failover", &[])));
    assert!(is_primary(second) && !is_primary(first));
    wait_until("the machine is in step", || has_synchronous_standby(second));
    first.expect("test -d /var/lib/postgresql/15/main.old");
    scene.while_cells_are_made("third", || {
        let back = format!("unit_db_primary={DB1}");
        succeeded(scene.run("failover", &["-e", &back]));
    });
    assert!(is_primary(first) && !is_primary(second));
    wait_until("the other machine is in step", || {
        has_synchronous_standby(first)
    });
    scene.write_variables(DB1, &[]);
    let again = succeeded(scene.run("site", &[]));
    assert_eq!(again.changes(), [], "{}", again.output);
}
