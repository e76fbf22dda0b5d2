//! ACL requests, and access control lists in PROPFIND responses.

use personium_testkit::{TestUnit, acl_body, distinct_aces, refused, success};

fn ace(principal: &str, privilege: &str) -> String {
    format!(
        "<D:ace><D:principal>{principal}</D:principal><D:grant><D:privilege>{privilege}</D:privilege></D:grant></D:ace>"
    )
}

async fn find(unit: &TestUnit, path: &str) -> String {
    unit.admin_request("PROPFIND", path)
        .header("depth", "0")
        .send()
        .await
        .joined_lines()
}

async fn unit_with_roles() -> TestUnit {
    let unit = TestUnit::new().await;
    unit.create("c/__ctl/Role", r#"{"Name":"main"}"#).await;
    unit.create("c/__ctl/Role", r#"{"Name":"own","_Box.Name":"b"}"#)
        .await;
    unit.create("c/__ctl/Role", r#"{"Name":"other","_Box.Name":"app"}"#)
        .await;
    unit.put_file("c/b/a", "x").await;
    unit
}

#[tokio::test]
async fn acl_roles_are_shown_relative_to_the_box() {
    let unit = unit_with_roles().await;
    let aces = ace("<D:href>own</D:href>", "<D:read/>")
        + &ace("<D:href>../__/main</D:href>", "<p:exec/>")
        + &ace(
            "<D:href>http://unit.example:81/c/__role/app/other</D:href>",
            "<D:write/>",
        )
        + &ace("<D:all/>", "<D:read-properties/>");
    let body = acl_body("p:requireSchemaAuthz='public'", &aces);
    let response = unit.admin_request("ACL", "c/b").body(&body).send().await;
    assert_eq!(
        (response.status.as_u16(), response.text().as_str()),
        (200, "")
    );
    let text = find(&unit, "c/b").await;
    assert!(text.contains("p:requireSchemaAuthz=\"public\""), "{text}");
    for part in [
        "<href>own</href>",
        "<href>../__/main</href>",
        "<href>../app/other</href>",
        "<all/>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Resources below the box show inherited entries, but not the required schema level.
    unit.set_acl("c/b/a", &ace("<D:href>own</D:href>", "<D:all/>"))
        .await;
    let text = find(&unit, "c/b/a").await;
    assert_eq!(text.matches("<ace>").count(), 5, "{text}");
    let inherited = "<inherited><href>http://unit.example/c/b</href></inherited>";
    assert_eq!(text.matches(inherited).count(), 4, "{text}");
    assert!(text.find("<all/></privilege>").unwrap() < text.find(inherited).unwrap());
    assert!(!text.contains("requireSchemaAuthz"));
    let text = unit
        .admin_request("PROPFIND", "c/b")
        .header("depth", "1")
        .send()
        .await
        .joined_lines();
    assert_eq!(
        text.matches(inherited).count(),
        4,
        "members show inherited entries: {text}"
    );
    // A renamed role keeps its grants, a deleted one disappears from the list.
    let response = unit
        .admin_request("PUT", "c/__ctl/Role(Name='own',_Box.Name='b')")
        .header("if-match", "*")
        .body(r#"{"Name":"renamed","_Box.Name":"b"}"#)
        .send()
        .await;
    assert_eq!(response.status, 204, "{}", response.text());
    assert_eq!(
        unit.admin_outcome("DELETE", "c/__ctl/Role('main')").await.0,
        204
    );
    let text = find(&unit, "c/b").await;
    assert!(
        text.contains("<href>renamed</href>") && !text.contains("main"),
        "{text}"
    );
    unit.set_acl("c/b", "").await;
    let text = find(&unit, "c/b").await;
    assert!(!text.contains("<ace>") && text.contains("<acl "), "{text}");
}

#[tokio::test]
async fn acl_of_a_cell_is_set_and_shown() {
    let unit = unit_with_roles().await;
    let aces = ace("<D:href>main</D:href>", "<p:root/>")
        + &ace("<D:href>../b/own</D:href>", "<D:read/>")
        + &ace("<D:all/>", "<p:propfind/>");
    unit.set_acl("c", &aces).await;
    let text = find(&unit, "c").await;
    for part in [
        "<href>main</href>",
        "<href>../b/own</href>",
        "<p:root/>",
        "<p:propfind/>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // A cell-level privilege needs a token with that scope.
    let response = unit.request("PROPFIND", "c").send().await;
    assert_eq!(response.outcome(), refused(403, "AU-0007"));
    // Entries of the cell are not shown in its boxes.
    assert!(!find(&unit, "c/b").await.contains("<ace>"));
}

#[tokio::test]
async fn invalid_acl_requests_are_refused() {
    let unit = unit_with_roles().await;
    unit.create_collection("c/b/svc", "service").await;
    unit.put_file("c/b/svc/__src/s", "x").await;
    let named = |href: &str| acl_body("", &ace(&format!("<D:href>{href}</D:href>"), "<D:read/>"));
    for (body, outcome) in [
        (String::new(), refused(400, "DV-0002")),
        (
            "<D:propfind xmlns:D='DAV:'/>".to_owned(),
            refused(400, "DV-0002"),
        ),
        (
            acl_body("p:requireSchemaAuthz='x'", ""),
            refused(400, "DV-0006"),
        ),
        (acl_body("", "<D:ace/>"), refused(400, "DV-0006")),
        (
            acl_body("", &ace("<D:all/>", "<D:none/>")),
            refused(400, "DV-0006"),
        ),
        (
            acl_body("", &ace("<D:all/>", "<D:exec/>")),
            refused(400, "DV-0006"),
        ),
        (
            acl_body("", &ace("<D:self/>", "<D:read/>")),
            refused(400, "DV-0006"),
        ),
        (named(""), refused(400, "DV-0006")),
        (named("none"), refused(400, "DV-0004")),
        (named("../none/own"), refused(400, "DV-0005")),
        (
            named("http://unit.example/d/__role/b/own"),
            refused(400, "DV-0004"),
        ),
        (
            named("http://else.example/c/__role/b/own"),
            refused(400, "DV-0004"),
        ),
        (named("own/"), refused(400, "DV-0004")),
    ] {
        for path in ["c/b", "c/b/a"] {
            let response = unit.admin_request("ACL", path).body(&body).send().await;
            assert_eq!(response.outcome(), outcome, "{path} {body}");
        }
    }
    let of_cell = acl_body("", &ace("<D:all/>", "<p:auth/>"));
    let response = unit.admin_request("ACL", "c/b").body(&of_cell).send().await;
    assert_eq!(
        response.outcome(),
        refused(400, "DV-0006"),
        "privileges of cells below a cell"
    );
    for (path, outcome) in [
        ("c/b/none", refused(404, "DV-0001")),
        ("c/none", refused(404, "DV-0002")),
        ("c/b/svc/__src", refused(405, "MC-0001")),
        ("c/b/svc/__src/s", refused(405, "DV-0001")),
    ] {
        let response = unit
            .admin_request("ACL", path)
            .body(acl_body("", ""))
            .send()
            .await;
        assert_eq!(response.outcome(), outcome, "{path}");
    }
}

#[tokio::test]
async fn acl_with_too_many_distinct_entries_is_refused() {
    let unit = TestUnit::new().await;
    unit.put_file("c/b/a", "x").await;
    for path in ["c", "c/b", "c/b/a"] {
        let aces = distinct_aces(256);
        unit.set_acl(path, &(aces.clone() + &aces)).await;
        let shown = find(&unit, path).await;
        let own = shown.matches("<ace>").count() - shown.matches("<inherited>").count();
        assert_eq!(own, 256, "{path}: what stands twice counts once");
        let body = acl_body("", &distinct_aces(257));
        let response = unit.admin_request("ACL", path).body(&body).send().await;
        assert_eq!(response.outcome(), refused(400, "DV-0006"), "{path}");
        assert!(
            response.text().contains("at most 256"),
            "{}",
            response.text()
        );
    }
}

#[tokio::test]
async fn acl_changes_the_etag_but_not_the_modification_time() {
    let unit = TestUnit::new().await;
    let tag = unit.put_file("c/b/a", "x").await;
    let response = unit
        .admin_request("ACL", "c/b/a")
        .body(acl_body("", ""))
        .send()
        .await;
    let after = response.header("etag").unwrap().to_owned();
    let time = |tag: &str| tag.split('-').nth(1).unwrap().to_owned();
    assert_ne!(tag, after);
    assert_eq!(time(&tag), time(&after));
}

#[tokio::test]
async fn inherited_entries_that_are_sent_back_do_not_outlive_those_of_the_parent() {
    let unit = TestUnit::new().await;
    unit.create_collection("c/b/col", "").await;
    unit.put_file("c/b/col/file", "x").await;
    unit.grant_to_everybody("c/b", &["D:read"]).await;
    for path in ["c/b/col", "c/b/col/file"] {
        let shown = find(&unit, path).await;
        let start = shown.find("<acl ").unwrap();
        let end = shown.find("</acl>").unwrap() + "</acl>".len();
        let list = shown[start..end].replacen("<acl ", "<acl xmlns=\"DAV:\" ", 1);
        assert!(list.contains("<inherited>"), "{list}");
        let sent = unit.admin_request("ACL", path).body(&list).send().await;
        assert_eq!(sent.outcome(), success(200), "{list}");
    }
    assert_eq!(unit.request("GET", "c/b/col/file").send().await.status, 200);
    unit.set_acl("c/b", "").await;
    assert_eq!(unit.request("GET", "c/b/col/file").send().await.status, 401);
    assert!(!find(&unit, "c/b/col/file").await.contains("<ace>"));
}
