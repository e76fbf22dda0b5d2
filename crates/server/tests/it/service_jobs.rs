//! Jobs of services, through the end of the unit.

use personium_testkit::{TestClient, wait_until};
use serde_json::Value;

use crate::storage_unit::StorageUnit;

/// The first word of the body says what to do.
pub const SCRIPT: &str = "function(request) {
  var body = request.input.readAll('utf-8').split(' ');
  console.log('ran for ' + body.join(' '));
  var end = Date.now() + Number(body[1]);
  while (Date.now() < end);
  return {status: 200, headers: {}, body: [body[0]]};
}";

const PROPERTY: &str = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                        <p:service language='JavaScript'><p:path name='x' src='x.js' async='true'/></p:service>\
                        </D:prop></D:set></D:propertyupdate>";

/// Longer than a test.
pub const LONG: &str = "3000000";

/// Makes the service `c/box/svc`.
pub async fn create_service(client: &TestClient) {
    client.create_collection("c/box/svc", "service").await;
    let changed = client
        .admin()
        .call("PROPPATCH", "c/box/svc", PROPERTY)
        .await;
    changed.expect(207);
    client.put_file("c/box/svc/__src/x.js", SCRIPT).await;
}

/// Starts a job. Returns the path of its document.
pub async fn start(client: &TestClient, name: &str, milliseconds: &str) -> String {
    let request = client.admin_request("POST", "c/box/svc/x");
    let accepted = request.body(format!("{name} {milliseconds}")).send().await;
    let accepted = accepted.expect(202);
    let url = accepted.header("location").unwrap();
    let at = url.find("/c/box/svc/__jobs/").unwrap();
    url[at + 1..].to_owned()
}

pub async fn document(client: &TestClient, path: &str) -> Value {
    client
        .admin_request("GET", path)
        .send()
        .await
        .expect(200)
        .json()
}

/// The document once the job has this status.
pub async fn document_with(client: &TestClient, path: &str, status: &str) -> Value {
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

async fn unit_with(settings: &[(&str, &str)]) -> StorageUnit {
    let unit = settings.iter().fold(crate::unit(), |unit, (key, value)| {
        unit.setting(&format!("io.personium.core.{key}"), value)
    });
    let unit = StorageUnit::start(unit);
    unit.create_cell("c").await;
    unit.create_box("c", "box").await;
    create_service(&unit).await;
    unit
}

#[tokio::test]
async fn accepted_jobs_run_after_a_kill_and_the_interrupted_one_has_failed() {
    let mut unit = unit_with(&[("engine.script.job.running.maxNumOfCell", "1")]).await;
    let held = start(&unit, "held", LONG).await;
    document_with(&unit, &held, "in progress").await;
    let mut waiting = Vec::new();
    for name in ["a", "b", "c"] {
        waiting.push(start(&unit, name, "0").await);
    }
    unit.kill();
    unit.restart();
    let failed = document_with(&unit, &held, "failed").await;
    assert_eq!(failed["message"]["code"], "PR500-SC-0003", "{failed}");
    for (path, name) in waiting.iter().zip(["a", "b", "c"]) {
        let ended = document_with(&unit, path, "completed").await;
        assert_eq!(ended["response"]["body"], name);
    }
    let log = unit.admin_request("GET", "c/__log/current/default.log");
    let log = log.send().await.text();
    for name in ["a 0", "b 0", "c 0"] {
        let runs = log.matches(&format!("\"ran for {name}\"")).count();
        assert_eq!(runs, 1, "{name}: {log}");
    }
    // The number of those that wait or run is right: one more than the limit would be refused.
    start(&unit, "d", "0").await;
}

#[tokio::test]
async fn job_that_runs_ends_before_the_unit_stops() {
    let mut unit = unit_with(&[]).await;
    let path = start(&unit, "short", "5000").await;
    document_with(&unit, &path, "in progress").await;
    unit.terminate();
    assert!(unit.wait());
    unit.restart();
    let ended = document(&unit, &path).await;
    assert_eq!(ended["response"]["body"], "short", "{ended}");
}

#[tokio::test]
async fn job_in_a_worker_process_has_its_own_limit_and_can_be_cancelled() {
    let unit = unit_with(&[
        ("engine.script.isolation", "process"),
        ("engine.script.connection.timeout", "400"),
    ])
    .await;
    let path = start(&unit, "longer", "1000").await;
    let ended = document_with(&unit, &path, "completed").await;
    assert_eq!(ended["response"]["body"], "longer");
    let path = start(&unit, "held", LONG).await;
    document_with(&unit, &path, "in progress").await;
    unit.admin_request("DELETE", &path).send().await.expect(204);
    unit.admin_request("GET", &path).send().await.expect(404);
    wait_until("the worker is killed", async || {
        unit.metric("personium_script_workers_lost_total").await == 1
            && unit.metric("personium_jobs_running").await == 0
            && unit.metric("personium_scripts_running").await == 0
    })
    .await;
}
