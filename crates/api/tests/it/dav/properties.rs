//! PROPPATCH.

use crate::harness::{World, refused};

fn update(inside: &str) -> String {
    format!(
        "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns' xmlns:Z='urn:z'>{inside}</D:propertyupdate>"
    )
}

async fn find(world: &World, path: &str) -> String {
    world
        .ask("PROPFIND", path)
        .with("depth", "0")
        .send()
        .await
        .text()
}

#[tokio::test]
async fn properties_are_set_replaced_and_removed() {
    let world = World::new().await;
    world.put("c/b/a", "x").await;
    world.mkcol("c/b/col", "").await;
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
        let reply = world.ask("PROPPATCH", path).text(&set).send().await;
        assert_eq!(reply.status, 207, "{path}: {}", reply.text());
        assert!(
            reply.text().contains(&format!("<href>{href}</href>")),
            "{}",
            reply.text()
        );
        let tag = reply.header("etag").unwrap().to_owned();
        let found = find(&world, path).await;
        assert!(found.contains(">A &amp; B<i"), "{found}");

        let change = update(
            "<D:remove><D:prop><p:x/><p:none/></D:prop></D:remove><D:set><D:prop><Z:Author>C</Z:Author><p:x>2</p:x></D:prop></D:set>",
        );
        let reply = world.ask("PROPPATCH", path).text(&change).send().await;
        assert!(
            reply.text().contains("HTTP/1.1 404 Not Found"),
            "{}",
            reply.text()
        );
        assert_ne!(reply.header("etag"), Some(tag.as_str()));
        let found = find(&world, path).await;
        assert!(
            found.contains(">C</") && !found.contains("A &amp; B"),
            "{found}"
        );
        assert!(
            !found.contains(">2</"),
            "sets come first, then removes: {found}"
        );
    }
}

#[tokio::test]
async fn live_properties_are_left_alone() {
    let world = World::new().await;
    world.put("c/b/a", "x").await;
    let set = update("<D:set><D:prop><D:getcontentlength>9</D:getcontentlength></D:prop></D:set>");
    let reply = world.ask("PROPPATCH", "c/b/a").text(&set).send().await;
    assert_eq!(reply.status, 207);
    assert!(
        find(&world, "c/b/a")
            .await
            .contains("<getcontentlength>1</getcontentlength>")
    );
}

#[tokio::test]
async fn bad_bodies_and_places_are_refused() {
    let world = World::with(|s| s.dav.properties_max = 1_000).await;
    world.put("c/b/a", "x").await;
    world.mkcol("c/b/svc", "service").await;
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
            let reply = world.ask("PROPPATCH", path).text(body).send().await;
            assert_eq!(reply.outcome(), outcome, "{path} {body}");
        }
    }
    for (path, outcome) in [
        ("c/b/none", refused(404, "DV-0001")),
        ("c/none", refused(404, "DV-0002")),
        ("c/b/svc/__src", refused(405, "MC-0001")),
    ] {
        let reply = world.ask("PROPPATCH", path).text(&set).send().await;
        assert_eq!(reply.outcome(), outcome, "{path}");
    }
    let reply = world.anybody("PROPPATCH", "c").text(&set).send().await;
    assert_eq!(reply.outcome(), refused(401, "AU-0001"));
    let reply = world
        .ask("PROPPATCH", "c")
        .with("x-personium-unit-user", "http://else.example/#me")
        .text(&set)
        .send()
        .await;
    assert_eq!(reply.outcome(), refused(403, "AU-0003"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_concurrent_change_is_lost() {
    let world = World::new().await;
    world.put("c/b/a", "x").await;
    let writers: Vec<_> = (0..12)
        .map(|n| {
            let world = world.clone();
            tokio::spawn(async move {
                let set = update(&format!(
                    "<D:set><D:prop><p:x{n}>v</p:x{n}></D:prop></D:set>"
                ));
                for path in ["c/b/a", "c/b", "c"] {
                    let reply = world.ask("PROPPATCH", path).text(&set).send().await;
                    assert_eq!(reply.status, 207, "{}", reply.text());
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    for path in ["c/b/a", "c/b", "c"] {
        let found = find(&world, path).await;
        for n in 0..12 {
            assert!(
                found.contains(&format!("p:x{n} ")) || found.contains(&format!("x{n}>")),
                "{n}: {found}"
            );
        }
    }
}
