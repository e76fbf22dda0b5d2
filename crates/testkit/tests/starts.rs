//! A unit starts, answers, and starts again on its data.

use personium_testkit::TestUnit;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_starts_and_keeps_its_data() {
    let mut unit = TestUnit::start().await;
    let answer = unit.request("GET", "/").send().await.expect(200);
    assert_eq!(answer.json()["unit"]["url"], unit.url());
    unit.create_cell("alice").await;
    unit.restart().await;
    unit.request("GET", "/__ctl/Cell('alice')")
        .admin()
        .send()
        .await
        .expect(200);
    unit.request("GET", "/__ctl/Cell('bob')")
        .admin()
        .send()
        .await
        .expect(404);
}

#[tokio::test]
async fn units_run_side_by_side() {
    let (one, two) = (TestUnit::start().await, TestUnit::start().await);
    assert_ne!(one.port(), two.port());
    assert_ne!(one.running().admin_address, two.running().admin_address);
    for unit in [&one, &two] {
        unit.request("GET", "/").send().await.expect(200);
    }
}
