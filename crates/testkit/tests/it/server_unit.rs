//! The server in the process of the test.

use personium_testkit::ServerUnit;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_unit_keeps_its_data() {
    let mut unit = ServerUnit::start().await;
    let response = unit.request("GET", "/").send().await.expect(200);
    assert_eq!(response.json()["unit"]["url"], unit.url());
    unit.create_cell("alice").await;
    unit.restart().await;
    for (path, status) in [("/__ctl/Cell('alice')", 200), ("/__ctl/Cell('bob')", 404)] {
        unit.admin_request("GET", path).send().await.expect(status);
    }
}

#[tokio::test]
async fn units_run_side_by_side() {
    let (one, two) = (ServerUnit::start().await, ServerUnit::start().await);
    assert_ne!(one.url(), two.url());
    assert_ne!(one.running().admin_address, two.running().admin_address);
    for unit in [&one, &two] {
        unit.request("GET", "/").send().await.expect(200);
    }
}
