//! A Kafka broker in a process of its own, and a consumer of Kafka's own client library.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{OnDrop, Process, are_packages_installed, free_port, installed_packages};

/// The packages that `cargo xtask clients` installs.
const PACKAGES: &str = include_str!("../kafka/packages.sha256");
/// The options of Java for a small process that starts quickly.
const JAVA_OPTIONS: &[&str] = &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];
/// The time that a record may take to arrive.
const RECORD_TIMEOUT: Duration = Duration::from_secs(60);

/// A broker that is a cluster of its own, on free ports of this machine. Topics are created with three partitions when they are first
/// asked for. Dropping it kills the process.
#[derive(Debug)]
pub struct Kafka {
    ports: Ports,
    process: Option<Process>,
    folder: TempDir,
    is_encrypted: bool,
    lines: String,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    /// For clients as the settings say.
    client: u16,
    /// For readers of tests: in clear, for everybody.
    reader: u16,
    controller: u16,
}

/// The settings of a broker.
#[derive(Debug, Default)]
pub struct KafkaBuilder {
    lines: String,
    is_encrypted: bool,
    needs_certificate: bool,
    user: Option<(String, String)>,
}

impl KafkaBuilder {
    /// A line of its settings.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        writeln!(self.lines, "{name}={value}").unwrap();
        self
    }

    /// It speaks TLS only.
    #[must_use]
    pub fn encrypted(mut self) -> Self {
        self.is_encrypted = true;
        self
    }

    /// It speaks TLS only, with those who show the certificate [`Kafka::client_certificate`].
    #[must_use]
    pub fn with_client_certificate(mut self) -> Self {
        self.needs_certificate = true;
        self.encrypted()
    }

    /// It knows one user, with a password, by PLAIN and SCRAM-SHA-512; and the user `stranger` with the same password, by PLAIN.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.user = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// Starts a broker without messages, and waits until it listens.
    #[must_use]
    pub fn start(self) -> Kafka {
        self.start_with("")
    }

    /// Starts it with lines of settings that [`Kafka::start_again_with`] can replace.
    #[must_use]
    pub fn start_with(mut self, lines: &str) -> Kafka {
        let folder = tempfile::tempdir().unwrap();
        let ports = Ports {
            client: free_port(),
            reader: free_port(),
            controller: free_port(),
        };
        self.configure_client(folder.path());
        let mut kafka = Kafka {
            ports,
            process: None,
            folder,
            is_encrypted: self.is_encrypted,
            lines: self.lines,
        };
        kafka.write_settings(lines);
        kafka.format(self.user.as_ref());
        kafka.start_again();
        kafka
    }

    /// Adds the settings of the port for clients.
    fn configure_client(&mut self, folder: &Path) {
        let protocol = match (self.is_encrypted, self.user.is_some()) {
            (false, false) => "PLAINTEXT",
            (true, false) => "SSL",
            (false, true) => "SASL_PLAINTEXT",
            (true, true) => "SASL_SSL",
        };
        let lines = &mut self.lines;
        writeln!(
            lines,
            "listener.security.protocol.map=CLIENT:{protocol},READER:PLAINTEXT,CONTROLLER:PLAINTEXT"
        )
        .unwrap();
        let prefix = "listener.name.client.";
        if self.is_encrypted {
            make_key(folder, "broker", "subjectAltName=IP:127.0.0.1");
            let file = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
            let both = format!("{}{}", file("broker.key"), file("broker.pem"));
            fs::write(folder.join("broker.both"), both).unwrap();
            let path = folder.join("broker.both");
            let path = path.display();
            writeln!(lines, "{prefix}ssl.keystore.type=PEM").unwrap();
            writeln!(lines, "{prefix}ssl.keystore.location={path}").unwrap();
        }
        if self.needs_certificate {
            make_key(folder, "client", "extendedKeyUsage=clientAuth");
            let path = folder.join("client.pem");
            let path = path.display();
            writeln!(lines, "{prefix}ssl.client.auth=required").unwrap();
            writeln!(lines, "{prefix}ssl.truststore.type=PEM").unwrap();
            writeln!(lines, "{prefix}ssl.truststore.location={path}").unwrap();
        }
        if let Some((name, password)) = &self.user {
            let module = "org.apache.kafka.common.security";
            writeln!(
                lines,
                "{prefix}sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
                 {prefix}plain.sasl.jaas.config={module}.plain.PlainLoginModule required user_{name}=\"{password}\" user_stranger=\"{password}\";\n\
                 {prefix}scram-sha-512.sasl.jaas.config={module}.scram.ScramLoginModule required;"
            )
            .unwrap();
        }
    }
}

impl Kafka {
    /// Whether `cargo xtask clients` has installed it.
    #[must_use]
    pub fn is_installed() -> bool {
        are_packages_installed("kafka", PACKAGES)
    }

    /// Starts a broker without messages, which accepts everybody, and waits until it listens.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// The settings of a broker that accepts everybody.
    #[must_use]
    pub fn builder() -> KafkaBuilder {
        KafkaBuilder::default()
    }

    /// Its host and port.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.ports.client)
    }

    /// Its address in settings.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.is_encrypted { "ssl" } else { "tcp" };
        format!("{scheme}://{}", self.host())
    }

    /// The certificate that it has made itself, in a PEM file.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("broker.pem")
    }

    /// The certificate of a client that it knows, and the file of its key.
    #[must_use]
    pub fn client_certificate(&self) -> (PathBuf, PathBuf) {
        let file = |name| self.folder.path().join(name);
        (file("client.pem"), file("client.key"))
    }

    /// Kills the process.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts it again after [`Self::kill`], with what it had stored.
    pub fn start_again(&mut self) {
        let mut command = self.java();
        command
            .args(["-Xmx192m", "kafka.Kafka"])
            .arg(self.settings())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let listening = Process::listen(&mut command, self.ports.client, OnDrop::Kill);
        self.process = Some(listening.unwrap_or_else(|e| panic!("{e}")).0);
    }

    /// Starts it again after [`Self::kill`], with further settings, which are lines of `name=value`.
    pub fn start_again_with(&mut self, lines: &str) {
        self.write_settings(lines);
        self.start_again();
    }

    /// Stops the process without ending it: it accepts connections and answers nothing.
    pub fn pause(&self) {
        self.process.as_ref().unwrap().pause();
    }

    /// Lets a paused process go on.
    pub fn resume(&self) {
        self.process.as_ref().unwrap().resume();
    }

    /// A consumer of a topic, from its beginning.
    #[must_use]
    pub fn reader(&self, topic: &str) -> KafkaReader {
        let program = self.folder.path().join("KafkaReader.java");
        fs::write(&program, include_str!("../kafka/KafkaReader.java")).unwrap();
        let mut command = self.java();
        command
            .arg("-Xmx64m")
            .arg(program)
            .arg(self.reader_host())
            .arg(topic)
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut process = Process::spawn(&mut command, OnDrop::Kill);
        let output = process.take_stdout().unwrap();
        let (sender, records) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                if sender.send(KafkaRecord::parse(&line)).is_err() {
                    return;
                }
            }
        });
        KafkaReader {
            records,
            _process: process,
        }
    }

    /// Host and port for readers of tests.
    pub(crate) fn reader_host(&self) -> String {
        format!("127.0.0.1:{}", self.ports.reader)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A command of Java with the packages of Kafka.
    pub(crate) fn java(&self) -> Command {
        let mut command = Command::new("java");
        command
            .args(JAVA_OPTIONS)
            .arg("--class-path")
            .arg(installed_packages("kafka", PACKAGES).join("*"))
            .current_dir(self.folder.path());
        command
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("server.properties")
    }

    fn write_settings(&self, lines: &str) {
        let Ports {
            client,
            reader,
            controller,
        } = self.ports;
        let data = self.folder.path().join("data");
        let own = &self.lines;
        let text = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             inter.broker.listener.name=READER\n\
             listeners=CLIENT://127.0.0.1:{client},READER://127.0.0.1:{reader},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=CLIENT://127.0.0.1:{client},READER://127.0.0.1:{reader}\n\
             log.dirs={}\n\
             num.partitions=3\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=1\n\
             group.initial.rebalance.delay.ms=0\n\
             log.cleaner.dedupe.buffer.size=4194304\n\
             {own}{lines}",
            data.display()
        );
        fs::write(self.settings(), text).unwrap();
    }

    /// Makes its data folder, with a user.
    fn format(&self, user: Option<&(String, String)>) {
        let mut command = self.java();
        command
            .args(["kafka.tools.StorageTool", "format", "--cluster-id"])
            .arg("MkU3OEVBNTcwNTJENDM2Qg")
            .arg("--config")
            .arg(self.settings());
        if let Some((name, password)) = user {
            command
                .arg("--add-scram")
                .arg(format!("SCRAM-SHA-512=[name={name},password={password}]"));
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {text}");
    }
}

/// Makes a key and a certificate that it has signed itself: `{name}.key` and `{name}.pem`.
fn make_key(folder: &Path, name: &str, extension: &str) {
    let mut command = Command::new("openssl");
    command
        .args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "30"])
        .args(["-pkeyopt", "ec_paramgen_curve:P-256"])
        .args(["-subj", &format!("/CN={name}"), "-addext", extension])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &format!("{name}.key")])
        .args(["-out", &format!("{name}.pem")])
        .current_dir(folder);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
}

/// A consumer in a process of its own.
#[derive(Debug)]
pub struct KafkaReader {
    records: mpsc::Receiver<KafkaRecord>,
    _process: Process,
}

impl KafkaReader {
    /// The next record.
    #[must_use]
    pub fn next(&self) -> KafkaRecord {
        let record = self.records.recv_timeout(RECORD_TIMEOUT);
        record.expect("a record of the topic")
    }
}

/// A record of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaRecord {
    /// The number of its partition.
    pub partition: u32,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
}

impl KafkaRecord {
    fn parse(line: &str) -> Self {
        let mut fields = line.split(' ');
        let mut next = || fields.next().unwrap_or_default();
        let partition = next().parse().unwrap();
        let (key, value) = (text(next()), text(next()));
        let headers = fields.map(|field| {
            let (name, value) = field.split_once('=').unwrap();
            (text(name), text(value))
        });
        Self {
            partition,
            key,
            value,
            headers: headers.collect(),
        }
    }
}

/// The text of hexadecimal digits.
fn text(digits: &str) -> String {
    let (pairs, _) = digits.as_bytes().as_chunks::<2>();
    let byte = |pair: &[u8; 2]| {
        let pair = std::str::from_utf8(pair).unwrap();
        u8::from_str_radix(pair, 16).unwrap()
    };
    String::from_utf8(pairs.iter().map(byte).collect()).unwrap()
}
