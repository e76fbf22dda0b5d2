//! The traces of the running program, as a collector receives them.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use personium_testkit::{
    MASTER_TOKEN, OnDrop, Process, ProcessUnitBuilder, StubServer, built_program, free_port,
    wait_until,
};
use prost::Message;
use serde_json::json;

use crate::program::logged_after;
use crate::script_workers::{run, start_with_script};
use crate::storage_unit::StorageUnit;
use crate::trace_collector::{CollectorAnswer, TraceCollector};

const KEY: &str = "io.personium.core.telemetry.traces";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn traced(collector: &TraceCollector) -> ProcessUnitBuilder {
    crate::unit()
        .setting(&format!("{KEY}.endpoint"), collector.url())
        .setting(&format!("{KEY}.parents"), "trustedProxies")
}

fn parent_header(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

/// The sum of a metric over its labels; `None` without it.
async fn metric(unit: &StorageUnit, name: &str) -> Option<f64> {
    let (_, text) = unit.admin_text("metrics").await;
    let lines = text.lines().filter(|line| line.starts_with(name));
    let values: Vec<f64> = lines
        .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
        .collect();
    (!values.is_empty()).then(|| values.iter().sum())
}

/// Sends a request of the administrator with a key.
async fn send(unit: &StorageUnit, method: &str, path: &str, key: &str) -> u16 {
    let request = unit.admin_request(method, path);
    let response = request.header("x-personium-requestkey", key).send().await;
    response.status.as_u16()
}

#[tokio::test]
async fn span_of_a_request_has_its_parent_its_children_and_nothing_of_the_client() {
    let collector = TraceCollector::start().await;
    let folder = tempfile::tempdir().unwrap();
    let headers = folder.path().join("headers");
    std::fs::write(&headers, "Authorization: Bearer collector-token\n").unwrap();
    std::fs::set_permissions(&headers, std::fs::Permissions::from_mode(0o600)).unwrap();
    let builder = traced(&collector)
        .setting(&format!("{KEY}.headersFile"), headers.display())
        .setting(&format!("{KEY}.serviceName"), "my unit");
    let unit = StorageUnit::start(builder);
    unit.create_cell("alice").await;
    unit.create_box("alice", "health").await;
    let body = "x".repeat(200_000) + "secret-body";
    let put = unit
        .admin_request("PUT", "alice/health/diagnosis.txt?q=secret-query")
        .header("traceparent", &parent_header("01"))
        .header("tracestate", "vendor=value")
        .header("x-personium-requestkey", "key-of-put")
        .body(body);
    put.send().await.expect(201);
    assert_eq!(
        send(&unit, "GET", "alice/health/diagnosis.txt", "key-of-get").await,
        200
    );
    assert_eq!(
        send(&unit, "GET", "alice/health/missing.txt", "key-of-miss").await,
        404
    );
    let fields = [
        ("grant_type", "password"),
        ("username", "bob"),
        ("password", "secret-word"),
    ];
    unit.request_token("alice", &fields).await.expect(400);

    let put = collector.request("key-of-put").await;
    assert_eq!(put.service, "my unit");
    assert_eq!(
        (put.trace(), put.parent()),
        (TRACE.to_owned(), PARENT.to_owned())
    );
    assert_eq!(put.span.trace_state, "vendor=value");
    assert_eq!(put.span.name, "PUT /{cell}/{box}/{path}");
    assert_eq!(put.text("http.request.method"), "PUT");
    assert_eq!(put.text("http.route"), "/{cell}/{box}/{path}");
    assert_eq!(put.text("http.response.status_code"), "201");
    assert_eq!(put.text("url.scheme"), "http");
    assert!(!put.text("personium.cell.id").is_empty() && !put.has_failed());
    let below = collector.children(&put, "store.commit").await;
    let names: Vec<_> = below.iter().map(|it| it.span.name.as_str()).collect();
    assert!(names.contains(&"body.write"), "{names:?}");
    for child in &below {
        assert!(child.span.start_time_unix_nano >= put.span.start_time_unix_nano);
        assert!(child.span.end_time_unix_nano >= child.span.start_time_unix_nano);
    }
    let get = collector.request("key-of-get").await;
    assert_eq!(get.parent(), "");
    assert_ne!(get.trace(), TRACE);
    collector.children(&get, "body.read").await;
    let miss = collector.request("key-of-miss").await;
    assert_eq!(miss.text("http.response.status_code"), "404");
    assert!(miss.text("personium.error.code").starts_with("PR404"));
    // The client is wrong, not the unit.
    assert!(!miss.has_failed());
    let token_name = "POST /{cell}/__token";
    let has_token = async || {
        collector
            .spans()
            .iter()
            .any(|it| it.span.name == token_name)
    };
    wait_until("the span of the refused login", has_token).await;

    let secrets = [
        "alice",
        "health",
        "diagnosis",
        "missing.txt",
        "secret-body",
        "secret-query",
        "secret-word",
        "bob",
        MASTER_TOKEN,
        "collector-token",
        "localhost:",
    ];
    for message in collector.received() {
        assert_eq!(message.path, "/v1/traces");
        assert_eq!(message.headers["content-type"], "application/x-protobuf");
        assert_eq!(message.headers["authorization"], "Bearer collector-token");
        let text = String::from_utf8_lossy(&message.bytes);
        for secret in secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    assert!(!unit.log().contains("collector-token"));
    let (spans, exported) = (
        collector.spans().len(),
        "personium_trace_spans_exported_total",
    );
    assert!(metric(&unit, exported).await.unwrap() >= spans as f64);
    assert_eq!(
        metric(&unit, "personium_trace_spans_lost_total").await,
        Some(0.0)
    );
}

#[tokio::test]
async fn opentelemetry_collector_accepts_and_understands_the_spans() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let settings = format!(
        "receivers: {{otlp: {{protocols: {{http: {{endpoint: '127.0.0.1:{port}'}}}}}}}}\n\
         exporters: {{debug: {{verbosity: detailed, use_internal_logger: false, sampling_initial: 1000}}}}\n\
         service: {{pipelines: {{traces: {{receivers: [otlp], exporters: [debug]}}}}}}\n"
    );
    let path = folder.path().join("collector.yaml");
    std::fs::write(&path, settings).unwrap();
    let printed = folder.path().join("spans.txt");
    let output = std::fs::File::create(&printed).unwrap();
    let mut command = Command::new(built_program("otelcol"));
    command
        .args(["--config", path.to_str().unwrap()])
        .stderr(output.try_clone().unwrap())
        .stdout(output);
    let listening = Process::listen(&mut command, port, OnDrop::Kill);
    let _collector = listening
        .unwrap_or_else(|error| panic!("{error}: {}", std::fs::read_to_string(&printed).unwrap()));
    let endpoint = format!("http://127.0.0.1:{port}");
    let builder = crate::unit()
        .setting(&format!("{KEY}.endpoint"), &endpoint)
        .setting(&format!("{KEY}.parents"), "all");
    let unit = StorageUnit::start(builder);
    let request = unit
        .admin_request("GET", "")
        .header("traceparent", &parent_header("01"))
        .header("x-personium-requestkey", "key-for-collector");
    request.send().await.expect(200);
    let text = || std::fs::read_to_string(&printed).unwrap();
    wait_until("the span", async || {
        text().contains("Str(key-for-collector)")
    })
    .await;
    for line in [
        format!("Trace ID       : {TRACE}\n"),
        format!("Parent ID      : {PARENT}\n"),
        "Kind           : Server\n".to_owned(),
        "Name           : GET /\n".to_owned(),
        "service.name: Str(personium)\n".to_owned(),
        "http.response.status_code: Int(200)\n".to_owned(),
    ] {
        assert!(text().contains(&line), "{line} in {}", text());
    }
    let exported = async || metric(&unit, "personium_trace_spans_exported_total").await;
    assert!(exported().await.unwrap() > 0.0);
}

#[tokio::test]
async fn ratio_and_parents_decide_which_requests_are_recorded() {
    let collector = TraceCollector::start().await;
    let trusting = StorageUnit::start(traced(&collector).setting(&format!("{KEY}.ratio"), "0"));
    let doubting = traced(&collector)
        .setting(&format!("{KEY}.serviceName"), "doubting")
        .setting("io.personium.core.server.trustedProxies", "192.0.2.1");
    let doubting = StorageUnit::start(doubting);
    // As the unit is without a setting.
    let closed = crate::unit()
        .setting(&format!("{KEY}.endpoint"), collector.url())
        .setting(&format!("{KEY}.serviceName"), "closed");
    let closed = StorageUnit::start(closed);
    let get = async |unit: &StorageUnit, key: &str, parent: Option<String>| {
        let request = unit
            .admin_request("GET", "")
            .header("x-personium-requestkey", key);
        let request = match &parent {
            Some(parent) => request.header("traceparent", parent),
            None => request,
        };
        request.send().await.expect(200);
    };
    get(&trusting, "by-ratio", None).await;
    get(&trusting, "not-by-parent", Some(parent_header("00"))).await;
    get(&trusting, "malformed", Some("00-1-2-01".to_owned())).await;
    get(&trusting, "by-parent", Some(parent_header("01"))).await;
    get(&doubting, "untrusted", Some(parent_header("00"))).await;
    let by_parent = collector.request("by-parent").await;
    assert_eq!(
        (by_parent.trace(), by_parent.parent()),
        (TRACE.to_owned(), PARENT.to_owned())
    );
    get(&closed, "refused", Some(parent_header("00"))).await;
    for key in ["untrusted", "refused"] {
        let own = collector.request(key).await;
        assert_ne!(own.trace(), TRACE);
        assert_eq!(own.parent(), "");
    }
    for unrecorded in ["by-ratio", "not-by-parent", "malformed"] {
        let spans = collector.spans();
        let mut keys = spans.iter().map(|it| it.text("personium.request_key"));
        assert!(!keys.any(|key| key == unrecorded), "{unrecorded}");
    }
    let of_trusting = collector
        .spans()
        .into_iter()
        .filter(|it| it.service == "personium");
    assert!(of_trusting.into_iter().all(|it| it.trace() == TRACE));
}

#[tokio::test]
async fn unit_without_an_endpoint_connects_to_no_collector() {
    let collector = TraceCollector::start().await;
    let traced = StorageUnit::start(traced(&collector));
    assert_eq!(send(&traced, "GET", "", "k").await, 200);
    collector.request("k").await;
    assert_eq!(outgoing_connections(&traced), 1);
    let unit = StorageUnit::start(crate::unit().setting(&format!("{KEY}.ratio"), "1"));
    unit.create_cell("c").await;
    assert_eq!(metric(&unit, "personium_trace").await, None);
    assert_eq!(outgoing_connections(&unit), 0);
}

/// The number of connections that a unit has made.
fn outgoing_connections(unit: &StorageUnit) -> usize {
    let process = format!("/proc/{}", unit.process_id());
    let files = std::fs::read_dir(format!("{process}/fd")).unwrap();
    let targets: Vec<String> = files
        .filter_map(|file| std::fs::read_link(file.unwrap().path()).ok())
        .map(|target| target.display().to_string())
        .collect();
    let table = std::fs::read_to_string(format!("{process}/net/tcp")).unwrap();
    // The local address, the state and the inode of the sockets of the unit.
    let sockets: Vec<(&str, &str)> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|columns| targets.contains(&format!("socket:[{}]", columns[9])))
        .map(|columns| (columns[1], columns[3]))
        .collect();
    let (listening, established) = ("0A", "01");
    let ports: Vec<_> = sockets
        .iter()
        .filter(|it| it.1 == listening)
        .map(|it| it.0)
        .collect();
    let made = |it: &&(&str, &str)| it.1 == established && !ports.contains(&it.0);
    sockets.iter().filter(made).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_unit_sends_the_spans_that_wait() {
    let collector = TraceCollector::start().await;
    let mut unit = StorageUnit::start(traced(&collector));
    assert_eq!(send(&unit, "GET", "", "the-last").await, 200);
    unit.terminate();
    assert!(unit.wait());
    let spans = collector.spans();
    let mut keys = spans.iter().map(|it| it.text("personium.request_key"));
    assert!(keys.any(|key| key == "the-last"));
}

#[tokio::test(flavor = "multi_thread")]
async fn collector_that_never_answers_stops_no_request_and_no_unit() {
    let collector = TraceCollector::start().await;
    collector.set_answer(CollectorAnswer::Never);
    let mut unit = StorageUnit::start(traced(&collector));
    unit.create_cell("c").await;
    wait_until("a message", async || !collector.received().is_empty()).await;
    for _ in 0..50 {
        assert_eq!(send(&unit, "GET", "", "k").await, 200);
    }
    unit.terminate();
    assert!(unit.wait());
    logged_after(&unit, 0, "spans were lost").await;
}

#[tokio::test]
async fn spans_that_a_collector_does_not_take_are_counted() {
    let collector = TraceCollector::start().await;
    let unit = StorageUnit::start(traced(&collector));
    let lost = async |reason: &str| {
        let name = format!("personium_trace_spans_lost_total{{reason=\"{reason}\"}}");
        metric(&unit, &name).await.unwrap()
    };
    // It accepts some spans of each message only.
    let partly = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 1,
            error_message: "one is odd".to_owned(),
        }),
    };
    collector.set_answer(CollectorAnswer::Status(200, partly.encode_to_vec()));
    send(&unit, "GET", "", "partly").await;
    collector.request("partly").await;
    wait_until("a refused span", async || lost("refused").await > 0.0).await;
    // It does not say what it means.
    collector.set_answer(CollectorAnswer::Status(200, vec![0xff; 1000]));
    let exported = async || {
        metric(&unit, "personium_trace_spans_exported_total")
            .await
            .unwrap()
    };
    let before = exported().await;
    send(&unit, "GET", "", "odd-answer").await;
    wait_until("an accepted span", async || exported().await > before).await;
    // It fails.
    collector.set_answer(CollectorAnswer::Status(500, b"<html>".to_vec()));
    let before = lost("refused").await;
    send(&unit, "GET", "", "failure").await;
    wait_until("spans of a failure", async || {
        lost("refused").await > before
    })
    .await;
    wait_until("a line", async || unit.log().contains("it answers 500")).await;
    // It is busy, then takes them.
    collector.set_answer(CollectorAnswer::BusyOnce);
    send(&unit, "GET", "", "busy").await;
    collector.request("busy").await;
    wait_until("a line", async || {
        unit.log().contains("accepts spans again")
    })
    .await;
    assert_eq!(lost("unreachable").await + lost("queue_full").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn absent_collector_is_named_by_the_check_and_its_spans_are_lost_when_the_unit_stops() {
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let builder = crate::unit().setting(&format!("{KEY}.endpoint"), &endpoint);
    let mut unit = StorageUnit::start(builder);
    assert_eq!(send(&unit, "GET", "", "k").await, 200);
    let check = |endpoint: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_personium"))
            .args([
                "check",
                "-c",
                &format!("telemetry.traces.endpoint={endpoint}"),
            ])
            .args(["-c", &format!("data.dir={}/other", unit.folder().display())])
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let text = check(&endpoint);
    assert!(text.contains(&format!("{endpoint}/v1/traces: ")), "{text}");
    let collector = TraceCollector::start().await;
    let url = collector.url();
    let text = check(&url);
    assert!(text.contains("accepts spans"), "{text}");
    wait_until("a line", async || {
        unit.log().contains("does not accept spans")
    })
    .await;
    unit.terminate();
    assert!(unit.wait());
}

#[tokio::test]
async fn other_units_are_told_of_a_trace_if_the_settings_name_them() {
    let collector = TraceCollector::start().await;
    let receiver = traced(&collector).setting(&format!("{KEY}.serviceName"), "receiver");
    let receiver = StorageUnit::start(receiver);
    receiver.create_cell("theirs").await;
    let foreign = StubServer::start().await;
    for (hosts, is_told) in [("", false), ("other.example localhost", true)] {
        let sender = traced(&collector)
            .setting(&format!("{KEY}.serviceName"), "sender")
            .setting(&format!("{KEY}.propagateTo"), hosts)
            .setting("io.personium.core.outgoing.privateNetworks.enabled", "true");
        let sender = StorageUnit::start(sender);
        sender.create_cell("ours").await;
        let message = async |to: &str, key: &str| {
            let body = json!({"To": to, "Title": "t"});
            let request = sender.admin_request("POST", "ours/__message/send");
            let request = request.header("x-personium-requestkey", key);
            request.json(&body).send().await.expect(201);
        };
        let key = format!("message-{is_told}");
        message(&receiver.cell_url("theirs"), &key).await;
        let sending = collector.request(&key).await;
        let delivery = collector.children(&sending, "message.deliver").await;
        let delivery = delivery
            .iter()
            .find(|it| it.span.name == "message.deliver")
            .unwrap();
        let request = collector.children(delivery, "POST").await.remove(0);
        assert_eq!(request.span.kind, 3);
        let port = "POST /{cell}/__message/port";
        let received = || {
            let spans = collector.spans().into_iter();
            let mut spans = spans.filter(|it| it.service == "receiver" && it.span.name == port);
            spans.find(|it| (it.trace() == sending.trace()) == is_told)
        };
        wait_until("the span of the receiver", async || received().is_some()).await;
        let received = received().unwrap();
        match is_told {
            true => assert_eq!(received.span.parent_span_id, request.span.span_id),
            false => assert_eq!(received.parent(), ""),
        }
        // A server that is not named is told nothing.
        let url = foreign.url();
        let (sent, ()) = tokio::join!(foreign.receive("200 OK", "{}"), message(&url, "foreign"));
        assert_eq!(sent.header("traceparent"), None);
    }
}

#[tokio::test]
async fn script_and_its_requests_are_spans_of_its_request() {
    let collector = TraceCollector::start().await;
    let unit = start_with_script(traced(&collector)).await;
    let code = "var cell = _p.as('client').cell(); cell.box('b').getString('svc/__src/run.js'); \
                return {status: 200, headers: {'Content-Type': 'text/plain'}, body: ['done']};";
    let (status, text) = run(&unit, code).await;
    assert_eq!(status, 200, "{text}");
    let find = || {
        let spans = collector.spans();
        let script = spans.iter().find(|it| it.span.name == "script.run")?;
        let server = spans
            .iter()
            .find(|it| it.span.span_id == script.span.parent_span_id)?;
        let loopback = spans
            .iter()
            .find(|it| it.span.parent_span_id == script.span.span_id)?;
        Some((server.clone(), loopback.clone()))
    };
    wait_until("the spans of the script", async || find().is_some()).await;
    let (server, loopback) = find().unwrap();
    assert_eq!(server.span.name, "POST /{cell}/{box}/{path}");
    assert_eq!(loopback.text("http.route"), "/{cell}/{box}/{path}");
    let (status, _) = run(&unit, "throw new Error('private text');").await;
    assert_eq!(status, 500);
    let failed = async || {
        let spans = collector.spans();
        spans
            .iter()
            .any(|it| it.span.name == "script.run" && it.text("error.type") == "failed")
    };
    wait_until("the failed script", failed).await;
    for message in collector.received() {
        assert!(!String::from_utf8_lossy(&message.bytes).contains("private text"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn back_up_is_a_trace_of_its_own() {
    let collector = TraceCollector::start().await;
    let unit = StorageUnit::start(crate::unit());
    unit.create_cell("alice").await;
    let to = unit.folder().join("backups");
    let endpoint = format!("telemetry.traces.endpoint={}", collector.url());
    let output = Command::new(env!("CARGO_BIN_EXE_personium"))
        .args(["backup", "--without-keys", "-c", &endpoint, "--data"])
        .arg(unit.data())
        .arg("--to")
        .arg(&to)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let spans = collector.spans();
    let names: Vec<_> = spans.iter().map(|it| it.span.name.as_str()).collect();
    assert_eq!(names, ["backup.generation"]);
    assert_eq!(
        (spans[0].parent(), spans[0].has_failed()),
        (String::new(), false)
    );
}
