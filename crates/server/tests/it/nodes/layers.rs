//! Three nodes over PostgreSQL, memcached and an object store.

use std::path::Path;
use std::time::Duration;

use personium_testkit::{
    Disturbance, PASSWORD, PostgresCluster, S3Proxy, TestClient, UnitLayers, text_member,
};

use super::writers::Writers;
use super::{NODES, Nodes, PREFIX};

/// More than any operation here needs.
const ALWAYS: usize = 100_000;

const LARGE_BYTES: usize = 400_000;

/// A unit on all layers, with a proxy before the object store.
struct Layered {
    unit: Nodes,
    proxy: S3Proxy,
    layers: UnitLayers,
}

impl Layered {
    async fn start() -> Self {
        let layers = UnitLayers::start(PostgresCluster::shared());
        let proxy = S3Proxy::start(&layers.object_store.address()).await;
        let mut lines = layers.settings(Path::new(env!("CARGO_BIN_EXE_personium")), &proxy.url());
        lines.push_str(&format!(
            "{PREFIX}blobStore.s3.retries=1\n{PREFIX}blobStore.s3.timeoutInSeconds=2\n\
             {PREFIX}authn.account.validAuthnInterval=0\n"
        ));
        Self {
            unit: Nodes::start_with(&lines, |_, node| node),
            proxy,
            layers,
        }
    }
}

fn body(seed: usize) -> Vec<u8> {
    let bytes = (0..LARGE_BYTES).map(|n| (n.wrapping_mul(31) ^ (n >> 8) ^ seed).to_le_bytes()[0]);
    bytes.collect()
}

/// Checks that each node reads a file as it is, also in parts.
async fn expect_on_every_node(unit: &Nodes, path: &str, body: &[u8]) {
    for node in &unit.nodes {
        let read = node.admin_request("GET", path).send().await.expect(200);
        assert!(read.body == body, "{path}");
        let part = node
            .admin_request("GET", path)
            .header("range", "bytes=70000-200000");
        assert!(part.send().await.expect(206).body == body[70_000..200_001]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_that_one_node_stores_in_the_object_store_is_read_replaced_and_deleted_by_others() {
    let layered = Layered::start().await;
    let unit = &layered.unit;
    unit.prepare().await;
    for number in 0..NODES {
        let (first, second) = (&unit.nodes[number], &unit.nodes[(number + 1) % NODES]);
        let path = format!("c/box/file{number}");
        for (seed, node) in [(number, first), (number + NODES, second)] {
            let put = node.admin_request("PUT", &path).body(body(seed));
            put.send().await.expect_success();
            expect_on_every_node(unit, &path, &body(seed)).await;
        }
        let delete = first.admin_request("DELETE", &path);
        delete.send().await.expect(204);
        for node in &unit.nodes {
            node.admin_request("GET", &path).send().await.expect(404);
        }
    }
}

/// Checks logins through each node.
async fn expect_logins(unit: &Nodes) {
    for node in &unit.nodes {
        let token = text_member(&node.login("c", &[]).await, "access_token");
        for other in &unit.nodes {
            let read = other.with_token(&token).request("GET", "c/box/f");
            read.send().await.expect(200);
        }
        let fields = [
            ("grant_type", "password"),
            ("username", "me"),
            ("password", &format!("{PASSWORD}x")),
        ];
        node.request_token("c", &fields).await.expect(400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_without_memcached_are_right_in_all_that_they_answer() {
    let mut layered = Layered::start().await;
    let unit = &layered.unit;
    unit.prepare().await;
    unit.nginx
        .client()
        .create_account("c", r#"{"Name":"me"}"#)
        .await;
    unit.nginx.client().create_role("c", "reader").await;
    let link = "c/__ctl/Account('me')/$links/_Role('reader')";
    unit.nodes[0]
        .link("c", "Account('me')", "_Role", "Role('reader')")
        .await;
    unit.nodes[1]
        .grant_to_role("c/box", "reader", &["D:read"])
        .await;
    expect_logins(unit).await;
    let token = text_member(&unit.nodes[0].login("c", &[]).await, "access_token");
    layered.layers.memcached.kill();
    expect_logins(unit).await;
    // What is taken away is away for the next request.
    let delete = unit.nodes[2].admin_request("DELETE", link);
    delete.send().await.expect(204);
    for node in &unit.nodes {
        let read = node.with_token(&token).request("GET", "c/box/f");
        assert_eq!(read.send().await.status, 403);
    }
    layered.layers.memcached.start_again();
    for node in &unit.nodes {
        let read = node.with_token(&token).request("GET", "c/box/f");
        assert_eq!(read.send().await.status, 403);
    }
    unit.nodes[1]
        .link("c", "Account('me')", "_Role", "Role('reader')")
        .await;
    expect_logins(unit).await;
}

/// Reads a file while the object store fails: the answer is right, or a refusal, or is broken off.
async fn expect_right_or_refused(client: &TestClient, path: &str, body: &[u8]) {
    let Ok(read) = client.admin_request("GET", path).try_send().await else {
        return;
    };
    match read.status.as_u16() {
        200 => assert!(read.body == body, "{path}: wrong content"),
        503 | 507 => assert!(read.text().contains("\"code\":\"PR"), "{}", read.text()),
        other => panic!("{path}: {other} {}", read.text()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_object_store_costs_three_nodes_no_acknowledged_file() {
    let _load = crate::machine_load().read().await;
    let layered = Layered::start().await;
    let (unit, proxy) = (&layered.unit, &layered.proxy);
    let client = unit.prepare().await;
    let kept = body(0);
    let put = client.request("PUT", "c/box/kept").body(&kept);
    put.send().await.expect(201);
    let writers = Writers::start(&unit.nginx, 3);
    for disturbance in [
        Disturbance::Status(503, "SlowDown"),
        Disturbance::Status(500, "InternalError"),
        Disturbance::CutRequest,
        Disturbance::LoseResponse,
        Disturbance::CutResponse(100_000),
        Disturbance::Delay(Duration::from_secs(30)),
    ] {
        proxy.disturb(ALWAYS, disturbance, |_, _| true);
        for node in &unit.nodes {
            expect_right_or_refused(node, "c/box/kept", &kept).await;
            let small = node.admin_request("PUT", "c/box/small").body("small");
            small.send().await.expect_success();
            let listed = node.admin_request("PROPFIND", "c/box");
            listed.header("depth", "0").send().await.expect(207);
        }
        let put = client
            .request("PUT", "c/box/other")
            .body(&kept)
            .send()
            .await;
        if !matches!(disturbance, Disturbance::CutResponse(_)) {
            put.expect(503);
        }
        proxy.calm();
        expect_on_every_node(unit, "c/box/kept", &kept).await;
    }
    let written = writers.end().await;
    assert!(written.count_refused(503) > 0, "{written:?}");
    assert_eq!(written.count_other_than(&[503]), 0, "{written:?}");
    written.expect_kept(&client, 50).await;
}
