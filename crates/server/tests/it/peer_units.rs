//! Two units with different hosts, keys and certificate authorities.

use personium_testkit::{
    PASSWORD, ProcessUnit, SAML_GRANT, TestClient, TestResponse, escape, text_member,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::external_programs::run_python;

/// Keys and certificates of the units `a.example` and `b.example`, each signed by an authority of its own.
pub struct Authorities {
    pub a: TempDir,
    pub b: TempDir,
}

impl Authorities {
    pub fn new() -> Self {
        let [a, b] = ["a", "b"].map(|unit| {
            let folder = tempfile::tempdir().unwrap();
            let host = format!("{unit}.example");
            let authority = format!("Authority of {unit}");
            let input =
                json!({"folder": folder.path(), "authority": authority, "units": {"unit": host}});
            run_python("make_keys.py", &input);
            folder
        });
        Self { a, b }
    }

    /// Starts both units. Each trusts its own authority; B trusts those in `trusted_by_b` as well.
    pub fn start(self, trusted_by_b: &str) -> (ProcessUnit, ProcessUnit) {
        self.start_with("", trusted_by_b)
    }

    /// As [`Authorities::start`], with more settings of A.
    pub fn start_with(self, settings_of_a: &str, trusted_by_b: &str) -> (ProcessUnit, ProcessUnit) {
        std::fs::copy(
            self.a.path().join("root.crt"),
            self.b.path().join("root-of-a.crt"),
        )
        .unwrap();
        let start = |host: &str, folder: TempDir, settings: &str| {
            let builder = crate::unit().host(host).temporary_folder(folder);
            builder.settings(settings).start()
        };
        let a = start(
            "a.example",
            self.a,
            &(key_settings("root.crt") + settings_of_a),
        );
        let roots = format!("root.crt {trusted_by_b}");
        let b = start("b.example", self.b, &key_settings(&roots));
        (a, b)
    }
}

/// The settings of the key of a unit, and of the authorities that it trusts, as lines.
pub fn key_settings(roots: &str) -> String {
    format!(
        "io.personium.core.x509.key=unit.key\nio.personium.core.x509.crt=unit.crt\n\
         io.personium.core.x509.root={}\n",
        roots.trim()
    )
}

/// A token that a cell gives its account `me` for another cell or unit.
pub async fn issue_token(
    unit: &TestClient,
    cell: &str,
    target: &str,
    more: &[(&str, &str)],
) -> String {
    let mut fields = vec![("p_target", target)];
    fields.extend_from_slice(more);
    text_member(&unit.login(cell, &fields).await, "access_token")
}

/// Logs in as `me` for the cell itself; returns the token response.
pub async fn login(unit: &TestClient, cell: &str) -> Value {
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", PASSWORD),
    ];
    unit.request_token(cell, &fields).await.json()
}

/// Exchanges an assertion for a token of the cell `ours`.
pub async fn exchange(unit: &TestClient, assertion: &str) -> TestResponse {
    let fields = [("grant_type", SAML_GRANT), ("assertion", assertion)];
    unit.request_token("ours", &fields).await
}

/// Creates the cell `ours` with a box whose file `file` the role `friend` may read.
pub async fn create_cell_for_friends(unit: &TestClient) {
    let owner = unit.create_cell_with_owner("ours").await;
    owner.call("PUT", "ours/box/file", "for friends").await;
    unit.create_role("ours", "friend").await;
    unit.grant_to_role("ours/box", "friend", &["D:read"]).await;
}

/// Links two objects of the cell `ours`, such as `ExtCell('..')` and `Role('friend')`.
pub async fn link(unit: &TestClient, from: &str, to: &str) {
    let set = to.split('(').next().unwrap();
    unit.link("ours", from, &format!("_{set}"), to).await;
}

/// Creates an `ExtCell` of the cell `ours`; returns its key.
pub async fn create_ext_cell(unit: &TestClient, cell_url: &str) -> String {
    let body = json!({"Url": cell_url}).to_string();
    unit.create("ours/__ctl/ExtCell", &body).await;
    format!("ExtCell('{}')", escape(cell_url))
}

/// The status and, of a refusal, the code of reading the friends' file with a token.
pub async fn read_outcome(unit: &TestClient, token: &str) -> String {
    let request = unit.request("GET", "ours/box/file").bearer(token);
    outcome(&request.send().await)
}

/// The status and, of a refusal, the whole code.
pub fn outcome(response: &TestResponse) -> String {
    let status = response.status.as_u16();
    if response.status.is_success() {
        return status.to_string();
    }
    let json = response.json();
    let text = json["code"]
        .as_str()
        .or(json["error_description"].as_str())
        .unwrap();
    let code = text.trim_start_matches('[').split(']').next().unwrap();
    format!("{status} {code}")
}
