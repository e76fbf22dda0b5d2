//! A dead, silent or talkative server, and one that accepts no writes.

use std::sync::Arc;
use std::time::Duration;

use personium_postgres::PostgresSettings;
use personium_store::{RecordStore, StoreError};
use personium_testkit::free_port;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::database::{Database, counted, host, key, new_space, open};
use crate::proxy::{Cut, Proxy, Side};

fn impatient(database: &Database, port: u16) -> PostgresSettings {
    PostgresSettings {
        connect_timeout: Duration::from_millis(300),
        statement_timeout: Duration::from_millis(300),
        pool_timeout: Duration::from_millis(300),
        ..database.settings_at(port)
    }
}

#[tokio::test]
async fn absent_silent_and_garbled_servers_are_down() {
    let database = Database::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let garbled = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = [
        free_port(),
        silent.local_addr().unwrap().port(),
        garbled.local_addr().unwrap().port(),
    ];
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = garbled.accept().await {
            let _ = stream
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n\xff\xff\xff\xff")
                .await;
        }
    });
    for port in ports {
        let store = open(&impatient(&database, port));
        let read = store.get(&new_space(), &[key(1)]).await;
        assert!(matches!(read, Err(StoreError::Down(_))), "{read:?}");
        let written = store.commit(&new_space(), counted(1)).await;
        assert!(matches!(written, Err(StoreError::Down(_))), "{written:?}");
    }
    task.abort();
}

#[tokio::test]
async fn further_host_is_used_when_the_first_is_dead() {
    let database = Database::new().await;
    let settings = PostgresSettings {
        hosts: vec![host(free_port()), host(database.cluster.port())],
        ..database.settings()
    };
    let store = open(&settings);
    store.commit(&new_space(), counted(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_space_is_busy_and_others_are_not() {
    let database = Database::new().await;
    let store = open(&PostgresSettings {
        statement_timeout: Duration::from_millis(500),
        ..database.settings()
    });
    let (locked, other) = (new_space(), new_space());
    store.commit(&locked, counted(1)).await.unwrap();
    let mut psql = database.cluster.psql(&database.name);
    psql.args([
        "-c",
        "BEGIN; SELECT * FROM personium.spaces FOR UPDATE; SELECT pg_sleep(3)",
    ]);
    let holder = tokio::task::spawn_blocking(move || psql.output());
    tokio::time::sleep(Duration::from_millis(700)).await;
    let busy = store.commit(&locked, counted(2)).await;
    assert!(matches!(busy, Err(StoreError::Busy(_))), "{busy:?}");
    store.commit(&other, counted(1)).await.unwrap();
    assert!(store.get(&locked, &[key(1)]).await.unwrap().value[0].is_some());
    holder.await.unwrap().unwrap();
    store.commit(&locked, counted(2)).await.unwrap();
}

/// Waits until the database answers a question so.
async fn wait_until(database: &Database, question: &str, answer: &str) {
    for _ in 0..3_000 {
        if database.sql(question) == answer {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{question} is not {answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_do_not_fail_for_a_node_that_is_suspended_in_a_transaction() {
    let database = Database::new().await;
    let proxy = Proxy::start(database.cluster.port()).await;
    let suspended = open(&PostgresSettings {
        statement_timeout: Duration::from_secs(12),
        ..database.settings_at(proxy.port)
    });
    let writer = open(&PostgresSettings {
        statement_timeout: Duration::from_secs(6),
        ..database.settings()
    });
    let space = new_space();
    suspended.commit(&space, counted(1)).await.unwrap();
    // The server does not learn that the node is gone.
    proxy
        .arm(Cut {
            side: Side::ToClient,
            after: 0,
            server_later: Duration::from_secs(60),
        })
        .await;
    let held = tokio::spawn(async move { suspended.commit(&space, counted(2)).await });
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND state LIKE 'idle in transaction%'";
    wait_until(&database, idle, "1").await;
    writer.commit(&space, counted(3)).await.unwrap();
    held.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exhausted_pool_is_busy() {
    let database = Database::new().await;
    let store = open(&PostgresSettings {
        pool_size: 2,
        pool_timeout: Duration::from_millis(200),
        statement_timeout: Duration::from_secs(60),
        ..database.settings()
    });
    let space = new_space();
    store.commit(&space, counted(1)).await.unwrap();
    let mut psql = database.cluster.psql(&database.name);
    psql.args(["-c", "BEGIN; LOCK personium.records; SELECT pg_sleep(60)"]);
    let holder = tokio::task::spawn_blocking(move || psql.output());
    let sessions = |what: &str| {
        format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {what}"
        )
    };
    let holds = sessions("query LIKE 'BEGIN; LOCK%' AND wait_event = 'PgSleep'");
    wait_until(&database, &holds, "1").await;
    let get = || {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.get(&space, &[key(1)]).await })
    };
    // Reads that come one after the other take a connection each, reads at the same time share one.
    let mut slow = Vec::new();
    for count in ["1", "2"] {
        slow.push(get());
        wait_until(&database, &sessions("wait_event_type = 'Lock'"), count).await;
    }
    let reads = (0..4).map(|_| async { store.get(&space, &[key(1)]).await });
    let reads = futures_util::future::join_all(reads).await;
    let busy = reads
        .iter()
        .filter(|read| matches!(read, Err(StoreError::Busy(_))));
    assert_eq!(busy.count(), 4, "{reads:?}");
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND wait_event = 'PgSleep'",
    );
    for read in slow {
        assert!(read.await.unwrap().unwrap().value[0].is_some());
    }
    drop(holder.await);
    assert!(store.get(&space, &[key(1)]).await.unwrap().value[0].is_some());
}

#[tokio::test]
async fn server_that_accepts_no_writes_any_more_is_left() {
    let database = Database::new().await;
    let store = database.store();
    let space = new_space();
    store.commit(&space, counted(1)).await.unwrap();
    let name = &database.name;
    database.sql(&format!(
        "ALTER DATABASE {name} SET default_transaction_read_only = on"
    ));
    // The present connection goes on; a new one finds that the server is not the primary.
    store.commit(&space, counted(2)).await.unwrap();
    database.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'personium'",
    );
    let refused = store.commit(&space, counted(3)).await.unwrap_err();
    assert!(refused.is_retryable(), "{refused:?}");
    let reset = format!("ALTER DATABASE {name} RESET default_transaction_read_only");
    database.cluster.sql("postgres", &reset);
    store.commit(&space, counted(3)).await.unwrap();
}
