//! Mails of scripts, taken by a mail server of others.

use std::path::Path;

use personium_testkit::wait_until;
use serde_json::{Value, json};

use crate::external_programs::{PythonServer, run_python};
use crate::script_workers::{run, start_with_script};
use crate::storage_unit::StorageUnit;

/// A complete mail; members are replaced by tests.
const MAIL: &str = "{to: [{address: 'to@example.com', name: '宛先'}], cc: [{address: 'cc@example.com'}], \
                    bcc: [{address: 'bcc@example.com'}], from: {address: 'from@example.com', name: 'From'}, \
                    'reply-to': [{address: 'reply@example.com'}], subject: '件名', text: 'こんにちは\\nworld', \
                    headers: {'X-Mine': 'value'}, 'envelope-from': 'bounce@example.com'}";

fn make_keys(folder: &Path) {
    run_python(
        "make_keys.py",
        &json!({"folder": folder, "units": {"server": "localhost"}}),
    );
}

/// A unit whose property file has these lines. It trusts the authority in the folder, if there is one.
async fn unit(folder: &Path, properties: &[&str]) -> StorageUnit {
    let lines: String = properties
        .iter()
        .map(|line| format!("io.personium.engine.extension.MailSender.smtp.{line}\n"))
        .collect();
    std::fs::write(folder.join("Ext_MailSender.properties"), lines).unwrap();
    let isolation = if properties.len() > 2 {
        "process"
    } else {
        "thread"
    };
    let builder = crate::unit()
        .setting("io.personium.core.engine.extensions.dir", folder.display())
        .setting("io.personium.core.engine.script.isolation", isolation);
    let root = folder.join("root.crt");
    let builder = match root.is_file() {
        true => builder.environment("SSL_CERT_FILE", root.to_str().unwrap()),
        false => builder,
    };
    start_with_script(builder).await
}

/// Sends a mail with changed members. The text of the error, if there is one.
async fn send(unit: &StorageUnit, changes: &str) -> String {
    let code = format!(
        "var out = ''; try {{ new _p.extension.MailSender().send(Object.assign({MAIL}, {changes})); }} \
         catch (e) {{ out = String(e.message) + (e.code ? ' ' + e.code : ''); }} \
         return {{status: 200, headers: {{'Content-Type': 'text/plain'}}, body: [out]}};"
    );
    let (status, text) = run(unit, &code).await;
    assert_eq!(status, 200, "{text}");
    text
}

fn mails(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("mails.jsonl")).unwrap_or_default();
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[tokio::test]
async fn mail_arrives_over_starttls_with_a_password() {
    let folder = tempfile::tempdir().unwrap();
    make_keys(folder.path());
    let server = PythonServer::start(
        "smtp_server.py",
        &json!({"folder": folder.path(), "tls": true}),
    );
    let port = format!("port={}", server.port("port"));
    let properties = [
        "host=localhost",
        &port,
        "security=starttls",
        "user=unit",
        "password=secret",
    ];
    let unit = unit(folder.path(), &properties).await;
    assert_eq!(send(&unit, "{}").await, "");
    wait_until("the mail", async || mails(folder.path()).len() == 1).await;
    let mail = mails(folder.path()).remove(0);
    assert_eq!(
        (&mail["encrypted"], &mail["authenticated"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(mail["sender"], "bounce@example.com");
    let recipients = json!(["to@example.com", "cc@example.com", "bcc@example.com"]);
    assert_eq!(mail["recipients"], recipients);
    let header = |name: &str| mail["headers"][name].as_str().unwrap().to_owned();
    assert_eq!(header("subject"), "件名");
    assert_eq!(header("x-mine"), "value");
    assert!(header("to").contains("宛先") && header("from").contains("from@example.com"));
    assert!(mail["headers"].get("bcc").is_none());
    assert_eq!(header("reply-to"), "reply@example.com");
    assert_eq!(mail["charset"], "iso-2022-jp");
    assert_eq!(mail["text"], "こんにちは\nworld");
    // In another character set, to a recipient that the server does not know.
    assert_eq!(send(&unit, "{charset: 'UTF-8', text: 'é'}").await, "");
    let refused = send(&unit, "{to: [{address: 'refused@example.com'}]}").await;
    assert!(
        refused.starts_with("Failed to send message. Cause: ["),
        "{refused}"
    );
    assert_eq!(mails(folder.path()).len(), 2);
    assert_eq!(mails(folder.path())[1]["text"], "é");
}

#[tokio::test]
async fn mail_goes_to_the_server_of_a_property_file_of_the_original() {
    let folder = tempfile::tempdir().unwrap();
    let server = PythonServer::start(
        "smtp_server.py",
        &json!({"folder": folder.path(), "tls": false}),
    );
    let port = format!("port={}", server.port("port"));
    let unit = unit(folder.path(), &["host=127.0.0.1", &port]).await;
    assert_eq!(send(&unit, "{}").await, "");
    for (changes, error) in [
        (
            "{to: [], cc: null, bcc: []}",
            "No mail recipients are specified in request.",
        ),
        (
            "{to: new Array(51).fill({address: 'a@example.com'})}",
            "Number of recipients exceeds the limit(50).",
        ),
        (
            "{to: [{address: 'nobody'}]}",
            "Invalid mail address is detected.",
        ),
        (
            "{to: [{address: 'a@example.com\\r\\nRCPT TO:<b@example.com>'}]}",
            "Invalid mail address is detected.",
        ),
        (
            "{to: [{address: 'a@example.com', name: 'a\\r\\nBcc: b@example.com'}]}",
            "Invalid mail address is detected.",
        ),
        ("{to: 'a@example.com'}", "Invalid JSON."),
        ("{from: null}", "From address is not specified."),
        (
            "{'reply-to': []}",
            "At least one reply-to address is required.",
        ),
        ("{subject: ''}", "Empty subject is not permitted."),
        (
            "{subject: 'a\\r\\nBcc: b@example.com'}",
            "the subject has more than one line",
        ),
        ("{text: ''}", "Empty mail body is not permitted."),
        ("{charset: 'klingon'}", "klingon"),
        (
            "{headers: {'X-A': 'a\\r\\nBcc: b@example.com'}}",
            "the value of a header has more than one line",
        ),
        (
            "{headers: {'X A': 'a'}}",
            "the name of a header is not valid",
        ),
    ] {
        let seen = send(&unit, changes).await;
        assert!(seen.contains(error), "{changes}: {seen}");
    }
    assert_eq!(mails(folder.path()).len(), 1);
    // The server dies.
    drop(server);
    let seen = send(&unit, "{}").await;
    assert!(
        seen.starts_with("Failed to send message. Cause: ["),
        "{seen}"
    );
}

#[tokio::test]
async fn server_with_an_unknown_certificate_gets_no_mail_and_no_password() {
    let folder = tempfile::tempdir().unwrap();
    make_keys(folder.path());
    std::fs::remove_file(folder.path().join("root.crt")).unwrap();
    let server = PythonServer::start(
        "smtp_server.py",
        &json!({"folder": folder.path(), "tls": true}),
    );
    let port = format!("port={}", server.port("port"));
    let properties = [
        "host=localhost",
        &port,
        "security=starttls",
        "user=unit",
        "password=secret",
    ];
    let unit = unit(folder.path(), &properties).await;
    let seen = send(&unit, "{}").await;
    assert!(
        seen.starts_with("Failed to send message. Cause: ["),
        "{seen}"
    );
    assert!(mails(folder.path()).is_empty());
}

#[tokio::test]
async fn unit_without_a_mail_server_says_so() {
    let unit = start_with_script(crate::unit()).await;
    assert_eq!(
        send(&unit, "{}").await,
        "smtp host is not specified in configuration. 501"
    );
}
