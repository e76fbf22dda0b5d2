//! Certificates of several web servers: by a command of the operator, and by an authority.

use std::fs;

use serde_json::json;

use crate::ansible::{boot, is_root, shown_certificate, status, succeeded};
use crate::authority::Authority;
use crate::booted_debian::{DebianFiles, expect, wait_until};
use crate::package::OLD;
use crate::playbook::Operator;
use crate::test_network::TestNetwork;

const FIRST: &str = "172.16.0.11";
const SECOND: &str = "172.16.0.12";

/// A command that makes a certificate unless there is one of today.
const HOOK: &str = "test -e /etc/nginx/tls/server.crt || openssl req -x509 -newkey rsa:2048 -nodes -days 90 \
    -subj '/O=Hook/CN=unit.example.org' -addext 'subjectAltName=DNS:unit.example.org' -addext basicConstraints=critical,CA:FALSE \
    -keyout /etc/nginx/tls/server.key -out /etc/nginx/tls/server.crt 2> /dev/null";

#[test]
#[ignore = "takes many minutes: cargo xtask deploy"]
fn web_servers_share_the_certificate_of_a_command_and_then_have_their_own_of_an_authority() {
    if !is_root() {
        return;
    }
    let network = TestNetwork::new(&["172.16.0.1/24"]);
    let operator = Operator::new();
    let files = [FIRST, SECOND]
        .map(|address| DebianFiles::reachable(&format!("{address}/24"), &operator.public_key()));
    let [first, second] = [0, 1].map(|n| boot(&files[n], &network, ["web1", "web2"][n]));
    let hosts = json!({"all": {"children": {
        "web": {"hosts": {
            "web1.example.org": {"unit_address": FIRST, "ansible_host": FIRST},
            "web2.example.org": {"unit_address": SECOND, "ansible_host": SECOND},
        }},
        "ap": {"hosts": {"web1.example.org": {}}},
    }}});
    let inventory = tempfile::tempdir().unwrap();
    fs::write(inventory.path().join("hosts.yml"), hosts.to_string()).unwrap();
    let inventory = inventory.path().to_str().unwrap();
    let mut variables = operator.package(OLD);
    variables
        .push(json!({"unit_name": "unit.example.org", "unit_path_based_cells": true}).to_string());
    let shown = || [FIRST, SECOND].map(|address| shown_certificate(&network, address));
    let serve = || {
        [FIRST, SECOND]
            .iter()
            .all(|address| status(&network, "https://unit.example.org/", address) == "200")
    };

    let mut with_hook = variables.clone();
    with_hook.push(json!({"unit_tls": "hook", "unit_tls_hook": HOOK}).to_string());
    succeeded(operator.run(&network, inventory, &with_hook, &[]));
    let again = succeeded(operator.run(&network, inventory, &with_hook, &[]));
    assert_eq!(again.changes(), [], "{}", again.output);
    let [one, other] = shown();
    assert!(one.contains("Hook") && one == other, "{one} {other}");
    assert!(serve());
    // Each day: nothing is due, and then a certificate is.
    let daily = "systemctl is-active personium-certificate.timer && systemctl start personium-certificate.service";
    first.expect(daily);
    assert_eq!(shown()[0], one);
    first.expect("rm /etc/nginx/tls/server.crt");
    first.expect(daily);
    wait_until("the first web server has another certificate", || {
        shown()[0].contains("Hook") && shown()[0] != one
    });
    let options = ["--tags", "web,selftest"];
    succeeded(operator.run(&network, inventory, &with_hook, &options));
    let [one, other] = shown();
    assert_eq!(one, other);

    // The authority asks at the address of the second web server alone, so that the challenges of the first one are led there.
    let mut authority = Authority::prepare(&network, &operator, &first);
    authority.introduce(&second);
    authority.start(SECOND);
    let mut with_authority = variables.clone();
    with_authority.push(authority.variables().to_string());
    let options = ["--tags", "base,web,selftest"];
    succeeded(operator.run(&network, inventory, &with_authority, &options));
    let again = succeeded(operator.run(&network, inventory, &with_authority, &[]));
    assert_eq!(again.changes(), [], "{}", again.output);
    let own = shown();
    assert!(own.iter().all(|shown| shown.contains("Pebble")), "{own:?}");
    assert_ne!(own[0], own[1]);
    assert!(serve());
    // The command of before is not run any more.
    let units = "systemctl cat personium-certificate.service";
    assert!(!first.expect(units).contains("tls/hook"));
    // Everything is due on the first one.
    first.expect("cd /var/lib/personium-web; rm server.pem state.json; systemctl start personium-certificate.service");
    wait_until("the first web server uses a new certificate", || {
        let now = shown();
        now[0] != own[0] && now[0].contains("Pebble") && now[1] == own[1]
    });
    assert!(serve());

    // Cells with hosts: each web server proves the names by records, also when both do it at once.
    let mut with_records = with_authority;
    with_records.push(json!({"unit_path_based_cells": false}).to_string());
    succeeded(operator.run(&network, inventory, &with_records, &[]));
    let again = succeeded(operator.run(&network, inventory, &with_records, &[]));
    assert_eq!(again.changes(), [], "{}", again.output);
    let root = authority.root();
    let serves_cells = |address: &str| {
        let mut curl = network.command("curl");
        curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"]);
        let to = format!("::{address}:443");
        curl.arg(&root).args(["--connect-to", &to]);
        expect(curl.arg("https://nobody.unit.example.org/")) == "404"
    };
    assert!(serves_cells(FIRST) && serves_cells(SECOND));
    let before = shown();
    let both = [&first, &second];
    for system in both {
        system.expect("cd /var/lib/personium-web; rm server.pem state.json");
    }
    let start = "systemctl start personium-certificate.service";
    std::thread::scope(|scope| {
        for system in both {
            scope.spawn(|| system.expect(start));
        }
    });
    wait_until("both web servers use new certificates", || {
        let now = shown();
        (0..2).all(|n| now[n] != before[n] && now[n].contains("Pebble")) && now[0] != now[1]
    });
    assert!(serves_cells(FIRST) && serves_cells(SECOND) && serve());
}
