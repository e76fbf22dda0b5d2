//! PROPPATCH.

use personium_testkit::{TestUnit, refused};

use super::update;

async fn find(unit: &TestUnit, path: &str) -> String {
    unit.admin_request("PROPFIND", path)
        .header("depth", "0")
        .send()
        .await
        .joined_lines()
}

#[tokio::test]
async fn proppatch_sets_replaces_and_removes_properties() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "x").await;
    unit.create_collection("c/b/col", "").await;
    for (path, href) in [
        ("c/b/a", "http://unit.example/c/b/a"),
        ("c/b/col", "http://unit.example/c/b/col"),
        ("c/b", "http://unit.example/c/b"),
        ("c/__", "http://unit.example/c/__"),
        ("c", "http://unit.example/c/"),
    ] {
        let set = update(
            "<D:set><D:prop><Z:Author k='1'>A &amp; B<i/></Z:Author><p:x>1</p:x></D:prop></D:set>",
        );
        let response = unit
            .admin_request("PROPPATCH", path)
            .body(&set)
            .send()
            .await;
        assert_eq!(response.status, 207, "{path}: {}", response.text());
        assert!(
            response.text().contains(&format!("<href>{href}</href>")),
            "{}",
            response.text()
        );
        let tag = response.header("etag").unwrap().to_owned();
        let found = find(&unit, path).await;
        assert!(found.contains(">A &amp; B<i"), "{found}");

        let change = update(
            "<D:remove><D:prop><p:x/><p:none/></D:prop></D:remove><D:set><D:prop><Z:Author>C</Z:Author><p:x>2</p:x></D:prop></D:set>",
        );
        let response = unit
            .admin_request("PROPPATCH", path)
            .body(&change)
            .send()
            .await;
        // Removing what does not exist is a success (RFC 4918, section 14.23).
        let statuses = response.text().matches("<status>").count();
        assert!(
            statuses == 1 && response.text().contains("HTTP/1.1 200 OK"),
            "{}",
            response.text()
        );
        assert_ne!(response.header("etag"), Some(tag.as_str()));
        let found = find(&unit, path).await;
        assert!(
            found.contains(">C</") && !found.contains("A &amp; B"),
            "{found}"
        );
        assert!(found.contains(">2</"), "removed, then set: {found}");
    }
}

#[tokio::test]
async fn invalid_proppatch_requests_are_refused() {
    let unit = TestUnit::with_settings(|s| s.dav.properties_max_bytes = 1_000).await;
    unit.put_file("c/b/a", "x").await;
    unit.create_collection("c/b/svc", "service").await;
    let set = update("<D:set><D:prop><p:x>1</p:x></D:prop></D:set>");
    for path in ["c/b/a", "c/b", "c"] {
        for (body, outcome) in [
            ("", refused(400, "DV-0001")),
            ("<x", refused(400, "DV-0001")),
            ("<D:propfind xmlns:D='DAV:'/>", refused(400, "DV-0001")),
            (
                &update("<D:set><D:props><p:x/></D:props></D:set>"),
                refused(400, "DV-0002"),
            ),
            (
                &update(&format!(
                    "<D:set><D:prop><p:x>{}</p:x></D:prop></D:set>",
                    "x".repeat(1_000)
                )),
                refused(413, "MC-0001"),
            ),
        ] {
            let response = unit
                .admin_request("PROPPATCH", path)
                .body(body)
                .send()
                .await;
            assert_eq!(response.outcome(), outcome, "{path} {body}");
        }
    }
    for (path, outcome) in [
        ("c/b/none", refused(404, "DV-0001")),
        ("c/none", refused(404, "DV-0002")),
        ("c/b/svc/__src", refused(405, "MC-0001")),
    ] {
        let response = unit
            .admin_request("PROPPATCH", path)
            .body(&set)
            .send()
            .await;
        assert_eq!(response.outcome(), outcome, "{path}");
    }
    let response = unit.request("PROPPATCH", "c").body(&set).send().await;
    assert_eq!(response.outcome(), refused(401, "AU-0001"));
    let response = unit
        .admin_request("PROPPATCH", "c")
        .header("x-personium-unit-user", "http://else.example/#me")
        .body(&set)
        .send()
        .await;
    assert_eq!(response.outcome(), refused(403, "AU-0003"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_proppatches_are_not_lost() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "x").await;
    let writers: Vec<_> = (0..12)
        .map(|n| {
            let unit = unit.clone();
            tokio::spawn(async move {
                let set = update(&format!(
                    "<D:set><D:prop><p:x{n}>v</p:x{n}></D:prop></D:set>"
                ));
                for path in ["c/b/a", "c/b", "c"] {
                    let response = unit
                        .admin_request("PROPPATCH", path)
                        .body(&set)
                        .send()
                        .await;
                    assert_eq!(response.status, 207, "{}", response.text());
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for path in ["c/b/a", "c/b", "c"] {
        let found = find(&unit, path).await;
        for n in 0..12 {
            assert!(
                found.contains(&format!("p:x{n} ")) || found.contains(&format!("x{n}>")),
                "{n}: {found}"
            );
        }
    }
}
