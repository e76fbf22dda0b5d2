//! Back-ups to an object store, and a plugin of WebAssembly, of a unit with several nodes.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::object_store::{self, ACCESS_KEY, BACKUPS};
use crate::booted_debian::{BootedDebian, expect, wait_until};
use crate::playbook::{Operator, client_program, collection};

/// The settings of the unit.
const SETTINGS: &str = "/etc/personium/personium-unit-config.properties";

/// The compiler of Debian, which has the target of WebAssembly.
const RUSTC: &str = "/usr/bin/rustc";

/// The password that the plugin knows.
const PASSWORD: &str = "the password of the sample";

/// Makes the sample plugin in Rust as docs/plugins.md says, and returns the description of it for the inventory.
fn plugin(operator: &Operator) -> Value {
    let plugins = collection().join("../../plugins");
    let [module, embedded, component, secret] = [
        "module.wasm",
        "embedded.wasm",
        "sample.wasm",
        "sample.secret",
    ]
    .map(|name| operator.path(name));
    let tools = client_program("plugin-tools", "wasm-tools");
    expect(
        Command::new(RUSTC)
            .args(["--target", "wasm32-unknown-unknown", "--edition", "2021"])
            .args(["--crate-type", "cdylib", "-C", "opt-level=s"])
            .args(["-C", "panic=abort", "-C", "strip=symbols", "-o"])
            .arg(&module)
            .arg(plugins.join("rust/sample.rs")),
    );
    let mut embed = Command::new(&tools);
    embed.args(["component", "embed"]).arg(plugins.join("wit"));
    embed.args(["--world", "plugin"]).arg(&module);
    expect(embed.arg("--output").arg(&embedded));
    let mut new = Command::new(&tools);
    new.args(["component", "new"]).arg(&embedded);
    expect(new.arg("--output").arg(&component));
    std::fs::write(&secret, PASSWORD).unwrap();
    json!({
        "name": "sample",
        "description": {
            "kind": "wasm",
            "grant_type": "urn:x-personium:auth:sample",
            "account_types": ["auth:sample"],
            "wasm": {"grants": [], "secret_files": {"password": "sample.secret"}},
        },
        "files": [{"path": component, "sha256": sha256(&component)}, {"path": secret}],
    })
}

fn sha256(file: &Path) -> String {
    let sum = expect(Command::new("sha256sum").arg(file));
    sum.split_whitespace().next().unwrap().to_owned()
}

/// The variables of back-ups in the object store, and of the plugin. `secret` is the file with the secret key of the store.
pub fn variables(operator: &Operator, secret: &Path) -> Value {
    json!({
        "backup_to": format!("s3://{BACKUPS}/unit"),
        "backup_keep": 3,
        "backup_key_file": operator.path("backup.key"),
        "backup_s3_endpoint": object_store::url(),
        "backup_s3_access_key": ACCESS_KEY,
        "backup_s3_secret_key_file": secret,
        "backup_s3_settings": {"allowHttp": true},
        "plugins_list": [plugin(operator)],
    })
}

/// Runs the program as the user of the unit.
fn personium(system: &BootedDebian, arguments: &str) -> String {
    system.expect(&format!("runuser -u personium -- personium {arguments}"))
}

/// The first node alone makes back-ups, and all nodes have the plugin.
pub fn check(nodes: [&BootedDebian; 2]) {
    let timers = "systemctl is-active personium-backup.timer personium-drill.timer personium-journal.service; \
        systemctl is-enabled personium-backup.timer personium-drill.timer personium-journal.service; true";
    let states = nodes.map(|node| {
        node.expect(timers)
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    });
    assert_eq!(
        states,
        [
            "active active inactive enabled enabled disabled",
            "inactive inactive inactive disabled disabled disabled",
        ]
    );
    for node in nodes {
        let listed = personium(node, &format!("plugin list --config {SETTINGS}"));
        assert!(listed.contains("enabled   sample"), "{listed}");
        let test = |password: &str| {
            let call = format!(
                "runuser -u personium -- personium plugin test sample sample_account=alice 'sample_password={password}' --config {SETTINGS}"
            );
            node.run(&call)
        };
        let (known, text) = test(PASSWORD);
        assert!(known && text.contains("alice"), "{text}");
        let (unknown, text) = test("another");
        assert!(!unknown, "{text}");
    }
    check_generations(nodes[0], 1);
    for service in ["backup", "drill"] {
        let start = format!("systemctl start personium-{service}.service");
        wait_until("a service ends well", || nodes[0].run(&start).0);
    }
    check_generations(nodes[0], 2);
    let drill = nodes[0].expect("journalctl --no-pager -o cat -u personium-drill.service");
    assert!(drill.contains("0 damaged, 0 orphaned"), "{drill}");
}

/// The bucket has so many generations, which nobody reads without the key.
pub fn check_generations(node: &BootedDebian, expected: usize) {
    let from = format!(
        "restore --list --from s3://{BACKUPS}/unit --s3 /etc/personium/backup-s3.properties"
    );
    let listed = personium(
        node,
        &format!("{from} --key /etc/personium/secrets/backup.key"),
    );
    assert_eq!(
        listed.matches(" file bodies ").count(),
        expected,
        "{listed}"
    );
    let (readable, text) = node.run(&format!("runuser -u personium -- personium {from}"));
    assert!(!readable, "{text}");
}
