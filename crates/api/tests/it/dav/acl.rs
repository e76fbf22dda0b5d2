//! ACL, and how lists look in PROPFIND.

use crate::harness::{World, acl_body, different_aces, refused};

fn ace(principal: &str, privilege: &str) -> String {
    format!(
        "<D:ace><D:principal>{principal}</D:principal><D:grant><D:privilege>{privilege}</D:privilege></D:grant></D:ace>"
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

async fn world_with_roles() -> World {
    let world = World::new().await;
    world.make("c/__ctl/Role", r#"{"Name":"main"}"#).await;
    world
        .make("c/__ctl/Role", r#"{"Name":"own","_Box.Name":"b"}"#)
        .await;
    world
        .make("c/__ctl/Role", r#"{"Name":"other","_Box.Name":"app"}"#)
        .await;
    world.put("c/b/a", "x").await;
    world
}

#[tokio::test]
async fn roles_are_named_relative_to_the_box() {
    let world = world_with_roles().await;
    let aces = ace("<D:href>own</D:href>", "<D:read/>")
        + &ace("<D:href>../__/main</D:href>", "<p:exec/>")
        + &ace(
            "<D:href>http://unit.example:81/c/__role/app/other</D:href>",
            "<D:write/>",
        )
        + &ace("<D:all/>", "<D:read-properties/>");
    let body = acl_body("p:requireSchemaAuthz='public'", &aces);
    let reply = world.ask("ACL", "c/b").text(&body).send().await;
    assert_eq!((reply.status.as_u16(), reply.text().as_str()), (200, ""));
    let text = find(&world, "c/b").await;
    assert!(text.contains("p:requireSchemaAuthz=\"public\""), "{text}");
    for part in [
        "<href>own</href>",
        "<href>../__/main</href>",
        "<href>../app/other</href>",
        "<all/>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Below the box the entries are inherited ones; the level is not shown there.
    world
        .set_acl("c/b/a", &ace("<D:href>own</D:href>", "<D:all/>"))
        .await;
    let text = find(&world, "c/b/a").await;
    assert_eq!(text.matches("<ace>").count(), 5, "{text}");
    let inherited = "<inherited><href>http://unit.example/c/b</href></inherited>";
    assert_eq!(text.matches(inherited).count(), 4, "{text}");
    assert!(text.find("<all/></privilege>").unwrap() < text.find(inherited).unwrap());
    assert!(!text.contains("requireSchemaAuthz"));
    let text = world
        .ask("PROPFIND", "c/b")
        .with("depth", "1")
        .send()
        .await
        .text();
    assert_eq!(
        text.matches(inherited).count(),
        4,
        "members show inherited entries: {text}"
    );
    // What is renamed keeps its grants, what is deleted vanishes.
    let reply = world
        .ask("PUT", "c/__ctl/Role(Name='own',_Box.Name='b')")
        .with("if-match", "*")
        .text(r#"{"Name":"renamed","_Box.Name":"b"}"#)
        .send()
        .await;
    assert_eq!(reply.status, 204, "{}", reply.text());
    assert_eq!(world.code("DELETE", "c/__ctl/Role('main')").await.0, 204);
    let text = find(&world, "c/b").await;
    assert!(
        text.contains("<href>renamed</href>") && !text.contains("main"),
        "{text}"
    );
    world.set_acl("c/b", "").await;
    let text = find(&world, "c/b").await;
    assert!(!text.contains("<ace>") && text.contains("<acl "), "{text}");
}

#[tokio::test]
async fn the_list_of_a_cell() {
    let world = world_with_roles().await;
    let aces = ace("<D:href>main</D:href>", "<p:root/>")
        + &ace("<D:href>../b/own</D:href>", "<D:read/>")
        + &ace("<D:all/>", "<p:propfind/>");
    world.set_acl("c", &aces).await;
    let text = find(&world, "c").await;
    for part in [
        "<href>main</href>",
        "<href>../b/own</href>",
        "<p:root/>",
        "<p:propfind/>",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // A privilege of the cell is nothing without a token whose scope has it.
    let reply = world.anybody("PROPFIND", "c").send().await;
    assert_eq!(reply.outcome(), refused(403, "AU-0007"));
    // Entries of the cell are not shown in its boxes.
    assert!(!find(&world, "c/b").await.contains("<ace>"));
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let world = world_with_roles().await;
    world.mkcol("c/b/svc", "service").await;
    world.put("c/b/svc/__src/s", "x").await;
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
            let reply = world.ask("ACL", path).text(&body).send().await;
            assert_eq!(reply.outcome(), outcome, "{path} {body}");
        }
    }
    let of_cell = acl_body("", &ace("<D:all/>", "<p:auth/>"));
    let reply = world.ask("ACL", "c/b").text(&of_cell).send().await;
    assert_eq!(
        reply.outcome(),
        refused(400, "DV-0006"),
        "privileges of cells below a cell"
    );
    for (path, outcome) in [
        ("c/b/none", refused(404, "DV-0001")),
        ("c/none", refused(404, "DV-0002")),
        ("c/b/svc/__src", refused(405, "MC-0001")),
        ("c/b/svc/__src/s", refused(405, "DV-0001")),
    ] {
        let reply = world.ask("ACL", path).text(&acl_body("", "")).send().await;
        assert_eq!(reply.outcome(), outcome, "{path}");
    }
}

#[tokio::test]
async fn a_list_has_a_limited_number_of_different_entries() {
    let world = World::new().await;
    world.put("c/b/a", "x").await;
    for path in ["c", "c/b", "c/b/a"] {
        let aces = different_aces(256);
        world.set_acl(path, &(aces.clone() + &aces)).await;
        let shown = find(&world, path).await;
        let own = shown.matches("<ace>").count() - shown.matches("<inherited>").count();
        assert_eq!(own, 256, "{path}: what stands twice counts once");
        let body = acl_body("", &different_aces(257));
        let reply = world.ask("ACL", path).text(&body).send().await;
        assert_eq!(reply.outcome(), refused(400, "DV-0006"), "{path}");
        assert!(reply.text().contains("at most 256"), "{}", reply.text());
    }
}

#[tokio::test]
async fn tags_change_but_the_time_of_change_does_not() {
    let world = World::new().await;
    let tag = world.put("c/b/a", "x").await;
    let reply = world
        .ask("ACL", "c/b/a")
        .text(&acl_body("", ""))
        .send()
        .await;
    let after = reply.header("etag").unwrap().to_owned();
    let time = |tag: &str| tag.split('-').nth(1).unwrap().to_owned();
    assert_ne!(tag, after);
    assert_eq!(time(&tag), time(&after));
}
