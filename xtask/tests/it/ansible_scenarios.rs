//! The playbooks on several systems. These tests take too long for `cargo xtask test`; `cargo xtask deploy` runs them.

use crate::ansible::{boot, is_root, main_process, status, succeeded};
use crate::booted_debian::{DebianFiles, wait_until};
use crate::package::{NEW, OLD};
use crate::playbook::Operator;
use crate::test_network::TestNetwork;

const THREE_SERVERS: &str = "three-servers";

/// The hosts of the inventory: name and address.
const HOSTS: [(&str, &str); 3] = [
    ("web", "172.16.0.11"),
    ("ap", "172.16.1.11"),
    ("db", "172.16.1.12"),
];

const UNIT: &str = "https://unit.example.org/";

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
