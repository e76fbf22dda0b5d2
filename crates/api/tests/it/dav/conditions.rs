//! Conditions of requests: every method of every kind of resource, whether it exists or not.

use personium_testkit::{TestRequest, TestUnit, everybody_ace, refused, success};

/// A change of a resource that exists.
struct Change {
    method: &'static str,
    path: &'static str,
    /// The status without conditions, or with conditions that are true.
    done: u16,
}

const PATCH: &str = "<D:propertyupdate xmlns:D='DAV:'><D:set><D:prop><x xmlns='urn:z'>1</x></D:prop></D:set></D:propertyupdate>";
const LONG_AGO: &str = "Sat, 01 Jan 2000 00:00:00 GMT";
const FAR: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

const fn change(method: &'static str, path: &'static str, done: u16) -> Change {
    Change { method, path, done }
}

const CHANGES: &[Change] = &[
    change("PUT", "c/b/file", 204),
    change("DELETE", "c/b/file", 204),
    change("MOVE", "c/b/file", 201),
    change("PROPPATCH", "c/b/file", 207),
    change("ACL", "c/b/file", 200),
    change("PUT", "c/b/svc/__src/file", 204),
    change("DELETE", "c/b/svc/__src/file", 204),
    change("DELETE", "c/b/col", 204),
    change("MOVE", "c/b/col", 201),
    change("PROPPATCH", "c/b/col", 207),
    change("ACL", "c/b/col", 200),
    change("DELETE", "c/b/od", 204),
    change("MOVE", "c/b/svc", 201),
    change("PROPPATCH", "c/b", 207),
    change("ACL", "c/b", 200),
    change("DELETE", "c/b", 204),
    change("PROPPATCH", "c", 207),
    change("ACL", "c", 200),
    change("DELETE", "c", 204),
    change("PUT", "c/b/od/T('k')", 204),
    change("MERGE", "c/b/od/T('k')", 204),
    change("DELETE", "c/b/od/T('k')", 204),
    change("PUT", "c/__ctl/Role('r')", 204),
    change("MERGE", "c/__ctl/Role('r')", 204),
    change("DELETE", "c/__ctl/Role('r')", 204),
    change("PUT", "c/__ctl/Box('b')", 204),
    change("PUT", "__ctl/Cell('c')", 204),
    change("DELETE", "__ctl/Cell('empty')", 204),
    change("MERGE", "c/b/od/$metadata/EntityType('T')", 204),
];

async fn unit_with_resources() -> TestUnit {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/file", "old").await;
    unit.create_collection("c/b/col", "").await;
    unit.put_file("c/b/col/inner", "old").await;
    unit.create_collection("c/b/svc", "service").await;
    unit.put_file("c/b/svc/__src/file", "old").await;
    unit.create_odata_collection("c/b/od", "T").await;
    unit.create("c/b/od/T", r#"{"__id":"k","v":"old"}"#).await;
    unit.create_role("c", "r").await;
    unit.create_cell("empty").await;
    unit
}

fn is_entity(path: &str) -> bool {
    path.contains('(')
}

/// The entity tag of a resource; `None` if it does not exist.
async fn tag_of(unit: &TestUnit, path: &str) -> Option<String> {
    let method = if is_entity(path) { "GET" } else { "PROPFIND" };
    let response = unit
        .admin_request(method, path)
        .header("depth", "0")
        .header("accept", "application/json")
        .send()
        .await;
    response.header("etag").map(str::to_owned)
}

fn request(unit: &TestUnit, change: &Change) -> TestRequest {
    let request = unit.admin_request(change.method, change.path);
    match change.method {
        "MOVE" => request.header("destination", "http://unit.example/c/b/moved"),
        "DELETE" => request.header("x-personium-recursive", "true"),
        "PROPPATCH" => request.body(PATCH),
        "ACL" => request.body(personium_testkit::acl_body("", &everybody_ace(&["D:read"]))),
        "PUT" | "MERGE" if is_entity(change.path) => request.body(match change.path {
            "c/b/od/T('k')" => r#"{"v":"new"}"#,
            "c/__ctl/Role('r')" => r#"{"Name":"r2"}"#,
            "c/__ctl/Box('b')" => r#"{"Name":"b2"}"#,
            "__ctl/Cell('c')" => r#"{"Name":"c2"}"#,
            _ => r#"{"Name":"T2"}"#,
        }),
        _ => request.body("new"),
    }
}

#[tokio::test]
async fn change_of_an_existing_resource_with_a_false_condition_is_refused_and_changes_nothing() {
    let unit = unit_with_resources().await;
    for change in CHANGES {
        let tag = tag_of(&unit, change.path).await.unwrap();
        let records = unit.record_keys(b"NEDBR").await.len();
        let code = if is_entity(change.path) {
            "OD-0002"
        } else {
            "DV-0001"
        };
        let other = if is_entity(change.path) {
            "W/\"9-9\""
        } else {
            "\"9-9\""
        };
        for (name, value) in [
            ("if-none-match", "*".to_owned()),
            ("if-none-match", tag.clone()),
            ("if-none-match", format!("{other}, {tag}")),
            ("if-none-match", "garbage".to_owned()),
            ("if-match", other.to_owned()),
            ("if-match", format!("{other}, \"x\"")),
            ("if-match", format!("{tag}x")),
            ("if-match", String::new()),
            ("if-unmodified-since", LONG_AGO.to_owned()),
            ("if", format!("([{other}])")),
            (
                "if",
                "(<urn:uuid:58f202ac-22cf-11d1-b12d-002035b29092>)".to_owned(),
            ),
            ("if", "(<DAV:no-lock>)".to_owned()),
            ("if", format!("(Not [{tag}])")),
            (
                "if",
                "<http://unit.example/elsewhere> (Not <DAV:no-lock>)".to_owned(),
            ),
            ("if", "garbage".to_owned()),
        ] {
            let outcome = request(&unit, change).header(name, &value).send().await;
            let case = format!("{} {} {name}: {value}", change.method, change.path);
            assert_eq!(outcome.outcome(), refused(412, code), "{case}");
            assert_eq!(
                tag_of(&unit, change.path).await.as_deref(),
                Some(tag.as_str()),
                "{case}"
            );
        }
        assert_eq!(unit.record_keys(b"NEDBR").await.len(), records);
    }
    let file = unit.admin_request("GET", "c/b/file").send().await;
    assert_eq!(file.text(), "old");
}

#[tokio::test]
async fn change_of_an_existing_resource_with_true_conditions_is_carried_out() {
    for change in CHANGES {
        for condition in 0..6 {
            let unit = unit_with_resources().await;
            let tag = tag_of(&unit, change.path).await.unwrap();
            let url = format!("http://unit.example/{}", change.path);
            let conditions = match condition {
                0 => vec![("if-match", "*".to_owned())],
                1 => vec![("if-match", format!("\"x\", {tag}"))],
                2 => vec![("if-match", "\"x\"".to_owned()), ("if-match", tag)],
                3 => vec![
                    ("if-none-match", "\"x\"".to_owned()),
                    ("if-unmodified-since", FAR.to_owned()),
                    ("if-modified-since", FAR.to_owned()),
                ],
                4 => vec![("if", format!("(<urn:x>) (Not <DAV:no-lock> [{tag}])"))],
                _ => vec![("if", format!("<{url}> ([{tag}])"))],
            };
            let conditions: Vec<(&str, &str)> =
                conditions.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let response = request(&unit, change).headers(&conditions).send().await;
            assert_eq!(
                response.outcome(),
                success(change.done),
                "{} {} {conditions:?}: {}",
                change.method,
                change.path,
                response.text()
            );
        }
    }
}

#[tokio::test]
async fn creation_where_nothing_is_needs_conditions_that_are_true_for_nothing() {
    for (method, path) in [
        ("PUT", "c/b/new"),
        ("PUT", "c/b/svc/__src/new"),
        ("MKCOL", "c/b/new"),
    ] {
        for (name, value, done) in [
            ("if-none-match", "*", true),
            ("if-none-match", "\"x\"", true),
            ("if-none-match", "garbage", false),
            // Clients of the original send it with every upload.
            ("if-match", "*", true),
            ("if-match", "\"9-9\"", false),
            ("if-match", "", false),
            ("if-unmodified-since", LONG_AGO, true),
            ("if", "(Not <DAV:no-lock>)", true),
            ("if", "(Not [\"x\"])", true),
            ("if", "([\"x\"])", false),
            ("if", "(<urn:x>)", false),
            ("if", "garbage", false),
        ] {
            let unit = unit_with_resources().await;
            let response = unit
                .admin_request(method, path)
                .header(name, value)
                .send()
                .await;
            let expected = match done {
                true => success(201),
                false => refused(412, "DV-0001"),
            };
            assert_eq!(
                response.outcome(),
                expected,
                "{method} {path} {name}: {value}"
            );
            assert_eq!(tag_of(&unit, path).await.is_some(), done);
        }
    }
}

#[tokio::test]
async fn change_of_nothing_is_not_found_whatever_its_conditions_are() {
    let unit = TestUnit::new().await;
    for (method, path) in [
        ("GET", "c/b/none"),
        ("HEAD", "c/b/none"),
        ("DELETE", "c/b/none"),
        ("MOVE", "c/b/none"),
        ("PROPPATCH", "c/b/none"),
        ("ACL", "c/b/none"),
        ("GET", "c/__ctl/Role('none')"),
        ("PUT", "c/__ctl/Role('none')"),
        ("MERGE", "c/__ctl/Role('none')"),
        ("DELETE", "c/__ctl/Role('none')"),
    ] {
        for (name, value) in [
            ("if-match", "*"),
            ("if-match", "\"x\""),
            ("if-match", "garbage"),
            ("if-none-match", "*"),
            ("if-unmodified-since", LONG_AGO),
            ("if", "(<urn:x>)"),
        ] {
            let response = unit
                .admin_request(method, path)
                .header("destination", "http://unit.example/c/b/moved")
                .header(name, value)
                .body(match method {
                    "PUT" | "MERGE" => r#"{"Name":"x"}"#.to_owned(),
                    "PROPPATCH" => PATCH.to_owned(),
                    "ACL" => personium_testkit::acl_body("", ""),
                    _ => String::new(),
                })
                .send()
                .await;
            assert_eq!(response.status, 404, "{method} {path} {name}: {value}");
        }
    }
}

#[tokio::test]
async fn requests_to_sets_and_links_with_false_conditions_are_refused() {
    let unit = unit_with_resources().await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    unit.link("c", "Account('me')", "_Role", "Role('r')").await;
    unit.create_role("c", "r2").await;
    let uri = r#"{"uri":"http://unit.example/c/__ctl/Role('r2')"}"#;
    for (method, path, body) in [
        ("POST", "c/__ctl/Role", r#"{"Name":"new"}"#),
        ("POST", "c/b/od/T", r#"{"__id":"new"}"#),
        ("POST", "c/__ctl/Account('me')/_Role", r#"{"Name":"new"}"#),
        ("POST", "c/__ctl/Account('me')/$links/_Role", uri),
        ("DELETE", "c/__ctl/Account('me')/$links/_Role('r')", ""),
        ("GET", "c/__ctl/Role", ""),
        ("GET", "c/__ctl/Account('me')/$links/_Role", ""),
        ("GET", "c/__ctl/Account('me')/_Role", ""),
    ] {
        for (name, value) in [
            ("if-match", "W/\"1-1\""),
            ("if-match", "garbage"),
            ("if-none-match", "*"),
            ("if", "(<urn:x>)"),
        ] {
            let response = unit
                .admin_request(method, path)
                .header("accept", "application/json")
                .header(name, value)
                .body(body)
                .send()
                .await;
            let expected = match (method, name) {
                ("GET", "if-none-match") => success(200),
                _ => refused(412, "OD-0002"),
            };
            assert_eq!(
                response.outcome(),
                expected,
                "{method} {path} {name}: {value}"
            );
        }
    }
    let links = unit
        .admin_request("GET", "c/__ctl/Account('me')/$links/_Role")
        .send()
        .await;
    let links = links.results();
    assert_eq!(links.as_array().unwrap().len(), 1, "{links}");
}

#[tokio::test]
async fn reads_are_answered_with_304_412_or_the_content() {
    let unit = unit_with_resources().await;
    for path in ["c/b/file", "c/b/col", "c/b/od/T('k')", "c/__ctl/Role('r')"] {
        let tag = tag_of(&unit, path).await.unwrap();
        let other = "W/\"9-9\"";
        for (conditions, status) in [
            (vec![("if-none-match", tag.clone())], 304),
            (vec![("if-none-match", format!("{other}, {tag}"))], 304),
            (vec![("if-none-match", other.to_owned())], 200),
            // As recorded.
            (vec![("if-none-match", "*".to_owned())], 200),
            (vec![("if-none-match", "garbage".to_owned())], 200),
            (vec![("if-modified-since", FAR.to_owned())], 304),
            (vec![("if-modified-since", LONG_AGO.to_owned())], 200),
            (vec![("if-modified-since", "yesterday".to_owned())], 200),
            (
                vec![
                    ("if-none-match", other.to_owned()),
                    ("if-modified-since", FAR.to_owned()),
                ],
                200,
            ),
            (vec![("if-match", format!("{other}, {tag}"))], 200),
            (vec![("if-match", other.to_owned())], 412),
            (vec![("if-unmodified-since", LONG_AGO.to_owned())], 412),
            (vec![("if-unmodified-since", FAR.to_owned())], 200),
            (vec![("if", format!("([{tag}])"))], 200),
            (vec![("if", "(<urn:x>)".to_owned())], 412),
            (
                vec![
                    ("if-match", other.to_owned()),
                    ("if-none-match", tag.clone()),
                ],
                412,
            ),
        ] {
            let conditions: Vec<(&str, &str)> =
                conditions.iter().map(|(n, v)| (*n, v.as_str())).collect();
            for method in ["GET", "HEAD"] {
                let response = unit
                    .admin_request(method, path)
                    .header("accept", "application/json, text/plain, */*")
                    .headers(&conditions)
                    .send()
                    .await;
                assert_eq!(response.status, status, "{method} {path} {conditions:?}");
                if status == 304 {
                    let sent = (!is_entity(path)).then_some(tag.as_str());
                    assert_eq!(response.header("etag"), sent, "{path}");
                    assert!(response.body.is_empty());
                }
            }
        }
    }
}

#[tokio::test]
async fn propfind_is_done_or_refused_with_412_and_never_304() {
    let unit = unit_with_resources().await;
    for path in ["c/b/file", "c/b/col", "c/b/od", "c/b", "c"] {
        let tag = tag_of(&unit, path).await.unwrap();
        for (name, value, status) in [
            ("if-match", tag.clone(), 207),
            ("if-match", "*".to_owned(), 207),
            ("if-match", "\"9-9\"".to_owned(), 412),
            ("if-unmodified-since", FAR.to_owned(), 207),
            ("if-unmodified-since", LONG_AGO.to_owned(), 412),
            ("if", format!("([{tag}])"), 207),
            ("if", "(<urn:x>)".to_owned(), 412),
            ("if-none-match", "\"9-9\"".to_owned(), 207),
            // RFC 9110, section 13.1.2: 304 is for GET and HEAD.
            ("if-none-match", tag.clone(), 412),
            ("if-none-match", "*".to_owned(), 412),
            // Section 13.1.3: of no other methods than GET and HEAD.
            ("if-modified-since", FAR.to_owned(), 207),
            ("if-modified-since", LONG_AGO.to_owned(), 207),
        ] {
            let request = unit.admin_request("PROPFIND", path).header("depth", "0");
            let response = request.header(name, &value).send().await;
            let expected = match status {
                412 => refused(412, "DV-0001"),
                done => success(done),
            };
            assert_eq!(response.outcome(), expected, "{path} {name}: {value}");
        }
    }
    // Who may not read learns nothing from conditions.
    for (name, value) in [("if-match", "\"9-9\""), ("if-none-match", "*")] {
        for path in ["c/b/file", "c"] {
            let request = unit.request("PROPFIND", path).header("depth", "0");
            let response = request.header(name, value).send().await;
            assert_eq!(response.status, 401, "{path} {name}");
        }
    }
    let none = unit
        .admin_request("PROPFIND", "c/b/none")
        .header("if-match", "\"9-9\"");
    assert_eq!(none.send().await.status, 404);
    // The unit has neither tag nor date.
    for (name, value, status) in [
        ("if-match", "\"9-9\"", 412),
        ("if-unmodified-since", LONG_AGO, 207),
        ("if-modified-since", FAR, 207),
    ] {
        let request = unit.request("PROPFIND", "").header("depth", "0");
        let response = request.header(name, value).send().await;
        assert_eq!(response.status, status, "{name}");
    }
}

#[tokio::test]
async fn methods_that_select_no_representation_ignore_conditions() {
    let unit = unit_with_resources().await;
    for (name, value) in [
        ("if-match", "\"9-9\""),
        ("if-none-match", "*"),
        ("if-unmodified-since", LONG_AGO),
        ("if", "(<urn:x>)"),
    ] {
        for path in ["c/b/file", "c/b", "c", "c/__log/current", "c/__event"] {
            let response = unit
                .admin_request("OPTIONS", path)
                .header(name, value)
                .send()
                .await;
            assert_eq!(response.status, 200, "{path} {name}");
        }
        let fields = [
            ("grant_type", "password"),
            ("username", "nobody"),
            ("password", "wrong-password"),
        ];
        let request = unit.request("POST", "c/__token").header(name, value);
        let response = request.form(&fields).send().await;
        assert_eq!(response.status, 400, "{name}");
    }
}

#[tokio::test]
async fn range_with_a_stale_if_range_returns_the_whole_file() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "0123456789").await;
    let tag = tag_of(&unit, "c/b/a").await.unwrap();
    for (if_range, status) in [
        (tag.as_str(), 206),
        (&format!("W/{tag}"), 200),
        ("\"9-9\"", 200),
        (LONG_AGO, 200),
        (FAR, 200),
        ("garbage", 200),
        ("", 200),
    ] {
        let response = unit
            .admin_request("GET", "c/b/a")
            .header("range", "bytes=2-3")
            .header("if-range", if_range)
            .send()
            .await;
        assert_eq!(response.status, status, "{if_range}");
        let expected = if status == 206 { "23" } else { "0123456789" };
        assert_eq!(response.text(), expected, "{if_range}");
    }
}

#[tokio::test]
async fn concurrent_create_only_uploads_have_one_winner() {
    let unit = TestUnit::new().await;
    let uploads = (0..16).map(|n| {
        let unit = unit.clone();
        tokio::spawn(async move {
            let request = unit
                .admin_request("PUT", "c/b/one")
                .header("if-none-match", "*");
            let response = request.body(format!("{n}")).send().await;
            (n, response.outcome())
        })
    });
    let uploads: Vec<_> = uploads.collect();
    let mut winners = Vec::new();
    for upload in uploads {
        let (n, outcome) = upload.await.unwrap();
        if outcome == success(201) {
            winners.push(n);
        } else {
            assert_eq!(outcome, refused(412, "DV-0001"));
        }
    }
    let [winner] = winners[..] else {
        panic!("{winners:?}");
    };
    let stored = unit.admin_request("GET", "c/b/one").send().await;
    assert_eq!(stored.text(), winner.to_string());
}

#[tokio::test]
async fn part_of_a_content_is_not_taken_for_the_whole() {
    let unit = unit_with_resources().await;
    for (method, path) in [
        ("PUT", "c/b/file"),
        ("PUT", "c/b/new"),
        ("PUT", "c/b/od/T('k')"),
        ("MERGE", "c/b/od/T('k')"),
        ("PUT", "c/__ctl/Role('r')"),
    ] {
        for range in ["bytes 0-2/10", "bytes 3-5/*", "garbage", ""] {
            let response = unit
                .admin_request(method, path)
                .header("content-range", range)
                .body("new")
                .send()
                .await;
            assert_eq!(
                response.outcome(),
                refused(400, "DV-0009"),
                "{method} {path} {range}"
            );
        }
    }
    assert_eq!(
        unit.admin_request("GET", "c/b/file").send().await.text(),
        "old"
    );
    assert_eq!(unit.admin_outcome("GET", "c/b/new").await.0, 404);
}

#[tokio::test]
async fn content_encoding_of_a_file_is_kept_with_it() {
    let unit = TestUnit::new().await;
    let put = async |path: &str, encodings: &[(&str, &str)]| {
        let request = unit.admin_request("PUT", path).headers(encodings);
        request
            .body([0x1f, 0x8b, 8, 0, 1, 2, 3])
            .send()
            .await
            .status
    };
    for size in ["small", "large"] {
        let path = format!("c/b/{size}");
        assert_eq!(put(&path, &[("content-encoding", "gzip")]).await, 201);
    }
    let get = async |method: &str, path: &str| unit.admin_request(method, path).send().await;
    for method in ["GET", "HEAD"] {
        let response = get(method, "c/b/small").await;
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        assert_eq!(response.header("content-length"), Some("7"));
    }
    // Ranges are those of the stored bytes.
    let part = unit
        .admin_request("GET", "c/b/small")
        .header("range", "bytes=0-1")
        .send()
        .await;
    assert_eq!(part.body.as_ref(), [0x1f, 0x8b]);
    let head = unit.admin_request("HEAD", "c/b/small");
    let head = head.header("range", "bytes=0-1").send().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.header("content-length"), Some("7"));
    assert_eq!(part.header("content-encoding"), Some("gzip"));
    let moved = unit
        .admin_request("MOVE", "c/b/small")
        .header("destination", "http://unit.example/c/b/moved")
        .send()
        .await;
    assert_eq!(moved.status, 201);
    let response = get("GET", "c/b/moved").await;
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    assert_eq!(response.body.as_ref(), [0x1f, 0x8b, 8, 0, 1, 2, 3]);
    for (encodings, expected) in [
        (&[("content-encoding", "gzip, br")][..], Some("gzip, br")),
        (
            &[("content-encoding", "gzip"), ("content-encoding", "br")],
            Some("gzip, br"),
        ),
        (&[("content-encoding", "identity")], None),
        (&[("content-encoding", "")], None),
        (&[], None),
    ] {
        assert_eq!(put("c/b/moved", encodings).await, 204);
        let response = get("GET", "c/b/moved").await;
        assert_eq!(
            response.header("content-encoding"),
            expected,
            "{encodings:?}"
        );
    }
    assert_eq!(
        put("c/b/moved", &[("content-encoding", "gzip;q=1")]).await,
        415
    );
}

#[tokio::test]
async fn encoded_bodies_of_other_requests_are_refused() {
    let unit = unit_with_resources().await;
    for (method, path, body) in [
        ("POST", "c/b/od/T", r#"{"__id":"new"}"#),
        ("MERGE", "c/b/od/T('k')", r#"{"v":"new"}"#),
        ("PROPPATCH", "c/b/file", PATCH),
        ("MKCOL", "c/b/new", "x"),
        ("POST", "c/__ctl/Role", r#"{"Name":"new"}"#),
    ] {
        let response = unit
            .admin_request(method, path)
            .header("content-encoding", "gzip")
            .body(body)
            .send()
            .await;
        assert_eq!(
            response.outcome(),
            refused(415, "MC-0001"),
            "{method} {path}"
        );
    }
}
