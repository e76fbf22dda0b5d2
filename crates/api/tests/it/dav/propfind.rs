//! PROPFIND.

use http_body_util::BodyExt;
use personium_testkit::{TestUnit, distinct_aces, refused};

const FIND: &str = "<D:propfind xmlns:D='DAV:'><D:allprop/></D:propfind>";

#[tokio::test]
async fn propfind_describes_a_file() {
    let unit = TestUnit::new().await;
    let response = unit
        .admin_request("PUT", "c/b/a%C3%A9.txt")
        .header("content-type", "text/plain")
        .body("1234")
        .send()
        .await;
    let tag = response.header("etag").unwrap().to_owned();
    let response = unit
        .admin_request("PROPFIND", "c/b/a%C3%A9.txt")
        .header("depth", "0")
        .body(FIND)
        .send()
        .await;
    assert_eq!(response.status, 207);
    assert_eq!(response.header("content-type"), Some("application/xml"));
    assert_eq!(response.header("etag"), Some(tag.as_str()));
    let text = response.text();
    for part in [
        "<href>http://unit.example/c/b/a%C3%A9.txt</href>",
        "<getcontentlength>4</getcontentlength><getcontenttype>text/plain</getcontenttype>",
        "<resourcetype/>",
        "<acl xml:base=\"http://unit.example/c/__role/b/\"",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn propfind_validates_depth_and_body_in_order() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "x").await;
    for (depth, body, outcome) in [
        (None, "", refused(400, "DV-0003")),
        (Some("2"), "", refused(400, "DV-0003")),
        (Some("Infinity"), "", refused(400, "DV-0003")),
        (Some("infinity"), "", refused(403, "DV-0001")),
        (Some("infinity"), "<x/>", refused(400, "DV-0001")),
        (Some("0"), "<propfind/>", refused(400, "DV-0001")),
        (Some("0"), "no xml", refused(400, "DV-0001")),
    ] {
        for path in ["c/b/a", "c/b"] {
            let mut request = unit.admin_request("PROPFIND", path).body(body);
            if let Some(depth) = depth {
                request = request.header("depth", depth);
            }
            assert_eq!(
                request.send().await.outcome(),
                outcome,
                "{path} {depth:?} {body}"
            );
        }
    }
    assert_eq!(
        unit.admin_outcome("PROPFIND", "c").await.0,
        207,
        "a cell needs no depth"
    );
    let deep = unit
        .admin_request("PROPFIND", "c")
        .header("depth", "infinity")
        .send()
        .await;
    assert_eq!(deep.outcome(), refused(403, "DV-0001"));
    let deep = unit
        .admin_request("PROPFIND", "c")
        .header("depth", "7")
        .send()
        .await;
    assert_eq!(deep.outcome(), refused(400, "DV-0003"));
}

#[tokio::test]
async fn propfind_lists_every_member_across_pages() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/col", "").await;
    let mut names: Vec<String> = (0..200).map(|n| format!("f{n}")).collect();
    for name in &names {
        unit.put_file(&format!("c/b/col/{name}"), "x").await;
    }
    for wanted in [200, 128, 64, 63, 1, 0] {
        for name in names.split_off(wanted) {
            assert_eq!(
                unit.admin_outcome("DELETE", &format!("c/b/col/{name}"))
                    .await
                    .0,
                204
            );
        }
        let response = unit
            .admin_request("PROPFIND", "c/b/col")
            .header("depth", "1")
            .send()
            .await;
        let text = response.text();
        assert_eq!(text.matches("<response>").count(), wanted + 1);
        assert!(text.starts_with("<multistatus") && text.ends_with("</multistatus>"));
        for name in &names {
            assert!(text.contains(&format!("/c/b/col/{name}</href>")), "{name}");
        }
    }
    let response = unit
        .admin_request("PROPFIND", "c/b/col")
        .header("depth", "0")
        .send()
        .await;
    assert_eq!(response.text().matches("<response>").count(), 1);
}

/// Sends a PROPFIND; returns the chunks of the response body.
async fn chunks(unit: &TestUnit, path: &str, depth: &str) -> Vec<String> {
    let request = unit.admin_request("PROPFIND", path).header("depth", depth);
    let mut body = request.send_streaming().await.unwrap().into_body();
    let mut chunks = Vec::new();
    while let Some(frame) = body.frame().await {
        let chunk = frame.unwrap().into_data().unwrap();
        chunks.push(String::from_utf8(chunk.to_vec()).unwrap());
    }
    chunks
}

/// The size at which a chunk is sent, and the largest entry that may exceed it.
const CHUNK_BYTES: usize = 256 << 10;
const SLACK_BYTES: usize = 8 << 10;

#[tokio::test]
async fn propfind_of_many_members_is_sent_in_chunks() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/col", "").await;
    unit.set_acl("c/b", &distinct_aces(256)).await;
    unit.set_acl("c/b/col", &distinct_aces(255)).await;
    for name in 0..70 {
        unit.put_file(&format!("c/b/col/f{name}"), "x").await;
    }
    unit.set_acl("c/b/col/f0", &distinct_aces(2)).await;
    let chunks = chunks(&unit, "c/b/col", "1").await;
    let (last, full) = chunks.split_last().unwrap();
    assert!(full.len() > 10, "{}", full.len());
    let lengths = CHUNK_BYTES..CHUNK_BYTES + SLACK_BYTES;
    assert!(full.iter().all(|chunk| lengths.contains(&chunk.len())));
    assert!(last.len() < lengths.end);

    let text = chunks.concat();
    let from = |url: &str| format!("<inherited><href>http://unit.example/{url}</href>");
    for (part, count) in [
        ("<response>", 71),
        ("</response>", 71),
        ("<ace>", 71 * 511 + 2),
        (from("c/b").as_str(), 71 * 256),
        (from("c/b/col").as_str(), 70 * 255),
        ("</multistatus>", 1),
    ] {
        assert_eq!(text.matches(part).count(), count, "{part}");
    }
    assert!(text.ends_with("</response></multistatus>"));
}

#[tokio::test]
async fn propfind_of_a_deep_resource_with_long_acls_is_sent_in_chunks() {
    let unit = TestUnit::with_settings(|settings| settings.dav.depth_max = 12).await;
    let mut path = "c/b".to_owned();
    for _ in 0..12 {
        path = format!("{path}/{}", "long".repeat(50));
        unit.create_collection(&path, "").await;
        unit.set_acl(&path, &distinct_aces(256)).await;
    }
    let chunks = chunks(&unit, &path, "0").await;
    assert!(chunks.len() > 10, "{}", chunks.len());
    assert!(
        chunks
            .iter()
            .all(|chunk| chunk.len() < CHUNK_BYTES + SLACK_BYTES)
    );
    assert_eq!(chunks.concat().matches("<ace>").count(), 12 * 256);
}

#[tokio::test]
async fn propfind_lists_the_members_of_each_collection_kind() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/svc", "service").await;
    unit.create_collection("c/b/odata", "odata").await;
    unit.create("c/b/odata/$metadata/EntityType", r#"{"Name":"T"}"#)
        .await;
    for (path, count, member) in [
        ("c/b/svc", 2, "/c/b/svc/__src</href>"),
        ("c/b/odata", 1, "/c/b/odata</href>"),
        ("c/b", 3, "/c/b/svc</href>"),
        ("c/b/svc/__src", 1, "/c/b/svc/__src</href>"),
        ("c", 1, "<href>http://unit.example/c</href>"),
    ] {
        let response = unit
            .admin_request("PROPFIND", path)
            .header("depth", "1")
            .send()
            .await;
        let text = response.text();
        assert_eq!(text.matches("<response>").count(), count, "{path}: {text}");
        assert!(text.contains(member), "{path}: {text}");
    }
    let response = unit.admin_request("PROPFIND", "c").send().await;
    assert!(
        response.text().contains(">normal</p:cellstatus>"),
        "{}",
        response.text()
    );
    assert!(
        response
            .text()
            .contains("xml:base=\"http://unit.example/c/__role/__/\"")
    );
}
