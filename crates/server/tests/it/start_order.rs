//! A unit that is started before what it needs is there.

use std::fs;
use std::time::{Duration, Instant};

use personium_testkit::{OnDrop, Process, free_port};

use crate::storage_unit::StorageUnit;

const WAIT: &str = "io.personium.core.server.start.waitInSec";
const FILES: &str = "io.personium.core.blobStore.root";

/// A unit whose file bodies are in a folder beside its data, with a file; it was killed.
async fn unit_with_files_beside(folder: &std::path::Path) -> StorageUnit {
    let builder = crate::unit().folder(&folder.join("unit")).setting(WAIT, 20);
    let mut unit = StorageUnit::start(builder.setting(FILES, folder.join("share").display()));
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    unit.put_file("c/b/f", &"x".repeat(100_000)).await;
    let (status, ready) = unit.admin_text("ready").await;
    assert_eq!(
        (status, ready.as_str()),
        (200, "ready\nfolder of file bodies: ok\n")
    );
    unit.kill();
    unit
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_waits_for_the_folder_of_file_bodies_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut unit = unit_with_files_beside(folder.path()).await;
    let (share, away) = (folder.path().join("share"), folder.path().join("away"));
    // A share that is not mounted: its folder is there and empty.
    fs::rename(&share, &away).unwrap();
    fs::create_dir(&share).unwrap();
    let before = unit.log().len();
    std::thread::scope(|scope| {
        let log = unit.folder().join("unit.log");
        scope.spawn(move || {
            let until = Instant::now() + Duration::from_secs(15);
            loop {
                let text = fs::read_to_string(&log).unwrap();
                if text[before..].contains("waiting for a layer") {
                    break;
                }
                assert!(Instant::now() < until, "{text}");
                std::thread::sleep(Duration::from_millis(20));
            }
            fs::remove_dir(&share).unwrap();
            fs::rename(&away, &share).unwrap();
        });
        unit.restart();
    });
    let log = unit.log().split_off(before);
    assert!(log.contains("folder of file bodies"), "{log}");
    assert!(
        log.contains("is empty, not mounted, or another one"),
        "{log}"
    );
    assert!(log.contains("the layer is there"), "{log}");
    let read = unit.admin_request("GET", "c/b/f").send().await.expect(200);
    assert_eq!(read.body.len(), 100_000);
}

#[tokio::test]
async fn unit_gives_up_after_its_time_with_a_status_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit_with_files_beside(folder.path()).await;
    unit.replace_in_settings(&format!("{WAIT}=20"), &format!("{WAIT}=1"));
    fs::rename(folder.path().join("share"), folder.path().join("away")).unwrap();
    let (is_fit, report) = unit.check();
    assert!(!is_fit);
    assert!(report.contains("a start waits for it for 1 s"), "{report}");
    let out = unit.command("serve");
    let text = crate::program::text(&out);
    assert_eq!(out.status.code(), Some(75), "{text}");
    assert!(
        text.contains("the folder of file bodies cannot be used"),
        "{text}"
    );
    // Nothing was made in place of what is missing.
    assert!(!folder.path().join("share").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_unit_refuses_connections_and_can_be_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit_with_files_beside(folder.path()).await;
    fs::rename(folder.path().join("share"), folder.path().join("away")).unwrap();
    let data = unit.data().display().to_string();
    let settings = unit.folder().join("unit.properties").display().to_string();
    let port = free_port().to_string();
    let mut command = crate::program::command(&[
        "serve", "--data", &data, "--config", &settings, "--port", &port,
    ]);
    let log = tempfile::NamedTempFile::new().unwrap();
    command.stderr(log.reopen().unwrap());
    let mut process = Process::spawn(&mut command, OnDrop::Kill);
    let until = Instant::now() + Duration::from_secs(15);
    let text = || fs::read_to_string(log.path()).unwrap();
    while !text().contains("waiting for a layer") {
        assert!(Instant::now() < until, "{}", text());
        std::thread::sleep(Duration::from_millis(20));
    }
    // The port is reserved, and nobody can connect before the unit can answer.
    let address = format!("127.0.0.1:{port}");
    let connected = std::net::TcpStream::connect(&address).map_err(|error| error.kind());
    assert_eq!(connected.err(), Some(std::io::ErrorKind::ConnectionRefused));
    let stopped = Instant::now();
    assert!(process.request_end());
    assert!(!process.wait().success());
    assert!(stopped.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn port_in_use_ends_a_start_before_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let unit = unit_with_files_beside(folder.path()).await;
    fs::rename(folder.path().join("share"), folder.path().join("away")).unwrap();
    unit.replace_in_settings(&format!("{WAIT}=20"), &format!("{WAIT}=600"));
    let used = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = used.local_addr().unwrap().port().to_string();
    let data = unit.data().display().to_string();
    let settings = unit.folder().join("unit.properties").display().to_string();
    let arguments = [
        "serve", "--data", &data, "--config", &settings, "--port", &port,
    ];
    let out = crate::program::command(&arguments).output().unwrap();
    let text = crate::program::text(&out);
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(
        text.contains(&format!("cannot listen on 127.0.0.1:{port}")),
        "{text}"
    );
    assert!(!text.contains("waiting for a layer"), "{text}");
}
