//! Scripts in worker processes.

use std::path::PathBuf;

use personium_testkit::{ProcessUnit, ProcessUnitBuilder, wait_until};

use crate::storage_unit::StorageUnit;

const PROPERTY: &str = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                        <p:service language='JavaScript'><p:path name='{name}' src='run.js'/></p:service>\
                        </D:prop></D:set></D:propertyupdate>";

/// Runs the body of the request.
const RUN: &str = "function (request) {
  var code = request.headers['x-code'];
  return new Function('request', code ? decodeURIComponent(code) : request.input.readAll())(request);
}";

/// Built-in functions whose work on an object with a huge length never looks at the time.
const NEVER_ENDING: &[&str] = &[
    "shift.call(HUGE)",
    "unshift.call({length: 2 ** 53 - 2}, 1)",
    "splice.call(HUGE, 0, 1)",
    "reverse.call(HUGE)",
    "copyWithin.call(HUGE, 1, 0)",
    "indexOf.call(HUGE, 1)",
    "lastIndexOf.call(HUGE, 1)",
    "includes.call(HUGE, 1)",
    "join.call(HUGE, '')",
    "sort.call(HUGE)",
    "flat.call(HUGE)",
    "concat.call([], SPREAD)",
    "indexOf.call(new Array(2 ** 32 - 1), 1)",
];

async fn unit_with(settings: &[(&str, &str)]) -> StorageUnit {
    let mut unit = crate::unit();
    let is_default = !settings.iter().any(|(name, _)| *name == "isolation");
    let default = is_default.then_some(&("isolation", "process"));
    for (name, value) in default.into_iter().chain(settings) {
        unit = unit.setting(&format!("io.personium.core.engine.script.{name}"), value);
    }
    start_with_script(unit).await
}

/// Starts a unit with a service whose script runs what it is sent.
pub async fn start_with_script(unit: ProcessUnitBuilder) -> StorageUnit {
    let unit = StorageUnit::start(unit);
    create_service(&unit).await;
    unit
}

/// Creates a service whose script runs what it is sent.
pub async fn create_service(unit: &ProcessUnit) {
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.create_collection("c/b/svc", "service").await;
    unit.admin()
        .call("PROPPATCH", "c/b/svc", PROPERTY)
        .await
        .expect(207);
    unit.put_file("c/b/svc/__src/run.js", RUN).await;
}

/// Runs a function whose body this is. Returns status and body of the response.
pub async fn run(unit: &StorageUnit, code: &str) -> (u16, String) {
    let request = unit.admin_request("POST", "c/b/svc/x").body(code);
    let response = request.send().await;
    (response.status.as_u16(), response.text())
}

async fn value(unit: &StorageUnit, expression: &str) -> String {
    let code = format!(
        "return {{status: 200, headers: {{'Content-Type': 'text/plain'}}, body: [String({expression})]}};"
    );
    let (status, text) = run(unit, &code).await;
    assert_eq!(status, 200, "{expression}: {text}");
    text
}

/// The folders of the worker processes of a unit in `/proc`.
fn workers(unit: &StorageUnit) -> Vec<PathBuf> {
    let parent = format!("PPid:\t{}\n", unit.process_id());
    let folders = std::fs::read_dir("/proc").unwrap();
    let folders = folders.map(|entry| entry.unwrap().path());
    folders
        .filter(|folder| {
            let text = |file| std::fs::read_to_string(folder.join(file)).unwrap_or_default();
            text("status").contains(&parent) && text("cmdline").contains("script-worker")
        })
        .collect()
}

/// The processor time that a process has used, in ticks of 10 ms.
fn ticks(process: &std::path::Path) -> u64 {
    let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let user = fields.split_whitespace().nth(11);
    user.and_then(|user| user.parse().ok()).unwrap_or_default()
}

fn kill(worker: &std::path::Path) {
    let id = worker.file_name().unwrap().to_str().unwrap();
    let killed = std::process::Command::new("kill").args(["-9", id]).status();
    assert!(killed.unwrap().success());
}

#[tokio::test]
async fn scripts_in_workers_do_what_they_do_on_threads() {
    let unit = unit_with(&[]).await;
    assert_eq!(value(&unit, "1 + 1").await, "2");
    // Requests to the unit, streams both ways, modules, tokens, random values, the local time.
    unit.put_file("c/b/file", &"x".repeat(1_000_000)).await;
    unit.put_file("c/b/svc/__src/part.js", "exports.n = 7;")
        .await;
    assert_eq!(value(&unit, "require('part').n").await, "7");
    let length = "_p.localbox().getString('file').length";
    assert_eq!(value(&unit, length).await, "1000000");
    let copied = "(_p.localbox().put({path: 'copy', contentType: 'text/plain', data: _p.localbox().getStream('file')}), \
                  _p.localbox().getString('copy').length)";
    assert_eq!(value(&unit, copied).await, "1000000");
    let piped = "return {status: 201, headers: {'X-A': 'b'}, body: ['<', _p.localbox().getStream('file'), '>']};";
    let response = unit
        .admin_request("POST", "c/b/svc/x")
        .body(piped)
        .send()
        .await;
    assert_eq!(
        (response.status.as_u16(), response.header("x-a")),
        (201, Some("b"))
    );
    assert_eq!(response.text(), format!("<{}>", "x".repeat(1_000_000)));
    let missing =
        "(() => { try { _p.localbox().getString('none'); } catch (e) { return e.code; } })()";
    assert_eq!(value(&unit, missing).await, "404");
    let refused = "(() => { try { new _p.extension.HttpClient().get('http://127.0.0.1:1/'); } catch (e) { return e.message; } })()";
    assert!(value(&unit, refused).await.contains("address"));
    // Input that is echoed as a stream, from a header that holds the code.
    let echo =
        "return%20%7Bstatus%3A200%2Cheaders%3A%7B%7D%2Cbody%3A%5Brequest.input.stream()%5D%7D";
    let body = "y".repeat(3_000_000);
    let request = unit
        .admin_request("POST", "c/b/svc/x")
        .header("x-code", echo);
    assert_eq!(request.body(body.clone()).send().await.text(), body);
    // Failures, and what is logged.
    let (status, text) = run(&unit, "console.warn('seen'); throw new Error('boom');").await;
    assert_eq!(
        (status, text.contains("Error: boom")),
        (500, true),
        "{text}"
    );
    let log = unit.admin_request("GET", "c/__log/current/default.log");
    let log = log.send().await.text();
    assert!(log.contains("\"seen\"") && log.contains("boom"), "{log}");
    // Nothing of a request is left for the next one, which usually the same worker runs.
    value(&unit, "globalThis.left = Array.prototype.left = 1").await;
    assert_eq!(
        value(&unit, "typeof left + typeof [].left").await,
        "undefinedundefined"
    );
    // A worker is free a moment after the end of its response, so that a request may have started another one.
    let running = workers(&unit).len();
    assert!((1..=2).contains(&running), "{running}");
    assert_eq!(
        unit.metric("personium_script_workers").await,
        u64::try_from(running).unwrap()
    );
    assert_eq!(unit.metric("personium_script_workers_lost_total").await, 0);
}

#[tokio::test]
async fn workers_have_no_files_no_network_and_none_of_the_environment() {
    let unit = unit_with(&[]).await;
    value(&unit, "1").await;
    let workers = workers(&unit);
    let text = |file: &str| std::fs::read_to_string(workers[0].join(file)).unwrap();
    let status = text("status");
    for line in ["Seccomp:\t2\n", "NoNewPrivs:\t1\n"] {
        assert!(status.contains(line), "{status}");
    }
    assert_eq!(text("environ"), "");
    let limits = text("limits");
    for name in ["Max file size", "Max core file size"] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(
            line.split_whitespace().filter(|word| *word == "0").count(),
            2,
            "{line}"
        );
    }
    // Its sockets to the unit, and nothing else but pipes that the unit has inherited from who started it.
    for entry in std::fs::read_dir(workers[0].join("fd")).unwrap() {
        let open = std::fs::read_link(entry.unwrap().path()).unwrap();
        let open = open.to_str().unwrap().to_owned();
        let is_known = ["socket:", "pipe:", "/dev/null"]
            .iter()
            .any(|known| open.starts_with(known));
        assert!(is_known, "{open}");
    }
}

#[tokio::test]
async fn killed_worker_fails_its_request_only() {
    let unit = unit_with(&[]).await;
    // An idle one that dies is not noticed.
    value(&unit, "1").await;
    kill(&workers(&unit)[0]);
    assert_eq!(value(&unit, "2").await, "2");
    let endless = unit.admin_request("POST", "c/b/svc/x").body("for (;;);");
    let endless = tokio::spawn(async move { endless.send().await });
    // One that is killed before its script has begun is replaced, and is not lost.
    wait_until("a script that computes", async || {
        workers(&unit).iter().any(|worker| ticks(worker) > 50)
    })
    .await;
    // The other worker of the pool was the killed one.
    wait_until("the end of the worker", async || {
        for worker in workers(&unit) {
            kill(&worker);
        }
        unit.metric("personium_scripts_running").await == 0
    })
    .await;
    let response = endless.await.unwrap();
    assert_eq!(response.status, 500);
    assert!(
        response.text().contains("PR500-SC-0001"),
        "{}",
        response.text()
    );
    assert_eq!(value(&unit, "3").await, "3");
    assert!(unit.metric("personium_script_workers_lost_total").await >= 1);
}

#[tokio::test]
async fn functions_that_never_look_at_the_time_are_killed() {
    let unit = unit_with(&[("connection.timeout", "300")]).await;
    for (number, call) in NEVER_ENDING.iter().enumerate() {
        let code = format!(
            "var HUGE = {{length: 2 ** 53 - 1}}, SPREAD = Object.assign({{[Symbol.isConcatSpreadable]: true}}, HUGE); \
             Array.prototype.{call};"
        );
        let (status, text) = run(&unit, &code).await;
        assert_eq!(status, 503, "{call}: {text}");
        assert_eq!(text, "Script TimeOut", "{call}");
        // The cell is not refused, and no processor stays busy.
        wait_until(&format!("the end of {call} ({number})"), async || {
            let (status, _) = run(&unit, "return {status: 200, headers: {}, body: []};").await;
            status == 200
        })
        .await;
    }
    assert_eq!(unit.metric("personium_scripts_stuck").await, 0);
    wait_until("no busy worker", async || {
        workers(&unit).iter().all(|worker| {
            let stat = std::fs::read_to_string(worker.join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.chars().next());
            state.flatten() != Some('R')
        })
    })
    .await;
}

#[tokio::test]
async fn workers_end_with_their_unit_also_while_a_script_runs() {
    let mut unit = unit_with(&[]).await;
    let endless = unit
        .admin_request("POST", "c/b/svc/x")
        .body("Array.prototype.shift.call({length: 2 ** 53 - 1});");
    let endless = tokio::spawn(async move { endless.try_send().await.is_ok() });
    wait_until("a worker", async || !workers(&unit).is_empty()).await;
    let running = workers(&unit);
    unit.kill();
    wait_until("the end of the workers", async || {
        running.iter().all(|worker| {
            let line = std::fs::read_to_string(worker.join("cmdline")).unwrap_or_default();
            !line.contains("script-worker")
        })
    })
    .await;
    assert!(!endless.await.unwrap());
}

#[tokio::test]
async fn memory_bomb_in_a_worker_is_an_error_and_many_scripts_run_at_once() {
    let unit = unit_with(&[("memory.maxBytes", "16777216")]).await;
    let (status, text) = run(
        &unit,
        "var all = []; for (;;) all.push(new Array(1000).fill(0));",
    )
    .await;
    assert_eq!(status, 500, "{text}");
    let scripts = (0..20).map(|number| {
        let code = format!("return {{status: 200, headers: {{}}, body: ['{number}']}};");
        let request = unit.admin_request("POST", "c/b/svc/x").body(code);
        async move { request.send().await.text() }
    });
    let texts = futures_util::future::join_all(scripts).await;
    let expected: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn script_that_never_ends_on_a_thread_is_counted_and_its_cell_begins_no_other() {
    let unit = unit_with(&[("isolation", "thread"), ("connection.timeout", "300")]).await;
    let (status, text) = run(&unit, "Array.prototype.shift.call({length: 2 ** 53 - 1});").await;
    assert_eq!((status, text.as_str()), (503, "Script TimeOut"));
    assert_eq!(unit.metric("personium_scripts_stuck").await, 1);
    let (status, text) = run(&unit, "return {status: 200, headers: {}, body: []};").await;
    assert_eq!(status, 503);
    assert!(text.contains("PR503-SV-0002"), "{text}");
    assert!(
        unit.log()
            .contains("a script does not end although its time is over")
    );
}

/// The server reads the rest of a short body after its response, in a task of its own.
#[tokio::test]
async fn request_whose_body_is_not_read_is_answered() {
    for isolation in ["thread", "process"] {
        let settings = [("isolation", isolation), ("connection.timeout", "20000")];
        let unit = unit_with(&settings).await;
        let code = "return {status: 200, headers: {}, body: ['unread']};";
        for body in ["a=b".to_owned(), "x".repeat(1 << 20)] {
            let request = unit.admin_request("POST", "c/b/svc/x");
            let request = request.header("x-code", &code.replace(' ', "%20"));
            let response = request.body(body).send().await;
            assert_eq!(response.status, 200, "{isolation}: {}", response.text());
            assert_eq!(response.text(), "unread");
        }
        // The connection goes on.
        assert_eq!(value(&unit, "1 + 1").await, "2");
    }
}
