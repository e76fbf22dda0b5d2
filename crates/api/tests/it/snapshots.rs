//! Snapshots of cells: `__snapshot`, `__export` and `__import`.

mod artifacts;
mod compared_cell;
mod export;
mod files;
mod import;
mod interrupted;
mod migration;
mod open_data;
mod parts;
mod running;
mod template;

use personium_testkit::{TestUnit, wait_until};
use serde_json::Value;

use crate::archive_entries::entries;

/// The state of `__export` or `__import` of the cell `c`.
async fn state_of(unit: &TestUnit, path: &str) -> Value {
    let request = unit.admin_request("GET", path);
    let request = request.header("accept", "application/json");
    request.send().await.expect(200).json()
}

/// Exports the cell `c` and downloads the snapshot.
async fn export(unit: &TestUnit, name: &str) -> Vec<u8> {
    let body = format!("{{\"Name\":\"{name}\"}}");
    let begun = unit.admin().post("c/__export", &body).await.expect(202);
    assert_eq!(
        begun.header("location"),
        Some("http://unit.example/c/__export")
    );
    wait_until("the end of the export", async || {
        state_of(unit, "c/__export").await["status"] == "ready"
    })
    .await;
    let path = format!("c/__snapshot/{name}.zip");
    let got = unit.admin_request("GET", &path).send().await;
    if got.status == 404 {
        let error = unit.admin_request("GET", &format!("c/__snapshot/{name}.error"));
        let error = error.send().await.text();
        assert_eq!(got.status, 200, "{error}");
    }
    got.expect(200).body.to_vec()
}

/// The documents of one kind in a snapshot.
fn documents(archive: &[u8], file: &str) -> Vec<Value> {
    let entries = entries(archive);
    let text = String::from_utf8(entries[&format!("10_odata/{file}")].clone()).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A unit whose cell `c` has something of every kind: a box that an archive was installed in, accounts with roles, external
/// cells, files of boxes and of the main box.
async fn unit_with_full_cell() -> TestUnit {
    let unit = TestUnit::new().await;
    crate::install::install_full_box(&unit).await;
    unit.create_role("c", "boss").await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.link("c", "Account('me')", "_Role", "Role('boss')")
        .await;
    unit.create("c/__ctl/ExtCell", r#"{"Url":"http://far.example/x/"}"#)
        .await;
    unit.link(
        "c",
        "ExtCell('http%3A%2F%2Ffar.example%2Fx%2F')",
        "_Role",
        "Role('boss')",
    )
    .await;
    unit.grant_to_role("c", "boss", &["p:root"]).await;
    unit.put_file("c/__/profile.json", "{}").await;
    unit.put_file("c/b/.pmeta", "not a description").await;
    unit.put_file("c/b/content", "not a content").await;
    unit.put_file("c/b/large.bin", &"0123456789".repeat(70_000))
        .await;
    unit.grant_to_role("c/b/large.bin", "boss", &["D:read"])
        .await;
    let encoded = unit.admin_request("PUT", "c/b/packed");
    let encoded = encoded.header("content-encoding", "gzip");
    encoded.body("packed").send().await.expect(201);
    unit
}
