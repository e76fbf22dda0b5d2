//! The tables and their version.

use std::error::Error;

use personium_postgres::{PostgresSettings, PostgresStore, SCHEMA_VERSION, SchemaError};
use personium_store::RecordStore;
use personium_testkit::PostgresCluster;
use personium_types::Secret;

use crate::database::{Database, PARTITIONS, counted, new_space, open};

#[tokio::test]
async fn missing_and_newer_tables_are_refused_with_what_to_do() {
    let database = Database::without_tables(PostgresCluster::shared());
    let store = database.store();
    let missing = store.check_schema().await.unwrap_err();
    assert!(matches!(missing, SchemaError::Missing), "{missing:?}");
    assert!(missing.to_string().contains("personium init"), "{missing}");
    let read = store.get(&new_space(), &[]).await.unwrap_err();
    assert!(!read.is_retryable() || read.source().is_some(), "{read:?}");

    store.create_schema(PARTITIONS).await.unwrap();
    store.create_schema(PARTITIONS).await.unwrap();
    store.check_schema().await.unwrap();

    for (version, newer) in [(SCHEMA_VERSION + 1, true), (SCHEMA_VERSION - 1, false)] {
        database.sql(&format!("UPDATE personium.format SET version = {version}"));
        let refused = store.check_schema().await.unwrap_err();
        assert_eq!(
            matches!(refused, SchemaError::Newer { .. }),
            newer,
            "{refused:?}"
        );
        let changed = store.create_schema(PARTITIONS).await;
        assert!(changed.is_err() || !newer);
    }
}

/// An administrator runs the printed statements; the role of the unit can do nothing but use the records.
#[tokio::test]
async fn printed_statements_make_a_database_for_a_role_with_few_rights() {
    let cluster = PostgresCluster::shared();
    let settings = PostgresSettings {
        database: "printed".to_owned(),
        user: "printed_role".to_owned(),
        ..Database::without_tables(std::sync::Arc::clone(&cluster)).settings()
    };
    let sql = PostgresStore::administrator_sql(&settings, PARTITIONS);
    let script = cluster.folder().join("printed.sql");
    std::fs::write(&script, sql).unwrap();
    let run = cluster
        .psql("postgres")
        .arg("-f")
        .arg(&script)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    let store = open(&settings);
    store.check_schema().await.unwrap();
    let space = new_space();
    store.commit(&space, counted(1)).await.unwrap();
    store.drop_space(&space).await.unwrap();
    let mut psql = cluster.psql("printed");
    let refused = psql.args(["-U", "printed_role", "-c", "DROP TABLE personium.records"]);
    assert!(!refused.output().unwrap().status.success());
}

#[tokio::test]
async fn password_is_in_no_error() {
    let cluster = PostgresCluster::shared();
    let settings = PostgresSettings {
        user: "nobody_of_this_name".to_owned(),
        password: Some(Secret::new("hidden-word".to_owned())),
        ..Database::without_tables(cluster).settings()
    };
    let store = open(&settings);
    let refused = store.check_schema().await.unwrap_err();
    let shown = format!("{refused} {refused:?} {store:?}");
    assert!(!shown.contains("hidden-word"), "{shown}");
}
