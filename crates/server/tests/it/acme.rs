//! The TLS port, and its certificate from an authority with the protocol ACME.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use personium_testkit::{OnDrop, Process, ProcessUnit, TestClient, free_port};
use serde_json::Value;

use crate::acme_server::{AcmeServer, BLOCKED_NAME, UnitPorts};
use crate::program::{self, logged_after};

const HOST: &str = "unit.example";
const DAYS_90: Duration = Duration::from_secs(90 * 24 * 3600);
const OBTAINED: &str = "certificate of the TLS port obtained";
const FAILED: &str = "certificate of the TLS port not obtained";

/// Starts a unit with cells at paths whose TLS port gets its certificate from an authority.
fn start_unit(authority: &AcmeServer, ports: UnitPorts, challenge: &str) -> ProcessUnit {
    let settings = authority.settings(ports, challenge);
    let builder = crate::unit().host(HOST).behind_proxy(ports.tls);
    builder.settings(&settings).start()
}

/// Requests a URL by curl, which trusts the certificates in a file. All names lead to this machine. Returns the status; 0 without a
/// response.
fn curl_status(root: &Path, url: &str, more: &[&str]) -> u16 {
    let output = Command::new("curl")
        .args(["--silent", "--output", "/dev/null", "--max-time", "20"])
        .args([
            "--connect-to",
            "::127.0.0.1:",
            "--write-out",
            "%{http_code}",
        ])
        .arg("--cacert")
        .arg(root)
        .args(more)
        .arg(url)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().parse().unwrap()
}

/// The certificate that the TLS port shows, in DER in base 64.
fn shown_certificate(port: u16) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{port}")])
        .args(["-servername", HOST])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, rest) = text
        .split_once("-----BEGIN CERTIFICATE-----")
        .unwrap_or_default();
    let (certificate, _) = rest.split_once("-----END").unwrap_or_default();
    certificate.to_owned()
}

/// Runs `personium cert acme` with the settings of a unit. Returns whether it succeeded, and its output.
fn cert_acme(unit: &ProcessUnit, more: &[&str]) -> (bool, String) {
    let settings = unit.folder().join("unit.properties");
    let data = unit.folder().join("data");
    let output = program::command(&["cert", "acme", "--config"])
        .arg(settings)
        .arg("--data")
        .arg(data)
        .args(more)
        .output()
        .unwrap();
    (output.status.success(), program::text(&output))
}

fn state(unit: &ProcessUnit) -> Value {
    let bytes = std::fs::read(unit.folder().join("data/acme/state.json")).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn metrics(ports: UnitPorts) -> String {
    let client = TestClient::for_port(ports.admin);
    client.request("GET", "metrics").send().await.text()
}

/// The findings of `personium check` with this name and outcome.
fn findings(unit: &ProcessUnit, check: &str, outcome: &str) -> Vec<String> {
    let output = program::command(&["check", "--json", "--config"])
        .arg(unit.folder().join("unit.properties"))
        .arg("--data")
        .arg(unit.folder().join("data"))
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let all = report["checks"].as_array().unwrap().iter();
    all.filter(|finding| finding["check"] == check && finding["outcome"] == outcome)
        .map(|finding| finding["detail"].as_str().unwrap().to_owned())
        .collect()
}

/// The lines of the log after the first `from` bytes that have a text.
fn lines_with(unit: &ProcessUnit, from: usize, text: &str) -> Vec<String> {
    let log = unit.log().split_off(from);
    let lines = log.lines().filter(|line| line.contains(text));
    lines.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_certificate_is_used_by_clients_and_renewed_without_a_failed_request() {
    let ports = UnitPorts::free();
    let authority = AcmeServer::start(ports, DAYS_90);
    let unit = start_unit(&authority, ports, "http-01");
    logged_after(&unit, 0, OBTAINED).await;
    let root = authority.root();
    let url = format!("https://{HOST}:{}/", ports.tls);
    assert_eq!(curl_status(&root, &url, &[]), 200);
    assert_eq!(
        curl_status(&root, &url, &["--tlsv1.2", "--tls-max", "1.2"]),
        200
    );
    // A client that does not know the authority refuses.
    assert_eq!(
        curl_status(&authority.folder().join("ca.crt"), &url, &[]),
        0
    );
    let plain = format!("http://{HOST}:{}/__login?a=b", ports.http);
    let redirected = ["--location", "--max-redirs", "1"];
    assert_eq!(curl_status(&root, &plain, &[]), 308);
    assert_ne!(curl_status(&root, &plain, &redirected), 308);
    assert_eq!(curl_status(&root, &plain, &["--data", "x"]), 403);
    for (path, host, status) in [
        ("/.well-known/acme-challenge/../../../etc/passwd", HOST, 404),
        (
            "/.well-known/acme-challenge/..%2f..%2f..%2fetc%2fpasswd",
            HOST,
            404,
        ),
        ("/.well-known/acme-challenge/unknown", HOST, 404),
        ("/.well-known/acme-challenge/", HOST, 404),
        ("/", "evil.example", 421),
        ("/.well-known/acme-challenge/unknown", "evil.example", 404),
    ] {
        let hostile = format!("http://127.0.0.1:{}{path}", ports.http);
        let header = format!("Host: {host}");
        let found = curl_status(&root, &hostile, &["--path-as-is", "--header", &header]);
        assert_eq!(found, status, "{host} {path}");
    }
    // What a client says about itself is not that of a proxy.
    let foreign = ["--header", "X-Forwarded-Host: evil.example"];
    assert_eq!(curl_status(&root, &url, &foreign), 200);

    let folder = unit.folder().join("data/acme");
    for entry in std::fs::read_dir(&folder).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", entry.path().display());
    }
    let (_, shown) = cert_acme(&unit, &["--json"]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["certificate"]["daysLeft"], 89, "{shown}");
    assert_eq!(shown["failures"], 0, "{shown}");
    let found = findings(&unit, "tls.listen", "ok").join("\n");
    assert!(
        found.contains(&format!("certificate for {HOST}")),
        "{found}"
    );
    assert_eq!(findings(&unit, "tls.acme.directory", "warning"), [""; 0]);
    let metrics = metrics(ports).await;
    for line in [
        "personium_acme_failures 0",
        "personium_tls_certificate_expiry_timestamp_seconds 1",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }

    let before = shown_certificate(ports.tls);
    let stop = Arc::new(AtomicBool::new(false));
    let requests = {
        let (stop, root, url) = (Arc::clone(&stop), root.clone(), url.clone());
        std::thread::spawn(move || {
            let mut answered = 0;
            while !stop.load(Ordering::Relaxed) || answered == 0 {
                assert_eq!(curl_status(&root, &url, &[]), 200);
                answered += 1;
            }
            answered
        })
    };
    for _ in 0..2 {
        let (renewed, text) = cert_acme(&unit, &["--now"]);
        assert!(renewed, "{text}");
    }
    stop.store(true, Ordering::Relaxed);
    assert!(requests.join().unwrap() > 0);
    assert_ne!(shown_certificate(ports.tls), before);
    assert_eq!(lines_with(&unit, 0, OBTAINED).len(), 3);
}

#[tokio::test]
async fn certificate_that_ends_soon_is_renewed_by_itself_with_a_challenge_of_the_tls_port() {
    let ports = UnitPorts::free();
    let authority = AcmeServer::start(ports, Duration::from_secs(9));
    let unit = start_unit(&authority, ports, "tls-alpn-01");
    let log = logged_after(&unit, 0, OBTAINED).await;
    let from = log.find(OBTAINED).unwrap() + OBTAINED.len();
    logged_after(&unit, from, OBTAINED).await;
    // Without a challenge the protocol of challenges is refused.
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &format!("127.0.0.1:{}", ports.tls)])
        .args(["-servername", HOST, "-alpn", "acme-tls/1"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success(), "{}", program::text(&output));
}

#[tokio::test]
async fn certificate_for_the_hosts_of_cells_comes_by_a_command_for_records() {
    let ports = UnitPorts::free();
    let authority = AcmeServer::start(ports, DAYS_90);
    let folder = tempfile::tempdir().unwrap();
    let settings = authority.settings(ports, "dns-01") + &authority.dns_settings(folder.path());
    let builder = crate::unit().host(HOST).behind_proxy(ports.tls);
    let unit = builder.cells_have_hosts().settings(&settings).start();
    logged_after(&unit, 0, OBTAINED).await;
    unit.create_cell("alice").await;
    let root = authority.root();
    for (host, status) in [
        (HOST, 200),
        ("alice.unit.example", 200),
        ("none.unit.example", 404),
    ] {
        let url = format!("https://{host}:{}/", ports.tls);
        let json = ["--header", "Accept: application/json"];
        assert_eq!(curl_status(&root, &url, &json), status, "{host}");
    }
    let below = format!("https://a.b.unit.example:{}/", ports.tls);
    assert_eq!(curl_status(&root, &below, &[]), 0);
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    let of = |verb: &str| -> Vec<String> {
        let calls = calls.lines().filter_map(|line| line.strip_prefix(verb));
        calls.map(str::to_owned).collect()
    };
    let (added, removed) = (of("add "), of("remove "));
    assert_eq!(added.len(), 2, "{calls}");
    assert_eq!(added, removed);
    assert!(
        added[0].starts_with("_acme-challenge.unit.example "),
        "{calls}"
    );
    assert_eq!(findings(&unit, "tls.listen", "warning"), [""; 0]);
}

#[tokio::test]
async fn process_that_dies_between_order_and_file_leaves_nothing_and_tries_again_later() {
    let ports = UnitPorts::free();
    let authority = AcmeServer::start(ports, DAYS_90);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("wait"), "").unwrap();
    let settings = authority.settings(ports, "dns-01") + &authority.dns_settings(folder.path());
    let builder = crate::unit().host(HOST).behind_proxy(ports.tls);
    let mut unit = builder.settings(&settings).start();
    let calls = folder.path().join("calls");
    while !calls.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unit.kill();
    std::fs::remove_file(folder.path().join("wait")).unwrap();
    let found: Vec<String> = std::fs::read_dir(unit.folder().join("data/acme"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".pem") || name.ends_with(".new"))
        .collect();
    assert_eq!(found, [""; 0]);
    let interrupted = state(&unit);
    assert_eq!(interrupted["failures"], 1);
    let pause = interrupted["nextAttemptMs"].as_i64().unwrap()
        - interrupted["lastAttemptMs"].as_i64().unwrap();
    assert!(pause >= 1000, "{interrupted}");
    // Without a certificate there is no handshake, and the rest of the unit works.
    unit.restart();
    unit.create_cell("alice").await;
    logged_after(&unit, 0, OBTAINED).await;
    let url = format!("https://{HOST}:{}/", ports.tls);
    assert_eq!(curl_status(&authority.root(), &url, &[]), 200);
    let after = state(&unit);
    assert!(
        after["lastAttemptMs"].as_i64() >= interrupted["nextAttemptMs"].as_i64(),
        "{after}"
    );
    assert_eq!(after["failures"], 0);
}

/// A server with the certificate of the authority that is none: it answers everything with a page.
fn start_page_server(authority: &AcmeServer, port: u16) -> Process {
    let mut command = Command::new("openssl");
    command
        .args(["s_server", "-quiet", "-www", "-accept", &port.to_string()])
        .args(["-cert", "api.crt", "-key", "api.key"])
        .current_dir(authority.folder())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::listen(&mut command, port, OnDrop::Kill).unwrap().0
}

#[tokio::test]
async fn certificate_in_use_stays_whatever_the_authority_does() {
    let ports = UnitPorts::free();
    let mut authority = AcmeServer::start(ports, DAYS_90);
    let mut unit = start_unit(&authority, ports, "http-01");
    logged_after(&unit, 0, OBTAINED).await;
    let root = authority.root();
    let url = format!("https://{HOST}:{}/", ports.tls);
    let certificate = shown_certificate(ports.tls);
    assert!(!certificate.is_empty());
    unit.replace_in_settings("acme.retryInSec=1\n", "acme.retryInSec=3600\n");
    let in_use = |unit: &ProcessUnit, case: &str| {
        assert_eq!(shown_certificate(ports.tls), certificate, "{case}");
        assert_eq!(curl_status(&root, &url, &[]), 200, "{case}");
        let warnings = findings(unit, "tls.acme.directory", "warning").join("\n");
        assert!(
            warnings.contains("failures, the last: "),
            "{case}: {warnings}"
        );
    };

    // The authority is down.
    unit.kill();
    unit.restart();
    authority.kill();
    let (succeeded, text) = cert_acme(&unit, &["--now"]);
    assert!(!succeeded && text.contains("localhost"), "{text}");
    in_use(&unit, "down");
    let line = lines_with(&unit, 0, FAILED).remove(0);
    assert!(
        line.contains("PR502-SV-0002") && line.contains(HOST),
        "{line}"
    );
    let metrics = metrics(ports).await;
    assert!(metrics.contains("personium_acme_failures 1\n"), "{metrics}");
    let waits = |unit: &ProcessUnit| {
        let state = state(unit);
        state["nextAttemptMs"].as_i64().unwrap() - state["lastAttemptMs"].as_i64().unwrap()
    };
    assert!(waits(&unit) >= 3_600_000);

    // Another server is at its address.
    let page = start_page_server(&authority, authority.port());
    let (succeeded, text) = cert_acme(&unit, &["--now"]);
    assert!(!succeeded, "{text}");
    in_use(&unit, "page");
    assert!(waits(&unit) >= 2 * 3_600_000);
    drop(page);

    // It has forgotten the account, and issues again.
    authority.restart();
    let (succeeded, text) = cert_acme(&unit, &["--now"]);
    assert!(succeeded, "{text}");
    let (root, certificate) = (authority.root(), shown_certificate(ports.tls));

    // It refuses a name, or its server is not trusted. These failures come by the start alone.
    for (case, from, to, part) in [
        (
            "refused name",
            "tls.acme.termsAgreed=true\n",
            format!(
                "tls.acme.termsAgreed=true\nio.personium.core.tls.acme.names={HOST} {BLOCKED_NAME}\n"
            ),
            "rejectedIdentifier",
        ),
        (
            "wrong root",
            "/ca.crt\n",
            format!("/issued.pem\nio.personium.core.tls.acme.names={HOST} other.example\n"),
            "UnknownIssuer",
        ),
    ] {
        let path = unit.folder().join("unit.properties");
        let settings = std::fs::read_to_string(&path).unwrap();
        unit.kill();
        unit.replace_in_settings(from, &to);
        let from = unit.log().len();
        unit.restart();
        let log = logged_after(&unit, from, FAILED).await;
        assert!(log.contains(part), "{case}: {log}");
        assert_eq!(shown_certificate(ports.tls), certificate, "{case}");
        assert_eq!(curl_status(&root, &url, &[]), 200, "{case}");
        // Neither the unit nor another start repeats it at once.
        assert!(waits(&unit) >= 3_600_000, "{case}");
        let (_, shown) = cert_acme(&unit, &["--json"]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_ne!(shown["nextAttempt"], "at once", "{case}");
        unit.kill();
        unit.restart();
        assert_eq!(shown_certificate(ports.tls), certificate, "{case}");
        assert_eq!(lines_with(&unit, from, FAILED).len(), 1, "{case}");
        std::fs::write(&path, settings).unwrap();
    }

    // Without a unit the command does it itself.
    unit.kill();
    let (succeeded, text) = cert_acme(&unit, &["--now"]);
    assert!(succeeded, "{text}");
    check_if_due(&unit, &mut authority);
    unit.restart();
    assert_ne!(shown_certificate(ports.tls), certificate);
}

/// Checks that a command that nobody watches makes an attempt when one is due only, and fails as long as the last one has failed.
fn check_if_due(unit: &ProcessUnit, authority: &mut AcmeServer) {
    let attempts = || state(unit)["lastAttemptMs"].as_i64().unwrap();
    let before = attempts();
    let (succeeded, text) = cert_acme(unit, &["--if-due"]);
    assert!(succeeded && attempts() == before, "{text}");
    std::fs::remove_dir_all(unit.folder().join("data/acme")).unwrap();
    authority.kill();
    let (succeeded, text) = cert_acme(unit, &["--if-due"]);
    assert!(!succeeded && text.contains("localhost"), "{text}");
    let failed = attempts();
    authority.restart();
    let (succeeded, text) = cert_acme(unit, &["--if-due"]);
    assert!(!succeeded && attempts() == failed, "{text}");
    assert!(
        text.contains("1; the last: ") && text.contains("next attempt"),
        "{text}"
    );
    std::fs::remove_file(unit.folder().join("data/acme/state.json")).unwrap();
    let (succeeded, text) = cert_acme(unit, &["--if-due"]);
    assert!(succeeded && attempts() > failed, "{text}");
}

#[tokio::test]
async fn given_certificate_is_replaced_on_reload_and_one_that_is_of_no_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cert = |arguments: &[&str]| {
        let mut command = program::command(&[&["cert"][..], arguments].concat());
        let output = command.current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{}", program::text(&output));
    };
    for name in ["one", "two"] {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        let files = ["--key", &key, "--cert", &certificate];
        cert(&[&["server", "--name", HOST][..], &files].concat());
    }
    let path = |name: &str| folder.path().join(name);
    let copy = |from: &str, to: &str| std::fs::copy(path(from), path(to)).unwrap();
    copy("one.key", "server.key");
    copy("one.crt", "server.crt");
    let port = free_port();
    let key = "io.personium.core.tls";
    let settings = format!(
        "{key}.listen=127.0.0.1:{port}\n{key}.crt={}\n{key}.key={}\n",
        path("server.crt").display(),
        path("server.key").display()
    );
    let builder = crate::unit().host(HOST).behind_proxy(port);
    let mut unit = builder.settings(&settings).start();
    let url = format!("https://{HOST}:{port}/");
    assert_eq!(curl_status(&path("one.crt"), &url, &[]), 200);
    assert_eq!(curl_status(&path("two.crt"), &url, &[]), 0);

    let reload = async |expected: &str| {
        let before = unit.log().len();
        program::signal(unit.process_id(), "HUP");
        logged_after(&unit, before, expected).await
    };
    // The key of another certificate.
    copy("two.key", "server.key");
    reload("settings not reloaded").await;
    assert_eq!(curl_status(&path("one.crt"), &url, &[]), 200);
    copy("two.crt", "server.crt");
    reload("settings reloaded").await;
    assert_eq!(curl_status(&path("two.crt"), &url, &[]), 200);

    std::fs::write(path("server.crt"), "garbage").unwrap();
    let errors = findings(&unit, "tls.listen", "error").join("\n");
    assert!(errors.contains("server.crt"), "{errors}");
    unit.kill();
    let log = unit.expect_refused_restart();
    assert!(
        log.contains("cannot use the certificate of the TLS port"),
        "{log}"
    );
}
