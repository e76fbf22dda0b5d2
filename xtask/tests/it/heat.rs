//! The templates of `deploy/heat`, checked by the library of OpenStack Heat.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::playbook::client_program;

/// The resources and outputs of templates, by the names of their files.
struct Templates(Value);

impl Templates {
    /// Checks and reads those of the project.
    fn load() -> Self {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let output = Command::new(client_program("heat", "python"))
            .arg(project.join("tests/heat/resources.py"))
            .arg(project.join("../deploy/heat"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        Self(serde_json::from_slice(&output.stdout).unwrap())
    }

    fn resources(&self, template: &str) -> &serde_json::Map<String, Value> {
        self.0[template]["resources"].as_object().unwrap()
    }

    /// A property of a resource.
    fn property(&self, template: &str, resource: &str, name: &str) -> &Value {
        &self.0[template]["resources"][resource]["properties"][name]
    }
}

/// The number of resources of each type.
fn counts(resources: &serde_json::Map<String, Value>) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for resource in resources.values() {
        let kind = resource["type"].as_str().unwrap();
        *counts.entry(kind.rsplit("::").next().unwrap()).or_default() += 1;
    }
    counts
}

/// A rule in short: direction, protocol, port, network.
fn rule(rule: &Value) -> String {
    let text = |name: &str| match &rule[name] {
        Value::Null => "any".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let port = text("port_range_min");
    assert_eq!(port, text("port_range_max"));
    format!(
        "{} {} {port} {}",
        text("direction"),
        text("protocol"),
        text("remote_ip_prefix")
    )
}

#[test]
fn heat_accepts_the_templates_which_have_three_zones_and_rules_that_let_only_https_in() {
    let templates = Templates::load();
    let zones = "01_zones.yaml";
    let expected = [
        ("Net", 3),
        ("Port", 3),
        ("Router", 4),
        ("RouterInterface", 5),
        ("SecurityGroup", 4),
        ("SecurityGroupRule", 1),
        ("Subnet", 3),
    ];
    assert_eq!(counts(templates.resources(zones)), expected.into());
    for (subnet, cidr, gateway, other, hop) in [
        (
            "dmz_subnet",
            "172.16.0.0/24",
            "172.16.0.1",
            "172.16.1.0/24",
            "172.16.0.2",
        ),
        (
            "secure_subnet",
            "172.16.1.0/24",
            "172.16.1.1",
            "172.16.0.0/24",
            "172.16.1.2",
        ),
    ] {
        let property = |name| templates.property(zones, subnet, name);
        assert_eq!(property("cidr"), cidr);
        assert_eq!(property("gateway_ip"), gateway);
        let route = json!([{"destination": other, "nexthop": hop}]);
        assert_eq!(*property("host_routes"), route);
    }
    let property = |name| templates.property(zones, "management_subnet", name);
    assert_eq!(property("cidr"), "192.168.0.0/24");
    assert_eq!(property("gateway_ip"), "");

    let rules = |group: &str| -> Vec<String> {
        let rules = templates
            .property(zones, group, "rules")
            .as_array()
            .unwrap();
        rules.iter().map(rule).collect()
    };
    let edge = [
        "egress tcp 80 any",
        "egress tcp 443 any",
        "egress tcp 53 192.0.2.53/32",
        "egress udp 53 192.0.2.53/32",
        "egress tcp 53 192.0.2.54/32",
        "egress udp 53 192.0.2.54/32",
        "egress tcp 123 any",
        "egress udp 123 any",
    ];
    assert_eq!(rules("dmz_edge"), edge);
    assert_eq!(rules("secure_edge"), edge);
    let inner = ["172.16.0.0/24", "172.16.1.0/24"];
    assert!(
        rules("between_zones")
            .iter()
            .all(|rule| inner.iter().any(|zone| rule.ends_with(zone)))
    );
    let operators = ["192.168.246.0/24", "192.168.0.0/24", "192.168.0.0/16"];
    assert!(
        rules("management")
            .iter()
            .all(|rule| operators.iter().any(|zone| rule.ends_with(zone)))
    );
    let https = templates.resources(zones)["dmz_edge_https"]["properties"].clone();
    assert_eq!(rule(&https), "ingress tcp 443 0.0.0.0/0");
    assert_eq!(https["security_group"], json!({"of": "dmz_edge"}));
}

#[test]
fn heat_places_each_server_in_its_zone_with_its_volumes() {
    let templates = Templates::load();
    let (places, servers) = ("02_host_groups.yaml", "03_servers.yaml");
    for (port, network, address, groups) in [
        (
            "web_port",
            "dmz_network",
            "172.16.0.11",
            ["dmz_edge", "between_zones"],
        ),
        (
            "ap_port",
            "secure_network",
            "172.16.1.11",
            ["secure_edge", "between_zones"],
        ),
        (
            "db_port",
            "secure_network",
            "172.16.1.12",
            ["secure_edge", "between_zones"],
        ),
    ] {
        let property = |name| templates.property(places, port, name);
        assert_eq!(property("network"), network);
        assert_eq!(property("fixed_ips")[0]["ip_address"], address);
        assert_eq!(*property("security_groups"), json!(groups));
    }
    for (port, address) in [
        ("web_management_port", "192.168.0.11"),
        ("ap_management_port", "192.168.0.21"),
        ("db_management_port", "192.168.0.22"),
    ] {
        let property = |name| templates.property(places, port, name);
        assert_eq!(property("network"), "management_network");
        assert_eq!(property("fixed_ips")[0]["ip_address"], address);
        assert_eq!(*property("security_groups"), json!(["management"]));
    }
    let public = templates.property(places, "unit_address", "port_id");
    assert_eq!(*public, json!({"of": "web_port"}));

    for (volume, size, server) in [
        ("web_system", 30, "web_server"),
        ("ap_system", 30, "ap_server"),
        ("db_system", 30, "db_server"),
        ("ap_logs", 50, "ap_server"),
        ("ap_bodies", 100, "ap_server"),
        ("db_records", 200, "db_server"),
    ] {
        assert_eq!(*templates.property(servers, volume, "size"), json!(size));
        let of = json!({"of": volume});
        if volume.ends_with("_system") {
            let devices = templates.property(servers, server, "block_device_mapping_v2");
            assert_eq!(devices[0]["volume_id"], of);
        } else {
            let attachment = format!("{volume}_attachment");
            let property = |name| templates.property(servers, &attachment, name);
            assert_eq!(*property("volume_id"), of);
            assert_eq!(*property("instance_uuid"), json!({"of": server}));
        }
    }
    let third = &templates.resources(servers)["ap_bodies_attachment"]["needs"];
    let needs: Vec<String> = serde_json::from_value(third.clone()).unwrap();
    assert!(
        needs.contains(&"ap_logs_attachment".to_owned()),
        "{needs:?}"
    );
}

#[test]
fn heat_gives_an_inventory_that_ansible_reads() {
    let templates = Templates::load();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts.yml");
    let inventory = &templates.0["unit.yaml"]["outputs"]["inventory"];
    std::fs::write(&file, inventory.to_string()).unwrap();
    let mut command = Command::new(client_program("ansible", "ansible-inventory"));
    crate::playbook::with_environment(&mut command, folder.path());
    let output = command
        .arg("--list")
        .arg("--inventory")
        .arg(file)
        .output()
        .unwrap();
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    for (group, address) in [
        ("web", "172.16.0.11"),
        ("ap", "172.16.1.11"),
        ("db", "172.16.1.12"),
    ] {
        assert_eq!(read[group]["hosts"], json!([group]));
        assert_eq!(read["_meta"]["hostvars"][group]["unit_address"], address);
    }
}
