//! Deletion of collections, boxes and cells with their content.

use http::StatusCode;
use personium_testkit::{TestUnit, refused, success, wait_until};

async fn delete(unit: &TestUnit, path: &str, recursive: &str) -> (u16, String) {
    let request = unit
        .admin_request("DELETE", path)
        .header("x-personium-recursive", recursive);
    request.send().await.outcome()
}

#[tokio::test]
async fn delete_of_a_non_empty_collection_needs_the_recursive_header() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/col", "").await;
    unit.put_file("c/b/col/a", "x").await;
    unit.create_collection("c/b/svc", "service").await;
    unit.put_file("c/b/svc/__src/a", "x").await;
    unit.create_collection("c/b/empty", "service").await;
    unit.create_collection("c/b/odata", "odata").await;
    unit.create("c/b/odata/$metadata/EntityType", r#"{"Name":"T"}"#)
        .await;
    for path in ["c/b/col", "c/b/svc", "c/b/odata"] {
        assert_eq!(
            unit.admin_outcome("DELETE", path).await,
            refused(403, "DV-0003"),
            "{path}"
        );
        assert_eq!(delete(&unit, path, "false").await, refused(403, "DV-0003"));
        assert_eq!(delete(&unit, path, "yes").await, refused(400, "DV-0009"));
    }
    assert_eq!(
        unit.admin_outcome("DELETE", "c/b/svc/__src").await,
        refused(405, "MC-0001")
    );
    assert_eq!(
        unit.admin_outcome("DELETE", "c/b/empty").await,
        success(204)
    );
    for path in ["c/b/col", "c/b/svc", "c/b/odata"] {
        assert_eq!(delete(&unit, path, "TRUE").await, success(204), "{path}");
        assert_eq!(
            unit.admin_outcome("GET", path).await,
            refused(404, "DV-0001")
        );
    }
}

#[tokio::test]
async fn deleted_tree_is_garbage_collected_completely() {
    let unit = TestUnit::new().await;
    let before = unit.record_keys(b"NDBRECIKLM").await;
    unit.create_collection("c/b/top", "").await;
    for n in 0..300 {
        unit.put_file(&format!("c/b/top/{n}"), "small").await;
    }
    let mut path = "c/b/top".to_owned();
    for kind in ["", "", "service"] {
        path.push_str("/next");
        unit.create_collection(&path, kind).await;
    }
    unit.put_file(&format!("{path}/__src/s"), &"x".repeat(50_000))
        .await;
    unit.create_collection("c/b/top/odata", "odata").await;
    unit.create("c/b/top/odata/$metadata/EntityType", r#"{"Name":"T"}"#)
        .await;
    unit.create("c/b/top/odata/T", r#"{"__id":"1","p":"v"}"#)
        .await;
    assert_eq!(delete(&unit, "c/b/top", "true").await, success(204));
    assert_eq!(
        unit.admin_outcome("PUT", "c/b/top/new").await,
        refused(409, "DV-0001")
    );
    unit.model.resume_garbage_collection().await.unwrap();
    let mut after = unit.record_keys(b"NDBRECIKLM").await;
    // The member counter of the box remains.
    after.retain(|key| before.contains(key) || key.as_bytes()[0] != b'D');
    assert_eq!(after, before);
    // The collection that the request began may have removed the nodes, and still be at the bodies.
    wait_until("no body is left", async || unit.blob_count().await == 0).await;
    // No garbage is left.
    assert_eq!(
        unit.model
            .records()
            .list_keys(
                &personium_model::keys::garbage_records(),
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
async fn interrupted_garbage_collection_is_resumed_after_restart() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/top", "").await;
    unit.create_collection("c/b/top/sub", "").await;
    unit.put_file("c/b/top/sub/a", "x").await;
    // The deletion as a crashed server committed it, without the garbage collection.
    let context = unit.model.find_cell("c").await.unwrap().unwrap();
    let found = context.find_box("b").await.unwrap().unwrap();
    let target = personium_model::locate::locate(&context, &found, &["top".to_owned()])
        .await
        .unwrap();
    personium_model::garbage_collection::mark_pending(&unit.model, &context)
        .await
        .unwrap();
    let mut batch = personium_store::Batch::new();
    batch.delete(target.node().key.clone());
    personium_model::garbage_collection::add_record(&mut batch, target.node().value()).unwrap();
    context.records().commit(batch).await.unwrap();
    assert!(!unit.record_keys(b"B").await.is_empty());
    unit.model.resume_garbage_collection().await.unwrap();
    assert!(unit.record_keys(b"BM").await.is_empty());
}

#[tokio::test]
async fn deleted_box_takes_its_objects_and_files_with_it() {
    let unit = TestUnit::new().await;
    let before = unit.record_keys(b"ECIKL").await;
    unit.create("c/__ctl/Box", r#"{"Name":"gone"}"#).await;
    unit.create("c/__ctl/Role", r#"{"Name":"r","_Box.Name":"gone"}"#)
        .await;
    unit.create("c/__ctl/Role", r#"{"Name":"kept"}"#).await;
    unit.create("c/__ctl/Relation", r#"{"Name":"rel","_Box.Name":"gone"}"#)
        .await;
    let ext = r#"{"ExtRole":"http://unit.example/d/__role/__/x","_Relation.Name":"rel","_Relation._Box.Name":"gone"}"#;
    unit.create("c/__ctl/ExtRole", ext).await;
    unit.put_file("c/gone/a", "x").await;
    unit.create_collection("c/gone/col", "").await;
    unit.put_file("c/gone/col/a", &"x".repeat(50_000)).await;
    let unconfirmed = refused(412, "MC-0001");
    assert_eq!(unit.admin_outcome("DELETE", "c/gone").await, unconfirmed);
    assert_eq!(delete(&unit, "c/gone", "false").await, unconfirmed);
    let anybody = unit.request("DELETE", "c/gone");
    assert_eq!(
        anybody.send().await.outcome(),
        unconfirmed,
        "before the access check"
    );
    let anybody = unit
        .request("DELETE", "c/gone")
        .header("x-personium-recursive", "true");
    assert_eq!(anybody.send().await.outcome(), refused(401, "AU-0001"));
    assert_eq!(delete(&unit, "c/__", "true").await, refused(405, "MC-0001"));
    assert_eq!(delete(&unit, "c/gone", "TRUE").await, success(204));
    assert_eq!(
        unit.admin_outcome("GET", "c/gone").await,
        refused(404, "DV-0002")
    );
    assert_eq!(
        unit.admin_outcome("GET", "c/gone/a").await,
        refused(404, "DV-0002")
    );
    let roles = unit
        .admin_request("GET", "c/__ctl/Role")
        .header("accept", "application/json")
        .send()
        .await;
    assert!(
        roles.text().contains("kept") && !roles.text().contains("gone"),
        "{}",
        roles.text()
    );
    unit.model.resume_garbage_collection().await.unwrap();
    assert!(unit.record_keys(b"BRM").await.is_empty());
    wait_until("no body is left", async || unit.blob_count().await == 0).await;
    assert_eq!(
        unit.admin_outcome("DELETE", "c/__ctl/Role('kept')").await,
        success(204)
    );
    let mut after = unit.record_keys(b"ECIKL").await;
    after.retain(|key| before.contains(key) || key.as_bytes()[0] != b'C');
    assert_eq!(after, before);
    // The same name can be used again, and is empty.
    unit.create("c/__ctl/Box", r#"{"Name":"gone"}"#).await;
    assert_eq!(
        unit.admin_outcome("GET", "c/gone/a").await,
        refused(404, "DV-0001")
    );
}

#[tokio::test]
async fn deleted_cell_leaves_no_records_and_no_bodies() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", &"x".repeat(50_000)).await;
    let id = unit.cell_id().await;
    for value in ["", "TRUE", "false"] {
        let anybody = unit
            .request("DELETE", "c")
            .header("x-personium-recursive", value);
        assert_eq!(
            anybody.send().await.outcome(),
            refused(412, "MC-0001"),
            "{value}"
        );
    }
    let anybody = unit
        .request("DELETE", "c")
        .header("x-personium-recursive", "true");
    assert_eq!(anybody.send().await.outcome(), refused(401, "AU-0001"));
    let other = unit
        .admin_request("DELETE", "c")
        .header("x-personium-unit-user", "http://else.example/#me")
        .header("x-personium-recursive", "true");
    assert_eq!(other.send().await.outcome(), refused(403, "AU-0003"));
    assert_eq!(delete(&unit, "c", "true").await, success(204));
    assert_eq!(
        unit.admin_outcome("GET", "c/b/a").await,
        refused(404, "DV-0003")
    );
    unit.model.resume_garbage_collection().await.unwrap();
    let space = personium_store::Space::Cell(id);
    let everything = personium_store::KeyRange {
        start: personium_store::Key::from_bytes(Vec::new()),
        end: None,
    };
    let left = unit.model.store().count(&space, &everything).await;
    assert!(
        matches!(left, Err(personium_store::StoreError::SpaceDropped)),
        "{left:?}"
    );
    let bodies = unit
        .model
        .blobs()
        .list(&space, None, std::time::Duration::ZERO, 10)
        .await
        .unwrap();
    assert!(bodies.is_empty());
    unit.create("__ctl/Cell", r#"{"Name":"c"}"#).await;
    assert_eq!(
        unit.admin_request("GET", "c/__").send().await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_puts_below_a_deleted_collection_leave_nothing() {
    for round in 0..10 {
        let unit = TestUnit::new().await;
        unit.create_collection("c/b/top", "").await;
        unit.create_collection("c/b/top/sub", "").await;
        let writers: Vec<_> = (0..8)
            .map(|n| {
                let unit = unit.clone();
                tokio::spawn(async move {
                    for m in 0..10 {
                        let path = format!("c/b/top/sub/{n}-{m}");
                        let (status, _) = unit.admin_outcome("PUT", &path).await;
                        assert!([201, 409].contains(&status), "{status}");
                    }
                })
            })
            .collect();
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        assert_eq!(delete(&unit, "c/b/top", "true").await, success(204));
        for writer in writers {
            writer.await.unwrap();
        }
        unit.model.resume_garbage_collection().await.unwrap();
        assert!(unit.record_keys(b"BRM").await.is_empty());
    }
}

#[tokio::test]
async fn only_cells_are_erased_and_other_removals_refuse_to_seem_so() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/folder", "").await;
    unit.put_file("c/b/file", "x").await;
    unit.create_role("c", "boss").await;
    for path in ["c/b/folder", "c/b/file", "c/b", "c/__ctl/Role('boss')"] {
        for (value, outcome) in [
            ("true", refused(400, "OD-0041")),
            ("no", refused(400, "OD-0041")),
        ] {
            let request = unit.admin_request("DELETE", path);
            let request = request.header("x-personium-recursive", "true");
            let response = request.header("x-personium-erase", value).send().await;
            assert_eq!(response.outcome(), outcome, "{path} {value}");
        }
        // Who may not remove it learns no more than before.
        let stranger = unit.request("DELETE", path);
        let stranger = stranger.header("x-personium-recursive", "true");
        let stranger = stranger.header("x-personium-erase", "true").send().await;
        assert_eq!(stranger.status, 401, "{path}");
    }
    for path in ["c/b/folder", "c/b/file", "c/b", "c/__ctl/Role('boss')"] {
        let request = unit.admin_request("DELETE", path);
        let request = request.header("x-personium-recursive", "true");
        let removed = request.header("x-personium-erase", "false").send().await;
        assert_eq!(removed.status, 204, "{path}: {}", removed.text());
    }
}
