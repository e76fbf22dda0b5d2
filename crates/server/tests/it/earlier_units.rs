//! Data folders that earlier programs have written. Each is opened by this program, which answers as the earlier one did and goes on with it.
//!
//! `crates/server/tests/units` has an archive of a data folder for each layout of the records, and beside it the answers of the program that
//! wrote it, the checksum of the archive, and the layout. A program with another layout adds one:
//! `cargo test --workspace --test it -- --ignored earlier_units::write`. Former ones are never written again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use personium_model::server_node::DATA_VERSION;
use personium_testkit::{ProcessUnit, ProcessUnitBuilder, TestClient, everybody_ace};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::program;

const CELLS: [&str; 2] = ["one", "two"];

/// A port in URLs, so that they are the same at each start.
const PORT_IN_URLS: u16 = 8443;

const ENCRYPTION: &str = "io.personium.core.security.dav.encrypt.enabled=true\n";

/// The place of the layout of a file in the header of SQLite (`user_version`, file format section 1.3).
const USER_VERSION: std::ops::Range<usize> = 60..64;

/// The layout of what a program writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Layout {
    /// That of the files of records.
    files: u32,
    /// That of the records in them.
    records: u32,
}

/// The facts about an archive.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    layout: Layout,
    /// SHA-256 of the archive.
    sha256: String,
    /// Requests with their answers.
    answers: Vec<(String, String)>,
}

fn units() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/units")
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", program::text(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn sha256(file: &Path) -> String {
    let line = run(Command::new("sha256sum").arg(file));
    line.split_whitespace().next().unwrap().to_owned()
}

fn builder() -> ProcessUnitBuilder {
    let unit = crate::unit().host("unit.example");
    unit.behind_proxy(PORT_IN_URLS).settings(ENCRYPTION)
}

/// The layout of the file of the unit in a data folder.
fn user_version(data: &Path) -> u32 {
    let bytes = fs::read(data.join("records/unit.db")).unwrap();
    u32::from_be_bytes(bytes[USER_VERSION].try_into().unwrap())
}

/// Content of every kind whose answers do not depend on the time.
async fn fill(unit: &TestClient) {
    for cell in CELLS {
        unit.create_cell_with_owner(cell).await;
        unit.create_role(cell, "reader").await;
        unit.create(&format!("{cell}/__ctl/Relation"), r#"{"Name":"friend"}"#)
            .await;
        let other = json!({"Url": "https://unit.example:8443/three/"}).to_string();
        unit.create(&format!("{cell}/__ctl/ExtCell"), &other).await;
        let rule =
            json!({"Name": "note", "EventType": "seen", "EventExternal": true, "Action": "log"});
        unit.create(&format!("{cell}/__ctl/Rule"), &rule.to_string())
            .await;
        unit.link(cell, "Account('me')", "_Role", "Role('reader')")
            .await;
        let data = format!("{cell}/box/data");
        unit.create_odata_collection(&data, "Row").await;
        unit.create_entity_type(&data, "Page").await;
        let property = json!({"Name": "size", "_EntityType.Name": "Row", "Type": "Edm.Int32"});
        unit.create(&format!("{data}/$metadata/Property"), &property.to_string())
            .await;
        for n in 0..20_usize {
            // Short and long values of records.
            let row = json!({"__id": format!("r{n}"), "size": n, "text": "é".repeat(n * n * 4)});
            unit.create(&format!("{data}/Row"), &row.to_string()).await;
        }
        // In records, and in files.
        for (name, len) in [
            ("empty", 0),
            ("short", 100),
            ("middle", 5_000),
            ("long", 70_000),
        ] {
            unit.put_file(
                &format!("{cell}/box/{name}"),
                &"0123456789".repeat(len / 10),
            )
            .await;
        }
        unit.create_collection(&format!("{cell}/box/open"), "")
            .await;
        unit.set_acl(&format!("{cell}/box/open"), &everybody_ace(&["D:read"]))
            .await;
        unit.put_file(&format!("{cell}/box/open/f"), cell).await;
        unit.create_collection(&format!("{cell}/box/service"), "service")
            .await;
        unit.create_stream_collection(&format!("{cell}/box/stream"))
            .await;
    }
    let message = json!({"To": unit.cell_url("two"), "Title": "t", "Body": "b"}).to_string();
    unit.create("one/__message/send", &message).await;
}

/// The answers that clients get, with entity tags and times.
async fn answers(unit: &TestClient) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for cell in CELLS {
        let control = [
            "Account",
            "Role",
            "Box",
            "Relation",
            "ExtCell",
            "Rule",
            "ReceivedMessage",
            "SentMessage",
            "Account('me')/_Role",
        ];
        let mut paths: Vec<String> = control.map(|set| format!("{cell}/__ctl/{set}")).into();
        let files = ["empty", "short", "middle", "long", "open/f"];
        paths.extend(files.map(|file| format!("{cell}/box/{file}")));
        let entities = [
            "$metadata",
            "Row?$orderby=__id&$top=100",
            "Row?$filter=size%20gt%2017",
        ];
        paths.extend(entities.map(|path| format!("{cell}/box/data/{path}")));
        for path in paths {
            let request = unit.admin_request("GET", &path);
            let answer = match path.ends_with("$metadata") {
                true => request.send().await.expect(200),
                false => request
                    .header("accept", "application/json")
                    .send()
                    .await
                    .expect(200),
            };
            let tag = answer.header("etag").unwrap_or_default().to_owned();
            let text = answer.text();
            let text = match text.len() {
                0..4_000 => text,
                len => format!(
                    "{len} bytes, {}…",
                    text.chars().take(1_000).collect::<String>()
                ),
            };
            found.push((format!("GET {path}"), format!("{tag} {text}")));
        }
        for path in ["box", "box/open", "box/stream"] {
            let path = format!("{cell}/{path}");
            let listed = unit.admin_request("PROPFIND", &path).header("depth", "1");
            found.push((
                format!("PROPFIND {path}"),
                listed.send().await.expect(207).text(),
            ));
        }
        let open = unit.request("GET", &format!("{cell}/box/open/f"));
        found.push((
            format!("everybody {cell} open"),
            open.send().await.expect(200).text(),
        ));
        let closed = unit
            .request("GET", &format!("{cell}/box/short"))
            .send()
            .await;
        found.push((
            format!("everybody {cell} closed"),
            format!("{:?}", closed.outcome()),
        ));
    }
    found
}

fn verify(unit: &ProcessUnit) {
    let settings = unit.folder().join("unit.properties");
    let data = unit.folder().join("data");
    let (settings, data) = (settings.display().to_string(), data.display().to_string());
    let output = program::run(&["verify", "--config", &settings, "--data", &data]);
    let text = program::text(&output);
    assert!(
        output.status.success() && text.contains(" 0 damaged, "),
        "{text}"
    );
}

/// Unpacks an archive into a folder, as its data.
fn unpack(archive: &Path, folder: &Path) {
    run(Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(folder));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_of_earlier_programs_answer_as_before_and_go_on() {
    let mut layouts = Vec::new();
    let mut today = None;
    for entry in fs::read_dir(units()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let known: Known = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let archive = path.with_extension("tar.gz");
        assert_eq!(sha256(&archive), known.sha256, "{}", archive.display());
        let folder = tempfile::tempdir().unwrap();
        unpack(&archive, folder.path());
        let data = folder.path().join("data");
        assert_eq!(user_version(&data), known.layout.files);

        let mut unit = builder().temporary_folder(folder).start();
        let found = answers(&unit).await;
        assert_eq!(found.len(), known.answers.len());
        for (found, before) in found.iter().zip(&known.answers) {
            assert_eq!(found, before);
        }
        // It goes on: logins, changes, a start after kill -9, and the records are whole.
        unit.login("one", &[]).await;
        unit.create("two/box/data/Row", r#"{"__id":"new","size":21}"#)
            .await;
        unit.put_file("two/box/long", "shorter").await;
        unit.kill();
        unit.restart();
        let row = unit.admin_request("GET", "two/box/data/Row('new')");
        row.send().await.expect(200);
        let file = unit.admin_request("GET", "two/box/long").send().await;
        assert_eq!(file.expect(200).text(), "shorter");
        unit.terminate();
        assert!(unit.wait());
        verify(&unit);
        let files = user_version(&data);
        today = Some(Layout {
            files,
            records: DATA_VERSION,
        });
        layouts.push(known.layout);

        // A program that does not know the layout must not touch it.
        let file = data.join("records/unit.db");
        let mut bytes = fs::read(&file).unwrap();
        bytes[USER_VERSION].copy_from_slice(&(files + 1).to_be_bytes());
        fs::write(&file, &bytes).unwrap();
        let refused = unit.expect_refused_restart();
        let reason = format!(
            "has format {}, this version supports up to {files}",
            files + 1
        );
        assert!(refused.contains(&reason), "{refused}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
    let today = today.expect("there are units of earlier programs");
    assert!(
        layouts.contains(&today),
        "no unit of the layout {today:?} is kept: write one, as the head of this file says"
    );
}

/// Writes the data folder of a unit of this program, unless there is one of its layout.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "writes a unit of the layout of today for later programs"]
async fn write_unit_of_today() {
    let mut unit = builder().start();
    fill(&unit).await;
    let before = answers(&unit).await;
    unit.terminate();
    assert!(unit.wait());
    let files = user_version(&unit.folder().join("data"));
    let layout = Layout {
        files,
        records: DATA_VERSION,
    };
    let path = units().join(format!("files-{files}-records-{DATA_VERSION}.json"));
    assert!(!path.exists(), "{} exists", path.display());
    fs::create_dir_all(units()).unwrap();
    let archive = path.with_extension("tar.gz");
    let mut pack = Command::new("tar");
    pack.args(["--owner=0", "--group=0", "--sort=name", "-czf"]);
    run(pack.arg(&archive).arg("-C").arg(unit.folder()).arg("data"));
    let known = Known {
        layout,
        sha256: sha256(&archive),
        answers: before,
    };
    fs::write(path, serde_json::to_string_pretty(&known).unwrap() + "\n").unwrap();
}
