//! Imports during which something else happens: the process ends, time passes, the cell is deleted or used.

use personium_model::event::timer;
use personium_store::RecordStore;
use personium_testkit::{TestUnit, wait_until};
use serde_json::{Value, json};

use super::{export, state_of};

const MINUTE_MS: i64 = 60_000;

/// A unit whose cell `c` has the snapshot `s`, in which the role `early` is, and since then the role `late`.
async fn unit_with_snapshot() -> TestUnit {
    let unit = TestUnit::new().await;
    unit.create_role("c", "early").await;
    let rule =
        json!({"Name": "t", "EventType": "timer.periodic", "EventObject": "1", "Action": "log"});
    unit.create("c/__ctl/Rule", &rule.to_string()).await;
    unit.put_file("c/b/file", "x").await;
    export(&unit, "s").await;
    let rule = "c/__ctl/Rule(Name='t',_Box.Name=null)";
    unit.admin_request("DELETE", rule).send().await.expect(204);
    unit.create_role("c", "late").await;
    unit
}

/// Begins an import and waits for its end, whatever that is.
async fn import(unit: &TestUnit) {
    let post = unit.admin().post("c/__import", r#"{"Name":"s"}"#).await;
    if post.status != 202 {
        return;
    }
    wait_until("the end of the import", async || {
        let shown = unit.admin_request("GET", "c/__import").send().await;
        shown.status != 200 || shown.json()["status"] != "importation in progress"
    })
    .await;
}

async fn has_role(unit: &TestUnit, name: &str) -> bool {
    let roles = unit.list_entities("c/__ctl/Role").await;
    roles.iter().any(|role| role["Name"] == name)
}

async fn spaces(unit: &TestUnit) -> usize {
    unit.records.list_spaces(None, 1_000).await.unwrap().len()
}

#[tokio::test]
async fn process_that_ends_at_any_step_of_an_import_leaves_one_whole_cell() {
    let unit = unit_with_snapshot().await;
    let before = spaces(&unit).await;
    let mut steps = 0;
    loop {
        let process = unit.restart();
        process.store.stop_after_commits(steps);
        import(&process).await;
        let next = unit.restart();
        next.model.resume_garbage_collection().await.unwrap();
        assert_eq!(spaces(&next).await, before, "step {steps}");
        assert!(has_role(&next, "early").await, "step {steps}");
        next.put_file("c/b/probe", "x").await;
        next.admin_request("DELETE", "c/b/probe")
            .send()
            .await
            .expect(204);
        if !has_role(&next, "late").await {
            break;
        }
        steps += 1;
        assert!(steps < 500, "the import never ends");
    }
    assert!(steps > 20, "{steps}");
    let file = unit.restart();
    let file = file.admin_request("GET", "c/b/file").send().await;
    assert_eq!(file.expect(200).text(), "x");
}

#[tokio::test]
async fn timer_of_an_imported_rule_fires_also_if_it_was_due_during_the_import() {
    let unit = unit_with_snapshot().await;
    let at_the_end = unit.clone();
    unit.store.interrupt_seal(async move {
        for _ in 0..4 {
            at_the_end.advance_clock(MINUTE_MS);
            while timer::fire_due(&at_the_end.model).await.unwrap() {}
        }
    });
    import(&unit).await;
    assert_eq!(state_of(&unit, "c/__import").await["status"], "ready");
    let timers = async || {
        let shown = unit.admin_request("GET", "c/__rule").send().await.json();
        shown["timers"].clone()
    };
    assert_eq!(timers().await[0]["count"], 0);
    for count in 1..4 {
        unit.advance_clock(MINUTE_MS);
        while timer::fire_due(&unit.model).await.unwrap() {}
        assert_eq!(timers().await[0]["count"], json!(count));
    }
}

#[tokio::test]
async fn request_that_meets_the_replacement_of_the_cell_is_answered_by_the_new_one() {
    let unit = unit_with_snapshot().await;
    let reader = unit.clone();
    let reading = tokio::spawn(async move {
        let mut read = 0;
        while has_role(&reader, "late").await {
            read += 1;
        }
        read
    });
    import(&unit).await;
    assert!(reading.await.unwrap() > 0);
    assert!(has_role(&unit, "early").await);
}

#[tokio::test]
async fn snapshot_that_is_replaced_during_its_import_is_imported_as_it_was() {
    let unit = unit_with_snapshot().await;
    let writer = unit.clone();
    unit.store.interrupt_commit(0, async move {
        let put = writer.admin_request("PUT", "c/__snapshot/s.zip");
        put.body("no zip").send().await;
    });
    import(&unit).await;
    let state: Value = state_of(&unit, "c/__import").await;
    assert_eq!(state["status"], "ready", "{state}");
    assert!(!has_role(&unit, "late").await);
}
