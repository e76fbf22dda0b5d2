//! PROPFIND.

use http_body_util::BodyExt;
use personium_testkit::{TestResponse, TestUnit, distinct_aces, refused};

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
    let text = response.joined_lines();
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
        (Some("2"), "", refused(400, "DV-0003")),
        (Some(""), "", refused(400, "DV-0003")),
        (Some("1, 0"), "", refused(400, "DV-0003")),
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
const SLACK_BYTES: usize = 16 << 10;

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

    let text: String = chunks.concat().lines().map(str::trim_start).collect();
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

/// Sends a PROPFIND with this depth, if any, and body.
async fn find(unit: &TestUnit, path: &str, depth: Option<&str>, inside: &str) -> TestResponse {
    let body = match inside {
        "" => String::new(),
        _ => format!("<D:propfind xmlns:D='DAV:'>{inside}</D:propfind>"),
    };
    let mut request = unit.admin_request("PROPFIND", path).body(&body);
    if let Some(depth) = depth {
        request = request.header("depth", depth);
    }
    request.send().await
}

fn hrefs(response: &TestResponse) -> Vec<String> {
    let text = response.text();
    let responses = text.split("<response>").skip(1);
    let href = |part: &str| {
        let (_, rest) = part.split_once("<href>http://unit.example/").unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    responses.map(href).collect()
}

#[tokio::test]
async fn propfind_without_depth_and_with_infinity_lists_everything_below() {
    let unit = TestUnit::new().await;
    for path in ["c/b/a", "c/b/a/b", "c/b/a/b/c", "c/b/z"] {
        unit.create_collection(path, "").await;
    }
    unit.create_collection("c/b/a/od", "odata").await;
    unit.create_collection("c/b/a/svc", "service").await;
    for path in ["c/b/a/b/c/f", "c/b/a/f", "c/b/y"] {
        unit.put_file(path, "x").await;
    }
    unit.set_acl("c/b/a/b", &distinct_aces(2)).await;
    let all = [
        "c/b",
        "c/b/a",
        "c/b/a/b",
        "c/b/a/b/c",
        "c/b/a/b/c/f",
        "c/b/a/f",
        "c/b/a/od",
        "c/b/a/svc",
        "c/b/a/svc/__src",
        "c/b/y",
        "c/b/z",
    ];
    for depth in [None, Some("infinity"), Some("Infinity")] {
        let response = find(&unit, "c/b", depth, "").await;
        assert_eq!(response.status, 207, "{depth:?}");
        assert_eq!(hrefs(&response), all, "{depth:?}");
        // The list of a collection is inherited by all below it, and by nothing else.
        let from = "<inherited><href>http://unit.example/c/b/a/b</href>";
        let text = response.joined_lines();
        assert_eq!(text.matches(from).count(), 2 * 2, "{text}");
        assert_eq!(text.matches("<ace>").count(), 2 + 2 * 2);
    }
    let file = find(&unit, "c/b/y", None, "").await;
    assert_eq!(hrefs(&file), ["c/b/y"]);
    assert_eq!(
        hrefs(&find(&unit, "c/b", Some("1"), "").await),
        ["c/b", "c/b/a", "c/b/y", "c/b/z"]
    );
}

#[tokio::test]
async fn propfind_of_too_many_resources_names_the_precondition() {
    let unit = TestUnit::with_settings(|settings| settings.dav.children_max = 200).await;
    // 100 collections with 101 members each are more than 10,000 resources.
    for outer in 0..100 {
        let folder = format!("c/b/d{outer}");
        unit.create_collection(&folder, "").await;
        for inner in 0..101 {
            let path = format!("{folder}/{inner}");
            assert_eq!(unit.admin_outcome("MKCOL", &path).await.0, 201);
        }
    }
    for depth in [None, Some("infinity")] {
        let response = find(&unit, "c/b", depth, "").await;
        assert_eq!(response.status, 403);
        assert_eq!(response.header("content-type"), Some("application/xml"));
        let text = response.text();
        assert!(text.contains("\n    <propfind-finite-depth/>\n"), "{text}");
        assert!(text.contains(">PR403-DV-0001</p:code>"), "{text}");
    }
    assert_eq!(find(&unit, "c/b/d0", None, "").await.status, 207);
    assert_eq!(find(&unit, "c/b", Some("1"), "").await.status, 207);
}

#[tokio::test]
async fn propfind_answers_the_properties_that_are_named() {
    let unit = TestUnit::new().await;
    let tag = unit.put_file("c/b/a%26c", "1234").await;
    let body = "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='urn:x'>v <y/>\n  w</x></prop></set></propertyupdate>";
    assert_eq!(
        unit.admin()
            .call("PROPPATCH", "c/b/a%26c", body)
            .await
            .status,
        207
    );
    let names = "<D:prop><D:displayname/><D:getetag/><D:getcontentlength/><x xmlns='urn:x'/><none xmlns='urn:x'/>\
                 <D:quota-used-bytes/></D:prop>";
    let response = find(&unit, "c/b/a%26c", Some("0"), names).await;
    let tag_now = response.header("etag").unwrap().to_owned();
    assert_ne!(tag, tag_now);
    let text = response.text();
    for line in [
        "                <displayname>a&amp;c</displayname>\n",
        "                <getcontentlength>4</getcontentlength>\n",
        &format!("                <getetag>{tag_now}</getetag>\n"),
        "                <x xmlns=\"urn:x\">v <y/>\n  w</x>\n",
        "            <status>HTTP/1.1 200 OK</status>\n",
        "                <none xmlns=\"urn:x\"/>\n                <quota-used-bytes/>\n            </prop>\n            \
         <status>HTTP/1.1 404 Not Found</status>\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("creationdate"), "{text}");
    let got = unit.admin_request("GET", "c/b/a%26c").send().await;
    assert_eq!(got.header("etag"), Some(tag_now.as_str()));
    let modified = got.header("last-modified").unwrap();
    let shown = find(
        &unit,
        "c/b/a%26c",
        Some("0"),
        "<D:prop><D:getlastmodified/></D:prop>",
    )
    .await;
    assert!(
        shown.text().contains(&format!(">{modified}<")),
        "{modified}"
    );
    let head = unit.admin_request("HEAD", "c/b/a%26c").send().await;
    assert_eq!(head.header("last-modified"), Some(modified));

    let names = find(&unit, "c/b", Some("1"), "<D:propname/>")
        .await
        .joined_lines();
    assert!(
        names.contains("<prop><creationdate/><displayname/><getetag/>"),
        "{names}"
    );
    assert!(
        names.contains("<x xmlns=\"urn:x\"/></prop>") && !names.contains("404"),
        "{names}"
    );
    let all = "<D:allprop/><D:include><D:getetag/></D:include>";
    let all = find(&unit, "c/b", Some("1"), all).await.joined_lines();
    assert_eq!(all.matches("<getetag>").count(), 2, "{all}");
    assert_eq!(all.matches("<creationdate>").count(), 2, "{all}");
}

#[tokio::test]
async fn access_list_that_is_named_but_may_not_be_read_is_forbidden() {
    let unit = TestUnit::new().await;
    unit.grant_to_everybody("c/b", &["D:read-properties"]).await;
    let body = "<propfind xmlns='DAV:'><prop><acl/><resourcetype/></prop></propfind>";
    let request = unit
        .request("PROPFIND", "c/b")
        .header("depth", "0")
        .body(body);
    let text = request.send().await.joined_lines();
    assert!(
        text.contains("<prop><acl/></prop><status>HTTP/1.1 403 Forbidden</status>"),
        "{text}"
    );
    let request = unit
        .admin_request("PROPFIND", "c/b")
        .header("depth", "0")
        .body(body);
    let text = request.send().await.joined_lines();
    assert!(
        text.contains("<acl xml:base=") && !text.contains("403"),
        "{text}"
    );
}

/// Requests that Windows Explorer and other programs send before they mount `{unit}c/b`.
#[tokio::test]
async fn programs_find_the_way_down_to_a_box_with_a_password() {
    let unit = TestUnit::new().await;
    unit.create_account("c", r#"{"Name":"me"}"#).await;
    let password = "Basic bWU6cGFzc3dvcmQx"; // me:password1
    let root = unit
        .request("PROPFIND", "")
        .header("depth", "0")
        .send()
        .await;
    assert_eq!(root.status, 207);
    assert_eq!(hrefs(&root), [""]);
    let root = unit
        .request("PROPFIND", "")
        .header("authorization", password)
        .header("depth", "1")
        .send()
        .await;
    assert_eq!(hrefs(&root), [""], "cells are not listed");
    let refusal = unit
        .request("PROPFIND", "")
        .header("depth", "infinity")
        .send()
        .await;
    assert_eq!(refusal.outcome(), refused(403, "DV-0001"));

    let anonymous = unit
        .request("PROPFIND", "c")
        .header("depth", "0")
        .send()
        .await;
    assert_eq!(anonymous.outcome(), refused(401, "AU-0001"));
    let offers: Vec<_> = anonymous
        .headers
        .get_all("www-authenticate")
        .iter()
        .collect();
    assert_eq!(
        offers,
        [
            "Bearer realm=\"http://unit.example/c/\"",
            "Basic realm=\"http://unit.example/c/\""
        ]
    );
    let with = |method: &str, password: &str| {
        unit.request(method, "c")
            .header("authorization", password)
            .header("depth", "0")
    };
    let cell = with("PROPFIND", password).send().await;
    assert_eq!(cell.status, 207);
    assert_eq!(hrefs(&cell), ["c"]);
    let text = cell.text();
    assert!(text.contains("<collection/>"), "{text}");
    for hidden in ["acl", "cellstatus", "creationdate"] {
        assert!(!text.contains(hidden), "{text}");
    }
    assert_eq!(with("OPTIONS", password).send().await.status, 200);
    let wrong = with("PROPFIND", "Basic bWU6d3JvbmcxMjM=").send().await;
    assert_eq!(wrong.outcome(), refused(401, "AU-0011"));
    assert_eq!(with("PROPPATCH", password).send().await.status, 401);
}

#[tokio::test]
async fn storage_is_shown_to_who_may_store_something() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/file", "x").await;
    let inside = "<prop><quota-available-bytes/><quota-used-bytes/><resourcetype/></prop>";
    let body = format!("<propfind xmlns='DAV:'>{inside}</propfind>");
    for (granted, path, is_shown) in [
        (&["D:read-properties", "D:bind"][..], "c/b", true),
        (&["D:read-properties"], "c/b", false),
        (&["D:read-properties", "D:bind"], "c/b/file", false),
    ] {
        unit.grant_to_everybody("c/b", granted).await;
        let request = unit.request("PROPFIND", path).header("depth", "0");
        let text = request.body(&body).send().await.text();
        let shown = text.contains("<quota-available-bytes>") && text.contains("<quota-used-bytes>");
        assert_eq!(shown, is_shown, "{granted:?} {path}: {text}");
        assert_eq!(text.contains("404 Not Found"), !is_shown, "{text}");
    }
}
