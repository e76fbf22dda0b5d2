//! Boxes, collections and schemas that one node changes.

use personium_testkit::TestUnit;

use super::{change, unit};

async fn status(node: &TestUnit, method: &str, path: &str, body: &str) -> u16 {
    let request = node.admin_request(method, path).header("depth", "0");
    request.body(body).send().await.status.as_u16()
}

/// A change, a request, and its statuses before and after the change.
type Case = ([&'static str; 3], [&'static str; 3], (u16, u16));

#[tokio::test]
async fn structure_that_one_node_changes_is_that_of_the_next_request_to_another() {
    let cases: [Case; 10] = [
        (
            ["PUT", "c/__ctl/Box('b')", r#"{"Name":"other"}"#],
            ["GET", "c/b/col/file", ""],
            (200, 404),
        ),
        (
            ["PUT", "c/__ctl/Box('b')", r#"{"Name":"other"}"#],
            ["GET", "c/other/col/file", ""],
            (404, 200),
        ),
        (
            ["POST", "c/__ctl/Box", r#"{"Name":"new"}"#],
            ["PROPFIND", "c/new", ""],
            (404, 207),
        ),
        (
            ["DELETE", "c/__ctl/Box('b')", ""],
            ["GET", "c/b/col/file", ""],
            (200, 404),
        ),
        (
            ["DELETE", "c/b/col", ""],
            ["GET", "c/b/col/file", ""],
            (200, 404),
        ),
        (
            ["DELETE", "c/b/col", ""],
            ["PUT", "c/b/col/new", "content"],
            (201, 409),
        ),
        (
            ["MKCOL", "c/b/col/below", ""],
            ["PUT", "c/b/col/below/new", "content"],
            (409, 201),
        ),
        (
            ["MOVE", "c/b/col", ""],
            ["GET", "c/b/moved/file", ""],
            (404, 200),
        ),
        (
            ["MOVE", "c/b/col", ""],
            ["GET", "c/b/col/file", ""],
            (200, 404),
        ),
        (
            ["POST", "c/b/od/$metadata/EntityType", r#"{"Name":"New"}"#],
            ["GET", "c/b/od/New", ""],
            (404, 200),
        ),
    ];
    for ([method, path, body], request, (before, after)) in cases {
        let unit = unit().await;
        let node = unit.another_node();
        let of_node = || status(&node, request[0], request[1], request[2]);
        assert_eq!(
            of_node().await,
            before,
            "{request:?} before {method} {path}"
        );
        match method {
            "MOVE" => {
                let moving = unit
                    .admin_request("MOVE", path)
                    .header("destination", "http://unit.example/c/b/moved");
                moving.send().await.expect_success();
            }
            "DELETE" => {
                let path = path.replace("__ctl/Box('b')", "b");
                let deleting = unit
                    .admin_request("DELETE", &path)
                    .header("x-personium-recursive", "true");
                deleting.send().await.expect_success();
            }
            "MKCOL" => unit.create_collection(path, "").await,
            _ => change(&unit, method, path, body).await,
        }
        assert_eq!(of_node().await, after, "{request:?} after {method} {path}");
    }
}

const PROPERTY: &str = r#"{"Name":"p","_EntityType.Name":"T","Type":"Edm.Int32"}"#;

#[tokio::test]
async fn property_that_one_node_declares_is_checked_by_another() {
    let unit = unit().await;
    let node = unit.another_node();
    assert_eq!(status(&node, "POST", "c/b/od/T", "{}").await, 201);
    change(&unit, "POST", "c/b/od/$metadata/Property", PROPERTY).await;
    let wrong = r#"{"p":"text"}"#;
    assert_eq!(status(&node, "POST", "c/b/od/T", wrong).await, 400);
    assert_eq!(status(&node, "POST", "c/b/od/T", r#"{"p":1}"#).await, 201);
}

/// A node makes an entity with the schema that another changes before it is stored.
#[tokio::test]
async fn schema_that_another_node_changes_during_a_creation_is_obeyed() {
    let unit = unit().await;
    let node = unit.another_node();
    assert_eq!(status(&node, "POST", "c/b/od/T", "{}").await, 201);
    let other = unit.clone();
    node.store.interrupt_commit(0, async move {
        change(&other, "POST", "c/b/od/$metadata/Property", PROPERTY).await;
    });
    assert_eq!(
        status(&node, "POST", "c/b/od/T", r#"{"p":"text"}"#).await,
        400
    );
}
