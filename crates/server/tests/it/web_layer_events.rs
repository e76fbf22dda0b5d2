//! Events through the web layer: Nginx with the files of `deploy/nginx`.

use personium_testkit::{EventStream, Nginx, TestClient, WEB_HOST, free_port};

use crate::event_feed::Feed;

/// Longer than the time between two pings, shorter than twice that time.
const READ_TIMEOUT_SECS: u32 = 25;

#[tokio::test]
async fn events_pass_the_web_layer_at_once_and_pings_keep_silent_connections_open() {
    let port = free_port();
    let unit = crate::unit().host(WEB_HOST).behind_proxy(port).start();
    let nginx = Nginx::builder(port)
        .node(unit.port())
        .read_timeout(READ_TIMEOUT_SECS)
        .without_tls(WEB_HOST)
        .start();
    let admin = unit.admin();
    admin.create_cell("c").await;
    admin.create_box("c", "b").await;
    let mut socket = Feed::open_at(WEB_HOST, nginx.port(), "c").await;
    socket.subscribe(admin.token()).await;
    let through = TestClient::behind_proxy(WEB_HOST, port, nginx.port()).admin();
    let mut stream = EventStream::open(&through, "c", None).await;
    stream.wait_for_id().await;
    admin.put_file("c/b/f", "1").await;
    assert_eq!(socket.next_json().await["Type"], "davfile.create");
    assert_eq!(stream.next_of_cell().await.1["Type"], "davfile.create");
    // Without the first, Nginx would give up before the second.
    socket.wait_for_pings(2).await;
    admin.put_file("c/b/g", "1").await;
    assert_eq!(socket.next_json().await["Type"], "davfile.create");
    let id = stream.last_id().to_owned();
    drop(nginx);
    while stream.next().await.is_some() {}
    let mut direct = EventStream::open(&admin, "c", Some(&id)).await;
    let (_, missed) = direct.next_of_cell().await;
    assert!(missed["Object"].as_str().unwrap().ends_with("c/b/g"));
}
