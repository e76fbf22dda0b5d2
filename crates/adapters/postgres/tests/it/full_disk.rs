//! A database whose disk is full.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use personium_store::{Batch, RecordStore, StoreError};
use personium_testkit::PostgresCluster;

use crate::database::{Database, PARTITIONS, key, new_space, open};

/// A small file system in memory.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where the test may not mount.
    fn mount(path: PathBuf) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs"])
            .arg(&path)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(path))
    }
}

impl SmallDisk {
    fn grow(&self) {
        let mut grow = Command::new("mount");
        grow.args(["-o", "remount,size=64m"]).arg(&self.0);
        assert!(grow.status().unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_is_reported_until_it_has_space_again_and_spaces_can_be_dropped() {
    let cluster = Arc::new(PostgresCluster::start());
    let Some(disk) = SmallDisk::mount(cluster.folder().join("small")) else {
        return;
    };
    let data = disk.0.join("data");
    std::fs::create_dir(&data).unwrap();
    let status = cluster
        .command(std::path::Path::new("id"))
        .arg("-u")
        .output()
        .unwrap();
    let user: u32 = String::from_utf8(status.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    std::os::unix::fs::chown(&data, Some(user), None).unwrap();
    let path = data.display();
    cluster.sql(
        "postgres",
        &format!("CREATE TABLESPACE small LOCATION '{path}'"),
    );
    cluster.sql("postgres", "CREATE DATABASE on_small TABLESPACE small");
    let database = Database {
        cluster,
        name: "on_small".to_owned(),
    };
    let settings = database.settings();
    let store = open(&settings);
    store.create_schema(PARTITIONS).await.unwrap();
    let (space, other) = (new_space(), new_space());
    let mut stored = 0;
    let mut random = personium_testkit::SplitMix64::new(5);
    let full = loop {
        let value: Vec<u8> = (0..1 << 17)
            .flat_map(|_| random.next_u64().to_le_bytes())
            .collect();
        let mut batch = Batch::new();
        batch.put(key(stored), value);
        match store.commit(&space, batch).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100);
    };
    assert!(matches!(full, StoreError::Full(_)), "{full:?}");
    assert!(store.is_full() && settings.health.is_full());
    assert!(store.get(&space, &[key(0)]).await.unwrap().value[0].is_some());
    store.drop_space(&space).await.unwrap();
    disk.grow();
    store
        .commit(&other, crate::database::counted(1))
        .await
        .unwrap();
    assert!(!store.is_full());
    store.close().await.unwrap();
    database.cluster.stop();
    drop(disk);
}
