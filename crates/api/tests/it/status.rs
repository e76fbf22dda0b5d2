//! `__status`: settings of a unit, read anew while it runs.

use crate::harness::{NEW_TOP_MAX, World, done, refused};

#[tokio::test]
async fn what_is_read_anew_counts_for_the_next_request() {
    let world = World::empty(|_| {});
    let list = format!("__ctl/Cell?$top={}", NEW_TOP_MAX + 1);
    assert_eq!(world.code("GET", &list).await, done(200));
    assert_eq!(world.code("POST", "__status").await, done(204));
    assert_eq!(world.code("GET", &list).await, refused(400, "OD-0029"));
    let shown = world.ask("GET", "__status").send().await.json();
    assert_eq!(shown["properties"]["a setting"], "its value");
    assert_eq!(shown["waitingForRestart"][0], "another setting");
    assert_eq!(shown["health"]["records"], "ok");
}

#[tokio::test]
async fn the_master_acting_for_a_unit_user_is_no_administrator() {
    let world = World::empty(|_| {});
    let ask = world.ask("GET", "__status");
    let reply = ask.with("x-personium-unit-user", "http://u/").send().await;
    assert_eq!(reply.outcome(), refused(403, "AU-0002"));
    let nobody = world.anybody("GET", "__status").send().await;
    assert_eq!(nobody.outcome(), refused(401, "AU-0001"));
    assert_eq!(world.code("PUT", "__status").await, refused(405, "MC-0001"));
    assert_eq!(
        world.code("GET", "__status/x").await,
        refused(404, "MC-0001")
    );
}
