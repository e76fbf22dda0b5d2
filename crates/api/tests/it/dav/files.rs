//! GET, PUT and DELETE of files.

use personium_testkit::{TestUnit, refused, success};

#[tokio::test]
async fn put_file_is_returned_by_get() {
    let unit = TestUnit::new().await;
    let response = unit
        .admin_request("PUT", "c/b/a.txt")
        .header("content-type", "Text/Odd; q=1")
        .body("hello")
        .send()
        .await;
    assert_eq!(response.status, 201);
    let tag = response.header("etag").unwrap().to_owned();
    let response = unit.admin_request("GET", "c/b/a.txt").send().await;
    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (200, "hello")
    );
    assert_eq!(response.header("content-type"), Some("Text/Odd; q=1"));
    assert_eq!(response.header("content-length"), Some("5"));
    assert_eq!(response.header("accept-ranges"), Some("bytes"));
    assert_eq!(response.header("etag"), Some(tag.as_str()));

    let response = unit.admin_request("PUT", "c/b/a.txt").body("").send().await;
    assert_eq!(response.status, 204);
    assert_ne!(response.header("etag"), Some(tag.as_str()));
    let response = unit.admin_request("GET", "c/b/a.txt/").send().await;
    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (200, "")
    );
    assert_eq!(
        response.header("content-type"),
        Some("application/octet-stream")
    );
}

#[tokio::test]
async fn head_returns_the_headers_of_get() {
    let unit = TestUnit::new().await;
    for size in [10, 100_000] {
        unit.put_file("c/b/a", &"x".repeat(size)).await;
        let response = unit.admin_request("HEAD", "c/b/a").send().await;
        assert_eq!(response.status, 200);
        assert_eq!(
            response.header("content-length"),
            Some(size.to_string().as_str())
        );
        assert!(response.body.is_empty());
    }
}

#[tokio::test]
async fn resource_names_are_decoded() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/%E3%81%82%2B%25", "x").await;
    assert_eq!(
        unit.admin_outcome("GET", "c/b/%e3%81%82+%25").await,
        success(200)
    );
    // PUT checks the name before the parent, MKCOL the parent before the name.
    assert_eq!(
        unit.admin_outcome("PUT", "c/b/none/a%3Ab").await,
        refused(403, "DV-0004")
    );
    assert_eq!(
        unit.admin_outcome("MKCOL", "c/b/none/a%3Ab").await,
        refused(409, "DV-0001")
    );
    assert_eq!(
        unit.admin_outcome("PUT", "c/b/a%ffb").await,
        refused(404, "MC-0001")
    );
    assert_eq!(
        unit.admin_outcome("PUT", "c/b//x").await,
        refused(404, "MC-0001")
    );
}

#[tokio::test]
async fn missing_cell_box_parent_and_file_have_distinct_codes() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/file", "x").await;
    unit.create_collection("c/b/col", "").await;
    for (method, path, outcome) in [
        ("GET", "c/none/x", refused(404, "DV-0002")),
        ("PUT", "c/none/x", refused(404, "DV-0002")),
        ("MKCOL", "c/none/x", refused(404, "DV-0002")),
        ("GET", "c/b/x", refused(404, "DV-0001")),
        ("GET", "c/b/x/y/z", refused(404, "DV-0001")),
        ("DELETE", "c/b/x", refused(404, "DV-0001")),
        ("PUT", "c/b/x/y", refused(409, "DV-0001")),
        ("PUT", "c/b/file/x", refused(404, "MC-0001")),
        ("GET", "c/b/file/x", refused(404, "MC-0001")),
        ("PUT", "c/b/col", refused(405, "MC-0001")),
        ("PUT", "c/b", refused(405, "MC-0001")),
        ("POST", "c/b/x", refused(404, "DV-0001")),
        ("POST", "c/b/file", refused(405, "MC-0001")),
        ("COPY", "c/b/file", refused(405, "MC-0001")),
        ("LOCK", "c/b/file", refused(405, "MC-0001")),
        ("REPORT", "c/b/file", refused(501, "MC-0001")),
        ("REPORT", "c/b/x", refused(404, "DV-0001")),
        ("GET", "c/b/col", success(200)),
    ] {
        assert_eq!(
            unit.admin_outcome(method, path).await,
            outcome,
            "{method} {path}"
        );
    }
    let response = unit.admin_request("GET", "c/b/col").send().await;
    assert_eq!(response.text(), "URL : http://unit.example/c/b/col\n");
}

#[tokio::test]
async fn conditional_requests_honour_if_match_and_if_none_match() {
    let unit = TestUnit::new().await;
    let tag = unit.put_file("c/b/a", "1").await;
    for (method, header, value, status) in [
        ("GET", "if-none-match", tag.clone(), 304),
        ("GET", "if-none-match", format!("W/{tag}"), 304),
        ("GET", "if-none-match", "*".to_owned(), 200),
        ("GET", "if-none-match", "\"9-9\"".to_owned(), 200),
        ("PUT", "if-match", "\"9-9\"".to_owned(), 412),
        ("PUT", "if-match", String::new(), 412),
        ("DELETE", "if-match", "\"9-9\"".to_owned(), 412),
        ("PUT", "if-match", format!("W/{tag}"), 204),
        ("PUT", "if-match", tag.clone(), 412),
        ("DELETE", "if-match", "*".to_owned(), 204),
        ("PUT", "if-match", tag.clone(), 412),
        ("PUT", "if-match", "*".to_owned(), 201),
    ] {
        let response = unit
            .admin_request(method, "c/b/a")
            .header(header, &value)
            .send()
            .await;
        assert_eq!(response.status, status, "{method} {header}: {value}");
        if status == 304 {
            assert_eq!(response.header("etag"), Some(tag.as_str()));
            assert!(response.body.is_empty());
        }
    }
}

#[tokio::test]
async fn range_requests_return_parts_of_inline_and_stored_bodies() {
    let unit = TestUnit::new().await;
    for size in [100_usize, 700_000] {
        let content: String = (0..size)
            .map(|n| char::from(b'a' + (n % 26) as u8))
            .collect();
        unit.put_file("c/b/a", &content).await;
        for (range, first, last) in [
            ("bytes=0-26", 0, 26),
            ("bytes=10-", 10, size - 1),
            ("bytes=-10", size - 10, size - 1),
            ("bytes=99-99", 99, 99),
            ("bytes=9000000-9000001,0-4", 0, 4),
        ] {
            let response = unit
                .admin_request("GET", "c/b/a")
                .header("range", range)
                .send()
                .await;
            assert_eq!(response.status, 206, "{range}");
            assert_eq!(response.text(), content[first..=last], "{range}");
            let content_range = format!("bytes {first}-{last}/{size}");
            assert_eq!(
                response.header("content-range"),
                Some(content_range.as_str())
            );
            let length = (last - first + 1).to_string();
            assert_eq!(response.header("content-length"), Some(length.as_str()));
        }
        for (range, outcome) in [
            ("bytes=9000000-", refused(416, "DV-0001")),
            ("bytes=0-1,5-6", refused(501, "MC-0002")),
            ("bytes=5-3", success(200)),
            ("byte=0-1", success(200)),
        ] {
            let response = unit
                .admin_request("GET", "c/b/a")
                .header("range", range)
                .send()
                .await;
            assert_eq!(response.outcome(), outcome, "{range}");
        }
    }
}

#[tokio::test]
async fn deleted_file_leaves_no_record_and_no_body() {
    let unit = TestUnit::new().await;
    let before = unit.record_keys(b"NDBR").await;
    unit.put_file("c/b/small", "x").await;
    unit.put_file("c/b/large", &"x".repeat(100_000)).await;
    assert_eq!(unit.blob_count().await, 1);
    unit.put_file("c/b/large", &"y".repeat(100_000)).await;
    unit.put_file("c/b/small", "y").await;
    assert_eq!(
        (unit.blob_count().await, unit.record_keys(b"B").await.len()),
        (1, 1)
    );
    unit.put_file("c/b/large", "now small").await;
    assert_eq!(
        (unit.blob_count().await, unit.record_keys(b"R").await.len()),
        (0, 0)
    );
    for path in ["c/b/small", "c/b/large"] {
        assert_eq!(unit.admin_outcome("DELETE", path).await, success(204));
        assert_eq!(
            unit.admin_outcome("DELETE", path).await,
            refused(404, "DV-0001")
        );
    }
    let mut after = unit.record_keys(b"NDBR").await;
    after.retain(|key| key.as_bytes()[0] != b'D');
    assert_eq!(after, before);
}
