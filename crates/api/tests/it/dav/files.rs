//! GET, PUT and DELETE of files.

use crate::harness::{World, done, refused};

#[tokio::test]
async fn what_was_put_is_what_is_read() {
    let world = World::new().await;
    let reply = world
        .ask("PUT", "c/b/a.txt")
        .with("content-type", "Text/Odd; q=1")
        .text("hello")
        .send()
        .await;
    assert_eq!(reply.status, 201);
    let tag = reply.header("etag").unwrap().to_owned();
    let reply = world.ask("GET", "c/b/a.txt").send().await;
    assert_eq!(
        (reply.status.as_u16(), reply.text().as_str()),
        (200, "hello")
    );
    assert_eq!(reply.header("content-type"), Some("Text/Odd; q=1"));
    assert_eq!(reply.header("content-length"), Some("5"));
    assert_eq!(reply.header("accept-ranges"), Some("bytes"));
    assert_eq!(reply.header("etag"), Some(tag.as_str()));

    let reply = world.ask("PUT", "c/b/a.txt").text("").send().await;
    assert_eq!(reply.status, 204);
    assert_ne!(reply.header("etag"), Some(tag.as_str()));
    let reply = world.ask("GET", "c/b/a.txt/").send().await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, ""));
    assert_eq!(reply.header("content-type"), None);
}

#[tokio::test]
async fn head_tells_what_get_would_send() {
    let world = World::new().await;
    for size in [10, 100_000] {
        world.put("c/b/a", &"x".repeat(size)).await;
        let reply = world.ask("HEAD", "c/b/a").send().await;
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.header("content-length"),
            Some(size.to_string().as_str())
        );
        assert!(reply.body.is_empty());
    }
}

#[tokio::test]
async fn names_are_decoded_and_checked() {
    let world = World::new().await;
    world.put("c/b/%E3%81%82%2B%25", "x").await;
    assert_eq!(world.code("GET", "c/b/%e3%81%82+%25").await, done(200));
    for name in [
        "a%5Cb", "a%20b", "a%2Fb", "a%3Ab", "a%2Ab", "a%3Fb", "a%22b", "a%3Cb", "a%7Cb", "a%0Ab",
    ] {
        let refusal = refused(403, "DV-0004");
        assert_eq!(
            world.code("PUT", &format!("c/b/{name}")).await,
            refusal,
            "{name}"
        );
        assert_eq!(
            world.code("MKCOL", &format!("c/b/{name}")).await,
            refusal,
            "{name}"
        );
    }
    assert_eq!(
        world.code("PUT", &format!("c/b/{}", "a".repeat(255))).await,
        done(201)
    );
    assert_eq!(
        world.code("PUT", &format!("c/b/{}", "a".repeat(256))).await,
        refused(403, "DV-0004")
    );
    // The name wins over the missing parent for PUT, the other way round for MKCOL.
    assert_eq!(
        world.code("PUT", "c/b/none/a%20b").await,
        refused(403, "DV-0004")
    );
    assert_eq!(
        world.code("MKCOL", "c/b/none/a%20b").await,
        refused(409, "DV-0001")
    );
    assert_eq!(
        world.code("PUT", "c/b/a%ffb").await,
        refused(404, "MC-0001")
    );
    assert_eq!(world.code("PUT", "c/b//x").await, refused(404, "MC-0001"));
}

#[tokio::test]
async fn what_is_missing_is_told_apart() {
    let world = World::new().await;
    world.put("c/b/file", "x").await;
    world.mkcol("c/b/col", "").await;
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
        ("GET", "c/b/col", done(200)),
    ] {
        assert_eq!(world.code(method, path).await, outcome, "{method} {path}");
    }
    let reply = world.ask("GET", "c/b/col").send().await;
    assert_eq!(reply.text(), "URL : http://unit.example/c/b/col\n");
}

#[tokio::test]
async fn tags_guard_changes_and_spare_reads() {
    let world = World::new().await;
    let tag = world.put("c/b/a", "1").await;
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
        ("PUT", "if-match", tag.clone(), 201),
    ] {
        let reply = world.ask(method, "c/b/a").with(header, &value).send().await;
        assert_eq!(reply.status, status, "{method} {header}: {value}");
        if status == 304 {
            assert_eq!(reply.header("etag"), Some(tag.as_str()));
            assert!(reply.body.is_empty());
        }
    }
}

#[tokio::test]
async fn ranges_of_small_and_large_bodies() {
    let world = World::new().await;
    for size in [100_usize, 700_000] {
        let content: String = (0..size)
            .map(|n| char::from(b'a' + (n % 26) as u8))
            .collect();
        world.put("c/b/a", &content).await;
        for (range, first, last) in [
            ("bytes=0-26", 0, 26),
            ("bytes=10-", 10, size - 1),
            ("bytes=-10", size - 10, size - 1),
            ("bytes=99-99", 99, 99),
            ("bytes=9000000-9000001,0-4", 0, 4),
        ] {
            let reply = world.ask("GET", "c/b/a").with("range", range).send().await;
            assert_eq!(reply.status, 206, "{range}");
            assert_eq!(reply.text(), content[first..=last], "{range}");
            let told = format!("bytes {first}-{last}/{size}");
            assert_eq!(reply.header("content-range"), Some(told.as_str()));
            let length = (last - first + 1).to_string();
            assert_eq!(reply.header("content-length"), Some(length.as_str()));
        }
        for (range, outcome) in [
            ("bytes=9000000-", refused(416, "DV-0001")),
            ("bytes=0-1,5-6", refused(501, "MC-0002")),
            ("bytes=5-3", done(200)),
            ("byte=0-1", done(200)),
        ] {
            let reply = world.ask("GET", "c/b/a").with("range", range).send().await;
            assert_eq!(reply.outcome(), outcome, "{range}");
        }
    }
}

#[tokio::test]
async fn deletion_leaves_neither_record_nor_body() {
    let world = World::new().await;
    let before = world.keys(b"NDBR").await;
    world.put("c/b/small", "x").await;
    world.put("c/b/large", &"x".repeat(100_000)).await;
    assert_eq!(world.bodies().await, 1);
    world.put("c/b/large", &"y".repeat(100_000)).await;
    world.put("c/b/small", "y").await;
    assert_eq!((world.bodies().await, world.keys(b"B").await.len()), (1, 1));
    world.put("c/b/large", "now small").await;
    assert_eq!((world.bodies().await, world.keys(b"R").await.len()), (0, 0));
    for path in ["c/b/small", "c/b/large"] {
        assert_eq!(world.code("DELETE", path).await, done(204));
        assert_eq!(world.code("DELETE", path).await, refused(404, "DV-0001"));
    }
    let mut after = world.keys(b"NDBR").await;
    after.retain(|key| key.as_bytes()[0] != b'D');
    assert_eq!(after, before);
}
