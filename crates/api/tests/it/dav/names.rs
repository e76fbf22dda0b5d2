//! Names of members at each border: PUT, MKCOL, the destination of MOVE, and dot segments in every path.

use personium_testkit::{TestUnit, refused, success};

/// Sends the three requests that give a name to a member, each for a name below `c/b`; returns the outcomes.
async fn outcomes_of(unit: &TestUnit, name: &str) -> [(u16, String); 3] {
    let put = unit.admin_outcome("PUT", &format!("c/b/put/{name}")).await;
    let mkcol = unit
        .admin_outcome("MKCOL", &format!("c/b/mkcol/{name}"))
        .await;
    let moved = unit
        .admin_request("MOVE", "c/b/source")
        .header(
            "destination",
            &format!("http://unit.example/c/b/move/{name}"),
        )
        .send()
        .await
        .outcome();
    [put, mkcol, moved]
}

async fn unit_with_folders() -> TestUnit {
    let unit = TestUnit::new().await;
    for path in ["c/b/put", "c/b/mkcol", "c/b/move"] {
        unit.create_collection(path, "").await;
    }
    unit.put_file("c/b/source", "x").await;
    unit
}

#[tokio::test]
async fn invalid_names_are_refused_by_put_mkcol_and_move() {
    let unit = unit_with_folders().await;
    let long = "a".repeat(256);
    for name in [
        "a%5Cb", "a%20", "%20", "a%2Fb", "%2F", "a%3Ab", "a%2Ab", "a%3Fb", "a%22b", "a%3Cb",
        "a%3Eb", "a%7Cb", "a%0Ab", "a%00b", "a%7Fb", "a%C2%85b", &long,
    ] {
        let refusal = refused(403, "DV-0004");
        assert_eq!(
            outcomes_of(&unit, name).await,
            [refusal.clone(), refusal.clone(), refusal],
            "{name}"
        );
    }
    // Invalid UTF-8, and empty segments.
    for name in ["a%ffb", "%C3", "/a", "a//"] {
        assert_eq!(
            outcomes_of(&unit, name).await,
            [
                refused(404, "MC-0001"),
                refused(404, "MC-0001"),
                refused(400, "DV-0009")
            ],
            "{name}"
        );
    }
    let source = unit.admin_request("GET", "c/b/source").send().await;
    assert_eq!(source.text(), "x");
}

#[tokio::test]
async fn names_with_spaces_dots_and_letters_of_all_scripts_are_taken_by_put_mkcol_and_move() {
    for name in [
        "My%20Documents",
        "%20a",
        "a%20%20b%20c",
        "...",
        "..a",
        "a..",
        ".hidden",
        "%252e%252e",
        "%23",
        "a;b",
        "%E6%97%A5%E6%9C%AC%20%F0%9F%98%80",
        &"a".repeat(255),
    ] {
        let unit = unit_with_folders().await;
        let created = success(201);
        assert_eq!(
            outcomes_of(&unit, name).await,
            [created.clone(), created.clone(), created],
            "{name}"
        );
        assert_eq!(
            unit.admin_request("GET", &format!("c/b/move/{name}"))
                .send()
                .await
                .text(),
            "x",
            "{name}"
        );
        let listed = unit
            .admin_request("PROPFIND", "c/b/put")
            .header("depth", "1")
            .send()
            .await;
        assert_eq!(
            listed.text().matches("<response>").count(),
            2,
            "{name}: {}",
            listed.text()
        );
        for folder in ["put", "mkcol", "move"] {
            assert_eq!(
                unit.admin_outcome("DELETE", &format!("c/b/{folder}/{name}"))
                    .await,
                success(204),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn path_with_a_dot_segment_is_refused_by_every_method_and_changes_nothing() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/k", "").await;
    unit.create_collection("c/b/k/v", "").await;
    unit.put_file("c/b/k/v/file", "x").await;
    for path in [
        "c/b/k/v/..",
        "c/b/k/v/%2e%2e",
        "c/b/k/v/%2E%2e/",
        "c/b/k/v/.%2E",
        "c/b/k/v/%2e",
        "c/b/k/v/.",
        "c/b/./k",
        "c/b/k/../k/v",
        "c/b/k/%2e%2e/new",
        "c/b/..",
        "c/../b",
        "c/./",
        "c/__ctl/../b/k",
        "c/b/odata/Set('a')/%2e%2e",
    ] {
        for method in [
            "GET",
            "HEAD",
            "PUT",
            "POST",
            "DELETE",
            "MKCOL",
            "MOVE",
            "PROPFIND",
            "PROPPATCH",
            "ACL",
            "MERGE",
        ] {
            let response = unit
                .admin_request(method, path)
                .header("x-personium-recursive", "true")
                .header("depth", "infinity")
                .header("destination", "http://unit.example/c/b/elsewhere")
                .send()
                .await;
            if method == "HEAD" {
                assert_eq!(response.status, 400, "{method} {path}");
            } else {
                response.expect_error(400, "MC-0010");
            }
        }
        let response = unit
            .admin_request("MOVE", "c/b/k/v/file")
            .header("destination", &format!("http://unit.example/{path}"))
            .send()
            .await;
        assert_eq!(response.status, 400, "{path}");
    }
    let file = unit.admin_request("GET", "c/b/k/v/file").send().await;
    assert_eq!(file.text(), "x");
}
