//! An ActiveMQ broker in a process of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::process::{OnDrop, Process, free_port};

/// The program of Debian's package `activemq`.
const BROKER_JAR: &str = "/usr/share/activemq/bin/activemq.jar";
/// The password of the key store.
const STORE_PASSWORD: &str = "changeit";

/// The answer of a broker to messages when its store is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFullStore {
    /// It answers nothing until there is space, as by default.
    Block,
    /// It answers with an error.
    Refuse,
}

/// A broker with a STOMP connector on a free port of this machine. Dropping it kills the process.
#[derive(Debug)]
pub struct ActiveMq {
    port: u16,
    process: Option<Process>,
    folder: TempDir,
    is_secured: bool,
}

impl ActiveMq {
    /// Starts a broker without messages, which accepts everybody, and waits until it listens.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("", ("stomp", ""))
    }

    /// Starts a broker with options of its connector, as `?name=value`, and elements of its configuration.
    #[must_use]
    pub fn start_with_options(options: &str, elements: &str) -> Self {
        Self::start_with(elements, ("stomp", options))
    }

    /// Starts a broker with a store of this size, which frees at once what was consumed.
    #[must_use]
    pub fn start_with_store_limit(mib: u32, on_full: OnFullStore) -> Self {
        let refuses = on_full == OnFullStore::Refuse;
        let elements = format!(
            r#"<systemUsage><systemUsage sendFailIfNoSpace="{refuses}">
            <storeUsage><storeUsage limit="{mib} mb"/></storeUsage></systemUsage></systemUsage>"#
        );
        Self::start_with_store(
            r#"journalMaxFileLength="512kb" cleanupInterval="500""#,
            &elements,
            ("stomp", ""),
        )
    }

    /// Starts a broker that speaks TLS and knows one user, with a password.
    #[must_use]
    pub fn start_secured(user: &str, password: &str) -> Self {
        let plugin = format!(
            r#"<plugins><simpleAuthenticationPlugin><users>
            <authenticationUser username="{user}" password="{password}" groups="all"/>
            </users></simpleAuthenticationPlugin></plugins>"#
        );
        Self::start_with(&plugin, ("stomp+ssl", ""))
    }

    fn start_with(elements: &str, connector: (&str, &str)) -> Self {
        Self::start_with_store("", elements, connector)
    }

    fn start_with_store(store: &str, elements: &str, (scheme, options): (&str, &str)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let is_secured = scheme != "stomp";
        let mut more = match is_secured {
            false => String::new(),
            true => make_key(folder.path()),
        };
        more.insert_str(0, elements);
        fs::write(
            folder.path().join("activemq.xml"),
            configuration(
                folder.path(),
                (store, &more),
                &format!("{scheme}://127.0.0.1:{port}{options}"),
            ),
        )
        .unwrap();
        let process = Some(listen(port, folder.path()));
        Self {
            port,
            process,
            folder,
            is_secured,
        }
    }

    /// The URL of its STOMP connector.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.is_secured { "ssl" } else { "tcp" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The certificate that it has made itself, in a PEM file.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("broker.pem")
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again after [`Self::kill`], with what it had stored.
    pub fn start_again(&mut self) {
        self.process = Some(listen(self.port, self.folder.path()));
    }

    /// Stops the process without ending it: it accepts connections and answers nothing.
    pub fn pause(&self) {
        self.process.as_ref().unwrap().pause();
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.process.as_ref().unwrap().resume();
    }
}

/// Makes a key and its certificate. Returns the element of the configuration that names them.
fn make_key(folder: &Path) -> String {
    let run = |arguments: &[&str]| {
        let mut command = Command::new("keytool");
        command
            .args(arguments)
            .args(["-alias", "broker", "-keystore", "broker.p12"]);
        command
            .args(["-storepass", STORE_PASSWORD])
            .current_dir(folder);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command:?}: {text}");
    };
    run(&[
        "-genkeypair",
        "-keyalg",
        "EC",
        "-groupname",
        "secp256r1",
        "-storetype",
        "PKCS12",
        "-dname",
        "CN=broker",
        "-ext",
        "san=ip:127.0.0.1",
        "-validity",
        "30",
    ]);
    run(&["-exportcert", "-rfc", "-file", "broker.pem"]);
    let store = folder.join("broker.p12");
    format!(
        r#"<sslContext><sslContext keyStore="file://{}" keyStorePassword="{STORE_PASSWORD}" keyStoreType="PKCS12"/></sslContext>"#,
        store.display()
    )
}

/// The configuration of a broker: the form of Debian's, with the data in a folder, further attributes of its store, and further elements.
fn configuration(folder: &Path, (store, elements): (&str, &str), connector: &str) -> String {
    let mut xml = r#"<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
  http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
"#.to_owned();
    let data = folder.display();
    write!(
        xml,
        r#"<broker xmlns="http://activemq.apache.org/schema/core" useJmx="false" useShutdownHook="false" brokerName="test"
  dataDirectory="{data}">
<persistenceAdapter><kahaDB directory="{data}/kahadb" {store}/></persistenceAdapter>
{elements}
<transportConnectors><transportConnector name="stomp" uri="{connector}"/></transportConnectors>
</broker></beans>
"#
    )
    .unwrap();
    xml
}

fn listen(port: u16, folder: &Path) -> Process {
    let data = folder.display();
    let mut command = Command::new("java");
    command
        .args(["-Xmx96m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"])
        .arg("-Dactivemq.home=/usr/share/activemq")
        .arg(format!("-Dactivemq.base={data}"))
        .arg(format!("-Dactivemq.data={data}"))
        .args(["-jar", BROKER_JAR, "start"])
        .arg(format!("xbean:file:{data}/activemq.xml"))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let listening = Process::listen(&mut command, port, OnDrop::Kill);
    listening.unwrap_or_else(|e| panic!("{e}")).0
}
