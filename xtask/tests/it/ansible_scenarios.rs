//! The playbooks on several systems. These tests take too long for `cargo xtask test`; `cargo xtask deploy` runs them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::ansible::{boot, is_root, main_process, shown_certificate, status, succeeded};
use crate::authority::Authority;
use crate::booted_debian::{BootedDebian, DebianFiles, wait_until};
use crate::package::{NEW, OLD};
use crate::playbook::{Operator, collection};
use crate::test_network::TestNetwork;

mod backups_and_plugins;
mod object_store;
mod ports;
mod secluded;
mod share;
mod web_certificates;

const THREE_SERVERS: &str = "three-servers";

/// The hosts of the inventory: name and address.
const HOSTS: [(&str, &str); 3] = [
    ("web", "172.16.0.11"),
    ("ap", "172.16.1.11"),
    ("db", "172.16.1.12"),
];

const UNIT: &str = "https://unit.example.org/";

/// The hosts of a unit in which each layer has machines of its own: name, group and address.
const SCALED_OUT: [(&str, &str, &str); 7] = [
    ("web1", "web", "172.16.0.11"),
    ("ap1", "ap", "172.16.1.11"),
    ("ap2", "ap", "172.16.1.12"),
    ("db1", "db", "172.16.1.21"),
    ("cache1", "cache", "172.16.1.31"),
    ("web2", "web", "172.16.0.12"),
    ("db2", "db", "172.16.1.22"),
];

/// The address outside from which another system reads events.
const READER: &str = "172.16.1.1";

/// The variables of the inventory: its hosts are reached by their inner addresses.
fn variables(operator: &Operator, version: &str) -> Vec<String> {
    let mut variables = operator.package(version);
    let by_address = r#"{"ansible_host": "{{ unit_address }}"}"#;
    variables.push(by_address.to_owned());
    variables
}

#[test]
#[ignore = "takes many minutes: cargo xtask deploy"]
fn three_servers_are_constructed_changed_by_no_second_run_killed_and_upgraded() {
    if !is_root() {
        return;
    }
    let network = TestNetwork::new(&["172.16.0.1/24", "172.16.1.1/24"]);
    let operator = Operator::new();
    let files = HOSTS.map(|(_, address)| {
        DebianFiles::reachable(&format!("{address}/24"), &operator.public_key())
    });
    let mut systems: Vec<_> = HOSTS
        .iter()
        .zip(&files)
        .map(|((name, _), files)| Some(boot(files, &network, name)))
        .collect();
    let old = variables(&operator, OLD);
    succeeded(operator.run(&network, THREE_SERVERS, &old, &[]));
    assert!(operator.password().len() >= 16);
    let second = succeeded(operator.run(&network, THREE_SERVERS, &old, &[]));
    assert_eq!(second.changes(), [], "{}", second.output);

    let web = HOSTS[0].1;
    assert_eq!(status(&network, UNIT, web), "200");
    let ap = systems[1].as_ref().unwrap();
    let reaches = |address: &str, port: &str| {
        let opened = format!("timeout 3 bash -c '</dev/tcp/{address}/{port}'");
        ap.run(&opened).0
    };
    assert!(reaches(HOSTS[2].1, "5432") && !reaches(web, "8980"));
    for (address, port) in [(HOSTS[1].1, "9998"), (HOSTS[2].1, "5432")] {
        let url = format!("http://{address}:{port}/");
        assert_eq!(status(&network, &url, address), "000", "{url}");
    }
    systems[2].as_ref().unwrap().expect(
        "stat -c '%a' /etc/personium-db/*.password /etc/personium-db/server.key | sort -u | grep -qx 400",
    );

    // Each machine is lost once, and comes back by itself.
    for (number, (name, _)) in HOSTS.iter().enumerate() {
        drop(systems[number].take());
        systems[number] = Some(boot(&files[number], &network, name));
        // The cell exists and has no page: its record was read.
        wait_until("the unit answers again", || {
            status(&network, "https://unitadmin.unit.example.org/", web) == "412"
        });
    }
    let [web_system, ap] = [0, 1].map(|number| systems[number].as_ref().unwrap());
    let nginx = main_process(web_system, "nginx");
    let new = variables(&operator, NEW);
    let options = ["--tags", "ap,selftest"];
    let upgrade = succeeded(operator.run(&network, THREE_SERVERS, &new, &options));
    let changed: Vec<_> = upgrade
        .changes()
        .into_iter()
        .map(|(host, _)| host)
        .collect();
    assert_eq!(changed, ["ap.example.org"], "{}", upgrade.output);
    assert_eq!(ap.expect("dpkg-query -W -f '${Version}' personium"), NEW);
    assert_eq!(main_process(web_system, "nginx"), nginx);
}

#[test]
#[ignore = "takes many minutes: cargo xtask deploy"]
fn certificates_of_an_authority_come_to_a_unit_and_then_to_the_web_layer_in_front_of_it() {
    if !is_root() {
        return;
    }
    let network = TestNetwork::new(&["172.16.0.1/24"]);
    let operator = Operator::new();
    let address = "172.16.0.11";
    let files = DebianFiles::reachable(&format!("{address}/24"), &operator.public_key());
    let system = boot(&files, &network, "one");
    let mut authority = Authority::prepare(&network, &operator, &system);
    let mut variables = operator.package(OLD);
    variables.push(format!("ansible_host={address}"));
    variables.push(authority.variables().to_string());
    variables.push(json!({"unit_path_based_cells": true}).to_string());

    // The authority does not answer; then it does, and the run is repeated.
    let failed = operator.run(&network, "one-program", &variables, &[]);
    assert!(!failed.succeeded, "{}", failed.output);
    let reason = "got no certificate from https://ca.example:14000/dir";
    assert!(failed.output.contains(reason), "{}", failed.output);
    authority.start(address);
    succeeded(operator.run(&network, "one-program", &variables, &[]));
    let second = succeeded(operator.run(&network, "one-program", &variables, &[]));
    assert_eq!(second.changes(), [], "{}", second.output);
    let of_unit = shown_certificate(&network, address);
    assert!(of_unit.contains("Pebble"), "{of_unit}");
    for (url, expected) in [
        (UNIT, "200"),
        ("http://unit.example.org/", "308"),
        ("http://172.16.0.11:9998/", "000"),
    ] {
        assert_eq!(status(&network, url, address), expected, "{url}");
    }

    // Nginx comes in front of it.
    succeeded(operator.run(&network, "one-server", &variables, &[]));
    let second = succeeded(operator.run(&network, "one-server", &variables, &[]));
    assert_eq!(second.changes(), [], "{}", second.output);
    let of_web = shown_certificate(&network, address);
    assert!(of_web.contains("Pebble") && of_web != of_unit, "{of_web}");
    assert_eq!(status(&network, UNIT, address), "200");
    let by_personium = "ss -Hltnp | grep personium | grep -E ':(80|443) '";
    assert!(!system.run(by_personium).0);
}

/// Writes an inventory like `scaled-out`, with fewer machines, to a folder.
fn smaller_scaled_out(folder: &Path) {
    let mut hosts = json!({});
    for (name, group, address) in SCALED_OUT {
        hosts[group]["hosts"][format!("{name}.example.org")] =
            json!({"unit_address": address, "ansible_host": address});
    }
    // The broker is on the machine of the cache.
    hosts["broker"] = hosts["cache"].clone();
    let hosts = json!({"all": {"children": hosts}});
    fs::write(folder.join("hosts.yml"), hosts.to_string()).unwrap();
    let variables = "group_vars/all.yml";
    fs::create_dir(folder.join("group_vars")).unwrap();
    let original = collection().join("inventories/scaled-out").join(variables);
    fs::copy(original, folder.join(variables)).unwrap();
}

/// The variables of the smaller `scaled-out`: certificates in files, file bodies and back-ups in an object store, a plugin.
fn variables_of_scaled_out(
    operator: &Operator,
    version: &str,
    (certificate, key): &(PathBuf, PathBuf),
) -> Vec<String> {
    let secret = operator.path("s3-secret");
    fs::write(&secret, object_store::SECRET_KEY).unwrap();
    let mut variables = operator.package(version);
    variables.push(
        json!({
            "unit_tls": "files",
            "unit_tls_certificate": certificate,
            "unit_tls_key": key,
            "unit_bodies": "s3",
            "unit_s3_endpoint": object_store::url(),
            "unit_s3_bucket": object_store::BODIES,
            "unit_s3_access_key": object_store::ACCESS_KEY,
            "unit_s3_secret_key_file": secret,
            "unit_settings": {"blobStore.s3.allowHttp": true, "outgoing.privateNetworks.enabled": true},
            "broker_readers": ["billing"],
            "broker_reader_networks": [READER],
        })
        .to_string(),
    );
    variables.push(backups_and_plugins::variables(operator, &secret).to_string());
    variables
}

/// A client of another system at the broker: tries to send to the topic, which must be refused, then reads one event and prints its
/// body. Its arguments are the address, the file with its password, and the certificate of the broker.
const EVENT_READER: &str = r#"
import ssl, socket, sys
address, password, certificate = sys.argv[1:]
context = ssl.create_default_context(cafile=certificate)
topic = '/topic/personium_event_topic'

class Connection:
    def __init__(self):
        raw = socket.create_connection((address, 61614), 600)
        self.stream = context.wrap_socket(raw, server_hostname=address).makefile('rwb')
        self.send('CONNECT', 'accept-version:1.2\nhost:personium\nlogin:billing\npasscode:' + open(password).read().strip())
        assert self.receive().startswith('CONNECTED'), 'not connected'

    def send(self, command, headers, body=''):
        self.stream.write((command + '\n' + headers + '\n\n' + body + '\0').encode())
        self.stream.flush()

    def receive(self):
        frame = b''
        while not frame.endswith(b'\0'):
            byte = self.stream.read(1)
            assert byte, 'closed'
            frame += byte
        return frame.decode().strip('\0\n')

hostile = Connection()
hostile.send('SEND', 'destination:' + topic + '\nreceipt:1', 'forged')
assert hostile.receive().startswith('ERROR'), 'may send'
reader = Connection()
reader.send('SUBSCRIBE', 'id:0\nack:auto\nreceipt:2\ndestination:' + topic)
assert reader.receive().startswith('RECEIPT')
print('subscribed', flush=True)
print(reader.receive().split('\n\n', 1)[1], flush=True)
"#;

/// Reads an event of the unit at the broker, as another system.
fn check_events(network: &TestNetwork, broker: &BootedDebian, use_unit: impl FnOnce()) {
    let folder = tempfile::tempdir().unwrap();
    let [script, password, certificate, output] =
        ["reader.py", "password", "certificate", "output"].map(|name| folder.path().join(name));
    fs::write(&script, EVENT_READER).unwrap();
    for (name, path) in [
        ("billing.password", &password),
        ("server.crt", &certificate),
    ] {
        let text = broker.expect(&format!("cat /etc/personium-broker/{name}"));
        fs::write(path, text).unwrap();
    }
    let address = SCALED_OUT[4].2;
    let log = File::create(&output).unwrap();
    let mut command = network.command("python3");
    command
        .arg(&script)
        .arg(address)
        .args([&password, &certificate]);
    command.stdout(log.try_clone().unwrap()).stderr(log);
    let mut reader = command.spawn().unwrap();
    let said = || fs::read_to_string(&output).unwrap();
    wait_until("another system reads events", || {
        assert!(reader.try_wait().unwrap().is_none(), "{}", said());
        said().contains("subscribed")
    });
    use_unit();
    wait_until("another system has an event", || {
        reader.try_wait().unwrap().is_some()
    });
    assert!(said().contains("\"Cell\":\"https://"), "{}", said());
}

/// The layers are closed to each other and to strangers, but for what they need.
fn check_ports(network: &TestNetwork, systems: &[Option<BootedDebian>]) {
    let machines: Vec<_> = SCALED_OUT
        .iter()
        .zip(systems)
        .map(|((name, group, address), system)| ports::Machine {
            name,
            groups: match *group {
                "cache" => &["cache", "broker"],
                _ => std::slice::from_ref(group),
            },
            address,
            system: system.as_ref().unwrap(),
        })
        .collect();
    ports::check(network, &machines, READER);
}

#[test]
#[ignore = "takes many minutes: cargo xtask deploy"]
fn nodes_of_a_scaled_out_unit_are_lost_and_upgraded_one_by_one_while_it_serves() {
    if !is_root() {
        return;
    }
    let network = TestNetwork::new(&["172.16.0.1/24", "172.16.1.1/24"]);
    let _store = object_store::ObjectStore::start(&network);
    let operator = Operator::new();
    let folder = tempfile::tempdir().unwrap();
    smaller_scaled_out(folder.path());
    let inventory = folder.path().to_str().unwrap();
    let files = SCALED_OUT.map(|(_, group, address)| {
        let (address, key) = (format!("{address}/24"), operator.public_key());
        match group {
            "cache" => DebianFiles::of_a_broker(&address, &key),
            _ => DebianFiles::reachable(&address, &key),
        }
    });
    let boot_number = |number: usize| boot(&files[number], &network, SCALED_OUT[number].0);
    let mut systems: Vec<_> = (0..SCALED_OUT.len())
        .map(|n| Some(boot_number(n)))
        .collect();
    let certificate = operator.server_certificate("unit.example.org", "90");
    let old = variables_of_scaled_out(&operator, OLD, &certificate);
    succeeded(operator.run(&network, inventory, &old, &[]));
    let second = succeeded(operator.run(&network, inventory, &old, &[]));
    assert_eq!(second.changes(), [], "{}", second.output);
    check_events(&network, systems[4].as_ref().unwrap(), || {
        succeeded(operator.run(&network, inventory, &old, &["--tags", "selftest"]));
    });

    let [ap1, ap2] = [1, 2].map(|number| systems[number].as_ref().unwrap());
    backups_and_plugins::check([ap1, ap2]);
    check_ports(&network, &systems);

    // The cell exists and has no page: its record was read.
    let web = SCALED_OUT[0].2;
    let serves = || status(&network, "https://unitadmin.unit.example.org/", web) == "412";
    let other_web = SCALED_OUT[5].2;
    let other_serves =
        || status(&network, "https://unitadmin.unit.example.org/", other_web) == "412";
    assert!(serves() && other_serves());
    // Changes wait for the standby, which only reads.
    let is_in_step = |primary: &BootedDebian| {
        let state = "runuser -u postgres -- psql -qtAc 'SELECT sync_state FROM pg_stat_replication' | grep -qx sync";
        primary.run(state).0
    };
    assert!(is_in_step(systems[3].as_ref().unwrap()));
    systems[6].as_ref().unwrap().expect(
        "runuser -u postgres -- psql -d personium -qtAc \"SELECT pg_is_in_recovery() AND EXISTS (SELECT 1 FROM pg_tables WHERE tableowner = 'personium')\" | grep -qx t",
    );
    // A node, then the cache, a web server and the standby are lost; the unit goes on, and the machine joins it again.
    for (number, service) in [(1, Some("personium")), (4, None), (5, None), (6, None)] {
        drop(systems[number].take());
        wait_until("the unit serves without a machine", serves);
        let system = boot_number(number);
        if service.is_some() {
            wait_until("the node is ready", || {
                let ready = "timeout 3 bash -c 'exec 3<>/dev/tcp/127.0.0.1/9997; printf \"GET /ready HTTP/1.0\\r\\n\\r\\n\" >&3; grep -q \" 200 \" <&3'";
                system.run(ready).0
            });
        }
        systems[number] = Some(system);
    }
    let broker = systems[4].as_ref().unwrap();
    wait_until("the broker listens again", || {
        broker.run("ss -Hltn 'sport = :61614' | grep -q .").0
    });
    wait_until("the second web server serves again", other_serves);
    wait_until("the standby is in step again", || {
        is_in_step(systems[3].as_ref().unwrap())
    });
    let ended = AtomicBool::new(false);
    let (upgrade, failures) = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut failures = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                match status(&network, "https://unitadmin.unit.example.org/", web).as_str() {
                    "412" => {}
                    other => failures.push(other.to_owned()),
                }
            }
            failures
        });
        let new = variables_of_scaled_out(&operator, NEW, &certificate);
        let options = ["--tags", "ap,selftest"];
        let upgrade = operator.run(&network, inventory, &new, &options);
        ended.store(true, Ordering::Relaxed);
        (succeeded(upgrade), client.join().unwrap())
    });
    assert_eq!(
        failures,
        Vec::<String>::new(),
        "requests while nodes are upgraded"
    );
    let changed: Vec<_> = upgrade
        .changes()
        .into_iter()
        .map(|(host, _)| host)
        .collect();
    assert_eq!(
        changed,
        ["ap1.example.org", "ap2.example.org"],
        "{}",
        upgrade.output
    );
    for system in systems[1..3].iter().flatten() {
        assert_eq!(
            system.expect("dpkg-query -W -f '${Version}' personium"),
            NEW
        );
    }
}
