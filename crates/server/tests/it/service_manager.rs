//! The messages of a unit to the service manager that started it, by the protocol of `sd_notify(3)`.

use std::os::unix::net::UnixDatagram;

/// Receives one message, which has a variable in each line.
fn receive(socket: &UnixDatagram) -> String {
    let mut message = [0; 4_096];
    let length = socket.recv(&mut message).unwrap();
    let text = std::str::from_utf8(&message[..length]).unwrap();
    text.trim_end().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_manager_is_told_when_the_unit_answers_and_when_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut unit = crate::unit()
        .environment("NOTIFY_SOCKET", path.to_str().unwrap())
        .start();
    assert_eq!(receive(&socket), "READY=1\nSTATUS=answering requests");
    assert!(unit.folder().join("data/records.sock").exists());
    unit.create_cell("c").await;
    unit.terminate();
    assert_eq!(receive(&socket), "STOPPING=1\nSTATUS=finishing requests");
    assert!(unit.wait());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_manager_that_is_gone_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("notify.sock");
    let mut unit = crate::unit()
        .environment("NOTIFY_SOCKET", gone.to_str().unwrap())
        .start();
    unit.create_cell("c").await;
    personium_testkit::wait_until("the failure is logged", async || {
        unit.log().contains("was not told the state of the unit")
    })
    .await;
    unit.terminate();
    assert!(unit.wait());
}
