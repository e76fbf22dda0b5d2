//! Boxes that are exported by the built program: nothing of an export is left when it is interrupted.

use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use personium_testkit::{TestClient, everybody_ace};
use zip::ZipArchive;

const ARCHIVE: &str = "application/zip+x-personium-bar";
const FILES: usize = 300;
const ROUNDS: u64 = 3;

fn export(client: &TestClient) -> personium_testkit::TestRequest {
    client.request("GET", "c/b").header("accept", ARCHIVE)
}

fn files_in(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

async fn fill(admin: &TestClient) {
    let cell = admin.request("POST", "__ctl/Cell").body(r#"{"Name":"c"}"#);
    cell.send().await.expect(201);
    admin.create_box("c", "b").await;
    let content = "0123456789abcdef".repeat(4_000);
    for n in 0..FILES {
        admin.put_file(&format!("c/b/f{n}"), &content).await;
    }
}

#[tokio::test]
async fn killed_export_leaves_no_file_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let setting = folder.path().display();
    let mut unit = crate::unit()
        .setting("io.personium.core.bar.tmp.dir", setting)
        .start();
    let mut admin = unit.admin().reconnect();
    fill(&admin).await;
    for round in 0..ROUNDS {
        let running: Vec<_> = (0..4)
            .map(|_| {
                let request = export(&admin);
                tokio::spawn(async move { request.try_send().await.is_ok() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20 * round)).await;
        unit.kill();
        for request in running {
            let _ = request.await;
        }
        assert_eq!(files_in(folder.path()), 0, "round {round}");
        unit.restart();
        admin = admin.reconnect();
    }
    let response = export(&admin).send().await.expect(200);
    let zip = ZipArchive::new(Cursor::new(response.body)).unwrap();
    assert_eq!(zip.len(), FILES + 4);
    assert_eq!(files_in(folder.path()), 0);
}

#[tokio::test]
async fn client_that_does_not_read_an_archive_keeps_nobody_waiting() {
    let unit = crate::unit().start();
    let admin = unit.admin();
    fill(&admin).await;
    admin.set_acl("c/b", &everybody_ace(&["D:read"])).await;
    let mut unread = Vec::new();
    // More than may be installed and exported at the same time.
    for _ in 0..25 {
        let response = export(&unit.admin().reconnect())
            .send_streaming()
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        unread.push(response);
    }
    let response = export(&unit.admin().reconnect()).send().await.expect(200);
    assert!(ZipArchive::new(Cursor::new(response.body)).is_ok());
    drop(unread);
}
