//! The web layer: Nginx with the files of `deploy/nginx`, in front of units of a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::TestClient;
use crate::process::{OnDrop, Process, free_port};

/// The host of the unit behind the web layer.
pub const WEB_HOST: &str = "unit.example";

/// The folder of the files that are tested.
const DEPLOYED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/nginx");

/// The values of the template, of Nginx that is to be started.
#[must_use = "Nginx is started by `start`"]
pub struct NginxBuilder {
    port: u16,
    nodes: Vec<u16>,
    versions: String,
    more: String,
    requests_per_second: u32,
    request_burst: u32,
    host: String,
    plain_host: Option<String>,
    read_timeout_secs: Option<u32>,
}

impl NginxBuilder {
    /// Adds a node, given by its port.
    pub fn node(mut self, port: u16) -> Self {
        self.nodes.push(port);
        self
    }

    /// Adds a node that answers requests for another version.
    pub fn node_of_version(mut self, version: &str, port: u16) -> Self {
        let name = format!("personium_{port}");
        self.more.push_str(&format!(
            "upstream {name} {{ server 127.0.0.1:{port}; keepalive 8; }}\n"
        ));
        self.versions.push_str(&format!("\"{version}\" {name};\n"));
        self
    }

    /// Sets the host of the unit, in place of [`WEB_HOST`].
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// Limits the requests of an address.
    pub fn request_rate(mut self, per_second: u32, burst: u32) -> Self {
        (self.requests_per_second, self.request_burst) = (per_second, burst);
        self
    }

    /// Sets the time after which a silent node is given up, in place of that of the files.
    pub fn read_timeout(mut self, seconds: u32) -> Self {
        self.read_timeout_secs = Some(seconds);
        self
    }

    fn server_names(&self) -> String {
        let web_names = || format!("{0} *.{0}", self.host);
        self.plain_host.clone().unwrap_or_else(web_names)
    }

    /// Serves this host without TLS, as behind a load balancer on this machine that has the certificates and names the clients.
    pub fn without_tls(mut self, host: &str) -> Self {
        self.plain_host = Some(host.to_owned());
        self.more.push_str(
            "set_real_ip_from 127.0.0.1;\nreal_ip_header X-Forwarded-For;\nreal_ip_recursive on;\n",
        );
        self
    }

    /// Starts Nginx, and waits until it listens.
    #[must_use]
    pub fn start(self) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        make_certificate(at, &self.host);
        copy_files(at);
        if let Some(seconds) = self.read_timeout_secs {
            set_read_timeout(at, seconds);
        }
        let (plain_port, second_step) = (free_port(), free_port());
        let nodes: Vec<String> = self
            .nodes
            .iter()
            .map(|port| format!("server 127.0.0.1:{port} max_fails=3 fail_timeout=5s;"))
            .collect();
        let values = [
            ("NODES", nodes.join("\n")),
            ("VERSIONS", self.versions.clone()),
            ("SECOND_STEP", format!("127.0.0.1:{second_step}")),
            ("REQUESTS_PER_SECOND", self.requests_per_second.to_string()),
            ("REQUEST_BURST", self.request_burst.to_string()),
            ("CONNECTIONS_PER_ADDRESS", "1000".to_owned()),
            ("LISTEN", format!("127.0.0.1:{}", self.port)),
            ("LISTEN_PLAIN", format!("127.0.0.1:{plain_port}")),
            ("SERVER_NAMES", self.server_names()),
            ("CERTIFICATE", at.join("web.crt").display().to_string()),
            ("CERTIFICATE_KEY", at.join("web.key").display().to_string()),
            ("ACCESS_LOG", at.join("access.log").display().to_string()),
        ];
        let template = fs::read_to_string(Path::new(DEPLOYED).join("site.conf.template")).unwrap();
        let site = values.iter().fold(template, |site, (name, value)| {
            site.replace(&format!("${{PERSONIUM_{name}}}"), value)
        });
        assert!(!site.contains("${"), "a name has no value: {site}");
        let site = match &self.plain_host {
            Some(_) => without_tls(&site),
            None => site,
        };
        fs::write(at.join("site.conf"), format!("{site}{}", self.more)).unwrap();
        fs::write(at.join("nginx.conf"), main_file(at)).unwrap();
        let process = listen(at, self.port);
        Nginx {
            port: self.port,
            plain_port,
            process: Some(process),
            folder,
        }
    }
}

/// The site without TLS.
fn without_tls(site: &str) -> String {
    let is_kept = |line: &&str| {
        let line = line.trim_start();
        !line.starts_with("ssl_") && line != "include personium/tls.conf;"
    };
    let kept: Vec<&str> = site.lines().filter(is_kept).collect();
    kept.join("\n").replace(" ssl http2", "") + "\n"
}

/// The main file, as a distribution has it.
fn main_file(at: &Path) -> String {
    let at = at.display();
    let id = Command::new("id").arg("-u").output().unwrap();
    let user = if id.stdout == b"0\n" {
        "user root;\n"
    } else {
        ""
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .concat();
    format!(
        "{user}daemon off;\nworker_processes 2;\npid {at}/nginx.pid;\nerror_log {at}/error.log info;\n\
         events {{ worker_connections 2048; }}\nhttp {{\n{temporary}gzip on;\ninclude site.conf;\n}}\n"
    )
}

fn listen(at: &Path, port: u16) -> Process {
    let listening = Process::listen(&mut command(at), port, OnDrop::Terminate);
    let (process, _) = listening.unwrap_or_else(|e| panic!("{e}\n{}", errors(at)));
    process
}

fn command(at: &Path) -> Command {
    let program = Path::new("/usr/sbin/nginx");
    let program = if program.exists() {
        program
    } else {
        Path::new("nginx")
    };
    let mut command = Command::new(program);
    command
        .arg("-e")
        .arg(at.join("error.log"))
        .arg("-c")
        .arg(at.join("nginx.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

fn copy_files(at: &Path) {
    let to = at.join("personium");
    fs::create_dir(&to).unwrap();
    for entry in fs::read_dir(Path::new(DEPLOYED).join("personium")).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, to.join(from.file_name().unwrap())).unwrap();
    }
}

fn set_read_timeout(at: &Path, seconds: u32) {
    const DEPLOYED_TIMEOUT: &str = "proxy_read_timeout 300s;";
    let file = at.join("personium/proxy.conf");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(DEPLOYED_TIMEOUT));
    let changed = format!("proxy_read_timeout {seconds}s;");
    fs::write(&file, text.replace(DEPLOYED_TIMEOUT, &changed)).unwrap();
}

/// Makes a certificate for the host and all hosts below it, which vouches for itself.
fn make_certificate(at: &Path, host: &str) {
    let names = format!("subjectAltName=DNS:{host},DNS:*.{host}");
    let out = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        ])
        .args([
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/CN={host}"),
            "-addext",
            &names,
        ])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(at.join("web.key"))
        .arg("-out")
        .arg(at.join("web.crt"))
        .output()
        .unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

fn errors(at: &Path) -> String {
    fs::read_to_string(at.join("error.log")).unwrap_or_default()
}

/// Nginx in front of units. Dropping it ends it.
pub struct Nginx {
    port: u16,
    plain_port: u16,
    process: Option<Process>,
    folder: TempDir,
}

impl Nginx {
    /// Returns a builder for Nginx that listens on this port, which is that in the URLs of the unit.
    pub fn builder(port: u16) -> NginxBuilder {
        NginxBuilder {
            port,
            nodes: Vec::new(),
            versions: String::new(),
            more: String::new(),
            requests_per_second: 100_000,
            request_burst: 100_000,
            host: WEB_HOST.to_owned(),
            plain_host: None,
            read_timeout_secs: None,
        }
    }

    /// Ends it.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts it again after [`Self::stop`].
    pub fn start_again(&mut self) {
        self.process = Some(listen(self.folder.path(), self.port));
    }

    /// The port for TLS.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port without TLS.
    #[must_use]
    pub fn plain_port(&self) -> u16 {
        self.plain_port
    }

    /// The certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("web.crt")
    }

    /// A client of the unit.
    #[must_use]
    pub fn client(&self) -> TestClient {
        self.client_of(WEB_HOST)
    }

    /// A client that sends requests to this host.
    #[must_use]
    pub fn client_of(&self, host: &str) -> TestClient {
        TestClient::for_tls(host, self.port, &self.certificate())
    }

    /// The lines of the access log.
    #[must_use]
    pub fn access_lines(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        log.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The log of errors.
    #[must_use]
    pub fn errors(&self) -> String {
        errors(self.folder.path())
    }
}
