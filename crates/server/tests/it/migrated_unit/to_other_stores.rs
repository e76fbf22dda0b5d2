//! A unit is migrated into PostgreSQL and a bucket, also when they fail meanwhile.

use std::fs;
use std::path::Path;

use personium_testkit::{PostgresCluster, S3Program, S3Server};
use serde_json::json;

use super::original::{Original, cell_id};
use super::{cells, get, login};
use crate::program;

/// The settings of a database without tables and of a bucket, as lines.
fn stores(cluster: &PostgresCluster, server: &S3Server) -> String {
    let (name, key) = (cluster.create_database(), "io.personium.core.store");
    let database = format!(
        "{key}.type=postgres\n{key}.postgres.hosts=127.0.0.1:{}\n{key}.postgres.database={name}\n\
         {key}.postgres.user={}\n{key}.postgres.tls=off\n",
        cluster.port(),
        cluster.user()
    );
    database + &server.settings("migrated")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_is_migrated_into_a_database_and_a_bucket() {
    let (cluster, mut server) = (PostgresCluster::shared(), S3Server::start(S3Program::Minio));
    let mut original = Original::new(4);
    let stores = stores(&cluster, &server);
    let settings = fs::read_to_string(original.path("unit.properties")).unwrap();
    let kept = settings
        .lines()
        .filter(|line| !line.contains("=data/") && !line.contains("es.hosts"));
    let settings: String = kept.map(|line| format!("{line}\n")).collect();
    fs::create_dir_all(original.data()).unwrap();
    let file = original.data().join("personium-unit-config.properties");
    fs::write(file, settings + &stores).unwrap();

    // Killed, then without the bucket, then with it.
    original.kill_after(3);
    server.kill();
    let (status, text) = original.migrate(&[]);
    assert_eq!(status, Some(1), "{text}");
    server.restart();
    let (status, text) = original.migrate(&["--verify"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("0 removed, 0 failed, 0 different"), "{text}");
    let data = original.data().display().to_string();
    assert!(!program::run(&["serve", "--data", &data]).status.success());

    // What has changed since.
    original.add_entity(0, 7, "7.25");
    let the_box = original.tree(1).join(format!("box{:019}", 1));
    original.put(
        &the_box.join("later.txt"),
        "dav.file",
        Some(b"later"),
        json!({}),
    );
    let gone = cell_id(3);
    let is_gone = |document: &serde_json::Value| {
        document["_id"] == *gone || document["_source"]["c"] == *gone
    };
    original.documents.retain(|document| !is_gone(document));
    let (status, text) = original.migrate(&["--verify", "--finish"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.contains("2 taken over, 1 unchanged, 1 removed, 0 failed, 0 different"),
        "{text}"
    );
    let whole = program::run(&["verify", "--data", &data]);
    assert!(whole.status.success(), "{}", program::text(&whole));

    // Nothing but the records and the bucket has the content.
    let in_bucket =
        |folder: &Path| fs::read_dir(folder).is_ok_and(|mut found| found.next().is_some());
    assert!(in_bucket(&server.folder()));
    assert!(!original.data().join("records").exists() && !original.data().join("files").exists());
    let unit = original.start_with(&stores);
    assert_eq!(cells(&unit).await, ["cell0", "cell1", "cell2"]);
    let entity = get(&unit, "/cell0/b/data/Item('e7')?$format=json").await;
    assert!(entity.contains("7.25"), "{entity}");
    assert_eq!(get(&unit, "/cell1/b/later.txt").await, "later");
    let token = login(&unit, "cell2").await;
    let secret = unit.request("GET", "/cell2/b/secret.txt").bearer(&token);
    let secret = secret.send().await.expect(200);
    assert_eq!(secret.text(), "top secret, and longer than a block");
}
