//! Snapshots that a unit of the reference exported are imported here, and the cells give the answers that they gave there. They are
//! beside the project, like the recorded exchanges; without them the test does nothing.

use std::fs;

use personium_testkit::{TestUnit, artifacts_folder, compare_answers, wait_until};
use serde_json::{Value, json};

use super::state_of;

/// Creates a cell and imports a snapshot into it.
async fn import(unit: &TestUnit, cell: &str, snapshot: &str) {
    unit.create("__ctl/Cell", &json!({"Name": cell}).to_string())
        .await;
    let path = artifacts_folder()
        .unwrap()
        .join(format!("snapshot_{snapshot}.zip"));
    let put = unit.admin_request("PUT", &format!("{cell}/__snapshot/s.zip"));
    put.body(fs::read(path).unwrap()).send().await.expect(201);
    let path = format!("{cell}/__import");
    unit.admin()
        .post(&path, r#"{"Name":"s"}"#)
        .await
        .expect(202);
    wait_until("the end of the import", async || {
        state_of(unit, &path).await["status"] != "importation in progress"
    })
    .await;
    let state = state_of(unit, &path).await;
    assert_eq!(state["status"], "ready", "{state}");
}

/// Whether an answer is about what a snapshot has and what does not change.
fn is_compared(answer: &Value, path: &str) -> bool {
    let group = answer["group"].as_str().unwrap();
    let is_other = ["login", "log", "service"].contains(&group)
        // The cell and its keys are not those of the snapshot.
        || (group == "cell" && !["/__ctl/$metadata", "/__rule"].iter().any(|end| path.ends_with(end)));
    let without = [
        "__certs",
        "__log",
        // The address of an Atom feed is given with the query there.
        "$format=atom",
    ];
    !is_other && answer["method"] != "POST" && !without.iter().any(|part| path.contains(part))
}

#[tokio::test]
async fn snapshots_of_the_reference_are_imported_with_its_answers() {
    if artifacts_folder().is_none() {
        return;
    }
    let unit = TestUnit::new().await;
    for (recorded, own, least) in [
        ("migrated", "migrated", 800),
        ("ownedcell", "ownedcell", 10),
    ] {
        import(&unit, own, recorded).await;
        let (compared, differences) =
            compare_answers(&unit, (recorded, own), is_compared, |_, _| None).await;
        assert!(compared > least, "{recorded}: {compared}");
        assert!(
            differences.is_empty(),
            "{recorded}: {} of {compared} differ\n{}",
            differences.len(),
            differences.join("\n")
        );
    }
}
