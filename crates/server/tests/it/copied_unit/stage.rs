//! A stopped unit with content of every kind, and the stores that it is copied to.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use personium_testkit::{ProcessUnit, TestClient, everybody_ace, text_member};
use serde_json::json;
use zip::ZipArchive;

use crate::program;

const CELLS: [&str; 4] = ["one", "two", "three", "four"];

/// The number of files in each box, of which the first are larger than a record holds.
const FILES: usize = 24;
const LARGE_FILES: usize = 4;

const ENCRYPTION: &str = "io.personium.core.security.dav.encrypt.enabled=true\n";

/// Stores of a unit.
pub struct Side {
    pub data: PathBuf,
    pub settings: PathBuf,
    /// The lines of the settings that name the stores.
    stores: String,
}

impl Side {
    /// The stores in a data folder.
    pub fn of_folder(unit: &ProcessUnit, data: &Path) -> Self {
        side(unit, data, "")
    }

    pub fn settings(&self) -> &str {
        self.settings.to_str().unwrap()
    }

    /// The output of a command that gets the settings.
    pub fn run(&self, command: &str) -> (bool, String) {
        let output = program::run(&[command, "--config", self.settings()]);
        (output.status.success(), program::text(&output))
    }

    /// Checks that neither a start nor `adopt` takes the stores for a unit.
    pub fn expect_unfinished(&self) {
        for command in ["check", "adopt", "serve"] {
            let (done, text) = self.run(command);
            assert!(
                !done && text.contains("is not finished"),
                "{command}: {text}"
            );
        }
    }
}

/// The unit that is copied, and its answers.
pub struct Stage {
    pub unit: ProcessUnit,
    pub source: Side,
    before: Vec<String>,
    token: String,
}

impl Stage {
    /// Fills a unit on these stores, and stops it.
    pub async fn start(stores: &str) -> Self {
        let mut unit = crate::unit().settings(ENCRYPTION).settings(stores).start();
        fill(&unit).await;
        let token = text_member(&unit.login("one", &[]).await, "access_token");
        let before = answers(&unit, &token).await;
        unit.terminate();
        assert!(unit.wait());
        let data = unit.folder().join("data");
        let source = side(&unit, &data, "");
        Self {
            unit,
            source,
            before,
            token,
        }
    }

    /// Stores for a copy, which are empty.
    pub fn side(&self, name: &str, stores: &str) -> Side {
        side(&self.unit, &self.unit.folder().join(name), stores)
    }

    /// Checks that the unit answers on the copy as it did before.
    pub async fn expect_same_answers(&mut self, side: &Side) {
        self.start_on(side);
        let found = answers(&self.unit, &self.token).await;
        self.stop_on(side);
        assert_eq!(found.len(), self.before.len());
        for (found, before) in found.iter().zip(&self.before) {
            assert_eq!(found, before);
        }
    }

    /// Checks that accounts log in on the copy. They are changed by that.
    pub async fn expect_logins(&mut self, side: &Side) {
        self.start_on(side);
        for cell in CELLS {
            self.unit.login(cell, &[]).await;
        }
        self.stop_on(side);
    }

    /// Starts the unit on the copy, in place of its own data.
    pub fn start_on(&mut self, side: &Side) {
        let own = self.unit.folder().join("data");
        let (settings, kept) = (
            self.unit.folder().join("unit.properties"),
            self.unit.folder().join("kept"),
        );
        fs::copy(&settings, self.unit.folder().join("kept.properties")).unwrap();
        let lines = fs::read_to_string(&settings).unwrap();
        fs::rename(&own, kept).unwrap();
        fs::rename(&side.data, &own).unwrap();
        fs::write(settings, format!("{lines}{}", side.stores)).unwrap();
        self.unit.restart();
    }

    pub fn stop_on(&mut self, side: &Side) {
        self.unit.terminate();
        assert!(self.unit.wait());
        let folder = self.unit.folder();
        fs::rename(folder.join("data"), &side.data).unwrap();
        fs::rename(folder.join("kept"), folder.join("data")).unwrap();
        fs::rename(
            folder.join("kept.properties"),
            folder.join("unit.properties"),
        )
        .unwrap();
    }
}

/// The settings of the unit, for other stores.
fn side(unit: &ProcessUnit, data: &Path, stores: &str) -> Side {
    let lines = fs::read_to_string(unit.folder().join("unit.properties")).unwrap();
    let settings = data.with_extension("properties");
    let port = unit.port();
    let own = format!(
        "io.personium.core.data.dir={}\nio.personium.core.listen=127.0.0.1:{port}\n\
         io.personium.core.server.start.waitInSec=20\n",
        data.display()
    );
    fs::write(&settings, format!("{lines}{own}{stores}")).unwrap();
    Side {
        data: data.to_owned(),
        settings,
        stores: stores.to_owned(),
    }
}

fn content(seed: usize, len: usize) -> Vec<u8> {
    let bytes = (0..len).map(|n| (n.wrapping_mul(131) ^ (n >> 7) ^ seed).to_le_bytes()[0]);
    bytes.collect()
}

async fn fill(unit: &TestClient) {
    for (number, cell) in CELLS.iter().enumerate() {
        unit.create_cell_with_owner(cell).await;
        unit.create_odata_collection(&format!("{cell}/box/data"), "Row")
            .await;
        for n in 0..FILES {
            let row = json!({"__id": format!("r{n}"), "text": "x".repeat(n)}).to_string();
            unit.create(&format!("{cell}/box/data/Row"), &row).await;
            let len = if n < LARGE_FILES { 1_500_000 + n } else { n };
            let path = format!("{cell}/box/f{n}");
            let put = unit
                .admin_request("PUT", &path)
                .body(content(n + number, len));
            put.send().await.expect(201);
        }
        unit.create_collection(&format!("{cell}/box/open"), "")
            .await;
        unit.set_acl(&format!("{cell}/box/open"), &everybody_ace(&["D:read"]))
            .await;
        unit.put_file(&format!("{cell}/box/open/f"), cell).await;
    }
    let message = json!({"To": unit.cell_url("two"), "Title": "t", "Body": "b"}).to_string();
    unit.create("one/__message/send", &message).await;
}

fn sum(bytes: &[u8]) -> u64 {
    let add = |sum: u64, byte: &u8| sum.wrapping_mul(31).wrapping_add(u64::from(*byte));
    bytes.iter().fold(7, add)
}

/// The answers that clients get, with entity tags and times.
async fn answers(unit: &TestClient, token: &str) -> Vec<String> {
    let mut found = Vec::new();
    for cell in CELLS {
        let control = ["Account", "Role", "Box", "ReceivedMessage", "SentMessage"];
        let mut paths: Vec<String> = control.map(|set| format!("{cell}/__ctl/{set}")).into();
        paths.push(format!("{cell}/__ctl/Account('me')/_Role"));
        paths.push(format!("{cell}/box/data/Row?$orderby=__id&$top=100"));
        paths.extend((0..FILES).map(|n| format!("{cell}/box/f{n}")));
        for path in paths {
            let request = unit.admin_request("GET", &path);
            let request = request.header("accept", "application/json");
            let response = request.send().await.expect(200);
            let tag = response.header("etag").unwrap_or_default();
            let (len, sum) = (response.body.len(), sum(&response.body));
            found.push(format!("{path} {tag} {len} {sum}"));
        }
        for path in ["box", "box/open"] {
            let listed = unit.admin_request("PROPFIND", &format!("{cell}/{path}"));
            let listed = listed.header("depth", "1").send().await.expect(207);
            found.push(listed.text());
        }
        found.extend(archive(unit, cell).await);
        // Of everybody, and with the token of an account of the first cell.
        let open = unit.request("GET", &format!("{cell}/box/open/f"));
        found.push(open.send().await.expect(200).text());
        let closed = unit.request("GET", &format!("{cell}/box/f1")).send().await;
        found.push(format!("{:?}", closed.outcome()));
        let own = unit
            .with_token(token)
            .request("GET", &format!("{cell}/box/f1"));
        found.push(format!("{:?}", own.send().await.outcome()));
    }
    found
}

/// The parts of the archive that a box is exported to.
async fn archive(unit: &TestClient, cell: &str) -> Vec<String> {
    let export = unit.admin_request("GET", &format!("{cell}/box"));
    let export = export.header("accept", "application/zip+x-personium-bar");
    let response = export.send().await.expect(200);
    let mut zip = ZipArchive::new(Cursor::new(response.body)).unwrap();
    let mut parts = BTreeMap::new();
    for n in 0..zip.len() {
        let mut part = zip.by_index(n).unwrap();
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).unwrap();
        parts.insert(part.name().unwrap().into_owned(), sum(&bytes));
    }
    assert!(parts.len() > FILES, "{parts:?}");
    let parts = parts.iter().map(|(name, sum)| format!("{name} {sum}"));
    parts.collect()
}

fn copy_command(from: &Side, to: &Side) -> Command {
    program::command(&["copy", "--from", from.settings(), "--to", to.settings()])
}

/// Whether a copy succeeds, and what it says.
pub fn copy(from: &Side, to: &Side) -> (bool, String) {
    let output: Output = copy_command(from, to).output().unwrap();
    (output.status.success(), program::text(&output))
}

/// Checks that a copy succeeds. Returns what it says.
pub fn expect_copied(from: &Side, to: &Side) -> String {
    let (done, text) = copy(from, to);
    assert!(
        done && text.contains("Copied and compared: 4 cells"),
        "{text}"
    );
    text
}

/// Checks that a copy is refused with this text in the reason.
pub fn expect_refused(from: &Side, to: &Side, reason: &str) {
    let (done, text) = copy(from, to);
    assert!(!done && text.contains(reason), "{reason} in {text}");
}

/// Changes a file. Returns its former content.
pub fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let before = fs::read(path).unwrap();
    let mut bytes = before.clone();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    before
}

/// A copy that runs, as by [`until_line`].
pub fn copy_until_line(from: &Side, to: &Side, lines: usize) -> Option<Child> {
    until_line(copy_command(from, to), lines)
}

/// A command that runs, and that has written this number of lines. `None` if it ended before.
pub fn until_line(mut command: Command, lines: usize) -> Option<Child> {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut output = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    for _ in 0..lines {
        if output.read_line(&mut line).unwrap() == 0 {
            child.wait().unwrap();
            return None;
        }
    }
    // The lines that follow are kept from filling the pipe.
    std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    Some(child)
}
