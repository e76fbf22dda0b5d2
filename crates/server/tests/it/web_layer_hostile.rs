//! Hostile requests and answers at the web layer.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use futures_util::future::join_all;
use personium_testkit::{Nginx, StubBehaviour, StubNode, WEB_HOST, free_port};

use crate::web_layer::Site;

/// Sends bytes over TLS and returns what comes back until the connection is closed.
fn exchange(nginx: &Nginx, bytes: &[u8]) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-servername", WEB_HOST, "-connect"])
        .arg(format!("127.0.0.1:{}", nginx.port()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    client.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    let mut answer = Vec::new();
    client
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut answer)
        .unwrap();
    client.wait().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn headers_of_proxies_are_not_taken_from_clients() {
    let site = Site::start();
    let request = site.client().admin_request("GET", "__ctl/Cell").headers(&[
        ("x-personium-requestkey", "k-spoof"),
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-host", "other.example"),
        ("x-forwarded-path", "/none/"),
        ("x-forwarded-method", "DELETE"),
        ("x-forwarded-nodes", "127.0.0.1:1"),
        ("forwarded", "for=203.0.113.9"),
        ("x-real-ip", "203.0.113.9"),
    ]);
    request.send().await.expect(200);
    let log = crate::program::logged_after(&site.unit, 0, "k-spoof").await;
    let line = log.lines().find(|line| line.contains("k-spoof")).unwrap();
    assert!(
        line.contains("127.0.0.1") && !line.contains("203.0.113.9"),
        "{line}"
    );

    let stub = StubNode::start(StubBehaviour::Answer).await;
    let nginx = Nginx::builder(free_port()).node(stub.port()).start();
    let spoofed = [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Path",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Server",
        "X-Forwarded-Method",
        "X-Forwarded-Nodes",
        "X-Forwarded-Retry",
        "X-Real-IP",
        "Forwarded",
        "X_Forwarded_Host",
    ];
    for method in ["GET", "POST", "PUT"] {
        let headers = spoofed.map(|name| (name, "spoofed"));
        nginx
            .client()
            .request(method, "a")
            .headers(&headers)
            .send()
            .await
            .expect(200);
        let head = stub.take_heads().concat();
        assert!(
            head.starts_with(&format!("{method} /a HTTP/1.1\r\n")),
            "{head}"
        );
        assert!(!head.contains("spoofed"), "{head}");
        assert!(head.contains("X-Forwarded-For: 127.0.0.1\r\n"), "{head}");
        assert!(head.contains("X-Forwarded-Proto: https\r\n"), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ambiguous_requests_are_refused_and_never_reach_the_unit() {
    let stub = StubNode::start(StubBehaviour::Answer).await;
    let nginx = Nginx::builder(free_port()).node(stub.port()).start();
    for (request, status) in [
        (
            "GET / HTTP/1.1\r\nHost: unit.example\r\nHost: other.example",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: unit.example\r\nHost: unit.example",
            400,
        ),
        (
            "GET https://a.unit.example/ HTTP/1.1\r\nHost: unit.example",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost: other.example", 421),
        (
            "POST / HTTP/1.1\r\nHost: unit.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: unit.example\r\nTransfer-Encoding: gzip, chunked",
            501,
        ),
        (
            "POST / HTTP/1.1\r\nHost: unit.example\r\nContent-Length: 1\r\nContent-Length: 2",
            400,
        ),
        ("GET / HTTP/1.1\r\nHost : unit.example", 400),
        ("GET /\u{0} HTTP/1.1\r\nHost: unit.example", 400),
        ("GET /../a HTTP/1.1\r\nHost: unit.example", 400),
        ("no request", 400),
    ] {
        let answer = exchange(
            &nginx,
            format!("{request}\r\nConnection: close\r\n\r\n").as_bytes(),
        );
        let expected = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&expected), "{request}: {answer}");
        assert!(answer.contains("Server: nginx\r\n"), "no version: {answer}");
    }
    assert_eq!(stub.take_heads(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_websocket_is_let_through_as_another_protocol() {
    let stub = StubNode::start(StubBehaviour::Echo).await;
    let nginx = Nginx::builder(free_port()).node(stub.port()).start();
    let head = |protocol: &str| {
        format!(
            "GET /c/__event HTTP/1.1\r\nHost: unit.example\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: {protocol}\r\n\r\n"
        )
    };
    let mut request = head("WebSocket").into_bytes();
    request.extend_from_slice(b"frame of a client");
    let answer = tokio::task::spawn_blocking(move || {
        // `s_client` ends the connection at a Q on a line of its own, unless it is quiet; the time of the test bounds it.
        let mut client = Command::new("timeout")
            .args([
                "3",
                "openssl",
                "s_client",
                "-quiet",
                "-servername",
                WEB_HOST,
                "-connect",
            ])
            .arg(format!("127.0.0.1:{}", nginx.port()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        client.stdin.as_mut().unwrap().write_all(&request).unwrap();
        let mut answer = Vec::new();
        client
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut answer)
            .unwrap();
        client.wait().unwrap();
        (String::from_utf8_lossy(&answer).into_owned(), nginx)
    });
    let (answer, nginx) = answer.await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.ends_with("frame of a client"), "{answer}");
    assert!(stub.take_heads()[0].contains("Upgrade: websocket\r\n"));

    let request = head("h2c").replace("Connection: Upgrade", "Connection: close, Upgrade");
    let answer = exchange(&nginx, request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let head = stub.take_heads().concat().to_lowercase();
    assert!(
        !head.contains("upgrade") && !head.contains("connection"),
        "{head}"
    );
}

#[tokio::test]
async fn headers_of_an_answer_do_not_direct_the_web_layer() {
    let stub = StubNode::start(StubBehaviour::Direct).await;
    let nginx = Nginx::builder(free_port()).node(stub.port()).start();
    for method in ["GET", "PUT"] {
        let answer = nginx
            .client()
            .request(method, "c/box/f")
            .send()
            .await
            .expect(200);
        assert_eq!(answer.text(), "answer");
        assert_eq!(stub.take_heads().len(), 1, "nothing else is requested");
    }
}

#[tokio::test]
async fn large_request_heads_pass_up_to_the_limit_of_the_unit() {
    let site = Site::start();
    for (length, status) in [(20_000, 200), (60_000, 200), (65_450, 431), (70_000, 431)] {
        let request = site.client().request("GET", "/");
        let request = request.header("x-large", &"x".repeat(length));
        assert_eq!(request.send().await.status, status, "{length}");
    }
}

#[tokio::test]
async fn requests_of_an_address_are_limited() {
    let stub = StubNode::start(StubBehaviour::Answer).await;
    let nginx = Nginx::builder(free_port())
        .node(stub.port())
        .request_rate(1, 4)
        .start();
    let client = nginx.client();
    client.request("GET", "a").send().await.expect(200);
    let answers = join_all((0..40).map(|_| client.request("GET", "a").send())).await;
    let refused: Vec<_> = answers
        .into_iter()
        .filter(|answer| answer.status == 429)
        .collect();
    assert!(
        (1..=36).contains(&refused.len()),
        "{} of 40 are refused",
        refused.len()
    );
    for answer in refused {
        assert_eq!(answer.header("retry-after"), Some("1"));
        answer.expect_error(429, "WL-0001");
    }
}

#[tokio::test]
async fn refused_upload_gets_the_answer_of_the_unit_and_the_node_stays_in_use() {
    let site = Site::start();
    site.client().create_cell_with_owner("c").await;
    let large = vec![b'x'; 8 << 20];
    for _ in 0..5 {
        let put = site.client().request("PUT", "c/box/large").body(&large);
        assert_eq!(put.send().await.status, 401);
    }
    site.client().request("GET", "/").send().await.expect(200);
}
