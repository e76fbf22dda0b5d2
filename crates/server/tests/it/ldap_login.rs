//! Log-ins at the token endpoint by the password of a user in a directory: OpenLDAP's `slapd`.

use personium_testkit::{DIRECTORY_BASE, READER_PASSWORD, Slapd, TestClient, text_member};
use serde_json::{Value, json};

use crate::plugins::{PluginPlace, block_with};

const GRANT: &str = "urn:x-personium:auth:corp";
/// A user who exists only in the cell.
const UNKNOWN: &str = "dave";

/// The file of docs/plugins.md, for this directory. Only the staff logs in.
fn description(directory: &Slapd) -> String {
    let text = block_with("toml", "kind = \"ldap\"");
    let changed = [
        ("ldap://dc.corp.example", directory.url()),
        ("ou=people,dc=corp,dc=example", DIRECTORY_BASE.to_owned()),
        (
            "(&(objectClass=person)(sAMAccountName={username}))",
            "(&(employeeType=staff)(uid={username}))".to_owned(),
        ),
        ("\"sAMAccountName\"", "\"uid\"".to_owned()),
        (
            "cn=personium,ou=services,dc=corp,dc=example",
            format!("cn=reader,{DIRECTORY_BASE}"),
        ),
    ];
    let text = changed.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    format!(
        "{text}ca_file = \"{}\"\ntimeout_ms = 20000\n",
        directory.ca_file().display()
    )
}

/// Status and body of the answer to a log-in.
async fn log_in(unit: &TestClient, cell: &str, user: &str, password: &str) -> (u16, Value) {
    let fields = [
        ("grant_type", GRANT),
        ("username", user),
        ("password", password),
    ];
    let response = unit.request_token(cell, &fields).await;
    (response.status.as_u16(), response.json())
}

async fn assert_refused(unit: &TestClient, cell: &str, user: &str, password: &str) {
    let (status, answer) = log_in(unit, cell, user, password).await;
    let text = answer["error_description"].as_str().unwrap_or_default();
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("invalid_grant")),
        "{user}: {answer}"
    );
    assert!(text.starts_with("[PR400-AN-0017]"), "{user}: {answer}");
}

#[tokio::test]
async fn users_of_a_directory_log_in_at_the_token_endpoint() {
    let Some(directory) = Slapd::start() else {
        return;
    };
    let place = PluginPlace::new();
    place.write("corp.secret", READER_PASSWORD);
    place.write("corp.toml", description(&directory));
    // Two entries have the address of alice.
    let by_mail = description(&directory)
        .replace(
            "(&(employeeType=staff)(uid={username}))",
            "(mail={username})",
        )
        .replace(":corp\"", ":mail\"");
    place.write("mail.toml", by_mail);
    let (status, text) = place.run(&["check", "corp"]);
    assert_eq!(status, Some(0), "{text}");
    let unit = place.unit();
    unit.create_cell_with_owner("ours").await;
    unit.create_cell("other").await;
    for name in ["alice", "bob", "carol", UNKNOWN, "nopassword"] {
        let account = json!({"Name": name, "Type": "ldap:corp"});
        unit.create("ours/__ctl/Account", &account.to_string())
            .await;
    }
    unit.create_account("other", r#"{"Name":"alice"}"#).await;
    unit.create_box("ours", "b").await;
    unit.create_role("ours", "reader").await;
    unit.grant_to_role("ours/b", "reader", &["D:read"]).await;
    unit.put_file("ours/b/file", "content").await;

    // The cell decides what an account may do, and so do its roles.
    let (status, answer) = log_in(&unit, "ours", "alice", "alice-password").await;
    assert_eq!(status, 200, "{answer}");
    let token = text_member(&answer, "access_token");
    let read = async |token: &str| {
        let client = unit.with_token(token);
        client.request("GET", "ours/b/file").send().await.status
    };
    assert_eq!(read(&token).await, 403);
    unit.link("ours", "Account('alice')", "_Role", "Role('reader')")
        .await;
    let (status, answer) = log_in(&unit, "ours", "ALICE", "alice-password").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(read(&text_member(&answer, "access_token")).await, 200);
    let refresh = text_member(&answer, "refresh_token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    let refreshed = unit.request_token("ours", &fields).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());

    for (cell, user, password) in [
        ("ours", "alice", "bob-password"),
        ("ours", "alice", "Alice-password"),
        // Bob is not of the staff, the others are not in the directory or have no password there.
        ("ours", "bob", "bob-password"),
        ("ours", UNKNOWN, "x"),
        ("ours", "nopassword", "x"),
        ("ours", "*", "alice-password"),
        // There, alice has a password of the cell.
        ("other", "alice", "alice-password"),
    ] {
        assert_refused(&unit, cell, user, password).await;
    }
    let (status, answer) = log_in(&unit, "ours", "alice", "").await;
    assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")));
    let fields = [
        ("grant_type", "password"),
        ("username", "alice"),
        ("password", "alice-password"),
    ];
    let basic = unit.request_token("ours", &fields).await;
    assert_eq!(basic.status, 400, "{}", basic.text());

    // The directory locks a user after two wrong passwords. Whoever asks does not learn it.
    let (status, answer) = log_in(&unit, "ours", "carol", "carol-password").await;
    assert_eq!(status, 200, "{answer}");
    for password in ["wrong", "wrong", "carol-password"] {
        assert_refused(&unit, "ours", "carol", password).await;
    }
    // So can the cell.
    let deactivated = r#"{"Name":"alice","Type":"ldap:corp","Status":"deactivated"}"#;
    let changed = unit.admin_request("PUT", "ours/__ctl/Account('alice')");
    changed.body(deactivated).send().await.expect(204);
    assert_refused(&unit, "ours", "alice", "alice-password").await;

    // Who asks does not learn that a name stands for several users; the log says it.
    let mut answers = Vec::new();
    for user in ["alice@corp.example", "nobody@corp.example"] {
        let fields = [
            ("grant_type", "urn:x-personium:auth:mail"),
            ("username", user),
            ("password", "alice-password"),
        ];
        let response = unit.request_token("ours", &fields).await;
        answers.push((response.status, response.json()));
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0].0, 400, "{}", answers[0].1);
    assert!(unit.log().contains("several entries for one user"));

    drop(directory);
    let (status, answer) = log_in(&unit, "ours", "carol", "carol-password").await;
    assert_eq!(
        (status, &answer["error"]),
        (503, &json!("temporarily_unavailable")),
        "{answer}"
    );
    let text = answer["error_description"].as_str().unwrap_or_default();
    assert!(text.starts_with("[PR503-PA-0001]"), "{answer}");
    let log = unit.log();
    for secret in ["alice-password", "carol-password", READER_PASSWORD] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}
