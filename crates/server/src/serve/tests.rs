use std::path::Path;
use std::time::Duration;

use personium_model::administrator_cells;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::config::ConfigSources;

/// Settings of a unit in this folder.
fn settings(folder: &Path, more: &[(&str, &str)]) -> LoadedConfig {
    let data = folder.join("data");
    let mut options = vec![
        ("data.dir".to_owned(), data.display().to_string()),
        ("listen".to_owned(), "127.0.0.1:0".to_owned()),
        ("admin.listen".to_owned(), "127.0.0.1:0".to_owned()),
        ("unitScheme".to_owned(), "http".to_owned()),
        ("pathBasedCellUrl.enabled".to_owned(), "true".to_owned()),
        (
            "security.auth.password.scrypt.cpuCost".to_owned(),
            "16".to_owned(),
        ),
    ];
    options.extend(
        more.iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
    );
    LoadedConfig::load(&ConfigSources {
        options,
        ..ConfigSources::default()
    })
    .unwrap()
}

/// Starts a unit in this folder with the master token `m`.
async fn run(folder: &Path, more: &[(&str, &str)]) -> RunningUnit {
    let mut all = vec![("masterToken", "m")];
    all.extend_from_slice(more);
    let started = start(settings(folder, &all), |_| {
        panic!("no administrator is needed")
    });
    Box::pin(started).await.unwrap()
}

/// Sends bytes on a new connection and reads until the unit closes it.
async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> String {
    let mut response = Vec::new();
    // A connection may be reset after the response.
    let _ = stream.read_to_end(&mut response).await;
    String::from_utf8_lossy(&response).into_owned()
}

const CREATE: &str = "POST /__ctl/Cell HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer m\r\nContent-Length: 16\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_in_flight_finishes_during_shutdown() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), &[]).await;
    let address = running.address;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(CREATE.as_bytes()).await.unwrap();
    stream.write_all(b"{\"Name\":").await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stopping = tokio::spawn(running.stop());
    while TcpStream::connect(address).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!stopping.is_finished());
    stream.write_all(b"\"alice\"}").await.unwrap();
    let response = read(&mut stream).await;
    assert!(response.starts_with("HTTP/1.1 201"), "{response}");
    stopping.await.unwrap();

    let running = run(folder.path(), &[]).await;
    let get = "GET /__ctl/Cell('alice') HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer m\r\nConnection: close\r\n\r\n";
    let response = exchange(running.address, get.as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_head_limits_are_enforced() {
    let folder = tempfile::tempdir().unwrap();
    let more = [
        ("server.header.maxBytes", "8192"),
        ("server.header.maxCount", "16"),
        ("server.header.timeoutInSec", "1"),
    ];
    let running = run(folder.path(), &more).await;
    let head = |headers: String| {
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
    };
    let response = exchange(running.address, head("X-A: 1\r\n".repeat(10)).as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    for headers in [
        "X-A: 1\r\n".repeat(20),
        format!("X-A: {}\r\n", "x".repeat(10_000)),
    ] {
        let response = exchange(running.address, head(headers).as_bytes()).await;
        assert!(response.starts_with("HTTP/1.1 431"), "{response}");
    }
    let unfinished = exchange(running.address, b"GET / HTTP/1.1\r\nHost: loc").await;
    assert!(!unfinished.contains(" 200 "), "{unfinished}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_of_the_request_head_is_exact() {
    const LIMIT: usize = 9_000;
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), &[("server.header.maxBytes", "9000")]).await;
    let head_of = |bytes: usize| {
        let start = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-A: ";
        let end = "\r\n\r\n";
        let padding = "x".repeat(bytes - start.len() - end.len());
        format!("{start}{padding}{end}")
    };
    for (bytes, status) in [
        (LIMIT - 1, 200),
        (LIMIT, 200),
        (LIMIT + 1, 431),
        (10_000, 431),
        (16_000, 431),
        (40_000, 431),
    ] {
        let response = exchange(running.address, head_of(bytes).as_bytes()).await;
        let expected = format!("HTTP/1.1 {status}");
        assert!(response.starts_with(&expected), "{bytes}: {response}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_body_that_does_not_arrive_times_out() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), &[("server.transfer.timeoutInSec", "1")]).await;
    let response = exchange(running.address, format!("{CREATE}{{\"Na").as_bytes()).await;
    assert!(response.starts_with("HTTP/1.1 408"), "{response}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_above_the_limit_wait() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), &[("server.connections.max", "1")]).await;
    let first = TcpStream::connect(running.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let get = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let second = tokio::spawn(exchange(running.address, get));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!second.is_finished());
    drop(first);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn admin_listener_serves_health_readiness_and_metrics() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), &[]).await;
    exchange(
        running.address,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    for (path, part) in [
        ("/health", "ok"),
        ("/ready", "ready"),
        ("/metrics", "requests_total{status=\"2xx\"} 1"),
    ] {
        let response = exchange(
            running.admin_address,
            format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(
            response.starts_with("HTTP/1.1 200") && response.contains(part),
            "{response}"
        );
    }
    let response = exchange(
        running.admin_address,
        b"GET /else HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    .await;
    assert!(response.starts_with("HTTP/1.1 404"), "{response}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_new_unit_gets_an_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let passwords = std::sync::Mutex::new(Vec::new());
    let show = |administrator: &Administrator| {
        passwords
            .lock()
            .unwrap()
            .push(administrator.password.reveal().clone());
        Ok(())
    };
    let first = Box::pin(start(settings(folder.path(), &[]), show))
        .await
        .unwrap();
    let recorded = administrator_cells::find(&first.unit.records()).await;
    assert_eq!(recorded.unwrap(), Some(vec!["unitadmin".to_owned()]));
    assert_eq!(first.unit.settings().auth.master_token, None);
    let cell = first.unit.find_cell("unitadmin").await.unwrap().unwrap();
    let owner = cell.cell().owner.clone().unwrap();
    assert!(owner.ends_with("#unitadmin"), "{owner}");
    first.stop().await;
    Box::pin(start(settings(folder.path(), &[]), show))
        .await
        .unwrap()
        .stop()
        .await;
    assert_eq!(passwords.lock().unwrap().len(), 1);

    // An interrupted first start is repeated.
    std::fs::rename(
        data.join("administrator"),
        data.join("administrator.started"),
    )
    .unwrap();
    let again = Box::pin(start(settings(folder.path(), &[]), show))
        .await
        .unwrap();
    let shown = passwords.lock().unwrap().clone();
    assert_eq!(shown.len(), 2);
    assert_ne!(shown[0], shown[1]);
    assert!(again.unit.find_cell("unitadmin").await.unwrap().is_some());
    again.stop().await;
    assert!(data.join("administrator").exists() && !data.join("administrator.started").exists());
}

#[tokio::test]
async fn unit_is_not_created_when_the_port_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = start(settings(folder.path(), &[("listen", &address)]), |_| {
        panic!("no administrator is created")
    })
    .await;
    assert!(matches!(failed, Err(StartError::Listen { .. })));
    assert!(!folder.path().join("data").exists());
}

/// Sends a request with the master token; returns status and body of the response.
async fn request(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer m\r\nAccept: application/json\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let response = exchange(address, request.as_bytes()).await;
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.get(9..12).unwrap_or_default();
    (status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn settings_are_reloaded_while_the_unit_runs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("unit.properties");
    let write = |more: &str| {
        let text = format!(
            "io.personium.core.data.dir=data\nio.personium.core.masterToken=m\n\
             io.personium.core.listen=127.0.0.1:0\nio.personium.core.admin.listen=127.0.0.1:0\n\
             io.personium.core.unitScheme=http\nio.personium.core.pathBasedCellUrl.enabled=true\n\
             io.personium.core.odata.query.top.default=5\n{more}"
        );
        std::fs::write(&file, text).unwrap();
    };
    let prefix = "io.personium.core.";
    write("io.personium.core.odata.query.top.maxnum=5\n");
    let sources = ConfigSources {
        file: Some(file.clone()),
        ..ConfigSources::default()
    };
    let running = start(LoadedConfig::load(&sources).unwrap(), |_| Ok(()))
        .await
        .unwrap();
    let address = running.address;
    let list = "/__ctl/Cell?$top=6";
    assert_eq!(request(address, "GET", list).await.0, "400");
    let status = async || {
        let (code, body) = request(address, "GET", "/__status").await;
        assert_eq!(code, "200", "{body}");
        serde_json::from_str::<serde_json::Value>(&body).unwrap()
    };
    let shown = status().await;
    let value = |shown: &serde_json::Value, key: &str| {
        shown["properties"][format!("{prefix}{key}")].clone()
    };
    assert_eq!(value(&shown, "odata.query.top.maxnum"), "5");
    assert_eq!(value(&shown, "odata.query.skip.maxnum"), "100000");
    assert_eq!(value(&shown, "masterToken"), "***");
    assert_eq!(shown["waitingForRestart"], serde_json::json!([]));
    assert_eq!(shown["health"]["records"], "ok");

    write("io.personium.core.odata.query.top.maxnum=6\nio.personium.core.log.format=json\n");
    assert_eq!(request(address, "GET", list).await.0, "400");
    assert_eq!(request(address, "POST", "/__status").await.0, "204");
    assert_eq!(request(address, "GET", list).await.0, "200");
    let shown = status().await;
    assert_eq!(value(&shown, "odata.query.top.maxnum"), "6");
    let waiting = serde_json::json!([format!("{prefix}log.format")]);
    assert_eq!(shown["waitingForRestart"], waiting);

    write("io.personium.core.odata.query.top.maxnum=none\n");
    let (code, body) = request(address, "POST", "/__status").await;
    assert_eq!(code, "409");
    assert!(
        body.contains("PR409-SV-0001") && body.contains("top.maxnum"),
        "{body}"
    );
    assert_eq!(request(address, "GET", list).await.0, "200");
    assert_eq!(value(&status().await, "odata.query.top.maxnum"), "6");
    running.stop().await;
}

#[tokio::test]
async fn reserved_port_refuses_connections_until_the_unit_listens() {
    let bound = BoundPort::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = bound.address;
    let early = TcpStream::connect(address).await;
    assert_eq!(
        early.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    let listener = bound.listen().unwrap();
    TcpStream::connect(address).await.unwrap();
    // Another unit learns at once that the port is in use.
    let second = BoundPort::bind(address);
    assert!(matches!(second, Err(StartError::Listen { .. })));
    drop(listener);
}
