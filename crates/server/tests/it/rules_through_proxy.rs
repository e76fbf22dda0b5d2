//! Requests of rules in a unit whose operator has named an HTTP proxy.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use personium_testkit::{Nginx, ProcessUnit, StubServer, free_port, wait_until};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

const LOG: &str = "c/__log/current/default.log";
/// `user:pass:word` in Base64.
const CREDENTIALS: &str = "proxy-authorization: basic dXNlcjpwYXNzOndvcmQ=";

/// A proxy that knows where the servers of some names are, and has seen these requests.
struct HttpProxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl HttpProxy {
    async fn start(servers: HashMap<&'static str, u16>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            heads: Arc::default(),
        };
        let heads = Arc::clone(&proxy.heads);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(pass_on(stream, servers.clone(), Arc::clone(&heads)));
            }
        });
        proxy
    }

    /// The request lines until now.
    fn seen(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        let line = |head: &String| head.lines().next().unwrap().to_owned();
        let mut lines: Vec<String> = heads.iter().map(line).collect();
        lines.sort();
        lines
    }
}

/// Passes on what a connection asks for: a tunnel, or a single request.
async fn pass_on(
    mut client: TcpStream,
    servers: HashMap<&'static str, u16>,
    heads: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    heads.lock().unwrap().push(head.clone());
    let target = head.split(' ').nth(1)?;
    let authority = match target.strip_prefix("http://") {
        Some(rest) => rest.split('/').next()?,
        None => target,
    };
    let name = authority.split(':').next()?;
    let mut server = TcpStream::connect(("127.0.0.1", *servers.get(name)?))
        .await
        .ok()?;
    if head.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    } else {
        server.write_all(head.as_bytes()).await.ok()?;
    }
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    Some(())
}

/// A program that runs `personium` on a machine that knows the addresses of some names.
fn program_with_hosts(folder: &Path, hosts: &str) -> PathBuf {
    let file = folder.join("hosts");
    std::fs::write(&file, hosts).unwrap();
    let script = folder.join("personium-with-hosts");
    let text = format!(
        "#!/bin/sh\nexec unshare --mount sh -c 'mount --bind {} /etc/hosts && exec \"$0\" \"$@\"' {} \"$@\"\n",
        file.display(),
        env!("CARGO_BIN_EXE_personium")
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_rules_go_through_the_proxy_but_not_to_this_unit_and_never_to_private_addresses()
 {
    let plain = StubServer::start().await;
    let behind_tls = StubServer::start().await;
    let inner = StubServer::start().await;
    let tls_port = free_port();
    let tls = Nginx::builder(tls_port)
        .host("secure.example")
        .node(behind_tls.port())
        .start();
    let proxy = HttpProxy::start(HashMap::from([
        ("plain.example", plain.port()),
        ("secure.example", tls_port),
        // Who comes here has asked for what must be refused.
        ("private.example", inner.port()),
        ("mixed.example", inner.port()),
        ("localhost", inner.port()),
        ("127.0.0.1", inner.port()),
        ("10.1.2.3", inner.port()),
        ("169.254.169.254", inner.port()),
    ]))
    .await;
    let folder = tempfile::tempdir().unwrap();
    // Nobody connects to these addresses but through the proxy.
    let hosts = "127.0.0.1 localhost\n11.0.0.1 plain.example\n11.0.0.2 secure.example\n10.9.9.9 private.example\n\
                 11.0.0.3 mixed.example\n192.168.7.7 mixed.example\n";
    let key = "io.personium.core.proxy";
    let unit = ProcessUnit::builder(program_with_hosts(folder.path(), hosts))
        .setting(&format!("{key}.host"), "127.0.0.1")
        .setting(&format!("{key}.port"), proxy.port)
        .setting(&format!("{key}.user"), "user")
        .setting(&format!("{key}.pswd"), "pass:word")
        .environment("SSL_CERT_FILE", tls.certificate().to_str().unwrap())
        .start();
    let admin = unit.admin();
    admin.create_cell("c").await;
    admin.create_box("c", "b").await;
    admin.put_file("c/b/f", "content").await;

    let through = [
        "http://plain.example/x?y=1".to_owned(),
        format!("https://secure.example:{tls_port}/z"),
    ];
    let port = inner.port();
    let refused = [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        "http://10.1.2.3/".to_owned(),
        "http://169.254.169.254/latest/".to_owned(),
        format!("http://[::1]:{port}/"),
        format!("http://private.example:{port}/"),
        format!("https://private.example:{port}/"),
        // One of its addresses is private.
        format!("http://mixed.example:{port}/"),
    ];
    for (number, target) in through.iter().chain(&refused).enumerate() {
        let rule = json!({
            "Name": format!("r{number}"), "EventExternal": true, "EventType": "t", "Action": "relay",
            "TargetUrl": target,
        });
        admin.create("c/__ctl/Rule", &rule.to_string()).await;
    }
    let to_own = json!({
        "Name": "own", "EventExternal": true, "EventType": "t", "Action": "relay",
        "TargetUrl": "personium-localcell:/b/f",
    });
    admin.create("c/__ctl/Rule", &to_own.to_string()).await;

    let event = json!({"Type": "t", "Object": "o", "Info": "i"});
    admin
        .post("c/__event", &event.to_string())
        .await
        .expect(200);
    let (by_http, by_tls) = tokio::join!(
        plain.receive("200 OK", "{}"),
        behind_tls.receive("200 OK", "{}")
    );
    for received in [&by_http, &by_tls] {
        assert_eq!(received.body["Info"], "i", "{}", received.head);
        assert!(received.header("x-personium-eventid").is_some());
    }
    let lines = async || {
        let log = admin.admin_request("GET", LOG).send().await;
        match log.status.as_u16() {
            200 => log.text().lines().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let requests = through.len() + refused.len() + 1;
    wait_until("all requests have ended", async || {
        lines().await.len() == 2 * requests
    })
    .await;
    let lines = lines().await;
    let status = |target: &str| {
        let end = |status: u32| format!(",\"{target}\",\"{status}\"");
        let is_logged = |status: &u32| lines.iter().any(|line| line.ends_with(&end(*status)));
        [200, 401, 403, 404, 405].into_iter().find(is_logged)
    };
    for target in &through {
        assert_eq!(status(target), Some(200), "{target}: {lines:#?}");
    }
    for target in &refused {
        assert_eq!(status(target), Some(404), "{target}: {lines:#?}");
    }
    // This unit has answered itself: anonymous requests may not do that.
    let own = format!("{}b/f", unit.cell_url("c"));
    assert_eq!(status(&own), Some(401), "{lines:#?}");

    let mut wanted = vec![
        format!("CONNECT secure.example:{tls_port} HTTP/1.1"),
        "POST http://plain.example/x?y=1 HTTP/1.1".to_owned(),
    ];
    wanted.sort();
    assert_eq!(proxy.seen(), wanted);
    for head in proxy.heads.lock().unwrap().iter() {
        assert!(
            head.to_lowercase().contains(&CREDENTIALS.to_lowercase()),
            "{head}"
        );
    }
    // The proxy's password is for nobody else.
    assert!(by_tls.header("proxy-authorization").is_none());
    assert!(!inner.is_called().await);
}
