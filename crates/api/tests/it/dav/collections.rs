//! MKCOL, and the methods of each kind of collection.

use personium_testkit::{TestUnit, collection_body, refused, success};

#[tokio::test]
async fn mkcol_creates_every_collection_kind() {
    let unit = TestUnit::new().await;
    for (kind, shown) in [
        ("", "<collection/>"),
        ("odata", "odata xmlns:p"),
        ("service", "service xmlns:p"),
        ("stream", "stream xmlns:p"),
    ] {
        let path = format!("c/b/col{kind}");
        unit.create_collection(&path, kind).await;
        let response = unit
            .admin_request("PROPFIND", &path)
            .header("depth", "0")
            .send()
            .await;
        assert_eq!(response.status, 207);
        assert!(response.text().contains(shown), "{}", response.text());
        let code = if kind.is_empty() {
            "DV-0001"
        } else {
            "MC-0001"
        };
        assert_eq!(unit.admin_outcome("MKCOL", &path).await, refused(405, code));
    }
    assert_eq!(unit.admin_outcome("MKCOL", "c/b/plain").await, success(201));
    assert_eq!(
        unit.admin_outcome("MKCOL", "c/b/plain/").await,
        refused(405, "DV-0001")
    );
    assert_eq!(
        unit.admin_outcome("GET", "c/b/colservice/__src").await,
        refused(405, "MC-0001")
    );
}

#[tokio::test]
async fn mkcol_with_an_invalid_body_is_refused() {
    let unit = TestUnit::new().await;
    for body in [
        collection_body("calendar"),
        collection_body("odata/><p:service"),
        "<D:mkcol xmlns:D='DAV:'><D:set><D:prop><D:resourcetype/></D:prop></D:set></D:mkcol>"
            .to_owned(),
        "<D:mkcol xmlns:D='DAV:'/>".to_owned(),
    ] {
        let response = unit
            .admin_request("MKCOL", "c/b/x")
            .body(&body)
            .send()
            .await;
        assert_eq!(response.status, 403, "{body}");
        assert_eq!(response.header("content-type"), Some("application/xml"));
        assert!(
            response.text().contains("<valid-resourcetype/>"),
            "{}",
            response.text()
        );
    }
    for body in [
        "",
        "no xml",
        "<D:propfind xmlns:D='DAV:'/>",
        "<!DOCTYPE x []><D:mkcol xmlns:D='DAV:'/>",
    ] {
        let response = unit
            .admin_request("MKCOL", "c/b/x")
            .header("transfer-encoding", "chunked")
            .body(body)
            .send()
            .await;
        assert_eq!(response.outcome(), refused(400, "DV-0001"), "{body}");
    }
    let response = unit
        .admin_request("MKCOL", "c/b/x")
        .body("x".repeat(2 << 20))
        .send()
        .await;
    assert_eq!(response.outcome(), refused(413, "MC-0001"));
    assert_eq!(
        unit.admin_outcome("PROPFIND", "c/b/x").await,
        refused(404, "DV-0001")
    );
}

#[tokio::test]
async fn mkcol_at_an_invalid_parent_is_refused() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/file", "x").await;
    unit.create_collection("c/b/odata", "odata").await;
    unit.create_collection("c/b/svc", "service").await;
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
        assert_eq!(unit.admin_outcome("MKCOL", path).await, outcome, "{path}");
    }
}

#[tokio::test]
async fn mkcol_below_the_depth_limit_is_refused() {
    let unit = TestUnit::with_settings(|s| s.dav.depth_max = 3).await;
    for path in ["c/b/1", "c/b/1/2", "c/b/1/2/3"] {
        assert_eq!(
            unit.admin_outcome("MKCOL", path).await,
            success(201),
            "{path}"
        );
    }
    assert_eq!(
        unit.admin_outcome("MKCOL", "c/b/1/2/3/4").await,
        refused(400, "DV-0008")
    );
    assert_eq!(
        unit.admin_outcome("PUT", "c/b/1/2/3/file").await,
        success(201)
    );
}

#[tokio::test]
async fn main_box_files_are_separate_from_other_boxes() {
    let unit = TestUnit::new().await;
    unit.put_file("c/__/a.txt", "main").await;
    unit.put_file("c/b/a.txt", "b").await;
    assert_eq!(
        unit.admin_request("GET", "c/__/a.txt").send().await.text(),
        "main"
    );
    let response = unit
        .admin_request("PROPFIND", "c/__")
        .header("depth", "1")
        .send()
        .await;
    assert_eq!(
        response.text().matches("<response>").count(),
        2,
        "{}",
        response.text()
    );
}

#[tokio::test]
async fn service_and_stream_requests_check_the_privilege_before_the_target() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/svc", "service").await;
    unit.create_collection("c/b/str", "stream").await;
    let patch = "<D:propertyupdate xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop>\
                 <p:queues><p:queue>q1</p:queue></p:queues><p:topics><p:topic>t1</p:topic></p:topics>\
                 </D:prop></D:set></D:propertyupdate>";
    let response = unit
        .admin_request("PROPPATCH", "c/b/str")
        .body(patch)
        .send()
        .await;
    assert_eq!(response.status, 207);
    for (method, path, outcome) in [
        ("GET", "c/b/svc/run", success(404)),
        ("POST", "c/b/svc/run/deep", success(404)),
        ("PATCH", "c/b/svc/run", refused(405, "MC-0001")),
        ("GET", "c/b/svc", refused(405, "MC-0001")),
        ("PUT", "c/b/str/queue/q1", success(200)),
        ("PUT", "c/b/str/queue/q1(k)", success(200)),
        ("GET", "c/b/str/queue/q2", refused(404, "DV-0001")),
        ("GET", "c/b/str/topic/t1", refused(405, "MC-0001")),
        ("POST", "c/b/str/topic/q1", refused(404, "DV-0001")),
        ("GET", "c/b/str/other", refused(404, "MC-0001")),
        ("GET", "c/b/str", refused(405, "MC-0001")),
    ] {
        assert_eq!(
            unit.admin_outcome(method, path).await,
            outcome,
            "{method} {path}"
        );
    }
    let options = unit
        .admin_request("OPTIONS", "c/b/str/queue/q1")
        .send()
        .await;
    assert_eq!(options.header("allow"), Some("OPTIONS, POST, PUT, GET"));
    let response = unit.request("POST", "c/b/str/queue/q2").send().await;
    assert_eq!(response.outcome(), refused(401, "AU-0001"));
    let response = unit.request("POST", "c/b/svc/run").send().await;
    assert_eq!(response.outcome(), refused(401, "AU-0001"));
}

#[tokio::test]
async fn options_lists_the_methods_of_the_resource_kind() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/file", "x").await;
    unit.create_collection("c/b/col", "").await;
    unit.create_collection("c/b/odata", "odata").await;
    unit.create_collection("c/b/svc", "service").await;
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
        let response = unit.admin_request("OPTIONS", path).send().await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("allow"), Some(allowed), "{path}");
        assert_eq!(
            response.header("access-control-allow-methods"),
            Some(allowed)
        );
        assert_eq!(response.header("dav"), Some("1, 3"), "{path}");
        assert_eq!(response.header("ms-author-via"), Some("DAV"), "{path}");
    }
}

#[tokio::test]
async fn options_without_credentials_says_webdav_for_webdav_urls_only() {
    let unit = TestUnit::new().await;
    for (path, classes) in [
        ("", Some("1, 3")),
        ("c", Some("1, 3")),
        ("c/", Some("1, 3")),
        ("c/b", Some("1, 3")),
        ("c/b/none/none", Some("1, 3")),
        ("none/none", Some("1, 3")),
        ("__ctl/Cell", None),
        ("c/__token", None),
        ("c/__ctl/Role", None),
        ("c/__event", None),
    ] {
        let response = unit.request("OPTIONS", path).send().await;
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.header("dav"), classes, "{path}");
        let author = classes.map(|_| "DAV");
        assert_eq!(response.header("ms-author-via"), author, "{path}");
    }
    let root = unit.admin_request("OPTIONS", "").send().await;
    assert_eq!(root.header("dav"), Some("1, 3"));
}

#[tokio::test]
async fn refused_methods_come_with_those_that_are_supported() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/file", "x").await;
    unit.create_collection("c/b/col", "").await;
    unit.create_odata_collection("c/b/od", "T").await;
    unit.create_collection("c/b/svc", "service").await;
    for (method, path, allowed) in [
        (
            "LOCK",
            "c/b/file",
            "OPTIONS, GET, HEAD, PUT, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        ),
        (
            "COPY",
            "c/b/col",
            "OPTIONS, GET, HEAD, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        ),
        (
            "MKCOL",
            "c/b/col",
            "OPTIONS, GET, HEAD, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        ),
        (
            "PUT",
            "c/b/col",
            "OPTIONS, GET, HEAD, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        ),
        (
            "UNLOCK",
            "c/b",
            "OPTIONS, GET, HEAD, DELETE, PROPFIND, PROPPATCH, ACL",
        ),
        ("LOCK", "c/b/none", "OPTIONS, PUT, MKCOL"),
        (
            "PATCH",
            "c/b/svc",
            "OPTIONS, DELETE, MOVE, PROPFIND, PROPPATCH, ACL",
        ),
        ("DELETE", "c/b/svc/__src", "OPTIONS, PROPFIND"),
        ("LOCK", "c/b/od/T", "OPTIONS, GET, HEAD, POST"),
        (
            "LOCK",
            "c",
            "OPTIONS, GET, HEAD, DELETE, PROPFIND, PROPPATCH, ACL",
        ),
        ("LOCK", "", "OPTIONS, GET, HEAD, PROPFIND"),
        ("DELETE", "c/__token", "OPTIONS, POST"),
        ("POST", "c/__certs", "OPTIONS, GET, HEAD"),
        ("COPY", "c/__ctl/Role", "OPTIONS, GET, HEAD, POST"),
    ] {
        let response = unit.admin_request(method, path).send().await;
        assert_eq!(response.status, 405, "{method} {path}");
        assert_eq!(response.header("allow"), Some(allowed), "{method} {path}");
        assert_eq!(response.header("dav"), None, "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_not_built_says_so() {
    let unit = TestUnit::new().await;
    let archive = "application/zip+x-personium-bar";
    let response = unit.admin_request("REPORT", "c/b").send().await;
    assert_eq!(response.outcome(), refused(501, "MC-0001"));
    // Weighed with zero, the archive is refused by the client.
    let request = unit.admin_request("GET", "c/b");
    let response = request
        .header("accept", &format!("{archive};q=0, */*"))
        .send()
        .await;
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn mkcol_refuses_bodies_of_other_types() {
    let unit = TestUnit::new().await;
    let xml = personium_testkit::collection_body("");
    for (media_type, body, outcome) in [
        ("xzy-foo/bar-512", "afafafaf", refused(415, "MC-0001")),
        ("text/plain", "afafafaf", refused(415, "MC-0001")),
        ("application/json", "{}", refused(415, "MC-0001")),
        ("application/xml", "afafafaf", refused(400, "DV-0001")),
        ("text/xml; charset=utf-8", "<x/>", refused(400, "DV-0001")),
        ("text/plain", &xml, success(201)),
    ] {
        let request = unit.admin_request("MKCOL", "c/b/new");
        let response = request
            .header("content-type", media_type)
            .body(body)
            .send()
            .await;
        assert_eq!(response.outcome(), outcome, "{media_type}: {body}");
    }
}
