//! Layers that are lost while a unit runs: what still works, what is refused with which code, and how it comes back. The table
//! in `docs/operate/failures.md` names these tests.

use std::fs;

use personium_testkit::{Nginx, WEB_HOST, free_port, refused};

use crate::storage_unit::StorageUnit;

const FILES: &str = "io.personium.core.blobStore.root";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_goes_on_without_its_web_layer_and_is_reached_again_after_its_start() {
    let port = free_port();
    let unit = crate::unit().host(WEB_HOST).behind_proxy(port).start();
    let mut nginx = Nginx::builder(port).node(unit.port()).start();
    let client = nginx.client();
    client.create_cell("c").await;
    nginx.stop();
    assert!(
        client
            .reconnect()
            .request("GET", "/")
            .try_send()
            .await
            .is_err()
    );
    unit.create_box("c", "box").await;
    nginx.start_again();
    let found = client
        .reconnect()
        .admin_request("GET", "c/__ctl/Box('box')");
    found.send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_without_its_folder_of_bodies_serves_records_refuses_bodies_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let (share, away) = (folder.path().join("share"), folder.path().join("away"));
    let unit = StorageUnit::start(crate::unit().setting(FILES, share.display()));
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.create_odata_collection("c/b/data", "Row").await;
    let large = "x".repeat(300_000);
    unit.put_file("c/b/kept", &large).await;

    fs::rename(&share, &away).unwrap();
    let (status, ready) = unit.wait_until_ready_says("share").await;
    assert_eq!(status, 503, "{ready}");
    unit.create("c/b/data/Row", r#"{"__id":"one"}"#).await;
    unit.admin_request("GET", "c/b/data/Row('one')")
        .send()
        .await
        .expect(200);
    let listed = unit.admin_request("PROPFIND", "c/b").header("depth", "1");
    listed.send().await.expect(207);
    let read = unit.admin_request("GET", "c/b/kept").send().await;
    let put = unit
        .admin_request("PUT", "c/b/new")
        .body(&large)
        .send()
        .await;
    let read = read.outcome();
    let refusals = [refused(500, "DV-0001"), refused(503, "SV-0006")];
    assert!(refusals.contains(&read), "{read:?}");
    put.expect_error(503, "SV-0006");
    // Nothing was made in place of what is away.
    assert!(!share.exists());

    fs::rename(&away, &share).unwrap();
    unit.wait_until_ready_says("ready\n").await;
    let read = unit
        .admin_request("GET", "c/b/kept")
        .send()
        .await
        .expect(200);
    assert_eq!(read.body.len(), large.len());
    unit.put_file("c/b/new", &large).await;
}
