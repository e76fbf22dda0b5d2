//! An authority with the protocol ACME (Pebble) and its name system, on the gateway of a network.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use crate::booted_debian::{BootedDebian, cache, expect, wait_until};
use crate::playbook::Operator;
use crate::test_network::TestNetwork;

/// The address of the gateway.
const GATEWAY: &str = "172.16.0.1";

/// The name of the authority.
const HOST: &str = "ca.example";

const DIRECTORY_PORT: &str = "14000";
const MANAGEMENT_PORT: &str = "15000";
const NAMES_PORT: &str = "8053";
const NAMES_MANAGEMENT_PORT: &str = "8055";

/// A running authority. All names lead to one machine of the network. Dropping it ends it.
pub struct Authority<'n> {
    network: &'n TestNetwork,
    operator: &'n Operator,
    /// The certificate of its server, and the key.
    certificate: (PathBuf, PathBuf),
    processes: Vec<Child>,
}

impl<'n> Authority<'n> {
    /// Prepares an authority which does not run yet. `system` learns its name.
    pub fn prepare(
        network: &'n TestNetwork,
        operator: &'n Operator,
        system: &BootedDebian,
    ) -> Self {
        let authority = Self {
            network,
            operator,
            certificate: operator.server_certificate(HOST, "30"),
            processes: Vec::new(),
        };
        authority.introduce(system);
        authority
    }

    /// Lets another system know its name.
    pub fn introduce(&self, system: &BootedDebian) {
        system.expect(&format!("echo '{GATEWAY} {HOST}' >> /etc/hosts"));
    }

    /// Starts it. All names lead to an address.
    pub fn start(&mut self, address: &str) {
        let (certificate, key) = &self.certificate;
        let config = json!({"pebble": {
            "listenAddress": format!("{GATEWAY}:{DIRECTORY_PORT}"),
            "managementListenAddress": format!("{GATEWAY}:{MANAGEMENT_PORT}"),
            "certificate": certificate,
            "privateKey": key,
            "httpPort": 80,
            "tlsPort": 443,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "retryAfter": {"authz": 1, "order": 1},
            "profiles": {"default": {"description": "of this test", "validityPeriod": 90 * 24 * 3600}},
        }});
        let path = self.operator.path("pebble.json");
        fs::write(&path, config.to_string()).unwrap();
        let names = format!("127.0.0.1:{NAMES_PORT}");
        let management = format!("{GATEWAY}:{NAMES_MANAGEMENT_PORT}");
        self.run(
            "pebble-challtestsrv",
            &[
                "-management",
                &management,
                "-dnsserver",
                &names,
                "-defaultIPv4",
                address,
                "-defaultIPv6",
                "",
            ],
            &["-http01", "", "-https01", "", "-tlsalpn01", "", "-doh", ""],
            NAMES_MANAGEMENT_PORT,
        );
        let path = path.to_str().unwrap();
        self.run(
            "pebble",
            &["-config", path, "-strict", "-dnsserver", &names],
            &[],
            DIRECTORY_PORT,
        );
    }

    fn run(&mut self, program: &str, arguments: &[&str], more: &[&str], port: &str) {
        let mut command = self.network.command(cache().join("bin").join(program));
        command
            .args(arguments)
            .args(more)
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.processes.push(command.spawn().unwrap());
        wait_until(program, || {
            let filter = format!("sport = :{port}");
            !expect(self.network.command("ss").args(["-Hltn", &filter])).is_empty()
        });
    }

    /// The root certificate of what it issues, in a file.
    pub fn root(&self) -> PathBuf {
        let path = self.operator.path("issued.pem");
        let url = format!("https://{GATEWAY}:{MANAGEMENT_PORT}/roots/0");
        let mut command = self.network.command("curl");
        command.args(["-sfk", "-o"]).arg(&path).arg(url);
        expect(&mut command);
        path
    }

    /// The variables of a playbook with certificates of this authority. The records of dns-01 are set by a program that reads the URL
    /// of the name system from a file beside it.
    pub fn variables(&self) -> Value {
        let (command, file) = (
            self.operator.path("set-record"),
            self.operator.path("name-system"),
        );
        let url = format!("http://{GATEWAY}:{NAMES_MANAGEMENT_PORT}");
        fs::write(&file, url).unwrap();
        let script = "#!/usr/bin/python3\n\
            import json, os, sys, urllib.request\n\
            verb, name, value = sys.argv[1:]\n\
            url = open(os.path.dirname(__file__) + '/name-system').read()\n\
            # This name system removes all records of a name at once, also those that another client has set.\n\
            if verb == 'add':\n\
            \x20   urllib.request.urlopen(url + '/set-txt', json.dumps({'host': name + '.', 'value': value}).encode(), 10)\n";
        fs::write(&command, script).unwrap();
        json!({
            "unit_tls": "acme",
            "unit_acme_directory": format!("https://{HOST}:{DIRECTORY_PORT}/dir"),
            "unit_acme_terms_agreed": true,
            "unit_acme_contact": "operator@unit.example.org",
            "unit_acme_root": self.operator.path(&format!("{HOST}-30.ca.crt")),
            "unit_acme_dns_command": command,
            "unit_acme_dns_files": [file],
            "unit_acme_dns_wait": 0,
        })
    }
}

impl Drop for Authority<'_> {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
