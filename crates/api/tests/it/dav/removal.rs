//! Deletion of collections, boxes and cells with their content.

use http::StatusCode;

use crate::harness::{World, done, refused};

async fn delete(world: &World, path: &str, recursive: &str) -> (u16, String) {
    let ask = world
        .ask("DELETE", path)
        .with("x-personium-recursive", recursive);
    ask.send().await.outcome()
}

#[tokio::test]
async fn full_collections_need_the_header() {
    let world = World::new().await;
    world.mkcol("c/b/col", "").await;
    world.put("c/b/col/a", "x").await;
    world.mkcol("c/b/svc", "service").await;
    world.put("c/b/svc/__src/a", "x").await;
    world.mkcol("c/b/empty", "service").await;
    world.mkcol("c/b/odata", "odata").await;
    world
        .make("c/b/odata/$metadata/EntityType", r#"{"Name":"T"}"#)
        .await;
    for path in ["c/b/col", "c/b/svc", "c/b/odata"] {
        assert_eq!(
            world.code("DELETE", path).await,
            refused(403, "DV-0003"),
            "{path}"
        );
        assert_eq!(delete(&world, path, "false").await, refused(403, "DV-0003"));
        assert_eq!(delete(&world, path, "yes").await, refused(400, "DV-0009"));
    }
    assert_eq!(
        world.code("DELETE", "c/b/svc/__src").await,
        refused(405, "MC-0001")
    );
    assert_eq!(world.code("DELETE", "c/b/empty").await, done(204));
    for path in ["c/b/col", "c/b/svc", "c/b/odata"] {
        assert_eq!(delete(&world, path, "TRUE").await, done(204), "{path}");
        assert_eq!(world.code("GET", path).await, refused(404, "DV-0001"));
    }
}

#[tokio::test]
async fn a_deleted_tree_is_swept_to_the_last_record() {
    let world = World::new().await;
    let before = world.keys(b"NDBRECIKLM").await;
    world.mkcol("c/b/top", "").await;
    for n in 0..300 {
        world.put(&format!("c/b/top/{n}"), "small").await;
    }
    let mut path = "c/b/top".to_owned();
    for kind in ["", "", "service"] {
        path.push_str("/next");
        world.mkcol(&path, kind).await;
    }
    world
        .put(&format!("{path}/__src/s"), &"x".repeat(50_000))
        .await;
    world.mkcol("c/b/top/odata", "odata").await;
    world
        .make("c/b/top/odata/$metadata/EntityType", r#"{"Name":"T"}"#)
        .await;
    world
        .make("c/b/top/odata/T", r#"{"__id":"1","p":"v"}"#)
        .await;
    assert_eq!(delete(&world, "c/b/top", "true").await, done(204));
    assert_eq!(
        world.code("PUT", "c/b/top/new").await,
        refused(409, "DV-0001")
    );
    world.unit.resume_sweeps().await.unwrap();
    let mut after = world.keys(b"NDBRECIKLM").await;
    // The counter of the box's own members stays.
    after.retain(|key| before.contains(key) || key.as_bytes()[0] != b'D');
    assert_eq!(after, before);
    assert_eq!(world.bodies().await, 0);
    // Nothing is left to do.
    assert_eq!(
        world
            .unit
            .records()
            .list_keys(
                &personium_model::keys::singles("sweep/"),
                personium_store::Direction::Up,
                10,
            )
            .await
            .unwrap()
            .len(),
        0
    );
}

#[tokio::test]
async fn a_sweep_that_a_crash_interrupted_is_resumed() {
    let world = World::new().await;
    world.mkcol("c/b/top", "").await;
    world.mkcol("c/b/top/sub", "").await;
    world.put("c/b/top/sub/a", "x").await;
    // The unlinking as the crashed server committed it, without the work that follows.
    let context = world.unit.find_cell("c").await.unwrap().unwrap();
    let found = context.find_box("b").await.unwrap().unwrap();
    let target = personium_model::locate::locate(&context, &found, &["top".to_owned()])
        .await
        .unwrap();
    personium_model::sweep::mark_pending(&world.unit, &context)
        .await
        .unwrap();
    let mut batch = personium_store::Batch::new();
    batch.delete(target.node().key.clone());
    personium_model::sweep::enlist(&mut batch, target.node().value()).unwrap();
    context.records().commit(batch).await.unwrap();
    assert!(!world.keys(b"B").await.is_empty());
    world.unit.resume_sweeps().await.unwrap();
    assert!(world.keys(b"BM").await.is_empty());
}

#[tokio::test]
async fn a_box_goes_with_all_that_belongs_to_it() {
    let world = World::new().await;
    let before = world.keys(b"ECIKL").await;
    world.make("c/__ctl/Box", r#"{"Name":"gone"}"#).await;
    world
        .make("c/__ctl/Role", r#"{"Name":"r","_Box.Name":"gone"}"#)
        .await;
    world.make("c/__ctl/Role", r#"{"Name":"kept"}"#).await;
    world
        .make("c/__ctl/Relation", r#"{"Name":"rel","_Box.Name":"gone"}"#)
        .await;
    let ext = r#"{"ExtRole":"http://unit.example/d/__role/__/x","_Relation.Name":"rel","_Relation._Box.Name":"gone"}"#;
    world.make("c/__ctl/ExtRole", ext).await;
    world.put("c/gone/a", "x").await;
    world.mkcol("c/gone/col", "").await;
    world.put("c/gone/col/a", &"x".repeat(50_000)).await;
    let unconfirmed = refused(412, "MC-0001");
    assert_eq!(world.code("DELETE", "c/gone").await, unconfirmed);
    assert_eq!(delete(&world, "c/gone", "false").await, unconfirmed);
    let anybody = world.anybody("DELETE", "c/gone");
    assert_eq!(
        anybody.send().await.outcome(),
        unconfirmed,
        "before the access check"
    );
    let anybody = world
        .anybody("DELETE", "c/gone")
        .with("x-personium-recursive", "true");
    assert_eq!(anybody.send().await.outcome(), refused(401, "AU-0001"));
    assert_eq!(
        delete(&world, "c/__", "true").await,
        refused(405, "MC-0001")
    );
    assert_eq!(delete(&world, "c/gone", "TRUE").await, done(204));
    assert_eq!(world.code("GET", "c/gone").await, refused(404, "DV-0002"));
    assert_eq!(world.code("GET", "c/gone/a").await, refused(404, "DV-0002"));
    let roles = world
        .ask("GET", "c/__ctl/Role")
        .with("accept", "application/json")
        .send()
        .await;
    assert!(
        roles.text().contains("kept") && !roles.text().contains("gone"),
        "{}",
        roles.text()
    );
    world.unit.resume_sweeps().await.unwrap();
    assert!(world.keys(b"BRM").await.is_empty());
    assert_eq!(world.bodies().await, 0);
    assert_eq!(
        world.code("DELETE", "c/__ctl/Role('kept')").await,
        done(204)
    );
    let mut after = world.keys(b"ECIKL").await;
    after.retain(|key| before.contains(key) || key.as_bytes()[0] != b'C');
    assert_eq!(after, before);
    // The same name can be used again, and is empty.
    world.make("c/__ctl/Box", r#"{"Name":"gone"}"#).await;
    assert_eq!(world.code("GET", "c/gone/a").await, refused(404, "DV-0001"));
}

#[tokio::test]
async fn a_cell_goes_with_its_records_and_bodies() {
    let world = World::new().await;
    world.put("c/b/a", &"x".repeat(50_000)).await;
    let id = world.cell().await;
    for value in ["", "TRUE", "false"] {
        let anybody = world
            .anybody("DELETE", "c")
            .with("x-personium-recursive", value);
        assert_eq!(
            anybody.send().await.outcome(),
            refused(412, "MC-0001"),
            "{value}"
        );
    }
    let anybody = world
        .anybody("DELETE", "c")
        .with("x-personium-recursive", "true");
    assert_eq!(anybody.send().await.outcome(), refused(401, "AU-0001"));
    let other = world
        .ask("DELETE", "c")
        .with("x-personium-unit-user", "http://else.example/#me")
        .with("x-personium-recursive", "true");
    assert_eq!(other.send().await.outcome(), refused(403, "AU-0003"));
    assert_eq!(delete(&world, "c", "true").await, done(204));
    assert_eq!(world.code("GET", "c/b/a").await, refused(404, "DV-0003"));
    world.unit.resume_sweeps().await.unwrap();
    let space = personium_store::Space::Cell(id);
    let everything = personium_store::KeyRange {
        start: personium_store::Key::from_bytes(Vec::new()),
        end: None,
    };
    assert_eq!(
        world.unit.store().count(&space, &everything).await.unwrap(),
        0
    );
    let bodies = world.unit.blobs().list(&space, None, 0, 10).await.unwrap();
    assert!(bodies.is_empty());
    world.make("__ctl/Cell", r#"{"Name":"c"}"#).await;
    assert_eq!(world.ask("GET", "c/__").send().await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_appears_below_what_is_deleted() {
    for round in 0..10 {
        let world = World::new().await;
        world.mkcol("c/b/top", "").await;
        world.mkcol("c/b/top/sub", "").await;
        let writers: Vec<_> = (0..8)
            .map(|n| {
                let world = world.clone();
                tokio::spawn(async move {
                    for m in 0..10 {
                        let path = format!("c/b/top/sub/{n}-{m}");
                        let (status, _) = world.code("PUT", &path).await;
                        assert!([201, 409].contains(&status), "{status}");
                    }
                })
            })
            .collect();
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        assert_eq!(delete(&world, "c/b/top", "true").await, done(204));
        for writer in writers {
            writer.await.unwrap();
        }
        world.unit.resume_sweeps().await.unwrap();
        assert!(world.keys(b"BRM").await.is_empty());
    }
}
