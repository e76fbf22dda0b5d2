//! Requests to asynchronous paths of services: their jobs and progress documents.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_model::cell_usage;
use personium_store::Direction;
use personium_testkit::{PASSWORD, TestClient, TestUnit, UNIT_URL, cell_url, refused, wait_until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::{put, register, unit_with};

const PATH: &str = "c/b/svc/t";
const HELLO: &str = "function(r) { return {status: 200, headers: {}, body: ['hello']}; }";

/// A task that is aborted when this is dropped.
struct Runner(JoinHandle<()>);

impl Drop for Runner {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs the jobs of a unit.
fn run_jobs(unit: &TestUnit) -> Runner {
    let service = unit.service.clone();
    Runner(tokio::spawn(async move { service.run_jobs().await }))
}

/// A unit whose path `t` is asynchronous, with this script.
async fn unit(change: impl FnOnce(&mut personium_model::Settings), source: &str) -> TestUnit {
    let unit = unit_with(|settings| {
        settings.allow_private_networks = true;
        change(settings);
    })
    .await;
    register(&unit, "", &[("t", "t.js' async='true")]).await;
    put(&unit, "t.js", source).await;
    unit
}

/// A server whose requests are answered when the test wants it, and a script that waits for it.
async fn gate() -> (TcpListener, String) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let script = format!(
        "function (r) {{ new _p.extension.HttpClient().get('{url}', {{}}); return {{status: 200, headers: {{}}, body: ['done']}}; }}"
    );
    (server, script)
}

async fn open(mut waiting: TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        waiting.read_buf(&mut request).await.unwrap();
    }
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    waiting.write_all(answer).await.unwrap();
}

/// Starts a job. Returns the path of its document.
async fn start(client: &TestClient) -> String {
    let accepted = client.request("POST", PATH).body("{}").send().await;
    let accepted = accepted.expect(202);
    assert_eq!(accepted.json(), json!({"status": "queued"}));
    let url = accepted.header("location").unwrap();
    url.strip_prefix(UNIT_URL).unwrap().to_owned()
}

async fn document(client: &TestClient, path: &str) -> Value {
    client.request("GET", path).send().await.expect(200).json()
}

/// The document once the job has this status.
async fn document_with(client: &TestClient, path: &str, status: &str) -> Value {
    wait_until(status, async || {
        let document = document(client, path).await;
        assert!(
            document["ended_at"].is_null() || document["status"] == status,
            "{document}"
        );
        document["status"] == status
    })
    .await;
    document(client, path).await
}

/// Checks that the counter of the bytes of jobs says what there is, and returns it.
async fn counted_bytes(unit: &TestUnit) -> i64 {
    let cell = unit.cell_id().await;
    let counted = cell_usage::count(&*unit.records, &cell).await.unwrap();
    assert_eq!(counted.content.jobs, counted.counters.jobs);
    counted.content.jobs
}

/// The number of jobs that the cell counts as unfinished.
async fn unfinished(unit: &TestUnit) -> i64 {
    let cell = unit.cell_id().await;
    let counter = personium_model::keys::unfinished_jobs();
    unit.model
        .cell_records(&cell)
        .counter(&counter)
        .await
        .unwrap()
}

#[tokio::test]
async fn job_has_the_request_and_its_document_the_response() {
    let source = "function(r) { return {status: 201, headers: {'Content-Type': 'application/json', 'X-Own': 'a'}, \
         body: [JSON.stringify([r.method, r.queryString, r.input.readAll('utf-8'), r.headers['x-sent'], \
         r.headers['x-personium-requestkey']])]}; }";
    let unit = unit(|_| {}, source).await;
    let request = unit
        .admin_request("PUT", &format!("{PATH}?a=%20b"))
        .body("é");
    let request = request.header("x-sent", "1");
    let request = request.header("x-personium-requestkey", "my-key");
    let accepted = request.send().await.expect(202);
    let url = accepted.header("location").unwrap().to_owned();
    assert!(
        url.starts_with(&format!("{}b/svc/__jobs/", cell_url("c"))),
        "{url}"
    );
    let path = url.strip_prefix(UNIT_URL).unwrap();
    let admin = unit.admin();
    let waits = document(&admin, path).await;
    assert_eq!(waits["status"], "queued");
    assert!(waits["accepted_at"].is_string() && waits["started_at"].is_null());
    assert!(counted_bytes(&unit).await > 0);
    assert_eq!(unfinished(&unit).await, 1);
    let _runner = run_jobs(&unit);
    let ended = document_with(&admin, path, "completed").await;
    for time in ["accepted_at", "started_at", "ended_at", "expires_at"] {
        assert!(
            ended[time].as_str().is_some_and(|at| at.ends_with('Z')),
            "{ended}"
        );
    }
    let response = &ended["response"];
    assert_eq!(response["status"], 201);
    let headers = json!({"content-type": "application/json", "x-own": "a"});
    assert_eq!(response["headers"], headers);
    assert_eq!(response["encoding"], "text");
    let body: Value = serde_json::from_str(response["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, json!(["PUT", "a=%20b", "é", "1", "my-key"]));
    assert_eq!(unfinished(&unit).await, 0);
    counted_bytes(&unit).await;
    // The request, with the token of the caller, is kept no longer.
    assert_eq!(unit.record_keys(b"j").await.len(), 2);
    let kept = unit.admin_request("GET", path).send().await;
    assert_eq!(kept.header("cache-control"), Some("no-store"));
    // The property shows the attribute.
    let shown = unit
        .admin_request("PROPFIND", "c/b/svc")
        .header("depth", "0")
        .send()
        .await;
    assert!(shown.text().contains("async=\"true\""), "{}", shown.text());
}

#[tokio::test]
async fn failures_and_responses_of_all_kinds_are_in_the_document() {
    let unit = unit(
        |settings| {
            settings.scripts.jobs.request_max_bytes = 100;
            settings.scripts.jobs.response_max_bytes = 1_000;
        },
        HELLO,
    )
    .await;
    let _runner = run_jobs(&unit);
    let admin = unit.admin();
    let too_large = unit
        .admin_request("POST", PATH)
        .body("x".repeat(101).as_str());
    too_large.send().await.expect_error(413, "MC-0001");
    for (source, code, says) in [
        (
            "function(r) { throw new Error('no <way>'); }",
            "PR500-SC-0002",
            "no <way>",
        ),
        (
            "function(r) { return {status: 200, headers: {}, body: ['x'.repeat(1001)]}; }",
            "PR500-SC-0004",
            "1000",
        ),
        (
            "function(r) { var b = []; for (var i = 0; i < 90; i++) b.push('x'.repeat(1024)); return {status: 200, headers: {}, body: b}; }",
            "PR500-SC-0004",
            "1000",
        ),
        ("function(r) {", "PR500-SC-0002", "Unexpected end of file"),
    ] {
        put(&unit, "t.js", source).await;
        let path = start(&admin).await;
        let ended = document_with(&admin, &path, "failed").await;
        assert_eq!(ended["message"]["code"], code, "{ended}");
        let text = ended["message"]["message"]["value"].as_str().unwrap();
        assert!(text.contains(says), "{text}");
        assert!(ended["response"].is_null());
    }
    let binary = "function(r) { return {status: 200, headers: {'Content-Type': 'application/octet-stream'}, \
         body: [r.input.stream()]}; }";
    put(&unit, "t.js", binary).await;
    let accepted = unit
        .admin_request("POST", PATH)
        .body(vec![0xFF_u8, 0])
        .send()
        .await
        .expect(202);
    let path = accepted
        .header("location")
        .unwrap()
        .strip_prefix(UNIT_URL)
        .unwrap();
    let ended = document_with(&admin, path, "completed").await;
    assert_eq!(ended["response"]["body"], "/wA=");
    assert_eq!(ended["response"]["encoding"], "base64");
    // What is wrong with the service is found when the job begins.
    unit.admin_request("DELETE", "c/b/svc/__src/t.js")
        .send()
        .await
        .expect(204);
    let path = start(&admin).await;
    let ended = document_with(&admin, &path, "failed").await;
    assert_eq!(ended["message"]["code"], "PR500-SC-0005", "{ended}");
    counted_bytes(&unit).await;
}

#[tokio::test]
async fn jobs_are_limited_by_the_quota_of_the_cell() {
    let source = "function(r) { return {status: 200, headers: {}, body: ['x'.repeat(60000)]}; }";
    let unit = unit(
        |settings| settings.quotas.cell_max_bytes = Some(50_000),
        source,
    )
    .await;
    let _runner = run_jobs(&unit);
    let admin = unit.admin();
    let body = "x".repeat(60_000);
    let refusal = admin.request("POST", PATH).body(body.as_str()).send().await;
    refusal.expect_error(507, "SV-0002");
    wait_until("no claim is left of it", async || {
        let claims = personium_model::keys::job_claims();
        unit.model.records().is_empty(&claims.range).await.unwrap()
    })
    .await;
    let path = start(&admin).await;
    let ended = document_with(&admin, &path, "failed").await;
    assert_eq!(ended["message"]["code"], "PR507-SV-0002", "{ended}");
    let shown = unit.admin_request("GET", "__quota?cell=c").send().await;
    assert!(shown.text().contains("\"jobBytes\":"), "{}", shown.text());
    counted_bytes(&unit).await;
}

#[tokio::test]
async fn script_that_takes_too_long_ends_by_the_limit_of_jobs() {
    let unit = unit(
        |settings| {
            // The clock of the test ticks when it is read.
            settings.scripts.limits.timeout = std::time::Duration::from_secs(3_600);
            settings.scripts.jobs.timeout = std::time::Duration::from_millis(300);
        },
        "function(r) { while (true) {} }",
    )
    .await;
    let _runner = run_jobs(&unit);
    let admin = unit.admin();
    let path = start(&admin).await;
    let ended = document_with(&admin, &path, "failed").await;
    assert_eq!(ended["message"]["code"], "PR503-SC-0001", "{ended}");
}

#[tokio::test]
async fn document_is_for_who_started_the_job_and_may_execute_the_service() {
    let unit = unit(|_| {}, HELLO).await;
    for (cell, account) in [("c", "me"), ("c", "you")] {
        unit.create_account(cell, &format!(r#"{{"Name":"{account}"}}"#))
            .await;
    }
    unit.create_cell("d").await;
    unit.create_account("d", r#"{"Name":"me"}"#).await;
    unit.grant_to_everybody("c/b/svc", &["p:exec"]).await;
    let me = unit.with_token(&unit.access_token("c").await);
    let path = start(&me).await;
    let you = unit.login_as("c", "you", &[]).await;
    let you = unit.with_token(you["access_token"].as_str().unwrap());
    let visitor = unit.with_token(&unit.trans_cell_token("d", "c").await);
    let another_job = format!("c/b/svc/__jobs/{}", "0".repeat(32));
    for method in ["GET", "DELETE"] {
        for (other, who) in [
            (&you, "account"),
            (&visitor, "visitor"),
            (&unit.admin(), "administrator"),
        ] {
            let outcome = other.request(method, &path).send().await.outcome();
            assert_eq!(outcome, refused(404, "MC-0001"), "{method} {who}");
        }
        let outcome = unit.request(method, &path).send().await.outcome();
        assert_eq!(outcome, refused(404, "MC-0001"), "{method} anonymous");
        let outcome = me.request(method, &another_job).send().await.outcome();
        assert_eq!(outcome, refused(404, "MC-0001"), "{method} another job");
    }
    me.request("PUT", &path).body("x").send().await.expect(405);
    // A new token of the same account is the same identity.
    let again = unit.with_token(&unit.access_token("c").await);
    assert_eq!(document(&again, &path).await["status"], "queued");
    // Whoever may not execute the service any more does not see what it answered.
    unit.set_acl("c/b/svc", "").await;
    for method in ["GET", "DELETE"] {
        let outcome = me.request(method, &path).send().await.outcome();
        assert_eq!(outcome, refused(403, "AU-0002"), "{method}");
        let outcome = unit.request(method, &path).send().await.outcome();
        assert_eq!(outcome, refused(401, "AU-0001"), "{method}");
    }
    // Nor does the job run: its caller has no right any more.
    let _runner = run_jobs(&unit);
    wait_until("the job has ended", async || unfinished(&unit).await == 0).await;
    unit.grant_to_everybody("c/b/svc", &["p:exec"]).await;
    let ended = document(&me, &path).await;
    assert_eq!(ended["message"]["code"], "PR500-SC-0005", "{ended}");
    assert!(
        ended["message"]["message"]["value"]
            .as_str()
            .unwrap()
            .contains("403")
    );
    // The id is all that distinguishes the jobs of those without credentials.
    let accepted = unit
        .request("POST", PATH)
        .body("{}")
        .send()
        .await
        .expect(202);
    let path = accepted
        .header("location")
        .unwrap()
        .strip_prefix(UNIT_URL)
        .unwrap()
        .to_owned();
    wait_until("the job has ended", async || unfinished(&unit).await == 0).await;
    assert_eq!(
        unit.request("GET", &path).send().await.json()["status"],
        "completed"
    );
    assert_eq!(me.request("GET", &path).send().await.status, 404);
    // A visitor has it too.
    let path = start(&visitor).await;
    document_with(&visitor, &path, "completed").await;
    assert_eq!(me.request("GET", &path).send().await.status, 404);
}

#[tokio::test]
async fn job_whose_token_has_expired_before_its_begin_does_not_run() {
    for is_for_everybody in [false, true] {
        let unit = unit(|_| {}, HELLO).await;
        unit.create_account("c", r#"{"Name":"me"}"#).await;
        unit.create_role("c", "runner").await;
        unit.link("c", "Account('me')", "_Role", "Role('runner')")
            .await;
        match is_for_everybody {
            // Nobody may execute it too: a job is not run as nobody instead.
            true => unit.grant_to_everybody("c/b/svc", &["p:exec"]).await,
            false => unit.grant_to_role("c/b/svc", "runner", &["p:exec"]).await,
        }
        let me = unit.with_token(&unit.access_token("c").await);
        let path = start(&me).await;
        unit.advance_clock(4 * 3_600_000);
        let _runner = run_jobs(&unit);
        let again = unit.with_token(&unit.access_token("c").await);
        let ended = document_with(&again, &path, "failed").await;
        let text = ended["message"]["message"]["value"].as_str().unwrap();
        assert!(text.contains("401"), "{ended}");
        assert_eq!(unit.service.scripts_started(), 0);
    }
}

#[tokio::test]
async fn requests_of_every_method_become_no_jobs_while_the_unit_is_only_read() {
    let unit = unit(|_| {}, HELLO).await;
    let admin = unit.admin();
    let mode = admin.request("PUT", "__maintenance");
    let mode = mode.body(r#"{"mode":"readDelete"}"#).send().await;
    assert!(mode.status.is_success(), "{}", mode.text());
    for method in ["GET", "POST", "DELETE"] {
        let refused_one = admin.request(method, "c/b/svc/t").send().await;
        assert_eq!(refused_one.outcome(), refused(503, "SV-0005"), "{method}");
    }
    assert_eq!(unfinished(&unit).await, 0);
}

#[tokio::test]
async fn jobs_of_a_cell_are_limited_and_wait_for_their_turn() {
    let (server, script) = gate().await;
    let unit = unit(
        |settings| {
            settings.scripts.jobs.waiting_of_cell_max = 3;
            settings.scripts.jobs.running_of_cell_max = 2;
        },
        &script,
    )
    .await;
    let _runner = run_jobs(&unit);
    let admin = unit.admin();
    let mut paths = Vec::new();
    for _ in 0..3 {
        paths.push(start(&admin).await);
    }
    let refusal = admin.request("POST", PATH).send().await;
    refusal.expect_error(429, "SC-0001");
    let first = server.accept().await.unwrap().0;
    let second = server.accept().await.unwrap().0;
    assert_eq!(unit.service.job_counts(), (2, 1));
    assert_eq!(document(&admin, &paths[2]).await["status"], "queued");
    assert_eq!(document(&admin, &paths[0]).await["status"], "in progress");
    open(first).await;
    let third = server.accept().await.unwrap().0;
    for waiting in [second, third] {
        open(waiting).await;
    }
    for path in &paths {
        let ended = document_with(&admin, path, "completed").await;
        assert_eq!(ended["response"]["body"], "done");
    }
    start(&admin).await;
}

#[tokio::test]
async fn cancelled_job_stops_and_is_gone_on_every_node() {
    let (server, script) = gate().await;
    let unit = unit(|_| {}, &script).await;
    let admin = unit.admin();
    let runner = run_jobs(&unit);
    let paths = [start(&admin).await, start(&admin).await];
    let waiting = [
        server.accept().await.unwrap().0,
        server.accept().await.unwrap().0,
    ];
    // One through the node that runs it, one through another.
    let other = unit.another_node().admin();
    assert_eq!(document(&other, &paths[1]).await["status"], "in progress");
    for (client, path) in [&admin, &other].into_iter().zip(&paths) {
        client.request("DELETE", path).send().await.expect(204);
        client.request("GET", path).send().await.expect(404);
    }
    wait_until("they are stopped", async || {
        unit.service.job_counts() == (0, 0)
    })
    .await;
    wait_until("their scripts are stopped", async || {
        unit.service.script_metrics().running == 0
    })
    .await;
    drop(waiting);
    assert_eq!(unfinished(&unit).await, 0);
    assert_eq!(counted_bytes(&unit).await, 0);
    wait_until("their claims are removed", async || {
        let claims = personium_model::keys::job_claims();
        unit.model.records().is_empty(&claims.range).await.unwrap()
    })
    .await;
    drop(runner);
}

#[tokio::test]
async fn jobs_that_wait_run_after_a_restart_and_those_that_ran_have_failed() {
    let (server, script) = gate().await;
    let unit = unit(|settings| settings.scripts.jobs.running_max = 1, &script).await;
    let admin = unit.admin();
    let runner = run_jobs(&unit);
    let paths = [start(&admin).await, start(&admin).await];
    let interrupted = server.accept().await.unwrap().0;
    assert_eq!(document(&admin, &paths[1]).await["status"], "queued");
    drop(runner);
    let unit = unit.restart();
    let admin = unit.admin();
    assert_eq!(document(&admin, &paths[0]).await["status"], "in progress");
    let _runner = run_jobs(&unit);
    let ended = document_with(&admin, &paths[0], "failed").await;
    assert_eq!(ended["message"]["code"], "PR500-SC-0003", "{ended}");
    open(server.accept().await.unwrap().0).await;
    document_with(&admin, &paths[1], "completed").await;
    drop(interrupted);
    assert_eq!(unfinished(&unit).await, 0);
    counted_bytes(&unit).await;
}

#[tokio::test]
async fn job_that_waits_for_a_mode_is_queued_and_runs_after_a_restart() {
    let unit = unit(|_| {}, HELLO).await;
    let admin = unit.admin();
    let path = start(&admin).await;
    let mode = admin.request("PUT", "__maintenance");
    let mode = mode.body(r#"{"mode":"readDelete"}"#).send().await;
    assert!(mode.status.is_success(), "{}", mode.text());
    let runner = run_jobs(&unit);
    wait_until("an attempt to run it", async || {
        unit.service.job_counts() == (1, 0)
    })
    .await;
    let waiting = document(&admin, &path).await;
    assert_eq!(waiting["status"], "queued", "{waiting}");
    drop(runner);
    let unit = unit.restart();
    let admin = unit.admin();
    let _runner = run_jobs(&unit);
    wait_until("an attempt to run it", async || {
        unit.service.job_counts() == (1, 0)
    })
    .await;
    assert_eq!(document(&admin, &path).await["status"], "queued");
    let mode = admin.request("DELETE", "__maintenance").send().await;
    assert!(mode.status.is_success(), "{}", mode.text());
    let ended = document_with(&admin, &path, "completed").await;
    assert!(ended["started_at"].is_string(), "{ended}");
    assert_eq!(unit.service.scripts_started(), 1);
}

#[tokio::test]
async fn job_of_an_account_that_is_limited_to_addresses_has_that_of_its_request() {
    let unit = unit(|_| {}, HELLO).await;
    unit.create_account("c", r#"{"Name":"near","IPAddressRange":"10.0.0.0/24"}"#)
        .await;
    unit.create_role("c", "runner").await;
    unit.link("c", "Account('near')", "_Role", "Role('runner')")
        .await;
    unit.grant_to_role("c/b/svc", "runner", &["p:exec"]).await;
    let pair = STANDARD.encode(format!("near:{PASSWORD}"));
    let basic = format!("Basic {pair}");
    let send = async |method: &str, path: &str, address: &str| {
        let request = unit.request(method, path).header("authorization", &basic);
        request.header("x-forwarded-for", address).send().await
    };
    let refusal = send("POST", PATH, "10.0.1.1").await;
    assert_eq!(refusal.status, 401, "{}", refusal.text());
    let accepted = send("POST", PATH, "10.0.0.7").await.expect(202);
    let url = accepted.header("location").unwrap();
    let path = url.strip_prefix(UNIT_URL).unwrap();
    let _runner = run_jobs(&unit);
    wait_until("the end of the job", async || {
        let found = send("GET", path, "10.0.0.8").await.expect(200).json();
        assert_ne!(found["status"], "failed", "{found}");
        found["status"] == "completed"
    })
    .await;
}

#[tokio::test]
async fn jobs_that_ended_first_are_removed_when_too_many_are_kept() {
    let unit = unit(|settings| settings.scripts.jobs.kept_of_cell_max = 3, HELLO).await;
    let admin = unit.admin();
    let _runner = run_jobs(&unit);
    let mut paths = Vec::new();
    for _ in 0..5 {
        let path = start(&admin).await;
        document_with(&admin, &path, "completed").await;
        paths.push(path);
        unit.advance_clock(1_000);
    }
    wait_until("the removal of the first two", async || {
        let mut statuses = Vec::new();
        for path in &paths {
            let found = admin.request("GET", path).send().await;
            statuses.push(found.status.as_u16());
        }
        statuses == [404, 404, 200, 200, 200]
    })
    .await;
    counted_bytes(&unit).await;
    let expired = personium_model::keys::expired_jobs(i64::MAX - 1);
    wait_until("their entries are removed", async || {
        let records = unit.model.records();
        let found = records.list_keys(&expired, Direction::Up, 10).await;
        found.unwrap().len() == 3
    })
    .await;
}

#[tokio::test]
async fn documents_are_removed_after_a_time() {
    let unit = unit(|_| {}, HELLO).await;
    let admin = unit.admin();
    let runner = run_jobs(&unit);
    let path = start(&admin).await;
    document_with(&admin, &path, "completed").await;
    let expired = personium_model::keys::expired_jobs(i64::MAX - 1);
    let entries = async || {
        let found = unit
            .model
            .records()
            .list_keys(&expired, Direction::Up, 10)
            .await;
        found.unwrap().len()
    };
    wait_until("it is in the index", async || entries().await == 1).await;
    drop(runner);
    unit.advance_clock(86_400_000 - 60_000);
    let remove = async || {
        personium_model::service_job::remove_expired(&unit.model)
            .await
            .unwrap()
    };
    remove().await;
    assert_eq!(document(&admin, &path).await["status"], "completed");
    unit.advance_clock(120_000);
    remove().await;
    admin.request("GET", &path).send().await.expect(404);
    assert_eq!((entries().await, counted_bytes(&unit).await), (0, 0));
}

#[tokio::test]
async fn jobs_go_with_their_service_and_with_their_cell() {
    let (server, script) = gate().await;
    let unit = unit(|settings| settings.scripts.jobs.running_max = 1, &script).await;
    let admin = unit.admin();
    let _runner = run_jobs(&unit);
    let path = start(&admin).await;
    start(&admin).await;
    let waiting = server.accept().await.unwrap().0;
    let removed = admin
        .request("DELETE", "c/b/svc")
        .header("x-personium-recursive", "true");
    removed.send().await.expect(204);
    wait_until("their records are removed", async || {
        unit.record_keys(b"j").await.is_empty()
    })
    .await;
    wait_until("they are stopped", async || {
        unit.service.job_counts() == (0, 0)
    })
    .await;
    assert_eq!(
        (unfinished(&unit).await, counted_bytes(&unit).await),
        (0, 0)
    );
    drop(waiting);
    unit.create_collection("c/b/svc", "service").await;
    register(&unit, "", &[("t", "t.js' async='true")]).await;
    put(&unit, "t.js", &script).await;
    admin.request("GET", &path).send().await.expect(404);
    start(&admin).await;
    let waiting = server.accept().await.unwrap().0;
    let removed = admin
        .request("DELETE", "c")
        .header("x-personium-recursive", "true");
    removed.send().await.expect(204);
    wait_until("it is stopped", async || {
        unit.service.job_counts() == (0, 0)
    })
    .await;
    wait_until("its claim is removed", async || {
        let claims = personium_model::keys::job_claims();
        unit.model.records().is_empty(&claims.range).await.unwrap()
    })
    .await;
    drop(waiting);
}

#[tokio::test]
async fn job_that_starts_jobs_is_limited_by_the_depth_of_scripts() {
    let again = "function(r) { var n = Number(r.queryString || 0) + 1; \
         var a = new _p.extension.HttpClient().get(r.env.requestUri.split('?')[0] + '?' + n, {'Authorization': r.headers.authorization}); \
         return {status: 200, headers: {}, body: [String(a.status)]}; }";
    let unit = unit(|settings| settings.scripts.depth_max = 3, again).await;
    let _runner = run_jobs(&unit);
    let admin = unit.admin();
    let path = start(&admin).await;
    document_with(&admin, &path, "completed").await;
    wait_until("the last one has ended", async || {
        unfinished(&unit).await == 0
    })
    .await;
    assert_eq!(unit.service.job_counts(), (0, 0));
    let states = unit.record_keys(b"j").await;
    let jobs = states
        .iter()
        .filter(|key| personium_model::keys::is_state_of_job(key));
    assert_eq!(
        jobs.count(),
        4,
        "the one of the client, and three that are nested"
    );
}
