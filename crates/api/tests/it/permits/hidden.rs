//! What is there is told to those who may know: everybody else gets the answer for nothing.

use crate::harness::{World, done, refused};

/// A world with a file, a collection, and data with a schema, none of them for everybody.
async fn furnished() -> World {
    let world = World::new().await;
    world.put("c/b/f", "x").await;
    world.mkcol("c/b/col", "").await;
    world.put("c/b/col/f", "x").await;
    world.mkcol("c/b/svc", "service").await;
    world.mkcol("c/b/od", "odata").await;
    let set = r#"{"Name":"Secret"}"#;
    world.make("c/b/od/$metadata/EntityType", set).await;
    world
}

async fn by_anybody(world: &World, method: &str, path: &str) -> (u16, String) {
    world.anybody(method, path).send().await.outcome()
}

#[tokio::test]
async fn methods_do_not_tell_what_is_there() {
    let world = furnished().await;
    for (method, path, outcome) in [
        ("POST", "c/b/f", refused(405, "MC-0001")),
        ("POST", "c/b/none", refused(404, "DV-0001")),
        ("PUT", "c/b/col", refused(405, "MC-0001")),
        ("POST", "c/b/col", refused(405, "MC-0001")),
        ("LOCK", "c/b/col/f", refused(405, "MC-0001")),
        ("DELETE", "c/b/svc/__src", refused(405, "MC-0001")),
        ("GET", "c/b/f/x", refused(404, "MC-0001")),
        ("PUT", "c/b/f/x/y", refused(404, "MC-0001")),
        ("GET", "c/b/none/x", refused(404, "DV-0001")),
    ] {
        let found = by_anybody(&world, method, path).await;
        assert_eq!(found, refused(401, "AU-0001"), "{method} {path}");
        assert_eq!(world.code(method, path).await, outcome, "{method} {path}");
    }
    world.grant_all("c/b", &["D:read"]).await;
    let found = by_anybody(&world, "POST", "c/b/f").await;
    assert_eq!(found, refused(405, "MC-0001"));
}

#[tokio::test]
async fn a_move_does_not_tell_what_is_at_its_destination() {
    let world = furnished().await;
    world.mkcol("c/b/from", "").await;
    world.put("c/b/from/a", "x").await;
    world.grant_all("c/b/from", &["D:unbind"]).await;
    let go = async |to: &str| {
        let ask = world
            .anybody("MOVE", "c/b/from/a")
            .with("destination", &format!("http://unit.example/c/b/{to}"))
            .with("overwrite", "F");
        ask.send().await.outcome()
    };
    for to in [
        "f", "f/x", "col", "col/f", "none", "none/x", "od/x", "svc/x",
    ] {
        assert_eq!(go(to).await, refused(401, "AU-0001"), "{to}");
    }
    world.grant_all("c/b/col", &["D:bind"]).await;
    assert_eq!(go("col/f").await, refused(412, "DV-0002"));
    assert_eq!(go("col/g").await, done(201));
}

#[tokio::test]
async fn a_schema_is_told_to_those_who_may_use_it() {
    let world = furnished().await;
    for (method, path, outcome) in [
        ("GET", "Secret", done(200)),
        ("GET", "Nothing", refused(404, "OD-0001")),
        ("GET", "Nothing('a')", refused(404, "OD-0001")),
        ("GET", "Secret(x", refused(404, "OD-0001")),
        ("GET", "Secret(1)", refused(400, "OD-0004")),
        ("GET", "Secret('a')/_None", refused(404, "OD-0003")),
        ("PATCH", "Secret", refused(405, "MC-0001")),
        ("PATCH", "Secret('a')", refused(405, "MC-0001")),
    ] {
        let path = format!("c/b/od/{path}");
        let found = by_anybody(&world, method, &path).await;
        assert_eq!(found, refused(401, "AU-0001"), "{method} {path}");
        assert_eq!(world.code(method, &path).await, outcome, "{method} {path}");
    }
    for privilege in ["D:read", "D:write"] {
        world.grant_all("c/b/od", &[privilege]).await;
        let found = by_anybody(&world, "GET", "c/b/od/Nothing").await;
        assert_eq!(found, refused(404, "OD-0001"), "{privilege}");
    }
}
