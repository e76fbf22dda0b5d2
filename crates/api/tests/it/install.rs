//! Installation of archives: `MKCOL` of a box; and boxes that are exported as archives.

pub(super) mod artifacts;
mod exported;
mod hostile;
mod installed;
mod refused;
mod rollback;
mod tolerated;

use std::io::{Cursor, Write};
use std::time::Duration;

use personium_testkit::{TestResponse, TestUnit};
use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The schema URL of the archives.
const APP: &str = "http://app.example/";
/// The properties file of an empty box.
const EMPTY: &str = "<multistatus xmlns='DAV:'><response><href>personium-localbox:/</href><propstat><prop>\
                     <resourcetype><collection/></resourcetype></prop></propstat></response></multistatus>";

/// Installs a box `new` that has something of every kind in the cell `c`.
pub(super) async fn install_full_box(unit: &TestUnit) {
    let archive = installed::full_archive().zip();
    install_bytes(unit, "new", archive).await.expect(202);
    let shown = wait_for_installation(unit, "new").await;
    assert_eq!(shown["status"], "ready", "{shown}");
}

/// An archive with everything that a box can have.
pub(super) fn full_archive() -> Archive {
    installed::full_archive()
}

/// A builder of archives.
pub(super) struct Archive(Vec<(String, Vec<u8>)>);

impl Archive {
    /// An archive with an empty box.
    pub(super) fn new() -> Self {
        Self(vec![])
            .with("00_meta/00_manifest.json", &manifest("2"))
            .with("00_meta/90_rootprops.xml", EMPTY)
            .with("90_contents/", "")
    }

    /// Adds an entry, or replaces one.
    fn with(mut self, name: &str, content: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), content.into()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.0.retain(|(known, _)| known != name);
        self
    }

    /// Converts the archive to the legacy layout.
    fn legacy(self) -> Self {
        let moved = self.0.into_iter().map(|(name, content)| {
            let text = String::from_utf8(content).unwrap();
            let text = match name.ends_with("90_rootprops.xml") {
                true => text.replace("personium-localbox:", "dcbox:"),
                false => text,
            };
            (format!("bar/{name}"), text.into_bytes())
        });
        Self(moved.collect()).with("bar/00_meta/00_manifest.json", &manifest("1"))
    }

    pub(super) fn zip(&self) -> Vec<u8> {
        let mut out = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        for (name, content) in &self.0 {
            match name.strip_suffix('/') {
                Some(folder) => out.add_directory(folder, options).unwrap(),
                None => {
                    out.start_file(name.as_str(), options).unwrap();
                    out.write_all(content).unwrap();
                }
            }
        }
        out.finish().unwrap().into_inner()
    }
}

fn manifest(version: &str) -> String {
    json!({"bar_version": version, "box_version": "1", "default_path": "x", "schema": APP})
        .to_string()
}

/// Sends an archive for a box of `c`.
async fn install(unit: &TestUnit, name: &str, archive: &Archive) -> TestResponse {
    install_bytes(unit, name, archive.zip()).await
}

/// As [`install`], with the bytes of the archive.
pub(super) async fn install_bytes(unit: &TestUnit, name: &str, archive: Vec<u8>) -> TestResponse {
    let path = format!("c/{name}");
    let request = unit
        .admin_request("MKCOL", &path)
        .header("content-type", "application/zip");
    request.body(archive).send().await
}

/// Waits until the installation of a box is over; returns its status document.
pub(super) async fn wait_for_installation(unit: &TestUnit, name: &str) -> Value {
    let path = format!("c/{name}");
    for _ in 0..2_000 {
        let response = unit
            .admin_request("GET", &path)
            .header("accept", "application/json");
        let shown = response.send().await.json()["box"].clone();
        if shown["status"] != "installation in progress" {
            return shown;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Value::Null
}
