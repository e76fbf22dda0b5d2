//! MOVE.

use personium_testkit::{TestRequest, TestUnit, refused, success};

fn move_to(unit: &TestUnit, from: &str, to: &str) -> TestRequest {
    unit.admin_request("MOVE", from)
        .header("destination", &format!("http://unit.example/{to}"))
}

#[tokio::test]
async fn moved_resource_keeps_identity_and_content() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/from", "").await;
    unit.create_collection("c/b/to", "").await;
    let tag = unit.put_file("c/b/from/a", "content").await;
    unit.grant_to_everybody("c/b/from/a", &["D:read"]).await;
    unit.create_collection("c/b/from/deep", "odata").await;
    let response = move_to(&unit, "c/b/from/a", "c/b/to/z").send().await;
    assert_eq!(response.status, 201);
    assert_eq!(
        response.header("location"),
        Some("http://unit.example/c/b/to/z")
    );
    assert_ne!(
        response.header("etag"),
        Some(tag.as_str()),
        "the ACL made a new version"
    );
    let moved = unit.request("GET", "c/b/to/z").send().await;
    assert_eq!(moved.text(), "content");
    assert_eq!(moved.header("etag"), response.header("etag"));
    assert_eq!(
        unit.admin_outcome("GET", "c/b/from/a").await,
        refused(404, "DV-0001")
    );
    let response = move_to(&unit, "c/b/from", "c/b/to/inner/").send().await;
    assert_eq!(response.status, 201);
    assert_eq!(
        unit.admin_outcome("PROPFIND", "c/b/to/inner/deep").await.0,
        207
    );
    assert_eq!(
        unit.admin_outcome("GET", "c/b/from").await,
        refused(404, "DV-0001")
    );
    // Member counters are moved as well: both collections can be deleted once they are empty.
    for path in ["c/b/to/inner/deep", "c/b/to/inner", "c/b/to/z", "c/b/to"] {
        assert_eq!(
            unit.admin_outcome("DELETE", path).await,
            success(204),
            "{path}"
        );
    }
}

#[tokio::test]
async fn destination_can_be_a_path_on_the_same_host() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "x").await;
    for (from, destination, location) in [
        ("c/b/a", "/c/b/z%20y", "http://unit.example/c/b/z%20y"),
        (
            "c/b/z%20y",
            "personium-localunit:c:/b/a",
            "personium-localunit:c:/b/a",
        ),
        (
            "c/b/a",
            "http://unit.example/c/b/z/",
            "http://unit.example/c/b/z/",
        ),
    ] {
        let request = unit
            .admin_request("MOVE", from)
            .header("destination", destination);
        let response = request.send().await;
        assert_eq!(response.status, 201, "{destination}");
        assert_eq!(response.header("location"), Some(location));
    }
    for (destination, outcome) in [
        ("/c/b/z", refused(403, "DV-0005")),
        ("/c/b", refused(400, "DV-0009")),
        ("/c", refused(400, "DV-0009")),
        ("/", refused(400, "DV-0009")),
        ("/other/b/y", refused(400, "DV-0009")),
        ("/c/app/y", refused(400, "DV-0009")),
        ("//unit.example/c/b/y", refused(400, "DV-0009")),
        ("z", refused(400, "DV-0009")),
    ] {
        let request = unit
            .admin_request("MOVE", "c/b/z")
            .header("destination", destination);
        assert_eq!(request.send().await.outcome(), outcome, "{destination}");
    }
}

#[tokio::test]
async fn empty_collection_is_replaced_only_when_it_is_named_as_one() {
    let unit = TestUnit::new().await;
    for (path, kind) in [
        ("full", ""),
        ("empty", ""),
        ("odata", "odata"),
        ("svc", "service"),
        ("from", ""),
    ] {
        unit.create_collection(&format!("c/b/{path}"), kind).await;
    }
    unit.put_file("c/b/full/member", "kept").await;
    unit.put_file("c/b/from/inner", "moved").await;
    unit.put_file("c/b/file", "file").await;
    for (from, to, overwrite, outcome) in [
        ("from", "empty/", "F", refused(412, "DV-0002")),
        ("from", "empty", "T", refused(400, "DV-0012")),
        ("from", "full/", "T", refused(403, "DV-0003")),
        ("full/member", "full/", "T", refused(403, "DV-0003")),
        ("file", "odata/", "T", refused(400, "DV-0012")),
        ("file", "svc/", "T", refused(400, "DV-0012")),
        ("file", "svc/__src/", "T", refused(400, "DV-0017")),
        ("from", "empty/", "T", success(204)),
        ("file", "full/", "T", refused(403, "DV-0003")),
    ] {
        let request = move_to(&unit, &format!("c/b/{from}"), &format!("c/b/{to}"));
        let response = request.header("overwrite", overwrite).send().await;
        assert_eq!(response.outcome(), outcome, "{from} to {to}, {overwrite}");
    }
    let inner = unit.admin_request("GET", "c/b/empty/inner").send().await;
    assert_eq!(inner.text(), "moved");
    let kept = unit.admin_request("GET", "c/b/full/member").send().await;
    assert_eq!(kept.text(), "kept");
    // The members of all collections are counted right: each can be deleted once it is empty, and only then.
    assert_eq!(
        unit.admin_outcome("DELETE", "c/b/empty").await,
        refused(403, "DV-0003")
    );
    for path in ["empty/inner", "empty", "full/member", "full"] {
        let outcome = unit.admin_outcome("DELETE", &format!("c/b/{path}")).await;
        assert_eq!(outcome, success(204), "{path}");
    }
}

#[tokio::test]
async fn move_validates_headers_in_order() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "x").await;
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
        let mut request = unit.admin_request("MOVE", "c/b/a");
        for (name, value) in &headers {
            request = request.header(name, value);
        }
        assert_eq!(request.send().await.outcome(), outcome, "{headers:?}");
    }
    let request = |value: &str| {
        unit.admin_request("MOVE", "c/b/a")
            .header("destination", &format!("{here}z"))
            .header("if-match", value)
    };
    assert_eq!(
        request("\"9-9\"").send().await.outcome(),
        refused(412, "DV-0001")
    );
    assert_eq!(request("").send().await.outcome(), refused(412, "DV-0001"));
    assert_eq!(request("*").send().await.outcome(), success(201));
    let local = unit
        .admin_request("MOVE", "c/b/z")
        .header("destination", "personium-localunit:c:/b/a");
    assert_eq!(
        local.header("depth", "Infinity").send().await.outcome(),
        success(201)
    );
}

#[tokio::test]
async fn move_to_an_invalid_destination_is_refused() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "x").await;
    unit.put_file("c/b/file", "x").await;
    unit.create_collection("c/b/col", "").await;
    unit.put_file("c/b/col/inner", "x").await;
    unit.create_collection("c/b/odata", "odata").await;
    unit.create_collection("c/b/svc", "service").await;
    unit.put_file("c/b/svc/__src/s.js", "x").await;
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
        ("c/b/a", "c/b/svc/__src/s.js", "t", success(204)),
        ("c/b/col", "c/b/file", "T", success(204)),
        ("c/b/file/inner", "c/b/svc/__src/new", "F", success(201)),
    ] {
        let response = move_to(&unit, from, to)
            .header("overwrite", overwrite)
            .send()
            .await;
        assert_eq!(response.outcome(), outcome, "{from} -> {to} {overwrite}");
    }
    // Two bodies were replaced, the others remain.
    assert_eq!(unit.record_keys(b"B").await.len(), 2);
}

#[tokio::test]
async fn move_into_a_full_collection_may_only_replace() {
    let unit = TestUnit::with_settings(|s| s.dav.children_max = 3).await;
    unit.create_collection("c/b/full", "").await;
    for name in ["1", "2", "3"] {
        unit.put_file(&format!("c/b/full/{name}"), "x").await;
    }
    unit.put_file("c/b/a", "x").await;
    let response = move_to(&unit, "c/b/a", "c/b/full/4").send().await;
    assert_eq!(response.outcome(), refused(400, "DV-0007"));
    let response = move_to(&unit, "c/b/a", "c/b/full/3")
        .header("overwrite", "T")
        .send()
        .await;
    assert_eq!(response.outcome(), success(204));
    let response = move_to(&unit, "c/b/full/3", "c/b/3").send().await;
    assert_eq!(response.outcome(), success(201));
    assert_eq!(unit.admin_outcome("PUT", "c/b/full/4").await, success(201));
}

#[tokio::test]
async fn collection_cannot_be_moved_below_the_depth_limit_with_the_collections_in_it() {
    let unit = TestUnit::with_settings(|s| s.dav.depth_max = 4).await;
    for path in [
        "c/b/1",
        "c/b/1/2",
        "c/b/1/2/3",
        "c/b/a",
        "c/b/a/b",
        "c/b/a/b/c",
        "c/b/a/b/c/d",
    ] {
        unit.create_collection(path, "").await;
    }
    unit.put_file("c/b/1/2/3/in", "x").await;
    unit.create_collection("c/b/service", "service").await;
    unit.put_file("c/b/file", "x").await;
    unit.put_file("c/b/a/b/c/over", "x").await;
    for (from, to, outcome) in [
        // The level of the deepest collection would be 6. MOVE may go one level below the limit, as recorded.
        ("c/b/1", "c/b/a/b/c/z", refused(400, "DV-0008")),
        ("c/b/1", "c/b/a/b/c/over", refused(400, "DV-0008")),
        ("c/b/1/2", "c/b/a/b/c/d/z", refused(400, "DV-0008")),
        ("c/b/1/2/3", "c/b/a/b/c/d/z", success(201)),
        ("c/b/service", "c/b/a/b/c/d/z/s", refused(400, "DV-0008")),
        // A file is not counted; neither is a move that goes no deeper.
        ("c/b/file", "c/b/a/b/c/d/z/file", success(201)),
        ("c/b/a/b", "c/b/a/same", success(201)),
        ("c/b/service", "c/b/a/same/c/d/s", success(201)),
        ("c/b/1", "c/b/a/z", success(201)),
    ] {
        let response = move_to(&unit, from, to)
            .header("overwrite", "T")
            .send()
            .await;
        assert_eq!(response.outcome(), outcome, "{from} -> {to}");
    }
    let file = unit
        .admin_request("GET", "c/b/a/same/c/d/z/in")
        .send()
        .await;
    assert_eq!(file.text(), "x");
}

#[tokio::test]
async fn repeated_moves_of_two_collections_into_each_other_stay_within_the_depth_limit() {
    let unit = TestUnit::with_settings(|s| s.dav.depth_max = 6).await;
    unit.create_collection("c/b/t", "").await;
    let mut refusals = 0;
    for n in 0..12 {
        unit.create_collection(&format!("c/b/n{n}"), "").await;
        let moved = move_to(&unit, "c/b/t", &format!("c/b/n{n}/t")).send().await;
        if moved.status == 201 {
            let back = move_to(&unit, &format!("c/b/n{n}"), "c/b/t").send().await;
            assert_eq!(back.outcome(), success(201));
        } else {
            assert_eq!(moved.outcome(), refused(400, "DV-0008"));
            refusals += 1;
        }
    }
    assert_eq!(refusals, 6, "a tree of 7 levels takes 6 moves");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_moves_into_each_other_do_not_lose_collections() {
    for _ in 0..20 {
        let unit = TestUnit::new().await;
        unit.create_collection("c/b/x", "").await;
        unit.create_collection("c/b/y", "").await;
        let (one, two) = (unit.clone(), unit.clone());
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
        assert_eq!(unit.admin_outcome("GET", gone).await.0, 404);
        assert_eq!(unit.admin_outcome("GET", left).await.0, 200);
    }
}
