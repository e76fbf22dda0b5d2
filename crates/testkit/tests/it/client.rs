//! Clients of a unit in memory and of one behind a port: both get the same responses.

use personium_testkit::{ServerUnit, TestClient, TestUnit, refused, success};
use serde_json::json;

async fn outcomes(unit: &TestClient) -> Vec<(u16, String)> {
    let owner = unit.create_cell_with_owner("alice").await;
    let put = owner.request("PUT", "alice/box/a%2Bb").body("content");
    let mut outcomes = vec![put.send().await.outcome()];
    assert_eq!(
        owner.request("GET", "/alice/box/a+b").send().await.text(),
        "content"
    );
    for (client, path) in [
        (&owner, "alice/__ctl/Account"),
        (unit, "alice/box/a+b"),
        (&unit.admin(), "alice/__ctl/Account"),
        (&unit.with_token("none"), "alice/__ctl/Account"),
    ] {
        outcomes.push(client.request("GET", path).send().await.outcome());
    }
    let role = json!({"Name": "r"});
    let create = unit.admin_request("POST", "alice/__ctl/Role").json(&role);
    let create = create.header("accept", "application/json");
    assert_eq!(create.send().await.results()["Name"], "r");
    outcomes
}

#[tokio::test]
async fn memory_and_network_give_the_same_responses() {
    let expected = [
        success(201),
        refused(403, "AU-0002"),
        refused(401, "AU-0001"),
        success(200),
        refused(401, "AU-0006"),
    ];
    let (memory, network) = (TestUnit::without_cells(|_| {}), ServerUnit::start().await);
    assert_eq!(outcomes(&memory).await, expected);
    assert_eq!(outcomes(&network).await, expected);
}
