//! The repetition of requests by the web layer when a node cannot be reached, breaks off or is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use personium_testkit::{Nginx, StubBehaviour, StubNode, TestClient, WEB_HOST, free_port};

/// The time after which Nginx tries a node again that failed.
const FAIL_TIMEOUT: Duration = Duration::from_millis(5_500);

const SAFE: [&str; 5] = ["GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT"];
const UNSAFE: [&str; 10] = [
    "POST",
    "PUT",
    "DELETE",
    "PATCH",
    "MERGE",
    "MKCOL",
    "MOVE",
    "PROPPATCH",
    "ACL",
    "COPY",
];

/// Sends a request, with a body where the method usually has one; returns the status.
async fn send(client: &TestClient, method: &str) -> u16 {
    let mut request = client.request(method, "c/box/f");
    if matches!(
        method,
        "POST" | "PUT" | "PATCH" | "MERGE" | "PROPPATCH" | "ACL" | "REPORT"
    ) {
        request = request.body("a short body");
    }
    request.send().await.status.as_u16()
}

#[tokio::test]
async fn request_that_was_not_sent_goes_to_the_next_node_whatever_its_method() {
    let node = StubNode::start(StubBehaviour::Answer).await;
    for method in SAFE.into_iter().chain(UNSAFE) {
        // Each with a node that nobody has tried yet.
        let nginx = Nginx::builder(free_port())
            .node(free_port())
            .node(node.port())
            .start();
        for _ in 0..3 {
            assert_eq!(send(&nginx.client(), method).await, 200, "{method}");
        }
        assert_eq!(node.take_heads().len(), 3, "{method}");
    }
}

#[tokio::test]
async fn safe_request_that_was_sent_goes_to_the_next_node() {
    let (broken, whole) = (
        StubNode::start(StubBehaviour::Break).await,
        StubNode::start(StubBehaviour::Answer).await,
    );
    for method in SAFE {
        let nginx = Nginx::builder(free_port())
            .node(broken.port())
            .node(whole.port())
            .start();
        for _ in 0..4 {
            assert_eq!(send(&nginx.client(), method).await, 200, "{method}");
        }
        assert!(
            !broken.take_heads().is_empty(),
            "{method}: nothing was tested"
        );
        assert_eq!(whole.take_heads().len(), 4, "{method}");
    }
}

#[tokio::test]
async fn change_that_was_sent_is_never_sent_again() {
    let (broken, whole) = (
        StubNode::start(StubBehaviour::Break).await,
        StubNode::start(StubBehaviour::Answer).await,
    );
    for method in UNSAFE {
        let nginx = Nginx::builder(free_port())
            .node(broken.port())
            .node(whole.port())
            .start();
        let mut statuses = Vec::new();
        for _ in 0..6 {
            statuses.push(send(&nginx.client(), method).await);
        }
        let failed = statuses.iter().filter(|status| **status == 502).count();
        let (sent, answered) = (broken.take_heads().len(), whole.take_heads().len());
        assert!(sent > 0, "{method}: nothing was tested");
        assert_eq!(
            (sent, answered),
            (failed, 6 - failed),
            "{method}: {statuses:?}"
        );
    }
}

#[tokio::test]
async fn node_that_is_back_is_used_again() {
    let (first, second) = (
        StubNode::start(StubBehaviour::Break).await,
        StubNode::start(StubBehaviour::Answer).await,
    );
    let nginx = Nginx::builder(free_port())
        .node(first.port())
        .node(second.port())
        .start();
    let client = nginx.client();
    for _ in 0..20 {
        assert_eq!(send(&client, "GET").await, 200);
    }
    let tried = first.take_heads().len();
    assert!(tried <= 8, "a node that fails was tried {tried} times");
    first.set(StubBehaviour::Answer);
    let is_used_again = async {
        loop {
            tokio::time::sleep(FAIL_TIMEOUT / 4).await;
            for _ in 0..20 {
                assert_eq!(send(&client, "GET").await, 200);
            }
            if first.take_heads().len() > 2 {
                return;
            }
        }
    };
    let used = tokio::time::timeout(5 * FAIL_TIMEOUT, is_used_again).await;
    assert!(used.is_ok(), "the node is not used again");
}

/// Reads a file again and again; every request must succeed. Returns their number.
async fn read_until_over(client: TestClient, is_over: Arc<AtomicBool>) -> usize {
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        let answer = client.request("GET", "c/box/f").send().await.expect(200);
        assert_eq!(answer.text(), "content");
        count += 1;
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_safe_request_fails_when_a_node_is_killed_under_load() {
    const CLIENTS: usize = 8;
    let _load = crate::machine_load().read().await;
    let port = free_port();
    let start = || crate::unit().host(WEB_HOST).behind_proxy(port).start();
    let (mut first, second) = (start(), start());
    let nginx = Nginx::builder(port)
        .node(first.port())
        .node(second.port())
        .start();
    // The nodes have stores of their own, with the same content.
    for unit in [&first, &second] {
        unit.create_cell("c").await;
        unit.create_box("c", "box").await;
        unit.put_file("c/box/f", "content").await;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..CLIENTS)
        .map(|_| {
            tokio::spawn(read_until_over(
                nginx.client().admin(),
                Arc::clone(&is_over),
            ))
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        first.kill();
        tokio::time::sleep(Duration::from_millis(500)).await;
        first.restart();
        tokio::time::sleep(FAIL_TIMEOUT).await;
    }
    is_over.store(true, Ordering::Relaxed);
    let mut read = 0;
    for client in load {
        read += client.await.unwrap();
    }
    assert!(read > 100, "only {read} requests");
}
