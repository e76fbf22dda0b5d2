//! Cells that one node deletes, renames and creates.

use personium_testkit::{TestUnit, refused, success};

use super::{change, unit};

const NO_SUCH_CELL: (u16, &str) = (404, "DV-0003");

/// Requests of all kinds to a cell; each is answered with 404 if there is no such cell.
fn requests(cell: &str) -> [(&'static str, String, &'static str); 6] {
    [
        ("GET", format!("{cell}/b/col/file"), ""),
        ("GET", format!("{cell}/b/od/T('e')"), ""),
        ("PROPFIND", format!("{cell}/b"), ""),
        ("PUT", format!("{cell}/b/col/file"), "content"),
        ("POST", format!("{cell}/b/od/T"), "{}"),
        ("GET", format!("{cell}/__ctl/Role"), ""),
    ]
}

async fn outcome(node: &TestUnit, (method, path, body): &(&str, String, &str)) -> (u16, String) {
    let request = node.admin_request(method, path).header("depth", "0");
    request.body(body).send().await.outcome()
}

/// Nodes that have the cell `c` in their memory, one for each request.
async fn nodes(unit: &TestUnit) -> Vec<TestUnit> {
    let mut nodes = Vec::new();
    for request in requests("c") {
        let node = unit.another_node();
        let (status, _) = outcome(&node, &request).await;
        assert!((200..300).contains(&status), "{request:?}: {status}");
        nodes.push(node);
    }
    nodes
}

#[tokio::test]
async fn cell_that_one_node_deletes_is_gone_for_the_next_request_to_another() {
    let unit = unit().await;
    let nodes = nodes(&unit).await;
    let request = unit
        .admin_request("DELETE", "c")
        .header("x-personium-recursive", "true");
    assert_eq!(request.send().await.outcome(), success(204));
    for (node, request) in nodes.iter().zip(requests("c")) {
        let refused = refused(NO_SUCH_CELL.0, NO_SUCH_CELL.1);
        assert_eq!(outcome(node, &request).await, refused, "{request:?}");
    }
}

#[tokio::test]
async fn cell_made_anew_by_one_node_is_the_new_one_for_another() {
    let unit = unit().await;
    let nodes = nodes(&unit).await;
    let request = unit
        .admin_request("DELETE", "c")
        .header("x-personium-recursive", "true");
    assert_eq!(request.send().await.outcome(), success(204));
    unit.create_cell("c").await;
    for (node, request) in nodes.iter().zip(requests("c")) {
        let (status, _) = outcome(node, &request).await;
        let wanted = if request.1 == "c/__ctl/Role" {
            200
        } else {
            404
        };
        assert_eq!(status, wanted, "{request:?}");
    }
}

#[tokio::test]
async fn empty_cell_that_one_node_deletes_is_gone_for_another() {
    let unit = unit().await;
    unit.create_cell("empty").await;
    let node = unit.another_node();
    let roles = ("GET", "empty/__ctl/Role".to_owned(), "");
    assert_eq!(outcome(&node, &roles).await, success(200));
    change(&unit, "DELETE", "__ctl/Cell('empty')", "").await;
    assert_eq!(outcome(&node, &roles).await.0, 404);
    let create = ("POST", "empty/__ctl/Role".to_owned(), r#"{"Name":"r"}"#);
    assert_eq!(outcome(&node, &create).await.0, 404);
}

#[tokio::test]
async fn cell_that_one_node_renames_has_the_new_name_for_the_next_request_to_another() {
    let unit = unit().await;
    let nodes = nodes(&unit).await;
    change(&unit, "PUT", "__ctl/Cell('c')", r#"{"Name":"other"}"#).await;
    for (node, request) in nodes.iter().zip(requests("c")) {
        let refused = refused(NO_SUCH_CELL.0, NO_SUCH_CELL.1);
        assert_eq!(outcome(node, &request).await, refused, "{request:?}");
    }
    for (node, request) in nodes.iter().zip(requests("other")) {
        let (status, _) = outcome(node, &request).await;
        assert!((200..300).contains(&status), "{request:?}: {status}");
    }
    // The old name belongs to another cell.
    unit.create_cell("c").await;
    for (node, request) in nodes.iter().zip(requests("c")) {
        let (status, _) = outcome(node, &request).await;
        let wanted = if request.1 == "c/__ctl/Role" {
            200
        } else {
            404
        };
        assert_eq!(status, wanted, "{request:?}");
    }
}

#[tokio::test]
async fn cell_that_one_node_creates_is_there_for_another() {
    let unit = unit().await;
    let node = unit.another_node();
    let roles = ("GET", "new/__ctl/Role".to_owned(), "");
    assert_eq!(outcome(&node, &roles).await.0, 404);
    unit.create_cell("new").await;
    assert_eq!(outcome(&node, &roles).await, success(200));
}
