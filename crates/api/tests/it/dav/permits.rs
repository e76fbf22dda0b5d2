//! For each operation: the privilege that lets it pass, where it must be granted, and that no other one does.

use crate::harness::{World, acl_body, mkcol_body, refused};

/// The privileges that have nothing below them, and none of which includes another.
const LEAVES: &[&str] = &[
    "D:read-properties",
    "D:read-acl",
    "D:bind",
    "D:unbind",
    "D:write-content",
    "D:write-properties",
    "D:write-acl",
    "p:exec",
    "D:alter-schema",
    "p:stream-send",
    "p:stream-receive",
];

struct Row {
    method: &'static str,
    path: &'static str,
    privilege: &'static str,
    /// Where it must be granted: on the resource itself, or on the collection that holds it.
    on: &'static str,
    passed: u16,
}

const fn row(
    method: &'static str,
    path: &'static str,
    privilege: &'static str,
    on: &'static str,
    passed: u16,
) -> Row {
    Row {
        method,
        path,
        privilege,
        on,
        passed,
    }
}

const ROWS: &[Row] = &[
    row("GET", "c/b/col/file", "D:read", "c/b/col/file", 200),
    row("GET", "c/b/col", "D:read", "c/b/col", 200),
    row("GET", "c/b", "D:read", "c/b", 200),
    row("GET", "c/b/col/none", "D:read", "c/b/col", 404),
    row("OPTIONS", "c/b/col/file", "D:read", "c/b/col/file", 200),
    row("REPORT", "c/b/col/file", "D:read", "c/b/col/file", 501),
    row(
        "PUT",
        "c/b/col/file",
        "D:write-content",
        "c/b/col/file",
        204,
    ),
    row("PUT", "c/b/col/new", "D:bind", "c/b/col", 201),
    row("MKCOL", "c/b/col/new", "D:bind", "c/b/col", 201),
    row("MKCOL", "c/b/col", "D:bind", "c/b", 405),
    row("DELETE", "c/b/col/file", "D:unbind", "c/b/col", 204),
    row("DELETE", "c/b/empty", "D:unbind", "c/b", 204),
    row("DELETE", "c/b/col/none", "D:unbind", "c/b/col", 404),
    row(
        "PROPFIND",
        "c/b/col/file",
        "D:read-properties",
        "c/b/col/file",
        207,
    ),
    row("PROPFIND", "c/b", "D:read-properties", "c/b", 207),
    row(
        "PROPFIND",
        "c/b/col/none",
        "D:read-properties",
        "c/b/col",
        404,
    ),
    row(
        "PROPPATCH",
        "c/b/col/file",
        "D:write-properties",
        "c/b/col/file",
        207,
    ),
    row("PROPPATCH", "c/b", "D:write-properties", "c/b", 207),
    row("ACL", "c/b/col/file", "D:write-acl", "c/b/col/file", 200),
    row("ACL", "c/b", "D:write-acl", "c/b", 200),
    row("MOVE", "c/b", "D:write", "c/b", 400),
    row("POST", "c/b/col/none", "D:write", "c/b/col", 404),
    row("GET", "c/b/svc/run", "p:exec", "c/b/svc", 500),
    row("POST", "c/b/str/queue/q", "p:stream-send", "c/b/str", 404),
    row("GET", "c/b/str/queue/q", "p:stream-receive", "c/b/str", 404),
];

async fn world() -> World {
    let world = World::new().await;
    world.mkcol("c/b/col", "").await;
    world.mkcol("c/b/empty", "").await;
    world.mkcol("c/b/svc", "service").await;
    world.mkcol("c/b/str", "stream").await;
    world.put("c/b/col/file", "x").await;
    world
}

async fn outcome(world: &World, row: &Row) -> (u16, String) {
    let body = match row.method {
        "PROPPATCH" => {
            "<propertyupdate xmlns='DAV:'><set><prop><x/></prop></set></propertyupdate>".to_owned()
        }
        "ACL" => acl_body("", ""),
        "MKCOL" => mkcol_body(""),
        _ => String::new(),
    };
    let ask = world.anybody(row.method, row.path).with("depth", "0");
    // OPTIONS without any credentials is answered before access is looked at.
    let ask = if row.method == "OPTIONS" {
        ask.with("authorization", "Unknown x")
    } else {
        ask
    };
    ask.text(&body).send().await.outcome()
}

fn includes(granted: &str, wanted: &str) -> bool {
    granted == wanted
        || matches!(
            (granted, wanted),
            (
                "D:write",
                "D:bind" | "D:unbind" | "D:write-content" | "D:write-properties"
            ) | ("D:read", "D:read-properties")
        )
}

#[tokio::test]
async fn exactly_the_privilege_lets_pass() {
    for row in ROWS {
        let world = world().await;
        let others: Vec<&str> = LEAVES
            .iter()
            .copied()
            .chain(["D:read", "D:write"])
            .filter(|p| !includes(p, row.privilege))
            .collect();
        world.grant_all(row.on, &others).await;
        let (status, _) = outcome(&world, row).await;
        assert_eq!(
            status, 401,
            "{} {} with all but {}",
            row.method, row.path, row.privilege
        );
        world.grant_all(row.on, &[row.privilege]).await;
        let (status, code) = outcome(&world, row).await;
        assert_eq!(
            status, row.passed,
            "{} {} with {}: {code}",
            row.method, row.path, row.privilege
        );
    }
}

#[tokio::test]
async fn a_grant_above_counts_below() {
    for row in ROWS {
        for place in ["c/b", "c"] {
            let world = world().await;
            world.grant_all(place, &[row.privilege]).await;
            let (status, code) = outcome(&world, row).await;
            assert_eq!(
                status, row.passed,
                "{} {} granted on {place}: {code}",
                row.method, row.path
            );
        }
    }
}

#[tokio::test]
async fn a_grant_on_the_member_alone_does_not_bind_or_unbind() {
    let world = world().await;
    world.grant_all("c/b/col/file", &["D:all"]).await;
    let row = row("DELETE", "c/b/col/file", "", "", 0);
    assert_eq!(outcome(&world, &row).await, refused(401, "AU-0001"));
}

#[tokio::test]
async fn moving_needs_both_ends() {
    for (source, place, overwrite, status) in [
        (&["D:unbind"][..], &["D:bind"][..], "F", 201),
        (&["D:bind"], &["D:bind"], "F", 401),
        (&["D:unbind"], &["D:unbind"], "F", 401),
        (&["D:unbind"], &["D:bind"], "T", 401),
        (&["D:unbind"], &["D:bind", "D:unbind"], "T", 204),
        (&["D:unbind"], &["D:unbind"], "T", 401),
    ] {
        let world = world().await;
        world.put("c/b/empty/taken", "x").await;
        world.grant_all("c/b/col", source).await;
        world.grant_all("c/b/empty", place).await;
        let name = if overwrite == "T" { "taken" } else { "new" };
        let reply = world
            .anybody("MOVE", "c/b/col/file")
            .with("overwrite", overwrite)
            .with(
                "destination",
                &format!("http://unit.example/c/b/empty/{name}"),
            )
            .send()
            .await;
        assert_eq!(reply.status, status, "{source:?} {place:?} {overwrite}");
    }
}

#[tokio::test]
async fn lists_are_shown_only_to_who_may_read_them() {
    let world = world().await;
    world.grant_all("c/b", &["D:read-properties"]).await;
    let reply = world
        .anybody("PROPFIND", "c/b")
        .with("depth", "0")
        .send()
        .await;
    assert!(
        reply.status == 207 && !reply.text().contains("<acl"),
        "{}",
        reply.text()
    );
    world
        .grant_all("c/b", &["D:read-properties", "D:read-acl"])
        .await;
    let reply = world
        .anybody("PROPFIND", "c/b")
        .with("depth", "1")
        .send()
        .await;
    assert_eq!(reply.text().matches("<acl ").count(), 5, "{}", reply.text());
    world.grant_all("c/b", &["D:read-acl"]).await;
    let reply = world
        .anybody("PROPFIND", "c/b")
        .with("depth", "0")
        .send()
        .await;
    assert_eq!(reply.status, 401);
}

#[tokio::test]
async fn a_level_of_application_comes_before_the_list() {
    let world = world().await;
    let everybody = "<D:ace><D:principal><D:all/></D:principal><D:grant><D:privilege><D:all/></D:privilege></D:grant></D:ace>";
    for (level, status) in [("public", 401), ("confidential", 401), ("none", 200)] {
        let body = acl_body(&format!("p:requireSchemaAuthz='{level}'"), everybody);
        assert_eq!(world.ask("ACL", "c/b").text(&body).send().await.status, 200);
        assert_eq!(
            world.anybody("GET", "c/b/col/file").send().await.status,
            status,
            "{level}"
        );
    }
    // An explicit none below relaxes what stands above.
    let body = acl_body("p:requireSchemaAuthz='public'", everybody);
    assert_eq!(world.ask("ACL", "c/b").text(&body).send().await.status, 200);
    let body = acl_body("p:requireSchemaAuthz='none'", "");
    assert_eq!(
        world.ask("ACL", "c/b/col").text(&body).send().await.status,
        200
    );
    assert_eq!(
        world.anybody("GET", "c/b/col/file").send().await.status,
        200
    );
    assert_eq!(world.anybody("GET", "c/b").send().await.status, 401);
}

#[tokio::test]
async fn refusals_tell_how_to_authenticate() {
    let world = World::new().await;
    for (path, basic) in [("c/b/x", true), ("c/__/x", true), ("c/app/x", false)] {
        let reply = world.anybody("GET", path).send().await;
        assert_eq!(reply.status, 401);
        let offers: Vec<&str> = reply
            .headers
            .get_all("www-authenticate")
            .iter()
            .map(|v| v.to_str().unwrap())
            .collect();
        assert_eq!(offers[0], "Bearer realm=\"http://unit.example/c/\"");
        assert_eq!(
            offers.len(),
            if basic { 2 } else { 1 },
            "{path}: {offers:?}"
        );
    }
}
