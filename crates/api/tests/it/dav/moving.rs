//! MOVE.

use crate::harness::{Ask, World, done, refused};

fn move_to(world: &World, from: &str, to: &str) -> Ask {
    world
        .ask("MOVE", from)
        .with("destination", &format!("http://unit.example/{to}"))
}

#[tokio::test]
async fn what_is_moved_stays_itself() {
    let world = World::new().await;
    world.mkcol("c/b/from", "").await;
    world.mkcol("c/b/to", "").await;
    let tag = world.put("c/b/from/a", "content").await;
    world.grant_all("c/b/from/a", &["D:read"]).await;
    world.mkcol("c/b/from/deep", "odata").await;
    let reply = move_to(&world, "c/b/from/a", "c/b/to/z").send().await;
    assert_eq!(reply.status, 201);
    assert_eq!(
        reply.header("location"),
        Some("http://unit.example/c/b/to/z")
    );
    assert_ne!(
        reply.header("etag"),
        Some(tag.as_str()),
        "the ACL made a new version"
    );
    let moved = world.anybody("GET", "c/b/to/z").send().await;
    assert_eq!(moved.text(), "content");
    assert_eq!(moved.header("etag"), reply.header("etag"));
    assert_eq!(
        world.code("GET", "c/b/from/a").await,
        refused(404, "DV-0001")
    );
    let reply = move_to(&world, "c/b/from", "c/b/to/inner/").send().await;
    assert_eq!(reply.status, 201);
    assert_eq!(world.code("PROPFIND", "c/b/to/inner/deep").await.0, 400);
    assert_eq!(world.code("GET", "c/b/from").await, refused(404, "DV-0001"));
    // Counters follow: both collections can be deleted once they are empty.
    for path in ["c/b/to/inner/deep", "c/b/to/inner", "c/b/to/z", "c/b/to"] {
        assert_eq!(world.code("DELETE", path).await, done(204), "{path}");
    }
}

#[tokio::test]
async fn headers_are_checked_in_order() {
    let world = World::new().await;
    world.put("c/b/a", "x").await;
    let here = "http://unit.example/c/b/";
    for (headers, outcome) in [
        (vec![("depth", "0")], refused(400, "DV-0003")),
        (vec![("depth", "")], refused(400, "DV-0003")),
        (vec![("overwrite", "X")], refused(400, "DV-0009")),
        (vec![("overwrite", "")], refused(400, "DV-0009")),
        (vec![], refused(400, "DV-0010")),
        (vec![("destination", "")], refused(400, "DV-0010")),
        (
            vec![("destination", "http://unit.example/c/b/a")],
            refused(403, "DV-0005"),
        ),
        (vec![("destination", "c/b/z")], refused(400, "DV-0009")),
        (
            vec![("destination", "ftp://unit.example/c/b/z")],
            refused(400, "DV-0009"),
        ),
        (
            vec![("destination", "http://else.example/c/b/z")],
            refused(400, "DV-0009"),
        ),
        (
            vec![("destination", "http://unit.example/d/b/z")],
            refused(400, "DV-0009"),
        ),
        (
            vec![("destination", "http://unit.example/c/app/z")],
            refused(400, "DV-0009"),
        ),
        (
            vec![("destination", "http://unit.example/c/b")],
            refused(400, "DV-0009"),
        ),
        (
            vec![("destination", "http://unit.example/c/")],
            refused(400, "DV-0009"),
        ),
        (
            vec![("destination", "http://unit.example/c/b//z")],
            refused(400, "DV-0009"),
        ),
    ] {
        let mut ask = world.ask("MOVE", "c/b/a");
        for (name, value) in &headers {
            ask = ask.with(name, value);
        }
        assert_eq!(ask.send().await.outcome(), outcome, "{headers:?}");
    }
    let ask = |value: &str| {
        world
            .ask("MOVE", "c/b/a")
            .with("destination", &format!("{here}z"))
            .with("if-match", value)
    };
    assert_eq!(
        ask("\"9-9\"").send().await.outcome(),
        refused(412, "DV-0001")
    );
    assert_eq!(ask("").send().await.outcome(), refused(412, "DV-0001"));
    assert_eq!(ask("*").send().await.outcome(), done(201));
    let local = world
        .ask("MOVE", "c/b/z")
        .with("destination", "personium-localunit:c:/b/a");
    assert_eq!(
        local.with("depth", "Infinity").send().await.outcome(),
        done(201)
    );
}

#[tokio::test]
async fn destinations_that_cannot_take_it() {
    let world = World::new().await;
    world.put("c/b/a", "x").await;
    world.put("c/b/file", "x").await;
    world.mkcol("c/b/col", "").await;
    world.put("c/b/col/inner", "x").await;
    world.mkcol("c/b/odata", "odata").await;
    world.mkcol("c/b/svc", "service").await;
    world.put("c/b/svc/__src/s.js", "x").await;
    for (from, to, overwrite, outcome) in [
        ("c/b/none", "c/b/z", "F", refused(404, "DV-0001")),
        ("c/b", "c/b/z", "F", refused(400, "DV-0015")),
        ("c/b/svc/__src", "c/b/z", "F", refused(400, "DV-0011")),
        ("c/b/odata/x", "c/b/z", "F", refused(404, "OD-0001")),
        ("c/b/svc/x", "c/b/z", "F", refused(405, "MC-0001")),
        ("c/b/a", "c/b/file", "F", refused(412, "DV-0002")),
        ("c/b/a", "c/b/a/", "F", refused(412, "DV-0002")),
        ("c/b/a", "c/b/a/", "T", refused(404, "DV-0001")),
        ("c/b/col", "c/b/col/", "T", refused(400, "DV-0012")),
        ("c/b/a", "c/b/col", "T", refused(400, "DV-0012")),
        ("c/b/a", "c/b/svc", "T", refused(400, "DV-0012")),
        ("c/b/a", "c/b/svc/__src", "T", refused(400, "DV-0017")),
        ("c/b/a", "c/b/odata/z", "T", refused(400, "DV-0013")),
        ("c/b/a", "c/b/file/z", "T", refused(400, "DV-0014")),
        ("c/b/a", "c/b/svc/z", "T", refused(400, "DV-0016")),
        ("c/b/col", "c/b/svc/__src/z", "T", refused(400, "DV-0018")),
        (
            "c/b/col",
            "c/b/svc/__src/s.js",
            "T",
            refused(400, "DV-0018"),
        ),
        ("c/b/a", "c/b/x/y/z", "T", refused(409, "DV-0001")),
        ("c/b/col", "c/b/col/z", "T", refused(400, "DV-0009")),
        ("c/b/col", "c/b/col/inner", "T", refused(400, "DV-0009")),
        ("c/b/col", "c/b/col/x/z", "T", refused(409, "DV-0001")),
        ("c/b/a", "c/b/svc/__src/s.js", "t", done(204)),
        ("c/b/col", "c/b/file", "T", done(204)),
        ("c/b/file/inner", "c/b/svc/__src/new", "F", done(201)),
    ] {
        let reply = move_to(&world, from, to)
            .with("overwrite", overwrite)
            .send()
            .await;
        assert_eq!(reply.outcome(), outcome, "{from} -> {to} {overwrite}");
    }
    // Two bodies were replaced; those of the others are still there.
    assert_eq!(world.keys(b"B").await.len(), 2);
}

#[tokio::test]
async fn full_collections_take_only_replacements() {
    let world = World::with(|s| s.dav.children_max = 3).await;
    world.mkcol("c/b/full", "").await;
    for name in ["1", "2", "3"] {
        world.put(&format!("c/b/full/{name}"), "x").await;
    }
    world.put("c/b/a", "x").await;
    let reply = move_to(&world, "c/b/a", "c/b/full/4").send().await;
    assert_eq!(reply.outcome(), refused(400, "DV-0007"));
    let reply = move_to(&world, "c/b/a", "c/b/full/3")
        .with("overwrite", "T")
        .send()
        .await;
    assert_eq!(reply.outcome(), done(204));
    let reply = move_to(&world, "c/b/full/3", "c/b/3").send().await;
    assert_eq!(reply.outcome(), done(201));
    assert_eq!(world.code("PUT", "c/b/full/4").await, done(201));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_collections_moved_into_each_other_do_not_vanish() {
    for _ in 0..20 {
        let world = World::new().await;
        world.mkcol("c/b/x", "").await;
        world.mkcol("c/b/y", "").await;
        let (one, two) = (world.clone(), world.clone());
        let one =
            tokio::spawn(async move { move_to(&one, "c/b/x", "c/b/y/x").send().await.status });
        let two =
            tokio::spawn(async move { move_to(&two, "c/b/y", "c/b/x/y").send().await.status });
        let (one, two) = (one.await.unwrap(), two.await.unwrap());
        assert_ne!(one.is_success(), two.is_success(), "{one} {two}");
        let (gone, left) = if one.is_success() {
            ("c/b/x", "c/b/y/x")
        } else {
            ("c/b/y", "c/b/x/y")
        };
        assert_eq!(world.code("GET", gone).await.0, 404);
        assert_eq!(world.code("GET", left).await.0, 200);
    }
}
