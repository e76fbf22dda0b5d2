//! Scripts of applications, unchanged. They are in archives beside the project; without them the test does nothing.

use std::fs;

use personium_testkit::artifacts_folder;
use serde_json::json;

use super::ScriptUnit;
use crate::install::{install_bytes, wait_for_installation};

async fn install(unit: &ScriptUnit, archive: &str, name: &str) -> bool {
    let Some(folder) = artifacts_folder() else {
        return false;
    };
    let archive = fs::read(folder.join(archive)).unwrap();
    install_bytes(&unit.unit, name, archive).await.expect(202);
    let shown = wait_for_installation(&unit.unit, name).await;
    assert_eq!(shown["status"], "ready", "{shown}");
    true
}

#[tokio::test]
async fn services_of_installed_applications_answer() {
    let unit = ScriptUnit::new().await;
    if !install(&unit, "box_barsrc_good.bar", "good").await {
        return;
    }
    let response = unit.unit.admin_request("GET", "c/good/svc/s").send().await;
    assert_eq!(response.expect(200).text(), "from bar");
    assert!(install(&unit, "box_migrated_appbox.bar", "appbox").await);
    let response = unit
        .unit
        .admin_request("GET", "c/appbox/svc/hello")
        .send()
        .await;
    assert_eq!(response.expect(200).text(), "hello GET こんにちは");
    let request = unit
        .unit
        .admin_request("POST", "c/appbox/svc/calc/add/sum?x=1&y");
    let response = request.body("[1,2,39]").send().await.expect(200);
    assert_eq!(response.json(), json!({"sum": 42, "q": "x=1&y"}));
    let denied = unit
        .caller
        .request("GET", "c/appbox/svc/hello")
        .send()
        .await;
    assert!(
        [401, 403].contains(&denied.status.as_u16()),
        "{}",
        denied.text()
    );
}
