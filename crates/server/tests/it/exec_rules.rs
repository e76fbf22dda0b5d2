//! Rules that run scripts, through a crash of the unit.

use personium_testkit::wait_until;
use serde_json::json;

const EVENTS: usize = 30;

/// It takes its time, so that some events still wait when the unit is killed.
const SCRIPT: &str = "function(request) {
  var end = Date.now() + 15;
  while (Date.now() < end);
  console.log('ran for ' + JSON.parse(request.input.readAll()).Info);
  return {status: 200, headers: {}, body: []};
}";

const PROPERTY: &str = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                        <p:service language='JavaScript'><p:path name='x' src='x.js'/></p:service>\
                        </D:prop></D:set></D:propertyupdate>";

#[tokio::test]
async fn each_event_runs_its_script_also_after_a_kill_and_at_most_one_twice() {
    let mut unit = crate::unit().start();
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.create_collection("c/b/svc", "service").await;
    unit.admin()
        .call("PROPPATCH", "c/b/svc", PROPERTY)
        .await
        .expect(207);
    unit.put_file("c/b/svc/__src/x.js", SCRIPT).await;
    unit.grant_to_everybody("c/b/svc", &["p:exec"]).await;
    let rule = json!({
        "Name": "r", "EventExternal": true, "Action": "exec",
        "TargetUrl": "personium-localcell:/b/svc/x",
    });
    unit.create("c/__ctl/Rule", &rule.to_string()).await;
    for number in 0..EVENTS {
        let event = json!({"Type": "t", "Info": format!("event {number}")});
        unit.post("c/__event", &event.to_string()).await.expect(200);
    }
    unit.kill();
    unit.restart();
    let log = async || {
        let path = "c/__log/current/default.log";
        unit.admin_request("GET", path).send().await.text()
    };
    wait_until("the outcomes of all events", async || {
        log().await.matches("\"exec\",").count() == EVENTS
    })
    .await;
    let log = log().await;
    let runs = |number: usize| log.matches(&format!("\"ran for event {number}\"")).count();
    let runs: Vec<_> = (0..EVENTS).map(runs).collect();
    assert!(runs.iter().all(|count| (1..=2).contains(count)), "{runs:?}");
    // Only the request in flight is sent again.
    assert!(runs.iter().sum::<usize>() <= EVENTS + 1, "{runs:?}");
    let outcomes = log.lines().filter(|line| line.contains("\"exec\","));
    for outcome in outcomes {
        assert!(outcome.ends_with("/c/b/svc/x\",\"200\""), "{outcome}");
    }
}
