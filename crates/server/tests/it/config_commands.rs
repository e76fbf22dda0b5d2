//! `personium config`: settings are shown, checked, described and compared without starting a unit.

use std::path::PathBuf;

use serde_json::Value;

use crate::program;

/// Settings as a unit of the original implementation has them: keys with and without effect here, in the encoding of Java.
const FILE_OF_ANOTHER_IMPLEMENTATION: &str = "\
# unit
io.personium.core.masterToken=0f3c9a7e1b5d8c2a4e6f
io.personium.core.pathBasedCellUrl.enabled=false
io.personium.core.unitUser.issuers=personium-localunit:/unitadmin/
io.personium.core.security.secret16=k7q2m9x4w8r3t6y1
io.personium.core.es.hosts=10.0.0.12:9200
io.personium.core.es.cluster.name=personium
io.personium.core.lock.type=memcached
io.personium.core.lock.memcached.host=10.0.0.11
io.personium.core.bar.installfile.dir=/personium_nfs/personium-core/barInstall
io.personium.core.binaryData.fsync.enabled=true
io.personium.core.dav.childresource.maxnum=1000000
io.personium.core.odata.query.top.defaultnum=25
io.personium.engine.masterToken=0f3c9a7e1b5d8c2a4e6f
io.personium.core.eventbus.activemq.brokerUrl=tcp://localhost:61616
";

/// A folder with a settings file.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("unit.properties");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

/// Runs the command. Returns its status and its output.
fn run(arguments: &[&str]) -> (Option<i32>, String) {
    let output = program::run(&[&["config"][..], arguments].concat());
    (output.status.code(), program::text(&output))
}

#[test]
fn file_of_another_implementation_is_checked_and_its_retired_keys_are_named() {
    let (folder, path) = file(FILE_OF_ANOTHER_IMPLEMENTATION);
    let path = path.to_str().unwrap();
    let (status, text) = run(&["check", path]);
    assert_eq!(status, Some(0), "{text}");
    for part in [
        "es.hosts (",
        "es.cluster.name (",
        "lock.type (",
        "bar.installfile.dir (",
        "has no effect: use bar.tmp.dir",
        "odata.query.top.defaultnum (",
        "is io.personium.core.odata.query.top.default meant?",
        "eventbus.activemq.brokerUrl (",
        "line 6)",
        "a unit starts with them",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    for secret in ["0f3c9a7e1b5d8c2a4e6f", "k7q2m9x4w8r3t6y1"] {
        assert!(!text.contains(secret), "{text}");
    }
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 1, "nothing is written");
    let (status, _) = run(&["check", "--strict", path]);
    assert_eq!(status, Some(1));
}

#[test]
fn unusable_settings_are_refused_as_text_and_as_json() {
    let (_folder, path) = file("io.personium.core.authn.account.lockCount=101\n");
    for file in [path.to_str().unwrap(), "/no/such/file"] {
        let (status, text) = run(&["check", file]);
        assert_eq!(status, Some(1), "{text}");
        let named = text.contains("lockCount = 101") || text.contains("/no/such/file");
        assert!(named, "{text}");
        let (status, text) = run(&["check", "--json", file]);
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &report["ok"]), (Some(1), &Value::from(false)));
        for command in ["show", "diff"] {
            let (status, text) = run(&[command, "--config", file]);
            assert_eq!(status, Some(1), "{command}: {text}");
        }
    }
}

#[test]
fn shown_values_have_the_source_that_takes_precedence() {
    let (_folder, path) = file(
        "io.personium.core.unitPort=1\nio.personium.core.dav.depth.maxnum=7\nio.personium.core.unitFqdn=unit.example\n",
    );
    let arguments = [
        "config",
        "show",
        "--given",
        "--json",
        "--config",
        path.to_str().unwrap(),
        "-c",
        "dav.depth.maxnum=9",
    ];
    let mut command = program::command(&arguments);
    command
        .env("PERSONIUM_CORE_UNIT_PORT", "2")
        .env("PERSONIUM_CORE_MASTER_TOKEN", "a-hidden-master-token");
    let output = command.output().unwrap();
    let text = program::text(&output);
    assert!(
        output.status.success() && !text.contains("hidden"),
        "{text}"
    );
    let shown: Vec<Value> = serde_json::from_str(&text).unwrap();
    let found: Vec<[&str; 3]> = shown
        .iter()
        .map(|setting| ["key", "value", "source"].map(|name| setting[name].as_str().unwrap()))
        .map(|[key, value, source]| [key.rsplit('.').next().unwrap(), value, source])
        .collect();
    let line = format!("{}, line 3", path.display());
    assert_eq!(
        found,
        [
            ["unitFqdn", "unit.example", line.as_str()],
            [
                "unitPort",
                "2",
                "environment variable PERSONIUM_CORE_UNIT_PORT"
            ],
            [
                "masterToken",
                "***",
                "environment variable PERSONIUM_CORE_MASTER_TOKEN"
            ],
            ["maxnum", "9", "command line"],
        ]
    );
}

#[test]
fn differences_between_two_files_say_what_waits_for_a_restart() {
    let (_one, here) = file("io.personium.core.unitPort=1\nio.personium.core.dav.depth.maxnum=7\n");
    let (_other, there) = file("io.personium.core.unitPort=2\n");
    let (here, there) = (here.to_str().unwrap(), there.to_str().unwrap());
    let (status, text) = run(&["diff", "--config", here, there]);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(
        text,
        "io.personium.core.dav.depth.maxnum: 7 | 50 (reload)\nio.personium.core.unitPort: 1 | 2 (restart)\n"
    );
    let (_, text) = run(&["diff", "--config", here]);
    assert!(text.contains("unitPort: 1 |  (restart)"), "{text}");
}

#[test]
fn description_of_settings_is_the_page_and_the_example_file() {
    let root = "../..";
    for (format, path) in [
        ("markdown", "docs/operate/settings.md"),
        ("properties", "personium-unit-config.example.properties"),
    ] {
        let (status, text) = run(&["docs", "--format", format]);
        assert_eq!(status, Some(0));
        let stored = std::fs::read_to_string(format!("{root}/{path}")).unwrap();
        assert_eq!(text, stored, "run cargo xtask gen-settings");
    }
}
