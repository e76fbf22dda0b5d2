//! Quotas of a unit of three nodes: links and index entries that all of them store.

use futures_util::future::join_all;
use personium_testkit::{PostgresCluster, TestClient, wait_until};
use serde_json::{Value, json};

use super::Nodes;

/// The number of rows that each node stores.
const ROWS: usize = 12;

async fn stored(node: &TestClient) -> Value {
    let request = node.request("GET", "__quota?cell=c");
    request.send().await.expect(200).json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_and_index_entries_of_all_nodes_are_counted_exactly_and_limited_on_each() {
    let cluster = PostgresCluster::shared();
    let unit = Nodes::start_over(&cluster);
    let admin = unit.prepare().await;
    admin.create_odata_collection("c/box/data", "Row").await;
    let schema = "c/box/data/$metadata";
    let number = json!({"Name": "n", "_EntityType.Name": "Row", "Type": "Edm.Int32"});
    admin
        .create(&format!("{schema}/Property"), &number.to_string())
        .await;
    admin.create_role("c", "r").await;
    let nodes: Vec<TestClient> = unit.nodes.iter().map(|node| node.admin()).collect();
    let before = stored(&nodes[0]).await;
    let link = async |node: &TestClient, account: &str| {
        let uri = format!("{}c/__ctl/Account('{account}')", node.url());
        let body = json!({"uri": uri}).to_string();
        let linked = node.post("c/__ctl/Role('r')/$links/_Account", &body);
        linked.await.status.as_u16()
    };
    let store = async |at: usize, node: &TestClient| {
        for row in 0..ROWS {
            let name = format!("a{at}-{row}");
            node.create_account("c", &json!({"Name": name}).to_string())
                .await;
            assert_eq!(link(node, &name).await, 204);
            let entity = json!({"__id": name, "n": row}).to_string();
            node.create("c/box/data/Row", &entity).await;
        }
    };
    join_all(nodes.iter().enumerate().map(|(at, node)| store(at, node))).await;
    let after = stored(&nodes[0]).await;
    for (kind, least) in [("linkBytes", 2 * 60), ("indexBytes", 3 * 60)] {
        for node in &nodes {
            assert_eq!(stored(node).await[kind], after[kind], "{kind}");
        }
        let grown = after[kind].as_u64().unwrap() - before[kind].as_u64().unwrap();
        assert!(grown > (3 * ROWS * least) as u64, "{kind}: {grown}");
    }

    // Room for less than one link more.
    nodes[0].create_account("c", r#"{"Name":"last"}"#).await;
    let used = stored(&nodes[0]).await["usedBytes"].as_u64().unwrap();
    let quota = json!({"cell": "c", "quota": used + 50}).to_string();
    nodes[0].post("__quota", &quota).await.expect(204);
    assert_eq!(link(&nodes[0], "last").await, 507);
    for node in &nodes[1..] {
        wait_until("the node knows the quota", async || {
            stored(node).await["quota"] == used + 50
        })
        .await;
        assert_eq!(link(node, "last").await, 507);
    }
    assert_eq!(stored(&nodes[1]).await["usedBytes"], used);

    // All go at once, each through another node than the one that stored it.
    let remove = async |at: usize, node: &TestClient| {
        for row in 0..ROWS {
            let name = format!("a{}-{row}", (at + 1) % nodes.len());
            for path in [
                format!("c/__ctl/Account('{name}')"),
                format!("c/box/data/Row('{name}')"),
            ] {
                let removed = node.request("DELETE", &path).header("if-match", "*");
                removed.send().await.expect(204);
            }
        }
    };
    join_all(nodes.iter().enumerate().map(|(at, node)| remove(at, node))).await;
    let left = stored(&nodes[2]).await;
    for kind in ["linkBytes", "indexBytes"] {
        assert_eq!(left[kind], before[kind], "{kind}");
    }
}
