//! Messages of a unit of three nodes.

use personium_testkit::{PostgresCluster, StubServer, text_member, wait_until};
use serde_json::json;

use super::{NODES, Nodes, PREFIX, database_settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn message_of_a_killed_node_is_delivered_once_by_another_one() {
    let cluster = PostgresCluster::shared();
    let lines = database_settings(&cluster);
    let lines = format!("{lines}{PREFIX}outgoing.privateNetworks.enabled=true\n");
    let mut unit = Nodes::start_with(&lines, |_, node| node);
    unit.prepare().await;
    let port = StubServer::start().await.port();
    let far = format!("http://127.0.0.1:{port}/far/");
    let send = json!({"To": far, "Title": "t"}).to_string();
    let mut ids = Vec::new();
    for node in &unit.nodes {
        let sent = node
            .post("c/__message/send", &send)
            .await
            .expect(201)
            .results();
        assert_eq!(sent["Result"][0]["Code"], "202", "{sent}");
        ids.push(text_member(&sent, "__id"));
    }
    // One of them owns the outbox of the cell.
    unit.nodes[0].kill();
    let server = StubServer::start_on(port).await;
    let mut received = Vec::new();
    for _ in 0..NODES {
        let request = server.receive("201 Created", "{}").await;
        received.push(text_member(&request.body, "__id"));
    }
    received.sort();
    ids.sort();
    assert_eq!(received, ids);
    wait_until("another node shows the results", async || {
        let sent = unit.nodes[2].list_entities("c/__ctl/SentMessage").await;
        sent.iter()
            .all(|message| message["Result"][0]["Code"] == "201")
    })
    .await;
    assert!(!server.is_called().await);
}
