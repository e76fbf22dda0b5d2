//! Three nodes while the disk of the database, or that of the file bodies, is full.

use std::path::Path;
use std::process::Command;

use personium_testkit::{PostgresCluster, ProcessUnit, SplitMix64, TestClient, wait_until};

use super::{Nodes, PREFIX, database_settings};
use crate::full_disk::{Kind, Mount, empty, fill};
use crate::low_disk::{leave_free, low_space};

/// Content that a database does not compress.
fn random_bytes(seed: usize, length: usize) -> Vec<u8> {
    let mut random = SplitMix64::new(u64::try_from(seed).unwrap());
    let bytes = std::iter::repeat_with(|| random.next_u64().to_le_bytes()).flatten();
    bytes.take(length).collect()
}

/// The files that were acknowledged: name, seed, length.
#[derive(Default)]
struct Files(Vec<(String, usize, usize)>);

impl Files {
    /// Writes new files through a node until one is refused, which must be for the lack of space.
    async fn write_until_refused(&mut self, node: &ProcessUnit, length: usize) {
        for _ in 0..3_000 {
            let seed = self.0.len();
            let name = format!("c/box/f{seed}-{length}");
            let put = node.admin_request("PUT", &name);
            let put = put.body(random_bytes(seed, length)).send().await;
            if put.status != 201 {
                put.expect_error(507, "SV-0001");
                return;
            }
            self.0.push((name, seed, length));
        }
        panic!("the disk did not become full");
    }

    /// Waits until a node stores a new file.
    async fn wait_until_written(&mut self, node: &ProcessUnit, length: usize) {
        let seed = self.0.len();
        let name = format!("c/box/f{seed}-{length}");
        wait_until("there is space", async || {
            let put = node.admin_request("PUT", &name);
            let put = put.body(random_bytes(seed, length)).send().await;
            let status = put.status.as_u16();
            assert!([201, 507, 503].contains(&status), "{status}");
            status == 201
        })
        .await;
        self.0.push((name, seed, length));
    }

    async fn expect_kept(&self, client: &TestClient) {
        for (name, seed, length) in &self.0 {
            let read = client.admin_request("GET", name).send().await.expect(200);
            assert!(read.body == random_bytes(*seed, *length), "{name}");
        }
    }
}

/// Gives a folder to the user of the database server.
fn give_to(cluster: &PostgresCluster, folder: &Path) {
    let shown = cluster.command(Path::new("id")).arg("-u").output().unwrap();
    let user = String::from_utf8(shown.stdout).unwrap();
    let user = user.trim().parse().unwrap();
    std::os::unix::fs::chown(folder, Some(user), None).unwrap();
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_database_has_no_space_refuse_changes_read_and_go_on_when_there_is_space() {
    let cluster = PostgresCluster::start();
    let disk = cluster.folder().join("small");
    if !is_root() {
        return;
    }
    let Some(mount) = Mount::new(Kind::Tmpfs, &disk, 48) else {
        return;
    };
    let place = disk.join("data");
    std::fs::create_dir(&place).unwrap();
    give_to(&cluster, &place);
    let lines = database_settings(&cluster);
    let database = lines.lines().find_map(|line| {
        let key = format!("{PREFIX}store.postgres.database=");
        line.strip_prefix(&key).map(str::to_owned)
    });
    let place = place.display();
    for statement in [
        format!("CREATE TABLESPACE small LOCATION '{place}'"),
        format!("ALTER DATABASE {} SET TABLESPACE small", database.unwrap()),
    ] {
        cluster.sql("postgres", &statement);
    }
    {
        let unit = Nodes::start_with(&lines, |_, node| node);
        let client = unit.prepare().await;
        fill(&disk);
        let mut files = Files::default();
        for node in &unit.nodes {
            files.write_until_refused(node, 12_000).await;
            let read = node.admin_request("GET", "c/box/f").send().await;
            assert_eq!(read.expect(200).text(), "content");
        }
        files.expect_kept(&client).await;
        empty(&disk);
        for node in &unit.nodes {
            files.wait_until_written(node, 12_000).await;
        }
        for node in &unit.nodes {
            files.expect_kept(node).await;
        }
    }
    cluster.stop();
    drop(mount);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_bodies_have_no_space_refuse_large_files_alone_and_go_on_when_there_is_space() {
    let cluster = PostgresCluster::shared();
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("bodies");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &disk, 16) else {
        return;
    };
    let lines = format!(
        "{}{PREFIX}blobStore.root={}\n{PREFIX}store.minFreeInMiB=0\n",
        database_settings(&cluster),
        disk.display()
    );
    let unit = Nodes::start_with(&lines, |_, node| node);
    let client = unit.prepare().await;
    client.create_odata_collection("c/box/data", "Row").await;
    fill(&disk);
    let mut files = Files::default();
    for (number, node) in unit.nodes.iter().enumerate() {
        files.write_until_refused(node, 150_000).await;
        // What is in records needs none of that space.
        let put = node.admin_request("PUT", &format!("c/box/small{number}"));
        put.body("small").send().await.expect(201);
        let row = format!(r#"{{"__id":"n{number}"}}"#);
        node.create("c/box/data/Row", &row).await;
    }
    files.expect_kept(&client).await;
    empty(&disk);
    for node in &unit.nodes {
        files.wait_until_written(node, 150_000).await;
    }
    for node in &unit.nodes {
        files.expect_kept(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_bodies_have_little_space_refuse_large_files_alone_and_a_local_disk_concerns_its_node()
 {
    let cluster = PostgresCluster::shared();
    let folder = tempfile::tempdir().unwrap();
    let (disk, local) = (folder.path().join("bodies"), folder.path().join("local"));
    let mounts = (
        Mount::new(Kind::Tmpfs, &disk, 16),
        Mount::new(Kind::Tmpfs, &local, 8),
    );
    let (Some(_disk), Some(_local)) = mounts else {
        return;
    };
    let lines = format!(
        "{}{PREFIX}blobStore.root={}\n{PREFIX}store.minFreeInMiB=4\n{PREFIX}store.minFreePercent=90\n",
        database_settings(&cluster),
        disk.display()
    );
    let unit = Nodes::start_with(&lines, |number, node| match number {
        0 => node.setting(&format!("{PREFIX}bar.tmp.dir"), local.display()),
        _ => node,
    });
    let client = unit.prepare().await;
    client.create_odata_collection("c/box/data", "Row").await;
    leave_free(&local, 2);
    let [first, second, third] = &unit.nodes[..] else {
        panic!("three nodes");
    };
    let wait_for = async |node: &ProcessUnit, contents: &[&str]| {
        wait_until("the node sees its disks", async || {
            low_space(node).await == serde_json::json!(contents)
        })
        .await;
    };
    wait_for(first, &["temporary"]).await;
    let put = async |node: &ProcessUnit, name: &str, length: usize| {
        let put = node.admin_request("PUT", &format!("c/box/{name}"));
        put.body(random_bytes(0, length)).send().await
    };
    put(first, "large0", 150_000).await.expect(201);
    leave_free(&disk, 2);
    wait_for(first, &["bodies", "temporary"]).await;
    for node in [second, third] {
        wait_for(node, &["bodies"]).await;
    }
    for (number, node) in unit.nodes.iter().enumerate() {
        let refused = put(node, &format!("large{number}"), 150_000).await;
        refused.expect_error(503, "SV-0005");
        put(node, &format!("small{number}"), 100).await.expect(201);
        let row = format!(r#"{{"__id":"n{number}"}}"#);
        node.create("c/box/data/Row", &row).await;
        let read = node.admin_request("GET", "c/box/large0").send().await;
        assert!(read.expect(200).body == random_bytes(0, 150_000));
    }
    leave_free(&disk, 12);
    for node in [second, third] {
        wait_for(node, &[]).await;
        put(node, "large0", 150_000).await.expect(204);
    }
}
