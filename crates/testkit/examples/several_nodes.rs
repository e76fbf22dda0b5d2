//! Runs a unit of three nodes over PostgreSQL, memcached and an object store behind Nginx, without TLS, until it gets SIGTERM:
//! `several_nodes PROGRAM SETTINGS PORT`. The settings are those of a unit on this port; records, bodies, cache and addresses
//! are replaced.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "it fails by panicking"
)]

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use personium_testkit::{Nginx, OnDrop, PostgresCluster, Process, UnitLayers, free_port};
use tokio::signal::unix::{SignalKind, signal};

/// The number of nodes.
const NODES: usize = 3;

/// The version that some clients ask the web layer for.
const ASKED_VERSION: &str = "1.5.1";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, program, settings, port] = arguments.as_slice() else {
        eprintln!("usage: several_nodes PROGRAM SETTINGS PORT");
        std::process::exit(2);
    };
    let mut end = signal(SignalKind::terminate()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let layers = UnitLayers::start(Arc::new(PostgresCluster::start()));
    let shared = layers.settings(Path::new(program), &layers.object_store.url());
    let mut nginx = Nginx::builder(port.parse().unwrap()).without_tls("localhost");
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let folder = folder.path().join(format!("node{number}"));
        let (node, port) = start(program, settings, &folder, &shared);
        nginx = nginx.node(port);
        if number == 0 {
            // What some of the recorded requests ask for, of a unit that knows no other version than its own.
            nginx = nginx.node_of_version(ASKED_VERSION, port);
        }
        nodes.push(node);
    }
    let nginx = nginx.start();
    end.recv().await;
    let errors = nginx.errors();
    drop((nginx, nodes, layers));
    for line in errors.lines().filter(|line| line.contains("[error]")) {
        eprintln!("{line}");
    }
}

/// Starts a node on a free port.
fn start(program: &str, settings: &str, folder: &Path, shared: &str) -> (Process, u16) {
    std::fs::create_dir(folder).unwrap();
    let log = File::create(folder.join("unit.log")).unwrap();
    let port = free_port();
    let mut command = Command::new(program);
    command
        .args(["serve", "--config", settings, "--data"])
        .arg(folder.join("data"))
        .args([
            "-c",
            &format!("listen=127.0.0.1:{port}"),
            "-c",
            "admin.listen=127.0.0.1:0",
        ])
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    for line in shared.lines() {
        command.args(["-c", line]);
    }
    let started = Process::listen(&mut command, port, OnDrop::Terminate);
    let (process, _) = started.unwrap_or_else(|error| {
        let log = std::fs::read_to_string(folder.join("unit.log")).unwrap_or_default();
        panic!("{error}\n{log}")
    });
    (process, port)
}
