//! The contract of queues and topics in records on disk: in files, and in a PostgreSQL database that several server nodes share. Those in
//! memory are checked by the tests of `model`, ActiveMQ by those of its adapter.

use std::sync::Arc;

use personium_model::message_queue::RecordMessageQueue;
use personium_model::odata::ServiceRoot;
use personium_model::{Unit, server_node};
use personium_postgres::{PostgresHost, PostgresSettings, PostgresStore};
use personium_sqlite::{SqliteSettings, SqliteStore};
use personium_store::{Channel, ChannelKind, MessageQueue, RecordStore, contract};
use personium_testkit::{PostgresCluster, create, model_on};
use personium_types::{CellId, Clock, NodeId, SystemClock, SystemRandom};
use tokio::task::JoinHandle;

/// The number of parts of the table of records.
const PARTITIONS: u32 = 4;

/// A server node, which renews its record as long as it lives.
struct Node {
    model: Arc<Unit>,
    maintaining: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.maintaining.abort();
    }
}

impl Node {
    fn start(records: Arc<dyn RecordStore>) -> Self {
        let model = model_on(records, Arc::new(SystemClock::new()));
        let unit = Arc::clone(&model);
        let maintaining = tokio::spawn(async move { server_node::maintain(&unit).await });
        Self { model, maintaining }
    }

    fn queue(&self) -> Arc<dyn MessageQueue> {
        Arc::new(RecordMessageQueue::new(&self.model))
    }

    async fn create_cell(&self) -> CellId {
        let root = ServiceRoot::of_unit(Arc::clone(&self.model));
        create(&root, "Cell", r#"{"Name":"c"}"#).await.unwrap();
        let created = self.model.find_cell("c").await.unwrap();
        created.unwrap().cell().id
    }
}

fn now_ms() -> i64 {
    SystemClock::new().now_ms()
}

/// Makes queues and topics of a collection of a cell.
fn channels(cell: CellId) -> impl Fn(ChannelKind, &str) -> Channel + Copy {
    move |kind, name| Channel {
        cell,
        collection: NodeId::from_bytes([5; 16]),
        kind,
        name: name.to_owned(),
        address: String::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_and_topics_in_files_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Arc::new(SqliteStore::open(SqliteSettings::new(folder.path())).unwrap());
    let records = open();
    let node = Node::start(records.clone());
    let channel = channels(node.create_cell().await);
    // Nobody else can have the files.
    contract::message_queue([node.queue(), node.queue()], channel, now_ms).await;
    let queue = node.queue();
    let crash = async |port: Arc<dyn MessageQueue>| {
        drop((node, port));
        records.close().await.unwrap();
        Node::start(open()).queue()
    };
    contract::message_queue_after_crash(queue, channel, now_ms, crash).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_and_topics_in_postgresql_keep_the_contract() {
    let cluster = tokio::task::spawn_blocking(PostgresCluster::shared);
    let cluster = cluster.await.unwrap();
    let host = PostgresHost {
        name: "127.0.0.1".to_owned(),
        port: cluster.port(),
    };
    let database = cluster.create_database();
    let settings = PostgresSettings::new(host, &database, cluster.user());
    let open = || Arc::new(PostgresStore::new(&settings, Arc::new(SystemRandom::new())).unwrap());
    let records = open();
    records.create_schema(PARTITIONS).await.unwrap();
    let (one, other) = (Node::start(records.clone()), Node::start(open()));
    let channel = channels(one.create_cell().await);
    contract::message_queue([one.queue(), other.queue()], channel, now_ms).await;
    let queue = one.queue();
    let crash = async |port: Arc<dyn MessageQueue>| {
        drop((one, port));
        records.close().await.unwrap();
        other.queue()
    };
    contract::message_queue_after_crash(queue, channel, now_ms, crash).await;
}
