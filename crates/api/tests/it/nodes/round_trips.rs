//! The number of calls of the record port that a request makes when its cell is in the memory of the node.

use personium_testkit::TestUnit;

use super::{change, token_of, unit};

/// Sends a request. Returns its status and the number of calls.
async fn calls(node: &TestUnit, token: &str, method: &str, path: &str) -> (u16, usize) {
    let before = node.store.call_count();
    let request = node
        .request(method, path)
        .bearer(token)
        .header("depth", "0");
    let status = request.send().await.status.as_u16();
    (status, node.store.call_count() - before)
}

#[tokio::test]
async fn read_of_a_known_cell_makes_one_call() {
    let unit = unit().await;
    let token = token_of(&unit, "exact").await;
    let large = "x".repeat(100_000);
    unit.put_file("c/b/col/large", &large).await;
    let node = unit.another_node();
    for (method, path, status) in [
        ("GET", "c/b/od/T('e')", 200),
        ("HEAD", "c/b/od/T('e')", 200),
        ("GET", "c/b/od/T", 200),
        ("GET", "c/b/col/large", 200),
        ("HEAD", "c/b/col/large", 200),
        ("PROPFIND", "c/b/col/file", 207),
        ("PROPFIND", "c/b/col", 207),
        ("GET", "c/b/col/none", 404),
        ("GET", "c/b/none/file", 404),
    ] {
        let (found, _) = calls(&node, &token, method, path).await;
        assert_eq!(found, status, "{method} {path}");
        let again = calls(&node, &token, method, path).await;
        assert_eq!(again, (status, 1), "{method} {path}");
    }
}

#[tokio::test]
async fn refusal_from_the_memory_of_a_node_makes_one_call() {
    let unit = unit().await;
    let stranger = r#"{"Name":"stranger"}"#;
    unit.create_account("c", stranger).await;
    let token = token_of(&unit, "stranger").await;
    let node = unit.another_node();
    calls(&node, &token, "PROPFIND", "c/b/col").await;
    let again = calls(&node, &token, "PROPFIND", "c/b/col").await;
    assert_eq!(again, (403, 1));
}

/// A change by another node costs calls once.
#[tokio::test]
async fn cell_is_loaded_anew_once_after_a_change_by_another_node() {
    let unit = unit().await;
    let token = token_of(&unit, "exact").await;
    let node = unit.another_node();
    let read = || calls(&node, &token, "GET", "c/b/od/T('e')");
    read().await;
    assert_eq!(read().await, (200, 1));
    change(&unit, "POST", "c/__ctl/Role", r#"{"Name":"another"}"#).await;
    let (status, calls) = read().await;
    assert_eq!(status, 200);
    assert!(calls > 1);
    assert_eq!(read().await, (200, 1));
}
