//! A cell that its owner removes for good: nothing of it is left in the unit, nor in its back-ups, and no restore brings it back by mistake.

use std::path::Path;
use std::process::Command;

use personium_testkit::{ProcessUnit, TestClient, TestRequest, wait_until};
use serde_json::json;

use crate::copied_unit::stage::Side;
use crate::program;
use crate::storage_unit::copy;
use crate::verified_unit::expect_whole;

/// The text that only the cell `alice` has, in a record and in a file body.
const NEEDLE: &str = "only-alice-has-this";

fn settings(line: &str) -> String {
    format!("io.personium.core.{line}\n")
}

/// A unit with the cells `alice` and `bob` of the account `users#me`.
struct Owned {
    unit: ProcessUnit,
    side: Side,
    owner: TestClient,
}

impl Owned {
    async fn start() -> Self {
        let unit = crate::unit()
            .settings(&settings("unitUser.issuers=personium-localunit:/users/"))
            .settings(&settings("store.journalInHours=24"))
            .start();
        let side = Side::of_folder(&unit, &unit.folder().join("data"));
        unit.create_cell("users").await;
        unit.create_account("users", r#"{"Name":"me"}"#).await;
        unit.create_account("users", r#"{"Name":"other"}"#).await;
        let owner = unit.with_token(&unit.trans_to_unit("users").await);
        let owned = Self { unit, side, owner };
        owned.create("alice", NEEDLE).await;
        owned.create("bob", "bob").await;
        owned
    }

    async fn create(&self, cell: &str, text: &str) {
        self.create_of(&self.owner, cell, text).await;
    }

    /// The account `users#other`.
    async fn other(&self) -> TestClient {
        let to = [("p_target", self.unit.url())];
        let token = self.unit.login_as("users", "other", &to).await;
        let token = token["access_token"].as_str().unwrap();
        self.unit.with_token(token)
    }

    async fn create_of(&self, owner: &TestClient, cell: &str, text: &str) {
        let body = json!({ "Name": cell }).to_string();
        let created = owner.request("POST", "__ctl/Cell").body(body);
        created.send().await.expect(201);
        let unit = &self.unit;
        unit.create_account(cell, r#"{"Name":"me"}"#).await;
        unit.create_role(cell, "root").await;
        unit.link(cell, "Account('me')", "_Role", "Role('root')")
            .await;
        unit.grant_to_role(cell, "root", &["p:root"]).await;
        unit.create_box(cell, "box").await;
        unit.create_odata_collection(&format!("{cell}/box/data"), "Row")
            .await;
        let row = json!({"__id": "r", "text": text}).to_string();
        unit.create(&format!("{cell}/box/data/Row"), &row).await;
        unit.put_file(&format!("{cell}/box/large"), &text.repeat(20_000))
            .await;
    }

    fn command(&self, command: &[&str]) -> (bool, String) {
        let output = program::run(command);
        (output.status.success(), program::text(&output))
    }

    fn backup(&self, place: &str, more: &[&str]) -> (bool, String) {
        let to = self.unit.folder().join(place).display().to_string();
        let own = ["backup", "--config", self.side.settings(), "--to", &to];
        self.command(&[&own, more].concat())
    }

    fn restore(&self, place: &str, more: &[&str]) -> (bool, String) {
        let from = self.unit.folder().join(place).display().to_string();
        self.command(&[&["restore", "--from", &from], more].concat())
    }

    fn has_needle(&self, folder: &str) -> bool {
        self.has(folder, NEEDLE)
    }

    fn has(&self, folder: &str, text: &str) -> bool {
        has_text(&self.unit.folder().join(folder), text)
    }
}

fn has_text(folder: &Path, text: &str) -> bool {
    let found = Command::new("grep")
        .args(["-rqs", text])
        .arg(folder)
        .status();
    found.unwrap().code() == Some(0)
}

fn erasing(request: TestRequest, value: &str) -> TestRequest {
    let request = request.header("x-personium-recursive", "true");
    request.header("x-personium-erase", value)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cell_that_its_owner_erases_is_left_nowhere_and_comes_back_only_if_that_is_asked_for() {
    let mut owned = Owned::start().await;
    assert!(owned.backup("backups", &[]).0);
    assert!(owned.backup("of_alice", &["--cell", "alice"]).0);
    copy(
        &owned.unit.folder().join("backups"),
        &owned.unit.folder().join("elsewhere"),
    );
    assert!(
        owned.has_needle("backups") && owned.has_needle("of_alice") && owned.has_needle("data")
    );
    // Nobody else, and not an account of the cell itself: it belongs to the owner.
    let unit = &owned.unit;
    let of_cell = unit.login("alice", &[]).await;
    let of_cell = of_cell["access_token"].as_str().unwrap();
    let account = unit.with_token(of_cell).request("DELETE", "alice");
    erasing(account, "true").send().await.expect(403);
    let other = owned.other().await.request("DELETE", "alice");
    erasing(other, "true").send().await.expect(403);
    let nobody = unit.request("DELETE", "alice");
    erasing(nobody, "true").send().await.expect(401);
    let wrong = owned.owner.request("DELETE", "alice");
    erasing(wrong, "yes").send().await.expect(412);
    unit.admin_request("GET", "alice/box/large")
        .send()
        .await
        .expect(200);

    let erased = owned.owner.request("DELETE", "alice");
    erasing(erased, "true").send().await.expect(204);
    unit.admin_request("GET", "alice/box/large")
        .send()
        .await
        .expect(404);
    wait_until("the end of the records and bodies", async || {
        !owned.has_needle("data")
    })
    .await;
    // A later cell of the name is another one.
    owned.create("alice", "another").await;
    let (done, text) = owned.backup("backups", &[]);
    assert!(
        done && text.contains("1 cells that were removed for good were removed from 1 generations"),
        "{text}"
    );
    assert!(!owned.has_needle("backups"));
    let (done, text) = owned.backup("backups", &[]);
    assert!(done && !text.contains("for good"), "{text}");
    let (done, text) = owned.restore("backups", &["--dry-run"]);
    assert!(done, "{text}");
    let (done, text) = owned.backup("of_alice", &["--cell", "alice"]);
    assert!(done && text.contains("for good"), "{text}");
    assert!(!owned.has_needle("of_alice"));

    // A copy of the back-ups that no command has reached.
    owned.unit.terminate();
    assert!(owned.unit.wait());
    let to = owned.side.settings().to_owned();
    let alice = ["--cell", "alice", "--to", &to, "--as", "old"];
    let (done, text) = owned.restore("elsewhere", &alice);
    assert!(!done && text.contains("was removed for good at "), "{text}");
    let (done, text) = owned.restore("elsewhere", &["--cell", "bob", "--replace", "--to", &to]);
    assert!(done, "{text}");
    let (done, text) = owned.restore("elsewhere", &[&alice[..], &["--erased"]].concat());
    assert!(done, "{text}");
    expect_whole(&owned.side);
    owned.unit.restart();
    let unit = &owned.unit;
    let row = unit.admin_request("GET", "old/box/data/Row('r')");
    let row = row
        .header("accept", "application/json")
        .send()
        .await
        .expect(200);
    assert!(row.text().contains(NEEDLE));
    let living = unit
        .admin_request("GET", "alice/box/large")
        .send()
        .await
        .expect(200);
    assert!(living.text().starts_with("another"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removal_without_the_header_keeps_back_ups() {
    let owned = Owned::start().await;
    assert!(owned.backup("backups", &[]).0);
    let removed = owned.owner.request("DELETE", "alice");
    erasing(removed, "false").send().await.expect(204);
    let (done, text) = owned.backup("backups", &[]);
    assert!(done && !text.contains("for good"), "{text}");
    assert!(owned.has_needle("backups"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn erasure_removes_no_cell_of_the_same_name_that_another_owner_had() {
    const OF_OTHER: &str = "only-the-other-alice-has-this";
    let mut owned = Owned::start().await;
    let (done, first) = owned.backup("backups", &[]);
    assert!(done, "{first}");
    let first = first.split("Generation ").nth(1).unwrap();
    let first = first.split(':').next().unwrap().to_owned();
    let removed = owned.owner.request("DELETE", "alice");
    erasing(removed, "false").send().await.expect(204);
    let other = owned.other().await;
    owned.create_of(&other, "alice", OF_OTHER).await;
    assert!(owned.backup("backups", &[]).0);
    assert!(owned.has_needle("backups") && owned.has("backups", OF_OTHER));
    let erased = other.request("DELETE", "alice");
    erasing(erased, "true").send().await.expect(204);
    let (done, text) = owned.backup("backups", &[]);
    assert!(
        done && text.contains("1 cells that were removed for good were removed from 1 generations"),
        "{text}"
    );
    assert!(owned.has_needle("backups") && !owned.has("backups", OF_OTHER));
    assert!(owned.has("backups/generations/followed.erasures", " "));

    // The first owner gets the cell back, without being told that it was removed for good.
    owned.unit.terminate();
    assert!(owned.unit.wait());
    let to = owned.side.settings().to_owned();
    let options = ["--generation", &first, "--cell", "alice", "--to", &to];
    let (done, text) = owned.restore("backups", &options);
    assert!(done, "{text}");
    expect_whole(&owned.side);
    owned.unit.restart();
    let row = owned.unit.admin_request("GET", "alice/box/data/Row('r')");
    let row = row.header("accept", "application/json").send().await;
    assert!(row.expect(200).text().contains(NEEDLE));

    // What the same owner erases is removed with its former cells of that name.
    let erased = owned.owner.request("DELETE", "alice");
    erasing(erased, "true").send().await.expect(204);
    let (done, text) = owned.backup("backups", &[]);
    assert!(done && text.contains("for good"), "{text}");
    assert!(!owned.has_needle("backups"));
    let (done, text) = owned.backup("backups", &[]);
    assert!(done && !text.contains("for good"), "{text}");
}
