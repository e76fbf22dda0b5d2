//! A database for the records of a unit.

use std::path::Path;
use std::process::Command;

use crate::postgres_cluster::PostgresCluster;

/// Makes a database with the tables of a unit, as a database administrator would with what the program prints. Returns the
/// settings of a unit that uses it: keys without their prefix, and values.
pub fn create_unit_database(
    cluster: &PostgresCluster,
    program: &Path,
) -> Vec<(&'static str, String)> {
    let name = cluster.create_database();
    let settings = vec![
        ("store.type", "postgres".to_owned()),
        (
            "store.postgres.hosts",
            format!("127.0.0.1:{}", cluster.port()),
        ),
        ("store.postgres.database", name.clone()),
        ("store.postgres.user", cluster.user().to_owned()),
        ("store.postgres.tls", "off".to_owned()),
    ];
    cluster.sql(&name, &unit_tables(program, &settings));
    settings
}

/// The statements that make the tables of a unit with these settings, in a database that exists.
pub(crate) fn unit_tables(program: &Path, settings: &[(&str, String)]) -> String {
    let mut command = Command::new(program);
    command.args(["init", "--print-sql", "--data", "/nonexistent"]);
    for (key, value) in settings {
        command.args(["-c", &format!("{key}={value}")]);
    }
    let printed = command.output().unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let sql = String::from_utf8(printed.stdout).unwrap();
    // The role and the database exist.
    let tables = sql.lines().skip_while(|line| *line != "BEGIN;");
    let tables: Vec<&str> = tables.filter(|line| !line.starts_with("GRANT")).collect();
    tables.join("\n")
}
