//! The number of calls of the record port that a request makes when its cell is in the memory of the node.

use personium_testkit::{TestUnit, acl_body};

use super::rights::{MKCOL, PROPPATCH};
use super::{change, token_of, unit};

/// Sends a request. Returns its status and the number of calls.
async fn calls(node: &TestUnit, token: &str, method: &str, path: &str) -> (u16, usize) {
    calls_with_body(node, token, [method, path, ""]).await
}

async fn calls_with_body(node: &TestUnit, token: &str, request: [&str; 3]) -> (u16, usize) {
    let [method, path, body] = request;
    let before = node.store.call_count();
    let mut request = node
        .request(method, path)
        .bearer(token)
        .header("depth", "0");
    if method == "MERGE" {
        request = request.header("if-match", "*");
    }
    let status = request.body(body).send().await.status.as_u16();
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
        ("GET", "c/b/col/file", 200),
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

/// A change makes one call that reads what it needs, and with it the version of the structure, and one that commits.
#[tokio::test]
async fn change_in_a_known_cell_makes_one_call_to_read_and_one_to_commit() {
    let unit = unit().await;
    let token = token_of(&unit, "exact").await;
    let node = unit.another_node();
    // The node gets to know the cell.
    for warm_up in [
        // A new property changes the schema.
        ["POST", "c/b/od/T", r#"{"p":"text"}"#],
        ["POST", "c/b/od/T", r#"{"p":"text"}"#],
        ["PUT", "c/b/col/first", "content"],
    ] {
        assert_eq!(calls_with_body(&node, &token, warm_up).await.0, 201);
    }
    let mut found = Vec::new();
    for (request, status) in [
        (["PUT", "c/b/col/new", "small"], 201),
        (["PUT", "c/b/col/new", "another"], 204),
        (["POST", "c/b/od/T", r#"{"__id":"n","p":"text"}"#], 201),
        (["POST", "c/b/od/T", r#"{"p":"text"}"#], 201),
        (["MERGE", "c/b/od/T('n')", r#"{"p":"other"}"#], 204),
        (["DELETE", "c/b/od/T('n')", ""], 204),
    ] {
        let (answered, calls) = calls_with_body(&node, &token, request).await;
        assert_eq!(answered, status, "{request:?}");
        found.push((request[0], calls));
    }
    assert!(found.iter().all(|(_, calls)| *calls == 2), "{found:?}");
}

/// A creation asks for the modes of maintenance, and commits.
#[tokio::test]
async fn creation_over_a_shared_store_reads_nothing_of_its_cell() {
    let unit = unit().await;
    let token = token_of(&unit, "exact").await;
    let node = unit.sharing_node();
    for body in [r#"{"p":"text"}"#, r#"{"p":"text"}"#] {
        let request = ["POST", "c/b/od/T", body];
        assert_eq!(calls_with_body(&node, &token, request).await.0, 201);
    }
    for body in [r#"{"__id":"n","p":"text"}"#, r#"{"p":"text"}"#] {
        let found = calls_with_body(&node, &token, ["POST", "c/b/od/T", body]).await;
        assert_eq!(found, (201, 2));
    }
}

/// A creation that finds its key taken is refused as on any other unit, whichever node made the other entity.
#[tokio::test]
async fn creation_with_a_taken_id_is_refused_and_changes_nothing() {
    let unit = unit().await;
    let token = token_of(&unit, "exact").await;
    let node = unit.sharing_node();
    let entity = |text: &str| format!(r#"{{"__id":"taken","p":"{text}"}}"#);
    let post = ["POST", "c/b/od/T", &entity("first")];
    assert_eq!(calls_with_body(&unit, &token, post).await.0, 201);
    for text in ["second", "third"] {
        let request = node.request("POST", "c/b/od/T").bearer(&token);
        let refused = request.body(entity(text)).send().await;
        assert_eq!(refused.status.as_u16(), 409);
        assert_eq!(refused.json()["code"], "PR409-OD-0003");
    }
    let read = node.request("GET", "c/b/od/T('taken')").bearer(&token);
    let read = read.header("accept", "application/json").send().await;
    assert_eq!(read.json()["d"]["results"]["p"], "first");
}

/// Changes of collections do not ask for the version of the structure in a call of its own either. MKCOL reads once before its body,
/// and once after it.
#[tokio::test]
async fn change_of_a_collection_makes_one_call_for_each_read_and_one_to_commit() {
    let unit = unit().await;
    let token = token_of(&unit, "exact").await;
    let node = unit.another_node();
    let acl = acl_body("", "");
    // What grows is judged by quotas, which the node looks for from time to time.
    calls_with_body(&node, &token, ["PUT", "c/b/col/first", "content"]).await;
    let mut found = Vec::new();
    for (request, status, expected) in [
        (["MKCOL", "c/b/col/new", MKCOL], 201, 3),
        (["PROPPATCH", "c/b/col/new", PROPPATCH], 207, 2),
        (["ACL", "c/b/col/new", &acl], 200, 2),
    ] {
        // The node gets to know what the last change was.
        calls(&node, &token, "PROPFIND", "c/b/col").await;
        let (answered, calls) = calls_with_body(&node, &token, request).await;
        assert_eq!(answered, status, "{request:?}");
        found.push((request[0], calls, expected));
    }
    let is_expected = |(_, calls, expected): &(&str, usize, usize)| calls == expected;
    assert!(found.iter().all(is_expected), "{found:?}");
}

#[tokio::test]
async fn small_file_is_read_in_one_call_once_its_node_was_seen_or_written() {
    let unit = unit().await;
    let token = token_of(&unit, "exact").await;
    let node = unit.another_node();
    let read = || calls(&node, &token, "GET", "c/b/col/file");
    read().await;
    assert_eq!(read().await, (200, 1));
    // Replaced by another node: the first reader has to look where the body is now.
    unit.put_file("c/b/col/file", "replaced elsewhere").await;
    let before = node.store.call_count();
    let response = node.admin_request("GET", "c/b/col/file").send().await;
    assert_eq!(response.text(), "replaced elsewhere");
    assert_eq!(node.store.call_count() - before, 2);
    assert_eq!(read().await, (200, 1));
    // Written by this node, which looks for quotas from time to time.
    calls_with_body(&node, &token, ["PUT", "c/b/col/first", "content"]).await;
    let put = ["PUT", "c/b/col/own", "own content"];
    assert_eq!(calls_with_body(&node, &token, put).await, (201, 2));
    let own = calls(&node, &token, "GET", "c/b/col/own").await;
    assert_eq!(own, (200, 1));
}

#[tokio::test]
async fn refused_change_of_a_known_cell_makes_one_call() {
    let unit = unit().await;
    unit.create_account("c", r#"{"Name":"stranger"}"#).await;
    let token = token_of(&unit, "stranger").await;
    let node = unit.another_node();
    for request in [
        ["PUT", "c/b/col/new", "small"],
        ["POST", "c/b/od/T", r#"{"p":"text"}"#],
    ] {
        calls_with_body(&node, &token, request).await;
        let again = calls_with_body(&node, &token, request).await;
        assert_eq!(again, (403, 1), "{request:?}");
    }
}

/// The ids of all entities that a batch creates are looked up together.
#[tokio::test]
async fn batch_of_creations_makes_few_calls_however_many_they_are() {
    let unit = unit().await;
    let token = token_of(&unit, "exact").await;
    let node = unit.another_node();
    let creation = |id: String| {
        let body = format!(r#"{{"__id":"{id}"}}"#);
        let length = body.len();
        format!(
            "--c\nContent-Type: application/http\n\nPOST T HTTP/1.1\nContent-Length: {length}\n\n{body}\n"
        )
    };
    let change_set = |creations: String| {
        format!("--b\nContent-Type: multipart/mixed; boundary=c\n\n{creations}--c--\n")
    };
    let batch = |name: &str, count: usize, is_one_set: bool| {
        let all = (0..count).map(|n| creation(format!("{name}{n}")));
        let sets: String = match is_one_set {
            true => change_set(all.collect()),
            false => all.map(change_set).collect(),
        };
        format!("{sets}--b--")
    };
    for is_one_set in [true, false] {
        let mut found = Vec::new();
        for (name, count) in [("warm", 2), ("few", 3), ("many", 60)] {
            let body = batch(&format!("{name}{is_one_set}"), count, is_one_set);
            let before = node.store.call_count();
            let request = node.request("POST", "c/b/od/$batch").bearer(&token);
            let request = request.header("content-type", "multipart/mixed; boundary=b");
            let answer = request.body(&*body).send().await;
            found.push(node.store.call_count() - before);
            let created = answer.text().matches("HTTP/1.1 201").count();
            assert_eq!(created, count, "{}", answer.text());
        }
        assert_eq!(
            found[1], found[2],
            "one change set: {is_one_set}, {found:?}"
        );
    }
}

/// Ids that were looked up together are still taken once only, by an earlier part too.
#[tokio::test]
async fn batch_of_creations_refuses_ids_that_are_taken() {
    let unit = unit().await;
    let part = |id: &str| {
        let body = format!(r#"{{"__id":"{id}"}}"#);
        let length = body.len();
        format!(
            "--b\nContent-Type: application/http\n\nPOST T HTTP/1.1\nContent-Length: {length}\n\n{body}\n"
        )
    };
    let parts: String = ["n", "e", "m", "n"].map(part).concat();
    let request = unit.admin_request("POST", "c/b/od/$batch");
    let request = request.header("content-type", "multipart/mixed; boundary=b");
    let answer = request.body(format!("{parts}--b--")).send().await.text();
    let statuses: Vec<&str> = answer
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|part| &part[..3])
        .collect();
    assert_eq!(statuses, ["201", "409", "201", "409"]);
    let set = |ids: [&str; 3]| {
        let parts = ids.map(|id| part(id).replace("--b\n", "--c\n")).concat();
        format!("--b\nContent-Type: multipart/mixed; boundary=c\n\n{parts}--c--\n--b--")
    };
    for ids in [["p", "q", "p"], ["r", "e", "s"]] {
        let request = unit.admin_request("POST", "c/b/od/$batch");
        let request = request.header("content-type", "multipart/mixed; boundary=b");
        let answer = request.body(set(ids)).send().await.text();
        assert!(
            answer.contains("HTTP/1.1 409") && !answer.contains("HTTP/1.1 201"),
            "{answer}"
        );
    }
}
