//! Jobs of services of a unit of three nodes.

use personium_testkit::PostgresCluster;

use super::{Nodes, PREFIX, database_settings};
use crate::service_jobs::{LONG, create_service, document, document_with, start};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_of_a_killed_node_are_taken_over_and_their_documents_are_on_every_node() {
    let cluster = PostgresCluster::shared();
    let lines = database_settings(&cluster);
    let lines = format!("{lines}{PREFIX}engine.script.job.running.maxNumOfCell=1\n");
    let mut unit = Nodes::start_with(&lines, |_, node| node);
    let client = unit.prepare().await;
    create_service(&client).await;
    let held = start(&unit.nodes[0], "held", LONG).await;
    document_with(&unit.nodes[1], &held, "in progress").await;
    let mut waiting = Vec::new();
    for name in ["a", "b"] {
        waiting.push(start(&unit.nodes[0], name, "0").await);
    }
    // Another node is not held up by it.
    let other = start(&unit.nodes[1], "other", "0").await;
    document_with(&unit.nodes[2], &other, "completed").await;
    assert_eq!(
        document(&unit.nodes[2], &waiting[0]).await["status"],
        "queued"
    );
    unit.nodes[0].kill();
    let failed = document_with(&unit.nodes[2], &held, "failed").await;
    assert_eq!(failed["message"]["code"], "PR500-SC-0003", "{failed}");
    for (path, name) in waiting.iter().zip(["a", "b"]) {
        let ended = document_with(&unit.nodes[1], path, "completed").await;
        assert_eq!(ended["response"]["body"], name);
    }
    let log = unit.nodes[1].admin_request("GET", "c/__log/current/default.log");
    let log = log.send().await.text();
    for name in ["a 0", "b 0", "other 0"] {
        let runs = log.matches(&format!("\"ran for {name}\"")).count();
        assert_eq!(runs, 1, "{name}: {log}");
    }
    // A job that is cancelled through another node gives its place to the next one.
    let held = start(&unit.nodes[1], "held", LONG).await;
    document_with(&unit.nodes[1], &held, "in progress").await;
    let next = start(&unit.nodes[1], "next", "0").await;
    let cancelled = unit.nodes[2].admin_request("DELETE", &held);
    cancelled.send().await.expect(204);
    document_with(&unit.nodes[2], &next, "completed").await;
}
