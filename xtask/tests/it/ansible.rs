//! The playbooks of `deploy/ansible`: linted, and run over SSH on booted systems.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::authority::Authority;
use crate::booted_debian::{BootedDebian, DebianFiles, expect, wait_until};
use crate::package::{NEW, OLD};
use crate::playbook::{Operator, Run, ansible_program, collection, with_environment};
use crate::test_network::TestNetwork;

const ONE_SERVER: &str = "one-server";

/// The settings of the unit.
const SETTINGS: &str = "/etc/personium/personium-unit-config.properties";

/// The address of the one server.
const ADDRESS: &str = "172.16.0.11";

/// The limit of open files, other than the default, and below the hard limit that the container inherits.
const OPEN_FILES: &str = "12345";

pub fn is_root() -> bool {
    let root = expect(Command::new("id").arg("-u")).trim() == "0";
    if !root {
        println!("SKIPPED: only root boots a system");
    }
    root
}

#[test]
fn collection_has_no_findings_of_the_linter_and_its_inventories_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let mut lint = Command::new(ansible_program("ansible-lint"));
    with_environment(&mut lint, folder.path());
    lint.args(["--offline", "--nocolor", "-q"]);
    expect(&mut lint);
    let mut inventories: Vec<_> = std::fs::read_dir(collection().join("inventories"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    inventories.sort();
    assert_eq!(inventories.len(), 4);
    for inventory in inventories {
        let mut syntax = Command::new(ansible_program("ansible-playbook"));
        with_environment(&mut syntax, folder.path());
        syntax
            .args(["--syntax-check", "--inventory"])
            .arg(inventory);
        expect(syntax.args(["playbooks/site.yml", "playbooks/failover.yml"]));
    }
}

/// A run that must succeed.
pub fn succeeded(run: Run) -> Run {
    assert!(run.succeeded, "{}", run.output);
    run
}

/// A run that must fail with a text before anything is changed.
fn refused(run: &Run, reason: &str) {
    assert!(!run.succeeded, "{}", run.output);
    assert!(run.output.contains(reason), "{reason}: {}", run.output);
    assert_eq!(run.changes(), [], "{}", run.output);
}

/// The status of a request from the network to a host name at an address; 000 if there is no connection.
pub fn status(network: &TestNetwork, url: &str, address: &str) -> String {
    let host = url.split('/').nth(2).unwrap();
    let mut command = network.command("curl");
    command.args(["-sk", "--max-time", "5", "-o", "/dev/null"]);
    command.args(["-w", "%{http_code}"]);
    let ports = ["443", "80"].map(|port| format!("{host}:{port}:{address}"));
    for entry in &ports {
        command.args(["--resolve", entry]);
    }
    let output = command.arg(url).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn main_process(system: &BootedDebian, service: &str) -> String {
    system.expect(&format!("systemctl show -p MainPID --value {service}"))
}

/// Boots a system and waits until SSH answers.
pub fn boot(files: &DebianFiles, network: &TestNetwork, name: &str) -> BootedDebian {
    let system = files.boot_on(network, name);
    wait_until("the SSH server listens", || {
        system
            .run(
                "ss -Hltn 'sport = :22' | grep -q . && ip -4 address show dev host0 | grep -q inet",
            )
            .0
    });
    system
}

/// The variables of the inventory with one server.
fn variables(operator: &Operator, version: &str) -> Vec<String> {
    let mut variables = operator.package(version);
    variables.push(format!("ansible_host={ADDRESS} ap_open_files={OPEN_FILES}"));
    variables
}

fn check_refusals(operator: &Operator, network: &TestNetwork, system: &BootedDebian) {
    let other_sum = format!("unit_package_sha256={}", "0".repeat(64));
    let (ends_soon, _) = operator.server_certificate("other.example", "1");
    let (_, other_key) = operator.server_certificate("unit.example.org", "30");
    let [ends_soon, other_key] = [&ends_soon, &other_key].map(|path| path.display());
    let certificates = format!(
        "unit_tls=files unit_tls_certificate={ends_soon} unit_tls_key={other_key} unit_certificate={ends_soon} unit_key={other_key}"
    );
    let code = operator.path("sample.wasm");
    std::fs::write(&code, "no component").unwrap();
    let plugin = json!({"plugins_list": [{
        "name": "sample",
        "description": {"kind": "wasm", "wasm": {"grants": ["files"]}},
        "files": [{"path": code, "sha256": "0".repeat(64)}],
    }]})
    .to_string();
    let unmatched = plugin.replace("files\"]", "clock\"]");
    let cases: [(&str, &[&str]); 10] = [
        ("unit_pacakge=x", &["no variable of the name unit_pacakge"]),
        (
            "unit_name= unit_tls=none unit_acme_challenge=tls unit_acme_contact=nobody unit_acme_dns_wait=long",
            &[
                "unit_name must be the host name",
                "unit_tls must be",
                "unit_acme_challenge must be http-01 or dns-01",
                "unit_acme_contact must be a mail address",
                "unit_acme_dns_wait must be a number of seconds",
            ],
        ),
        (
            "unit_tls=acme unit_acme_directory=http://ca.example/dir unit_acme_challenge=http-01",
            &[
                "unit_acme_directory must be the URL",
                "unit_acme_terms_agreed must be true",
                "unit_acme_challenge is http-01, which gives no certificate for the names of cells",
            ],
        ),
        (
            "unit_minimum_memory=99999999 unit_minimum_disk=99999999",
            &[
                "MiB of memory and needs 99999999",
                "MiB free for /var and needs 99999999",
            ],
        ),
        (&other_sum, &["it is another package"]),
        (
            "backup_to=/var/lib/personium/backups backup_keep=0 backup_journal_hours=9999 backup_journal_seconds=0 backup_s3_access_key=x",
            &[
                "backup_to is in the data of the unit",
                "backup_keep must be a number of generations",
                "backup_journal_hours must be a number of hours up to 8760",
                "backup_journal_seconds must be a number of seconds",
                "backup_s3_access_key and backup_s3_secret_key_file must be given together",
            ],
        ),
        (&plugin, &["has the grants files; there are http"]),
        (
            &unmatched,
            &["has the checksum", "it is another file, or was changed"],
        ),
        (
            &certificates,
            &[
                "unit_tls_certificate is no certificate, or one that has ended or ends within a day",
                "unit_tls_certificate is not for unit.example.org",
                "unit_tls_certificate is not for the names of cells, *.unit.example.org",
                "unit_tls_key is not the key of unit_tls_certificate",
                "unit_certificate must have unit.example.org as its common name (CN)",
                "unit_key is not the key of unit_certificate",
            ],
        ),
        (
            "ap_port=2222",
            &["ap_port is 2222, but on unit.example.org this port is in use by python3"],
        ),
    ];
    system.expect("systemd-run --unit=stranger python3 -m http.server 2222 --bind 127.0.0.1");
    wait_until("somebody listens", || {
        system.run("ss -Hltn 'sport = :2222' | grep -q .").0
    });
    for (wrong, reasons) in cases {
        let mut variables = variables(operator, OLD);
        variables.push(wrong.to_owned());
        let run = operator.run(network, ONE_SERVER, &variables, &[]);
        for reason in reasons {
            refused(&run, reason);
        }
    }
    system.expect("systemctl stop stranger; test ! -e /etc/personium && test ! -e /usr/sbin/nginx");
}

/// The issuer and the serial number of the certificate at port 443 of an address.
pub fn shown_certificate(network: &TestNetwork, address: &str) -> String {
    let script = "openssl s_client -connect $0:443 -servername unit.example.org < /dev/null 2> /dev/null \
        | openssl x509 -noout -issuer -serial";
    expect(network.command("sh").args(["-c", script, address]))
}

/// Lets Nginx have a certificate of an authority instead of one of its own, for the unit and its cells, and renews it.
fn check_acme(operator: &Operator, network: &TestNetwork, system: &BootedDebian) {
    let mut authority = Authority::prepare(network, operator, system);
    authority.start(ADDRESS);
    let mut with_acme = variables(operator, NEW);
    with_acme.push(authority.variables().to_string());
    let options = ["--tags", "web,selftest"];
    let nginx = main_process(system, "nginx");
    succeeded(operator.run(network, ONE_SERVER, &with_acme, &options));
    let first = shown_certificate(network, ADDRESS);
    assert!(first.contains("Pebble"), "{first}");
    let second = succeeded(operator.run(network, ONE_SERVER, &with_acme, &options));
    assert_eq!(second.changes(), [], "{}", second.output);
    let root = authority.root();
    for (host, expected) in [
        ("unit.example.org", "200"),
        ("nobody.unit.example.org", "404"),
    ] {
        let mut curl = network.command("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
            .arg(&root);
        curl.args([
            "--connect-to",
            &format!("::{ADDRESS}:443"),
            &format!("https://{host}/"),
        ]);
        assert_eq!(expect(&mut curl), expected, "{host}");
    }
    system.expect("systemctl is-active personium-certificate.timer");
    let modes = system.expect("stat -c '%U %a' /etc/nginx/tls/server.pem /var/lib/personium-web/server.pem /etc/personium-web/name-system; ! grep -q KEY /etc/personium/web.crt");
    let expected = ["root 400", "personium 600", "personium 400"];
    assert_eq!(modes.lines().collect::<Vec<_>>(), expected);

    // Nothing is due, and then everything is.
    let start = "systemctl start personium-certificate.service";
    system.expect(start);
    assert_eq!(shown_certificate(network, ADDRESS), first);
    system.expect("cd /var/lib/personium-web; rm server.pem state.json");
    system.expect(start);
    wait_until("Nginx uses the new certificate", || {
        let shown = shown_certificate(network, ADDRESS);
        shown != first && shown.contains("Pebble")
    });
    assert_eq!(main_process(system, "nginx"), nginx);
}

/// Whatever listens on the machine, clients reach SSH and the web layer alone.
fn check_ports(network: &TestNetwork, system: &BootedDebian) {
    let listening = system.expect("ss -Hltn");
    let ports = listening.lines().filter_map(|line| {
        let address = line.split_whitespace().nth(3)?;
        address.rsplit_once(':')?.1.parse::<u16>().ok()
    });
    let ports: BTreeSet<u16> = ports.collect();
    assert!(
        ports.contains(&9998) && ports.contains(&8980),
        "{listening}"
    );
    let is_open = |port: &u16| {
        let open = format!("timeout 3 bash -c '</dev/tcp/{ADDRESS}/{port}' 2> /dev/null");
        let mut command = network.command("sh");
        command.args(["-c", &open]).status().unwrap().success()
    };
    let open: Vec<u16> = ports.into_iter().filter(is_open).collect();
    assert_eq!(open, [22, 80, 443], "{listening}");
    // No rule lets in what does not listen yet, or comes without a connection.
    let rules = system.expect("nft list chain inet filter input");
    let named = rules.lines().filter(|line| line.contains("dport"));
    let named: Vec<&str> = named.map(str::trim).collect();
    let expected = [
        "ip saddr 0.0.0.0/0 tcp dport 22 accept",
        "ip6 saddr ::/0 tcp dport 22 accept",
        "tcp dport { 80, 443 } accept",
        "ip saddr 127.0.0.1 tcp dport 9998 accept",
    ];
    assert_eq!(named, expected, "{rules}");
    assert!(rules.contains("policy drop"), "{rules}");
}

/// Checks what the playbook has left: modes of secrets, open ports, and that the password stands nowhere else.
fn check_host(operator: &Operator, network: &TestNetwork, system: &BootedDebian, first: &Run) {
    let password = operator.password();
    assert!(password.len() >= 16 && !first.output.contains(&password));
    system.expect(&format!(
        "! grep -rqF -- '{password}' /etc /var/log /var/lib/personium --exclude-dir=records"
    ));
    let modes = system.expect(
        "stat -c '%U %a' /var/lib/personium/unit.secret /var/lib/personium/unit.key /etc/nginx/tls/server.key",
    );
    let expected = ["personium 400", "personium 400", "root 400"];
    assert_eq!(modes.lines().collect::<Vec<_>>(), expected);
    for (url, expected) in [
        ("https://unit.example.org/", "200"),
        ("https://nobody.unit.example.org/", "404"),
        ("http://unit.example.org/", "308"),
        ("https://other.example/", "000"),
    ] {
        assert_eq!(status(network, url, ADDRESS), expected, "{url}");
    }
    check_ports(network, system);
    // A size of the variables is that of the process.
    let unit = main_process(system, "personium");
    system.expect(&format!(
        "grep -E '^Max open files +{OPEN_FILES} ' /proc/{}/limits",
        unit.trim()
    ));
    check_log_rotation(system);
    let expected = "MaxRetentionSec=31day";
    system.expect(&format!(
        "grep -q {expected} /etc/systemd/journald.conf.d/personium.conf"
    ));
}

/// Logs of the web layer and of the unit become files with a date, and those of more than 31 days are removed.
fn check_log_rotation(system: &BootedDebian) {
    system.expect(
        "echo line > /var/log/personium/access.log; chown personium: /var/log/personium/access.log",
    );
    for (service, log) in [
        ("nginx", "personium.access.log"),
        ("personium", "access.log"),
    ] {
        let script = format!(
            "set -e; cd /var/log/{service}; log={log}; echo line >> $log
            for day in 30 40; do
                file=$log-$(date -d \"$day days ago\" +%Y%m%d).gz; echo old | gzip > $file; touch -d \"$day days ago\" $file
            done
            logrotate --force --state /run/state /etc/logrotate.d/{service}
            test $(ls $log-*.gz | wc -l) = 1 && test -s $log-$(date +%Y%m%d); rm -f /run/state"
        );
        system.expect(&script);
    }
}

/// A plugin of the list of the role, and its secret.
fn plugin(operator: &Operator, name: &str) -> serde_json::Value {
    let secret = operator.path(&format!("{name}.secret"));
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").unwrap();
    json!({
        "name": name,
        "description": {
            "kind": "http",
            "label": "Accounts of the \"company\"",
            "grant_type": format!("urn:x-personium:auth:{name}"),
            "account_types": [format!("auth:{name}")],
            "http": {"url": "https://auth.example/login", "secret_file": format!("{name}.secret")},
        },
        "files": [{"path": secret}],
    })
}

/// The variables of a unit with back-ups and plugins.
fn with_backups_and_plugins(operator: &Operator, plugins: &[&str]) -> Vec<String> {
    let plugins: Vec<_> = plugins.iter().map(|name| plugin(operator, name)).collect();
    let mut variables = variables(operator, OLD);
    variables.push(
        json!({
            "backup_to": "/srv/backups",
            "backup_keep": 2,
            "backup_time": "*-*-* 03:15:00",
            "backup_journal_hours": 48,
            "backup_journal_seconds": 2,
            "backup_key_file": operator.path("backup.key"),
            "plugins_list": plugins,
        })
        .to_string(),
    );
    variables
}

/// Back-ups, their journal, their drill and plugins work after a run.
fn check_backups_and_plugins(operator: &Operator, network: &TestNetwork, system: &BootedDebian) {
    let as_unit = "cd /; runuser -u personium -- personium";
    let modes = "stat -c '%U:%G %a' /etc/personium/plugins /etc/personium/plugins/first.* /etc/personium/secrets/backup.key /srv/backups";
    let expected = [
        "root:personium 750",
        "personium:personium 400",
        "root:personium 640",
        "personium:personium 400",
        "personium:personium 700",
    ];
    let modes = system.expect(modes);
    assert_eq!(modes.lines().collect::<Vec<_>>(), expected);
    let key = operator.path("backup.key");
    let mode = std::fs::metadata(&key).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o400);

    let from = "--from /srv/backups --key /etc/personium/secrets/backup.key";
    // A pass of the journal has the folder for a moment.
    let list = || {
        let mut listed = (false, String::new());
        wait_until("the generations are listed", || {
            listed = system.run(&format!("{as_unit} restore {from} --list"));
            listed.0
        });
        listed.1
    };
    assert_eq!(list().matches(" file bodies ").count(), 1, "of the run");
    wait_until("the journal is copied", || list().contains("Any time from"));
    for started in ["backup", "backup", "drill"] {
        let start = format!("systemctl start personium-{started}.service");
        wait_until("a service ends well", || system.run(&start).0);
    }
    assert_eq!(list().matches(" file bodies ").count(), 2, "{}", list());
    let drill = system.expect("journalctl --no-pager -o cat -u personium-drill.service");
    assert!(drill.contains("0 damaged, 0 orphaned"), "{drill}");
    let timers = system.expect(
        "systemctl is-active personium-backup.timer personium-drill.timer personium-journal.service; \
         systemctl show -p TimersCalendar --value personium-backup.timer",
    );
    assert!(timers.contains("03:15:00"), "{timers}");

    // Another plugin is loaded without a restart, and another key is refused: it could not read the back-ups of before.
    let process = main_process(system, "personium");
    let both = with_backups_and_plugins(operator, &["first", "second"]);
    let options = ["--tags", "plugins"];
    succeeded(operator.run(network, ONE_SERVER, &both, &options));
    wait_until("the unit has loaded both plugins", || {
        let log = system.expect("journalctl --no-pager -u personium");
        ["first", "second"]
            .iter()
            .all(|name| log.contains(&format!("urn:x-personium:auth:{name}")))
    });
    assert_eq!(main_process(system, "personium"), process);
    let listed = system.expect(&format!("{as_unit} plugin list --config {SETTINGS}"));
    assert!(listed.contains("enabled   first") && listed.contains("enabled   second"));
    std::fs::remove_file(&key).unwrap();
    std::fs::write(&key, "another key, which is as long as a key must be").unwrap();
    let other = operator.run(network, ONE_SERVER, &both, &["--tags", "backup"]);
    refused(&other, "which is not the key that unit.example.org has");
}

#[test]
fn one_server_is_constructed_changed_by_no_second_run_rebooted_upgraded_and_gets_certificates() {
    if !is_root() {
        return;
    }
    let network = TestNetwork::new(&["172.16.0.1/24"]);
    let operator = Operator::new();
    let files = DebianFiles::reachable(&format!("{ADDRESS}/24"), &operator.public_key());
    let system = boot(&files, &network, "one");
    check_refusals(&operator, &network, &system);

    let old = with_backups_and_plugins(&operator, &["first"]);
    // The operator's machine is lost in the middle of the first run, and the run is repeated.
    operator.run_until(&network, ONE_SERVER, &old, || {
        system.run("test -e /var/lib/personium/unit.secret").0
    });
    let first = succeeded(operator.run(&network, ONE_SERVER, &old, &[]));
    assert!(first.output.contains("service"), "{}", first.output);
    check_host(&operator, &network, &system, &first);
    let second = succeeded(operator.run(&network, ONE_SERVER, &old, &[]));
    assert_eq!(second.changes(), [], "{}", second.output);

    check_backups_and_plugins(&operator, &network, &system);

    // The power fails.
    drop(system);
    let system = boot(&files, &network, "one");
    wait_until("the unit answers again", || {
        status(&network, "https://unit.example.org/", ADDRESS) == "200"
    });
    let nginx = main_process(&system, "nginx");
    let unit = main_process(&system, "personium");
    let new = variables(&operator, NEW);
    // Back-ups and plugins are not wanted any more: nothing is made, what was made stays, and the folder of plugins is empty.
    let options = ["--tags", "ap,plugins,backup,selftest"];
    let upgrade = succeeded(operator.run(&network, ONE_SERVER, &new, &options));
    assert_eq!(upgrade.changes().len(), 1, "{}", upgrade.output);
    let installed = system.expect("dpkg-query -W -f '${Version}' personium");
    assert_eq!(installed, NEW);
    assert_ne!(main_process(&system, "personium"), unit);
    assert_eq!(main_process(&system, "nginx"), nginx);
    system.expect(
        "! systemctl is-enabled personium-backup.timer && ! systemctl is-active personium-journal && \
         ls /srv/backups | grep -q . && test -z \"$(ls -A /etc/personium/plugins)\"",
    );
    let old = variables(&operator, OLD);
    let older = operator.run(&network, ONE_SERVER, &old, &options);
    assert!(!older.succeeded, "{}", older.output);
    assert_eq!(
        system.expect("dpkg-query -W -f '${Version}' personium"),
        NEW
    );
    check_acme(&operator, &network, &system);
}
