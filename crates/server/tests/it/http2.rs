//! The TLS port by HTTP/2: with curl, and with a client that accepts nothing.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use personium_testkit::{MASTER_TOKEN, ProcessUnit, free_port};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;

use crate::program;

const HOST: &str = "unit.example";

/// A unit with a TLS port and its certificate.
struct TlsUnit {
    unit: ProcessUnit,
    port: u16,
    certificate: PathBuf,
    _folder: tempfile::TempDir,
}

impl TlsUnit {
    fn start(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut make = program::command(&["cert", "server", "--name", HOST]);
        make.args(["--key", "server.key", "--cert", "server.crt"]);
        let made = make.current_dir(folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", program::text(&made));
        let port = free_port();
        let key = "io.personium.core.tls";
        let certificate = folder.path().join("server.crt");
        let tls = format!(
            "{key}.listen=127.0.0.1:{port}\n{key}.crt={}\n{key}.key={}\n{settings}",
            certificate.display(),
            folder.path().join("server.key").display()
        );
        let builder = crate::unit().host(HOST).behind_proxy(port);
        Self {
            unit: builder.settings(&tls).start(),
            port,
            certificate,
            _folder: folder,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}/{path}", self.port)
    }

    /// Runs curl as the administrator. Returns its output.
    fn curl(&self, arguments: &[&str]) -> String {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "30"])
            .args(["--connect-to", "::127.0.0.1:", "--cacert"])
            .arg(&self.certificate)
            .args(["--header", &format!("Authorization: Bearer {MASTER_TOKEN}")])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", program::text(&output));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn same(a: &Path, b: &Path) -> bool {
    std::fs::read(a).unwrap() == std::fs::read(b).unwrap()
}

#[tokio::test]
async fn requests_by_http2_are_answered_as_those_by_http1() {
    let unit = TlsUnit::start("io.personium.core.server.header.maxBytes=8192\n");
    unit.unit.create_cell("c").await;
    let folder = tempfile::tempdir().unwrap();
    let (sent, received) = (folder.path().join("sent"), folder.path().join("received"));
    std::fs::write(
        &sent,
        (0..700_000_u32)
            .flat_map(u32::to_le_bytes)
            .collect::<Vec<u8>>(),
    )
    .unwrap();
    let file = unit.url("c/__/file");
    for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let status = [
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code} %{http_version}",
        ];
        let of = |more: &[&str]| unit.curl(&[&[option][..], &status, more].concat());
        let put = of(&["--upload-file", sent.to_str().unwrap(), &file]);
        assert!(
            ["201", "204"]
                .iter()
                .any(|code| put == format!("{code} {version}")),
            "{put}"
        );
        unit.curl(&[option, "--output", received.to_str().unwrap(), &file]);
        assert!(same(&sent, &received), "{option}");
        assert_eq!(of(&[&unit.url("c/__/none")]), format!("404 {version}"));
        // A response before the body was read.
        let nowhere = of(&[
            "--upload-file",
            sent.to_str().unwrap(),
            &unit.url("none/__/file"),
        ]);
        assert_eq!(nowhere, format!("404 {version}"));
        // A head that is too large, and what a proxy would say.
        let large = format!("X-Large: {}", "x".repeat(10_000));
        let refused = of(&["--header", &large, &file]);
        assert_eq!(refused.split(' ').next(), Some("431"), "{option}");
        let foreign = of(&["--header", "X-Forwarded-Host: evil.example", &file]);
        assert_eq!(foreign, format!("200 {version}"));
        let header = unit.curl(&[option, "--head", &file]).to_ascii_lowercase();
        assert!(
            header.contains("strict-transport-security: max-age="),
            "{header}"
        );
    }
    // Many at once over one connection.
    let urls: Vec<String> = (0..100).map(|_| file.clone()).collect();
    let mut arguments = vec!["--http2", "--parallel", "--parallel-max", "50"];
    arguments.extend(["--write-out", "%{http_code}\n"]);
    for url in &urls {
        arguments.extend(["--output", "/dev/null", url]);
    }
    let codes = unit.curl(&arguments);
    assert_eq!(
        codes.lines().filter(|code| *code == "200").count(),
        100,
        "{codes}"
    );
}

/// Sends a request over a new connection by HTTP/2 and accepts nothing of the response. Returns the end of the connection.
async fn accept_nothing(unit: &TlsUnit, path: &str) -> impl Future<Output = ()> + use<> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(&unit.certificate).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(("127.0.0.1", unit.port)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from(HOST).unwrap();
    let stream = connector.connect(name, tcp).await.unwrap();
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(1_000);
    let connected = builder
        .handshake::<_, Empty<Bytes>>(TokioIo::new(stream))
        .await;
    let (mut sender, connection) = connected.unwrap();
    let connection = tokio::spawn(connection);
    let request = hyper::Request::get(unit.url(path))
        .header("authorization", format!("Bearer {MASTER_TOKEN}"))
        .body(Empty::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    async move {
        let _ = connection.await;
        // The rest of the response does not come.
        let received = response.into_body().collect().await;
        assert!(received.is_err());
        drop(sender);
    }
}

#[tokio::test]
async fn client_that_accepts_nothing_is_disconnected_and_others_go_on() {
    let unit = TlsUnit::start("io.personium.core.server.transfer.timeoutInSec=1\n");
    unit.unit.create_cell("c").await;
    let path = unit.certificate.with_file_name("file");
    std::fs::write(&path, vec![7; 200_000]).unwrap();
    let file = unit.url("c/__/file");
    unit.curl(&["--upload-file", path.to_str().unwrap(), &file]);
    let ended = accept_nothing(&unit, "c/__/file").await;
    let code = [
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code}",
        file.as_str(),
    ];
    assert_eq!(unit.curl(&code), "200");
    tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .unwrap();
    assert_eq!(unit.curl(&code), "200");
}
