//! PROPFIND.

use http_body_util::BodyExt;

use crate::harness::{World, different_aces, refused};

const FIND: &str = "<D:propfind xmlns:D='DAV:'><D:allprop/></D:propfind>";

#[tokio::test]
async fn a_file_is_described() {
    let world = World::new().await;
    let reply = world
        .ask("PUT", "c/b/a%C3%A9.txt")
        .with("content-type", "text/plain")
        .text("1234")
        .send()
        .await;
    let tag = reply.header("etag").unwrap().to_owned();
    let reply = world
        .ask("PROPFIND", "c/b/a%C3%A9.txt")
        .with("depth", "0")
        .text(FIND)
        .send()
        .await;
    assert_eq!(reply.status, 207);
    assert_eq!(reply.header("content-type"), Some("application/xml"));
    assert_eq!(reply.header("etag"), Some(tag.as_str()));
    let text = reply.text();
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
async fn depth_and_body_are_checked_in_order() {
    let world = World::new().await;
    world.put("c/b/a", "x").await;
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
            let mut ask = world.ask("PROPFIND", path).text(body);
            if let Some(depth) = depth {
                ask = ask.with("depth", depth);
            }
            assert_eq!(
                ask.send().await.outcome(),
                outcome,
                "{path} {depth:?} {body}"
            );
        }
    }
    assert_eq!(
        world.code("PROPFIND", "c").await.0,
        207,
        "a cell needs no depth"
    );
    let deep = world
        .ask("PROPFIND", "c")
        .with("depth", "infinity")
        .send()
        .await;
    assert_eq!(deep.outcome(), refused(403, "DV-0001"));
    let deep = world.ask("PROPFIND", "c").with("depth", "7").send().await;
    assert_eq!(deep.outcome(), refused(400, "DV-0003"));
}

#[tokio::test]
async fn members_come_page_by_page_and_none_is_missing() {
    let world = World::new().await;
    world.mkcol("c/b/col", "").await;
    let mut names: Vec<String> = (0..200).map(|n| format!("f{n}")).collect();
    for name in &names {
        world.put(&format!("c/b/col/{name}"), "x").await;
    }
    for wanted in [200, 128, 64, 63, 1, 0] {
        for name in names.split_off(wanted) {
            assert_eq!(
                world.code("DELETE", &format!("c/b/col/{name}")).await.0,
                204
            );
        }
        let reply = world
            .ask("PROPFIND", "c/b/col")
            .with("depth", "1")
            .send()
            .await;
        let text = reply.text();
        assert_eq!(text.matches("<response>").count(), wanted + 1);
        assert!(text.starts_with("<multistatus") && text.ends_with("</multistatus>"));
        for name in &names {
            assert!(text.contains(&format!("/c/b/col/{name}</href>")), "{name}");
        }
    }
    let reply = world
        .ask("PROPFIND", "c/b/col")
        .with("depth", "0")
        .send()
        .await;
    assert_eq!(reply.text().matches("<response>").count(), 1);
}

/// The pieces that a PROPFIND answer is sent in.
async fn pieces(world: &World, path: &str, depth: &str) -> Vec<String> {
    let ask = world.ask("PROPFIND", path).with("depth", depth);
    let mut body = ask.start().await.into_body();
    let mut pieces = Vec::new();
    while let Some(frame) = body.frame().await {
        let piece = frame.unwrap().into_data().unwrap();
        pieces.push(String::from_utf8(piece.to_vec()).unwrap());
    }
    pieces
}

/// Bytes of a piece that are enough to send it, and of what may come on top: an entry, or properties.
const PIECE: usize = 256 << 10;
const SLACK: usize = 8 << 10;

#[tokio::test]
async fn long_lists_are_sent_in_pieces() {
    let world = World::new().await;
    world.mkcol("c/b/col", "").await;
    world.set_acl("c/b", &different_aces(256)).await;
    world.set_acl("c/b/col", &different_aces(255)).await;
    for name in 0..70 {
        world.put(&format!("c/b/col/f{name}"), "x").await;
    }
    world.set_acl("c/b/col/f0", &different_aces(2)).await;
    let pieces = pieces(&world, "c/b/col", "1").await;
    let (last, full) = pieces.split_last().unwrap();
    assert!(full.len() > 10, "{}", full.len());
    let lengths = PIECE..PIECE + SLACK;
    assert!(full.iter().all(|piece| lengths.contains(&piece.len())));
    assert!(last.len() < lengths.end);

    let text = pieces.concat();
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
async fn a_resource_deep_below_long_lists_is_sent_in_pieces() {
    let world = World::with(|settings| settings.dav.depth_max = 12).await;
    let mut path = "c/b".to_owned();
    for _ in 0..12 {
        path = format!("{path}/{}", "long".repeat(50));
        world.mkcol(&path, "").await;
        world.set_acl(&path, &different_aces(256)).await;
    }
    let pieces = pieces(&world, &path, "0").await;
    assert!(pieces.len() > 10, "{}", pieces.len());
    assert!(pieces.iter().all(|piece| piece.len() < PIECE + SLACK));
    assert_eq!(pieces.concat().matches("<ace>").count(), 12 * 256);
}

#[tokio::test]
async fn collections_list_what_their_kind_shows() {
    let world = World::new().await;
    world.mkcol("c/b/svc", "service").await;
    world.mkcol("c/b/odata", "odata").await;
    world
        .make("c/b/odata/$metadata/EntityType", r#"{"Name":"T"}"#)
        .await;
    for (path, count, member) in [
        ("c/b/svc", 2, "/c/b/svc/__src</href>"),
        ("c/b/odata", 1, "/c/b/odata</href>"),
        ("c/b", 3, "/c/b/svc</href>"),
        ("c/b/svc/__src", 1, "/c/b/svc/__src</href>"),
        ("c", 1, "<href>http://unit.example/c</href>"),
    ] {
        let reply = world.ask("PROPFIND", path).with("depth", "1").send().await;
        let text = reply.text();
        assert_eq!(text.matches("<response>").count(), count, "{path}: {text}");
        assert!(text.contains(member), "{path}: {text}");
    }
    let reply = world.ask("PROPFIND", "c").send().await;
    assert!(
        reply.text().contains(">normal</p:cellstatus>"),
        "{}",
        reply.text()
    );
    assert!(
        reply
            .text()
            .contains("xml:base=\"http://unit.example/c/__role/__/\"")
    );
}
