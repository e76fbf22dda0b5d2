//! `__status`: reload of settings, access.

use personium_testkit::{RELOADED_TOP_MAX, TestUnit, refused, success};

#[tokio::test]
async fn reloaded_settings_apply_to_the_next_request() {
    let unit = TestUnit::without_cells(|_| {});
    let list = format!("__ctl/Cell?$top={}", RELOADED_TOP_MAX + 1);
    assert_eq!(unit.admin_outcome("GET", &list).await, success(200));
    assert_eq!(unit.admin_outcome("POST", "__status").await, success(204));
    assert_eq!(
        unit.admin_outcome("GET", &list).await,
        refused(400, "OD-0029")
    );
    let shown = unit.admin_request("GET", "__status").send().await.json();
    assert_eq!(shown["properties"]["a setting"], "its value");
    assert_eq!(shown["waitingForRestart"][0], "another setting");
    assert_eq!(shown["health"]["records"], "ok");
}

#[tokio::test]
async fn status_is_refused_to_a_master_acting_as_unit_user() {
    let unit = TestUnit::without_cells(|_| {});
    let request = unit.admin_request("GET", "__status");
    let response = request
        .header("x-personium-unit-user", "http://u/")
        .send()
        .await;
    assert_eq!(response.outcome(), refused(403, "AU-0002"));
    let nobody = unit.request("GET", "__status").send().await;
    assert_eq!(nobody.outcome(), refused(401, "AU-0001"));
    assert_eq!(
        unit.admin_outcome("PUT", "__status").await,
        refused(405, "MC-0001")
    );
    assert_eq!(
        unit.admin_outcome("GET", "__status/x").await,
        refused(404, "MC-0001")
    );
}
