use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::config::Inputs;

/// Settings of a unit in this folder with the master token `m`.
fn settings(folder: &Path, more: &[(&str, &str)]) -> Loaded {
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
    Loaded::from(&Inputs {
        options,
        ..Inputs::default()
    })
    .unwrap()
}

async fn run(folder: &Path, more: &[(&str, &str)]) -> Running {
    let mut all = vec![("masterToken", "m")];
    all.extend_from_slice(more);
    start(settings(folder, &all), |_| {
        panic!("no administrator is needed")
    })
    .await
    .unwrap()
}

/// Sends bytes on a new connection and reads until the unit closes it.
async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read(&mut stream).await
}

async fn read(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A connection may be reset after the answer.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const CREATE: &str = "POST /__ctl/Cell HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer m\r\nContent-Length: 16\r\n\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_hand_finishes_when_the_unit_stops() {
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
    let answer = read(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    stopping.await.unwrap();

    let running = run(folder.path(), &[]).await;
    let get = "GET /__ctl/Cell('alice') HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer m\r\nConnection: close\r\n\r\n";
    let answer = talk(running.address, get.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_are_bounded() {
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
    let answer = talk(running.address, head("X-A: 1\r\n".repeat(10)).as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for headers in [
        "X-A: 1\r\n".repeat(20),
        format!("X-A: {}\r\n", "x".repeat(10_000)),
    ] {
        let answer = talk(running.address, head(headers).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    let unfinished = talk(running.address, b"GET / HTTP/1.1\r\nHost: loc").await;
    assert!(!unfinished.contains(" 200 "), "{unfinished}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), &[("server.body.timeoutInSec", "1")]).await;
    let answer = talk(running.address, format!("{CREATE}{{\"Na").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), &[("server.connections.max", "1")]).await;
    let first = TcpStream::connect(running.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let get = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let second = tokio::spawn(talk(running.address, get));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!second.is_finished());
    drop(first);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_and_figures_are_beside() {
    let folder = tempfile::tempdir().unwrap();
    let running = run(folder.path(), &[]).await;
    talk(
        running.address,
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )
    .await;
    for (path, part) in [
        ("/health", "ok"),
        ("/ready", "ready"),
        ("/metrics", "requests_total{status=\"2xx\"} 1"),
    ] {
        let answer = talk(
            running.admin_address,
            format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(
            answer.starts_with("HTTP/1.1 200") && answer.contains(part),
            "{answer}"
        );
    }
    let answer = talk(
        running.admin_address,
        b"GET /else HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_new_unit_gets_an_administrator() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let passwords = std::sync::Mutex::new(Vec::new());
    let hear = |administrator: &Administrator| {
        passwords
            .lock()
            .unwrap()
            .push(administrator.password.reveal().clone())
    };
    let first = start(settings(folder.path(), &[]), hear).await.unwrap();
    assert_eq!(
        first.unit.settings().auth.unit_user_issuers,
        ["personium-localunit:unitadmin:/"]
    );
    assert_eq!(first.unit.settings().auth.master_token, None);
    let cell = first.unit.find_cell("unitadmin").await.unwrap().unwrap();
    let owner = cell.cell().owner.clone().unwrap();
    assert!(owner.ends_with("#unitadmin"), "{owner}");
    first.stop().await;
    start(settings(folder.path(), &[]), hear)
        .await
        .unwrap()
        .stop()
        .await;
    assert_eq!(passwords.lock().unwrap().len(), 1);

    // A first start that was interrupted is done again.
    std::fs::rename(
        data.join("administrator"),
        data.join("administrator.started"),
    )
    .unwrap();
    let again = start(settings(folder.path(), &[]), hear).await.unwrap();
    let told = passwords.lock().unwrap().clone();
    assert_eq!(told.len(), 2);
    assert_ne!(told[0], told[1]);
    assert!(again.unit.find_cell("unitadmin").await.unwrap().is_some());
    again.stop().await;
    assert!(data.join("administrator").exists() && !data.join("administrator.started").exists());
}

#[tokio::test]
async fn a_port_that_is_taken_makes_no_unit() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let failed = start(settings(folder.path(), &[("listen", &address)]), |_| {
        panic!("nothing to tell")
    })
    .await;
    assert!(matches!(failed, Err(StartError::Listen { .. })));
    assert!(!folder.path().join("data").exists());
}

/// A request with the master token: its status and its body.
async fn ask(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer m\r\nAccept: application/json\r\n\
         Content-Length: 0\r\nConnection: close\r\n\r\n"
    );
    let answer = talk(address, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.get(9..12).unwrap_or_default();
    (status.to_owned(), body.to_owned())
}

#[tokio::test]
async fn settings_are_read_anew_while_the_unit_runs() {
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
    let inputs = Inputs {
        file: Some(file.clone()),
        ..Inputs::default()
    };
    let running = start(Loaded::from(&inputs).unwrap(), |_| {}).await.unwrap();
    let address = running.address;
    let list = "/__ctl/Cell?$top=6";
    assert_eq!(ask(address, "GET", list).await.0, "400");
    let status = async || {
        let (code, body) = ask(address, "GET", "/__status").await;
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
    assert_eq!(ask(address, "GET", list).await.0, "400");
    assert_eq!(ask(address, "POST", "/__status").await.0, "204");
    assert_eq!(ask(address, "GET", list).await.0, "200");
    let shown = status().await;
    assert_eq!(value(&shown, "odata.query.top.maxnum"), "6");
    let waiting = serde_json::json!([format!("{prefix}log.format")]);
    assert_eq!(shown["waitingForRestart"], waiting);

    write("io.personium.core.odata.query.top.maxnum=none\n");
    let (code, body) = ask(address, "POST", "/__status").await;
    assert_eq!(code, "409");
    assert!(
        body.contains("PR409-SV-0001") && body.contains("top.maxnum"),
        "{body}"
    );
    assert_eq!(ask(address, "GET", list).await.0, "200");
    assert_eq!(value(&status().await, "odata.query.top.maxnum"), "6");
    running.stop().await;
}
