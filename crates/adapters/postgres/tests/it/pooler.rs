//! PgBouncer in transaction mode: transactions of many clients take turns on few connections.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use personium_postgres::PostgresSettings;
use personium_store::contract;
use personium_testkit::{OnDrop, PostgresCluster, Process, free_port};

use crate::database::{Database, counted, counted_records, new_space, open};

/// The number of connections to the server.
const SERVER_CONNECTIONS: usize = 3;

/// A pooler in front of a server.
struct Pooler {
    port: u16,
    _process: Process,
}

impl Pooler {
    fn start(cluster: &PostgresCluster) -> Self {
        let port = free_port();
        let folder = cluster.folder();
        let settings = folder.join(format!("pooler-{port}.ini"));
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = transaction\n\
             default_pool_size = {SERVER_CONNECTIONS}\nmax_client_conn = 200\n",
            cluster.port()
        );
        fs::write(&settings, text).unwrap();
        let mut command = cluster.command(Path::new("/usr/sbin/pgbouncer"));
        command.arg("-q").arg(&settings).current_dir(folder);
        let (process, _) = Process::listen(&mut command, port, OnDrop::Kill).unwrap();
        Self {
            port,
            _process: process,
        }
    }
}

fn settings(database: &Database, pooler: &Pooler) -> PostgresSettings {
    PostgresSettings {
        prepared_statements: false,
        ..database.settings_at(pooler.port)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgres_store_keeps_the_contract_behind_a_pooler() {
    let database = Database::new().await;
    let pooler = Pooler::start(&database.cluster);
    contract::records(open(&settings(&database, &pooler))).await;
    let stores = || open(&settings(&database, &pooler));
    contract::records_shared(stores(), stores()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_stores_share_few_connections() {
    let database = Database::new().await;
    let pooler = Pooler::start(&database.cluster);
    let space = new_space();
    let stores: Vec<_> = (0..4)
        .map(|_| open(&settings(&database, &pooler)))
        .collect();
    let tasks: Vec<_> = (0..16_u64)
        .map(|task| {
            let store = Arc::clone(&stores[usize::try_from(task).unwrap() % stores.len()]);
            tokio::spawn(async move {
                use personium_store::RecordStore;
                for n in 0..20 {
                    store.commit(&space, counted(task * 100 + n)).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (count, found) = counted_records(&*stores[0], &space).await;
    assert_eq!((count, found.len()), (320, 320));
    let name = &database.name;
    let used = database.sql(&format!(
        "SELECT count(*) <= {SERVER_CONNECTIONS} FROM pg_stat_activity \
         WHERE datname = '{name}' AND application_name = 'personium'"
    ));
    assert_eq!(used, "t");
}
