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
    let nodes: Vec<TestUnit> = requests("c").iter().map(|_| unit.another_node()).collect();
    expect_found(&nodes, "c").await;
    nodes
}

/// Sends each node its request, and checks the status.
async fn expect_status(nodes: &[TestUnit], cell: &str, is_wanted: impl Fn(&str, u16) -> bool) {
    for (node, request) in nodes.iter().zip(requests(cell)) {
        let (status, _) = outcome(node, &request).await;
        assert!(is_wanted(&request.1, status), "{request:?}: {status}");
    }
}

/// Checks that each node finds a cell with what the fixture has.
async fn expect_found(nodes: &[TestUnit], cell: &str) {
    expect_status(nodes, cell, |_, status| (200..300).contains(&status)).await;
}

/// Checks that each node finds a new cell, which has roles, and nothing else.
async fn expect_empty(nodes: &[TestUnit], cell: &str) {
    let roles = format!("{cell}/__ctl/Role");
    let wanted = |path: &str| if path == roles { 200 } else { 404 };
    expect_status(nodes, cell, |path, status| status == wanted(path)).await;
}

/// Checks that each node finds no cell with this name.
async fn expect_no_cell(nodes: &[TestUnit], cell: &str) {
    let refused = refused(NO_SUCH_CELL.0, NO_SUCH_CELL.1);
    for (node, request) in nodes.iter().zip(requests(cell)) {
        assert_eq!(outcome(node, &request).await, refused, "{request:?}");
    }
}

#[tokio::test]
async fn cell_that_one_node_deletes_is_gone_for_the_next_request_to_another() {
    let unit = unit().await;
    let nodes = nodes(&unit).await;
    let request = unit
        .admin_request("DELETE", "c")
        .header("x-personium-recursive", "true");
    assert_eq!(request.send().await.outcome(), success(204));
    expect_no_cell(&nodes, "c").await;
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
    expect_empty(&nodes, "c").await;
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
    expect_no_cell(&nodes, "c").await;
    expect_found(&nodes, "other").await;
    // The old name belongs to another cell.
    unit.create_cell("c").await;
    expect_empty(&nodes, "c").await;
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
