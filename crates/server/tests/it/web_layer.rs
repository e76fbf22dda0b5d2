//! The web layer: Nginx with the files of `deploy/nginx`, in front of a real unit.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use personium_testkit::{
    Nginx, ProcessUnit, RawBody, RawConnection, TestClient, WEB_HOST, free_port,
};
use serde_json::Value;

use crate::storage_unit::bodies;

/// The time for something to appear in a log or on the disk.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(30);

/// A unit behind Nginx.
pub struct Site {
    pub nginx: Nginx,
    pub unit: ProcessUnit,
}

impl Site {
    /// A unit whose cells are paths.
    pub fn start() -> Self {
        let port = free_port();
        let unit = crate::unit().host(WEB_HOST).behind_proxy(port).start();
        let nginx = Nginx::builder(port).node(unit.port()).start();
        Self { nginx, unit }
    }

    /// A client of the unit.
    pub fn client(&self) -> TestClient {
        self.nginx.client()
    }

    /// The line of Nginx's access log with a request key.
    async fn access_line(&self, key: &str) -> Value {
        let until = Instant::now() + NOTICE_TIMEOUT;
        loop {
            let lines = self.nginx.access_lines();
            if let Some(line) = lines.iter().find(|line| line["request.key"] == key) {
                return line.clone();
            }
            assert!(Instant::now() < until, "no {key} in {lines:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn curl(nginx: &Nginx, host: &str, arguments: &[&str]) -> (bool, String) {
    let port = nginx.port();
    let out = Command::new("curl")
        .args(["-s", "--max-time", "20", "--cacert"])
        .arg(nginx.certificate())
        .args(["--resolve", &format!("{host}:{port}:127.0.0.1")])
        .args(arguments)
        .arg(format!("https://{host}:{port}/"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    (out.status.success(), text)
}

#[tokio::test]
async fn cells_are_reached_by_path_with_https_in_every_url() {
    let site = Site::start();
    let client = site.client();
    let owner = client.create_cell_with_owner("alice").await;
    let cell_url = client.cell_url("alice");
    assert!(cell_url.starts_with("https://unit.example:"), "{cell_url}");
    let role = client
        .post("alice/__ctl/Role", r#"{"Name":"r"}"#)
        .await
        .expect(201);
    let location = role.header("location").unwrap();
    assert!(
        location.starts_with(&format!("{cell_url}__ctl/Role(")),
        "{location}"
    );

    owner
        .request("MKCOL", "alice/box/folder")
        .send()
        .await
        .expect(201);
    owner
        .call("PUT", "alice/box/folder/a.txt", "0123456789")
        .await;
    let found = owner
        .request("PROPFIND", "alice/box/folder")
        .header("depth", "1");
    let found = found.send().await.expect(207).text();
    assert!(
        found.contains(&format!("{cell_url}box/folder/a.txt")),
        "{found}"
    );
    let moved = owner.request("MOVE", "alice/box/folder/a.txt");
    let destination = format!("{cell_url}box/b%20c.txt");
    moved
        .header("destination", &destination)
        .send()
        .await
        .expect(201);
    let part = owner
        .request("GET", "alice/box/b%20c.txt")
        .header("range", "bytes=2-4");
    let part = part.send().await.expect(206);
    assert_eq!(
        (part.text().as_str(), part.header("content-range")),
        ("234", Some("bytes 2-4/10"))
    );
    let tag = part.header("etag").unwrap().to_owned();
    let unchanged = owner
        .request("GET", "alice/box/b%20c.txt")
        .header("if-none-match", &tag);
    unchanged.send().await.expect(304);
    owner
        .request("DELETE", "alice/box/b%20c.txt")
        .send()
        .await
        .expect(204);
}

#[tokio::test]
async fn cells_are_reached_by_their_hosts() {
    let port = free_port();
    let unit = crate::unit()
        .host(WEB_HOST)
        .behind_proxy(port)
        .cells_have_hosts()
        .start();
    let nginx = Nginx::builder(port).node(unit.port()).start();
    nginx.client().create_cell("alice").await;
    let alice = nginx.client_of(&format!("alice.{WEB_HOST}"));
    let role = alice
        .post("__ctl/Role", r#"{"Name":"r"}"#)
        .await
        .expect(201);
    let location = role.header("location").unwrap();
    assert!(
        location.starts_with(&format!("https://alice.{WEB_HOST}:{port}/__ctl/Role(")),
        "{location}"
    );
    let bob = nginx.client_of(&format!("bob.{WEB_HOST}"));
    bob.admin_outcome("GET", "__ctl/Role").await;
    assert_eq!(bob.admin_outcome("GET", "__ctl/Role").await.0, 404);
    // A host that is not of the unit gets no certificate.
    let other = nginx.client_of("other.example").request("GET", "/");
    assert!(other.try_send().await.is_err());
}

#[tokio::test]
async fn batch_and_chunked_bodies_pass() {
    let site = Site::start();
    let owner = site.client().create_cell_with_owner("c").await;
    site.client()
        .create_odata_collection("c/box/data", "Row")
        .await;
    let batch = "--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\n\
        Content-Transfer-Encoding: binary\r\n\r\nPOST Row HTTP/1.1\r\nContent-Type: application/json\r\n\
        Content-Length: 14\r\n\r\n{\"__id\":\"one\"}\r\n--c--\r\n--b--\r\n";
    let request = owner.request("POST", "c/box/data/$batch");
    let request = request.header("content-type", "multipart/mixed; boundary=b");
    let answer = request.body(batch).send().await.expect(202).text();
    assert!(answer.contains("HTTP/1.1 201"), "{answer}");
    owner.call("GET", "c/box/data/Row('one')", "").await;

    let chunks = futures_util::stream::iter(0..300).map(|number| {
        let line = Bytes::from(format!("{number:09}\n"));
        Ok::<_, personium_testkit::BoxError>(http_body::Frame::data(line))
    });
    let body = StreamBody::new(chunks).boxed_unsync();
    owner
        .request("PUT", "c/box/chunked")
        .stream(body)
        .send()
        .await
        .expect(201);
    let read = owner.call("GET", "c/box/chunked", "").await.text();
    assert_eq!((read.len(), &read[2990..]), (3000, "000000299\n"));
}

#[tokio::test]
async fn upload_reaches_the_unit_while_it_is_sent_and_download_is_whole() {
    const PIECE: usize = 1 << 20;
    let site = Site::start();
    let owner = site.client().create_cell_with_owner("c").await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((
            Ok::<_, personium_testkit::BoxError>(http_body::Frame::data(piece)),
            receiver,
        ))
    });
    let body = StreamBody::new(pieces).boxed_unsync();
    let put = tokio::spawn(owner.request("PUT", "c/box/large").stream(body).try_send());
    for number in 0..10_u8 {
        sender.send(vec![number; PIECE].into()).await.unwrap();
    }
    // Half of it is sent, and the unit has most of that.
    let data = site.unit.folder().join("data");
    let until = Instant::now() + NOTICE_TIMEOUT;
    let received = || {
        let sizes = bodies(&data)
            .into_iter()
            .map(|body| body.metadata().map_or(0, |m| m.len()));
        sizes.max().unwrap_or(0)
    };
    while received() < 5 << 20 {
        assert!(Instant::now() < until, "the unit has {} bytes", received());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for number in 10..20_u8 {
        sender.send(vec![number; PIECE].into()).await.unwrap();
    }
    drop(sender);
    let put = put.await.unwrap().unwrap();
    put.expect(201);
    let read = owner.request("GET", "c/box/large").send().await.expect(200);
    assert_eq!(read.body.len(), 20 * PIECE);
    assert!((0..20).all(|number| usize::from(read.body[number * PIECE + 7]) == number));
}

#[tokio::test]
async fn request_key_is_in_both_logs_with_node_and_times() {
    let site = Site::start();
    let owner = site.client().create_cell_with_owner("c").await;
    let node = format!("127.0.0.1:{}", site.unit.port());
    for (key, method) in [("k-get", "GET"), ("k-put", "PUT"), ("k-merge", "MERGE")] {
        let request = owner.request(method, "c/box/f?code=hidden");
        let answer = request
            .header("x-personium-requestkey", key)
            .body("x")
            .send()
            .await;
        assert_eq!(answer.header("x-personium-requestkey"), Some(key));
        let line = site.access_line(key).await;
        assert_eq!(line["request.method"], method);
        assert_eq!(line["request.path"], "/c/box/f", "{line}");
        assert_eq!(line["node.address"], node.as_str(), "{line}");
        assert_eq!(line["response.status"], answer.status.as_str(), "{line}");
        let seconds = |name: &str| line[name].as_str().unwrap().parse::<f64>().unwrap();
        // The two are measured apart from each other, in milliseconds.
        assert!(
            seconds("node.elapsed_s") < seconds("elapsed_s") + 0.1,
            "{line}"
        );
        crate::program::logged_after(&site.unit, 0, key).await;
    }
    // A new one, if the client has none.
    let answer = owner.request("GET", "c/box/none").send().await;
    let key = answer.header("x-personium-requestkey").unwrap().to_owned();
    assert_eq!(site.access_line(&key).await["response.status"], "404");
    crate::program::logged_after(&site.unit, 0, &key).await;
    let refused = owner
        .request("GET", "c/box/none")
        .header("x-personium-requestkey", "a b");
    assert_eq!(refused.send().await.status, 400);
}

#[tokio::test]
async fn tls_is_modern_and_http_is_led_to_it() {
    let site = Site::start();
    let (ok, version) = curl(
        &site.nginx,
        WEB_HOST,
        &["-o", "/dev/null", "-w", "%{http_version} %{response_code}"],
    );
    assert_eq!((ok, version.as_str()), (true, "2 200"));
    let (_, head) = curl(&site.nginx, WEB_HOST, &["-I"]);
    assert!(
        head.contains("strict-transport-security: max-age="),
        "{head}"
    );
    for old in ["-tls1", "-tls1_1"] {
        let out = Command::new("openssl")
            .args([
                "s_client",
                old,
                "-cipher",
                "ALL:@SECLEVEL=0",
                "-servername",
                WEB_HOST,
                "-connect",
            ])
            .arg(format!("127.0.0.1:{}", site.nginx.port()))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            !out.status.success(),
            "{old}: {}",
            String::from_utf8_lossy(&out.stdout)
        );
    }
    let plain = |request: &'static str| {
        let port = site.nginx.plain_port();
        async move {
            let mut connection = RawConnection::open_once(port).await.unwrap();
            let bytes = format!("{request}\r\nHost: unit.example\r\nConnection: close\r\n\r\n");
            let answer = connection
                .exchange(bytes.as_bytes(), RawBody::Count)
                .await
                .unwrap();
            (
                answer.status,
                connection.header("Location").map(str::to_owned),
            )
        }
    };
    let led = plain("GET /c/box?a=b HTTP/1.1").await;
    assert_eq!(
        led,
        (308, Some("https://unit.example/c/box?a=b".to_owned()))
    );
    assert_eq!(plain("POST /c/__token HTTP/1.1").await, (403, None));
}
