//! Object stores that speak the protocol of S3, each in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{OnDrop, Process, built_program, free_port};

/// The folder of data, in the folder of a server.
const DATA: &str = "data";
/// The folder of certificates, in the folder of a server.
const CERTIFICATES: &str = "certs";
/// The time within which a program takes writes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// A program that speaks the protocol of S3. `cargo xtask clients` builds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum S3Program {
    /// MinIO, which checks signatures and checksums.
    Minio,
    /// gofakes3, which accepts any credentials and keeps its objects in memory.
    GoFakeS3,
}

/// A running object store with an empty bucket. Dropping it ends the process and removes its data.
pub struct S3Server {
    program: S3Program,
    port: u16,
    process: Process,
    folder: TempDir,
    has_tls: bool,
}

impl S3Server {
    /// The bucket.
    pub const BUCKET: &str = "bodies";
    /// The access key.
    pub const ACCESS_KEY: &str = "test-access-key";
    /// The secret key.
    pub const SECRET_KEY: &str = "test-secret-key-0123";

    /// Starts a program, and waits until it takes writes.
    #[must_use]
    pub fn start(program: S3Program) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), program)
    }

    /// Starts MinIO with this certificate and private key, in PEM: it takes requests over TLS only.
    #[must_use]
    pub fn start_with_tls(certificate: &str, key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = folder.path().join(CERTIFICATES);
        std::fs::create_dir(&certificates).unwrap();
        std::fs::write(certificates.join("public.crt"), certificate).unwrap();
        std::fs::write(certificates.join("private.key"), key).unwrap();
        Self::start_in(folder, S3Program::Minio)
    }

    fn start_in(folder: TempDir, program: S3Program) -> Self {
        let has_tls = has_certificate(&folder);
        std::fs::create_dir_all(folder.path().join(DATA).join(Self::BUCKET)).unwrap();
        let port = free_port();
        let process = listen(program, port, &folder);
        Self {
            program,
            port,
            process,
            folder,
            has_tls,
        }
    }

    /// The address, such as `127.0.0.1:9000`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.has_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    /// The folder of the objects of MinIO.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().join(DATA).join(Self::BUCKET)
    }

    /// Ends the process at once by SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts the program again on its data and port, after [`S3Server::kill`].
    pub fn restart(&mut self) {
        self.process = listen(self.program, self.port, &self.folder);
    }

    /// The settings of a unit whose file bodies are in the bucket, below `prefix`.
    #[must_use]
    pub fn settings(&self, prefix: &str) -> String {
        Self::settings_at(&self.url(), prefix)
    }

    /// As [`settings`](Self::settings), with the URL of a proxy before the server.
    #[must_use]
    pub fn settings_at(url: &str, prefix: &str) -> String {
        let key = "io.personium.core.blobStore";
        format!(
            "{key}.type=s3\n{key}.s3.endpoint={url}\n{key}.s3.allowHttp=true\n{key}.s3.bucket={}\n\
             {key}.s3.prefix={prefix}\n{key}.s3.accessKey={}\n{key}.s3.secretKey={}\n",
            Self::BUCKET,
            Self::ACCESS_KEY,
            Self::SECRET_KEY
        )
    }
}

/// Whether a server with this folder has a certificate. MinIO makes the folder of certificates in any case.
fn has_certificate(folder: &TempDir) -> bool {
    let certificates = folder.path().join(CERTIFICATES);
    certificates.join("public.crt").exists()
}

fn listen(program: S3Program, port: u16, folder: &TempDir) -> Process {
    let address = format!("127.0.0.1:{port}");
    let mut command = match program {
        S3Program::Minio => {
            let mut minio = Command::new(built_program("minio"));
            minio
                .args(["server", "--quiet", "--address", &address])
                .args(["--console-address", &format!("127.0.0.1:{}", free_port())])
                .arg("--certs-dir")
                .arg(folder.path().join(CERTIFICATES))
                .arg(folder.path().join(DATA))
                .env("MINIO_ROOT_USER", S3Server::ACCESS_KEY)
                .env("MINIO_ROOT_PASSWORD", S3Server::SECRET_KEY)
                .env("MINIO_BROWSER", "off")
                .env("MINIO_UPDATE", "off")
                .env("HOME", folder.path());
            minio
        }
        S3Program::GoFakeS3 => {
            let mut fake = Command::new(built_program("gofakes3"));
            fake.args(["-backend", "memory", "-host", &address, "-quiet"])
                .args(["-initialbucket", S3Server::BUCKET]);
            fake
        }
    };
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (process, _) = Process::listen(&mut command, port, OnDrop::Kill).unwrap();
    // Over TLS this says nothing; whoever writes then repeats that.
    if program == S3Program::Minio && !has_certificate(folder) {
        let started = Instant::now();
        while !can_write(port).unwrap_or(false) {
            assert!(started.elapsed() < WRITE_TIMEOUT, "MinIO cannot write");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    process
}

/// Whether MinIO takes writes: it listens before it has read its folder, and refuses requests until then.
fn can_write(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(
        b"GET /minio/health/cluster HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    )?;
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status)?;
    Ok(status.contains(" 200 "))
}
