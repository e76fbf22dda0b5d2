//! MKCOL, and what the kinds of collections allow.

use crate::harness::{World, done, mkcol_body, refused};

#[tokio::test]
async fn kinds_are_made_and_shown() {
    let world = World::new().await;
    for (kind, shown) in [
        ("", "<resourcetype><collection/></resourcetype>"),
        ("odata", "odata xmlns:p"),
        ("service", "service xmlns:p"),
        ("stream", "stream xmlns:p"),
    ] {
        let path = format!("c/b/col{kind}");
        world.mkcol(&path, kind).await;
        let reply = world.ask("PROPFIND", &path).with("depth", "0").send().await;
        assert_eq!(reply.status, 207);
        assert!(reply.text().contains(shown), "{}", reply.text());
        let code = if kind.is_empty() {
            "DV-0001"
        } else {
            "MC-0001"
        };
        assert_eq!(world.code("MKCOL", &path).await, refused(405, code));
    }
    assert_eq!(world.code("MKCOL", "c/b/plain").await, done(201));
    assert_eq!(
        world.code("MKCOL", "c/b/plain/").await,
        refused(405, "DV-0001")
    );
    assert_eq!(
        world.code("GET", "c/b/colservice/__src").await,
        refused(405, "MC-0001")
    );
}

#[tokio::test]
async fn bodies_that_name_no_kind_are_refused() {
    let world = World::new().await;
    for body in [
        mkcol_body("calendar"),
        mkcol_body("odata/><p:service"),
        "<D:mkcol xmlns:D='DAV:'><D:set><D:prop><D:resourcetype/></D:prop></D:set></D:mkcol>"
            .to_owned(),
        "<D:mkcol xmlns:D='DAV:'/>".to_owned(),
    ] {
        let reply = world.ask("MKCOL", "c/b/x").text(&body).send().await;
        assert_eq!(reply.status, 403, "{body}");
        assert_eq!(reply.header("content-type"), Some("application/xml"));
        assert!(
            reply.text().contains("<valid-resourcetype/>"),
            "{}",
            reply.text()
        );
    }
    for body in [
        "",
        "no xml",
        "<D:propfind xmlns:D='DAV:'/>",
        "<!DOCTYPE x []><D:mkcol xmlns:D='DAV:'/>",
    ] {
        let reply = world
            .ask("MKCOL", "c/b/x")
            .with("transfer-encoding", "chunked")
            .text(body)
            .send()
            .await;
        assert_eq!(reply.outcome(), refused(400, "DV-0001"), "{body}");
    }
    let reply = world
        .ask("MKCOL", "c/b/x")
        .text(&"x".repeat(2 << 20))
        .send()
        .await;
    assert_eq!(reply.outcome(), refused(413, "MC-0001"));
    assert_eq!(
        world.code("PROPFIND", "c/b/x").await,
        refused(404, "DV-0001")
    );
}

#[tokio::test]
async fn places_where_no_collection_can_be() {
    let world = World::new().await;
    world.put("c/b/file", "x").await;
    world.mkcol("c/b/odata", "odata").await;
    world.mkcol("c/b/svc", "service").await;
    for (path, outcome) in [
        ("c/b/file", refused(405, "MC-0001")),
        ("c/b/file/x", refused(404, "MC-0001")),
        ("c/b/odata/x", refused(404, "MC-0001")),
        ("c/b/svc/x", refused(405, "MC-0001")),
        ("c/b/svc/__src/x", refused(405, "DV-0001")),
        ("c/b/none/x", refused(409, "DV-0001")),
        ("c/none/x", refused(404, "DV-0002")),
        ("c/b", refused(405, "MC-0001")),
    ] {
        assert_eq!(world.code("MKCOL", path).await, outcome, "{path}");
    }
}

#[tokio::test]
async fn depth_is_limited() {
    let world = World::with(|s| s.dav.depth_max = 3).await;
    for path in ["c/b/1", "c/b/1/2", "c/b/1/2/3"] {
        assert_eq!(world.code("MKCOL", path).await, done(201), "{path}");
    }
    assert_eq!(
        world.code("MKCOL", "c/b/1/2/3/4").await,
        refused(400, "DV-0008")
    );
    assert_eq!(world.code("PUT", "c/b/1/2/3/file").await, done(201));
}

#[tokio::test]
async fn the_main_box_holds_files_apart_from_the_boxes() {
    let world = World::new().await;
    world.put("c/__/a.txt", "main").await;
    world.put("c/b/a.txt", "b").await;
    assert_eq!(world.ask("GET", "c/__/a.txt").send().await.text(), "main");
    let reply = world
        .ask("PROPFIND", "c/__")
        .with("depth", "1")
        .send()
        .await;
    assert_eq!(
        reply.text().matches("<response>").count(),
        2,
        "{}",
        reply.text()
    );
}

#[tokio::test]
async fn services_and_streams_are_asked_after_the_privilege() {
    let world = World::new().await;
    world.mkcol("c/b/svc", "service").await;
    world.mkcol("c/b/str", "stream").await;
    let patch = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                 <p:queues><p:queue>q1</p:queue></p:queues><p:topics><p:topic>t1</p:topic></p:topics>\
                 </D:prop></D:set></D:propertyupdate>";
    let reply = world.ask("PROPPATCH", "c/b/str").text(patch).send().await;
    assert_eq!(reply.status, 207);
    for (method, path, outcome) in [
        ("GET", "c/b/svc/run", refused(500, "SC-0001")),
        ("POST", "c/b/svc/run/deep", refused(500, "SC-0001")),
        ("PATCH", "c/b/svc/run", refused(405, "MC-0001")),
        ("GET", "c/b/svc", refused(405, "MC-0001")),
        ("PUT", "c/b/str/queue/q1", refused(403, "ST-0001")),
        ("PUT", "c/b/str/queue/q1(k)", refused(403, "ST-0001")),
        ("GET", "c/b/str/queue/q2", refused(404, "DV-0001")),
        ("GET", "c/b/str/topic/t1", refused(405, "MC-0001")),
        ("POST", "c/b/str/topic/q1", refused(404, "DV-0001")),
        ("GET", "c/b/str/other", refused(404, "MC-0001")),
        ("GET", "c/b/str", refused(405, "MC-0001")),
    ] {
        assert_eq!(world.code(method, path).await, outcome, "{method} {path}");
    }
    let options = world.ask("OPTIONS", "c/b/str/queue/q1").send().await;
    assert_eq!(options.header("allow"), Some("OPTIONS, POST, PUT, GET"));
    let reply = world.anybody("POST", "c/b/str/queue/q2").send().await;
    assert_eq!(reply.outcome(), refused(401, "AU-0001"));
    let reply = world.anybody("POST", "c/b/svc/run").send().await;
    assert_eq!(reply.outcome(), refused(401, "AU-0001"));
}

#[tokio::test]
async fn options_differ_by_kind() {
    let world = World::new().await;
    world.put("c/b/file", "x").await;
    world.mkcol("c/b/col", "").await;
    world.mkcol("c/b/odata", "odata").await;
    world.mkcol("c/b/svc", "service").await;
    for (path, allowed) in [
        ("c", "OPTIONS, POST, PROPFIND"),
        (
            "c/b",
            "OPTIONS, GET, PUT, DELETE, MKCOL, PROPFIND, PROPPATCH, ACL",
        ),
        (
            "c/b/none",
            "OPTIONS, GET, PUT, DELETE, MKCOL, PROPFIND, PROPPATCH, ACL",
        ),
        (
            "c/b/col",
            "OPTIONS, GET, PUT, DELETE, MKCOL, MOVE, PROPFIND, PROPPATCH, ACL",
        ),
        (
            "c/b/file",
            "OPTIONS, GET, PUT, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        ),
        (
            "c/b/odata",
            "OPTIONS, GET, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        ),
        ("c/b/svc", "OPTIONS, DELETE, MOVE, PROPFIND, PROPPATCH, ACL"),
        ("c/b/svc/__src", "OPTIONS, PROPFIND"),
    ] {
        let reply = world.ask("OPTIONS", path).send().await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.header("allow"), Some(allowed), "{path}");
        assert_eq!(reply.header("access-control-allow-methods"), Some(allowed));
    }
}
