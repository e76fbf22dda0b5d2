//! The built program as a process of its own, and a plain HTTP client for it. Shared by the tests of this folder.

#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test uses a part of it"
)]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The administrator's token in every unit that a test starts.
pub const MASTER: &str = "test-master-token";

/// A folder that is removed in the end.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(purpose: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!(
            "personium-{purpose}-{}-{number}",
            std::process::id()
        ));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running unit with a folder of its own. Dropping it ends it.
pub struct Unit {
    child: Child,
    /// The host name in its URLs; requests reach it on this machine all the same.
    pub host: String,
    pub port: u16,
    pub scratch: Scratch,
}

fn spawn(folder: &Path, port: u16, environment: &[(&str, &str)]) -> Child {
    let settings = folder.join("unit.properties");
    let mut command = Command::new(env!("CARGO_BIN_EXE_personium"));
    command
        .envs(environment.iter().copied())
        .arg("serve")
        .arg("--data")
        .arg(folder.join("data"))
        .args(["--port", &port.to_string()]);
    if settings.exists() {
        command.arg("--config").arg(settings);
    }
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("unit.log"))
        .unwrap();
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

impl Unit {
    pub fn start(purpose: &str) -> Self {
        Self::start_with(purpose, "")
    }

    /// Without any settings, as somebody starts it for the first time.
    pub fn start_new(purpose: &str) -> Self {
        let scratch = Scratch::new(purpose);
        let port = free_port();
        let child = spawn(scratch.path(), port, &[]);
        let mut unit = Self {
            child,
            host: "localhost".to_owned(),
            port,
            scratch,
        };
        unit.wait();
        unit
    }

    /// With more lines for the settings.
    pub fn start_with(purpose: &str, more: &str) -> Self {
        Self::start_with_environment(purpose, more, &[])
    }

    /// The same, with more variables in its environment.
    pub fn start_with_environment(purpose: &str, more: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_in(Scratch::new(purpose), "localhost", more, environment)
    }

    /// With this host name in its URLs, in a folder that holds files which the settings name.
    pub fn start_as(host: &str, scratch: Scratch, more: &str) -> Self {
        let more = format!("io.personium.core.unitFqdn={host}\n{more}");
        Self::start_in(scratch, host, &more, &[])
    }

    fn start_in(scratch: Scratch, host: &str, more: &str, environment: &[(&str, &str)]) -> Self {
        let port = free_port();
        let settings = format!(
            "io.personium.core.unitScheme=http\nio.personium.core.unitPort={port}\n\
             io.personium.core.pathBasedCellUrl.enabled=true\nio.personium.core.masterToken={MASTER}\n\
             io.personium.core.security.secret16=0123456789abcdef\n{more}"
        );
        std::fs::write(scratch.path().join("unit.properties"), settings).unwrap();
        let child = spawn(scratch.path(), port, environment);
        let mut unit = Self {
            child,
            host: host.to_owned(),
            port,
            scratch,
        };
        unit.wait();
        unit
    }

    /// Until it accepts connections; the log is shown if it ends before.
    fn wait(&mut self) {
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the unit ended: {status}\n{}", self.log());
            }
            assert!(
                Instant::now() < until,
                "the unit does not listen\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What it wrote so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path().join("unit.log")).unwrap_or_default()
    }

    /// Ends it at once, with whatever it is doing (`kill -9`).
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same folder and port after [`Unit::kill`].
    pub fn restart(&mut self) {
        self.child = spawn(self.scratch.path(), self.port, &[]);
        self.wait();
    }

    /// Tries to start it again after [`Unit::kill`], which it must refuse. Gives the log of that.
    pub fn refuse_to_restart(&mut self) -> String {
        let before = self.log().len();
        self.child = spawn(self.scratch.path(), self.port, &[]);
        let status = self.child.wait().unwrap();
        assert!(!status.success());
        self.log().split_off(before)
    }

    /// Replaces a text in its settings, for the next start.
    pub fn change_settings(&self, from: &str, to: &str) {
        let path = self.scratch.path().join("unit.properties");
        let settings = std::fs::read_to_string(&path).unwrap();
        assert!(settings.contains(from), "{settings}");
        std::fs::write(path, settings.replace(from, to)).unwrap();
    }

    pub fn running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn url(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    pub fn admin(&self) -> Client {
        self.client(MASTER)
    }

    /// A client with this token.
    pub fn client(&self, token: &str) -> Client {
        let mut client = Client::new(self.port, token);
        client.host.clone_from(&self.host);
        client
    }

    /// A cell with a box `box` and an account `me` whose role may do everything in that box. Gives a client with its token.
    pub fn cell_with_owner(&self, name: &str) -> Client {
        let mut admin = self.admin();
        admin.made("POST", "/__ctl/Cell", &format!("{{\"Name\":\"{name}\"}}"));
        admin.made_with(
            "POST",
            &format!("/{name}/__ctl/Account"),
            &[("X-Personium-Credential", "password1")],
            "{\"Name\":\"me\"}",
        );
        admin.made(
            "POST",
            &format!("/{name}/__ctl/Role"),
            "{\"Name\":\"owner\"}",
        );
        let role = format!("{{\"uri\":\"{}/{name}/__ctl/Role('owner')\"}}", self.url());
        admin.made(
            "POST",
            &format!("/{name}/__ctl/Account('me')/$links/_Role"),
            &role,
        );
        admin.made("POST", &format!("/{name}/__ctl/Box"), "{\"Name\":\"box\"}");
        let list = format!(
            "<D:acl xmlns:D='DAV:' xml:base='{}/{name}/__role/__/'><D:ace><D:principal><D:href>owner</D:href></D:principal>\
             <D:grant><D:privilege><D:all/></D:privilege></D:grant></D:ace></D:acl>",
            self.url()
        );
        admin.made("ACL", &format!("/{name}/box"), &list);
        let form = "grant_type=password&username=me&password=password1";
        let answer = self
            .client("")
            .send("POST", &format!("/{name}/__token"), &[], form.as_bytes())
            .unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.client(answer.json()["access_token"].as_str().unwrap())
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("the end of the unit's log:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
    }
}

/// One keep-alive connection that carries a token with every request.
pub struct Client {
    host: String,
    port: u16,
    token: String,
    stream: Option<BufReader<TcpStream>>,
}

impl Client {
    pub fn new(port: u16, token: &str) -> Self {
        Self {
            host: "localhost".to_owned(),
            port,
            token: token.to_owned(),
            stream: None,
        }
    }

    pub fn again(&self) -> Self {
        let mut again = Self::new(self.port, &self.token);
        again.host.clone_from(&self.host);
        again
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// # Errors
    /// When the connection breaks; the next call connects anew.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}:{}\r\nContent-Length: {}\r\n",
            self.host,
            self.port,
            body.len()
        );
        if !headers
            .iter()
            .any(|(n, _)| n.eq_ignore_ascii_case("authorization"))
            && !self.token.is_empty()
        {
            head += &format!("Authorization: Bearer {}\r\n", self.token);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let mut request = head.into_bytes();
        request.extend_from_slice(body);
        let outcome = self.exchange(&request, method == "HEAD");
        if outcome.is_err()
            || outcome.as_ref().is_ok_and(|a| {
                a.header("connection")
                    .is_some_and(|c| c.eq_ignore_ascii_case("close"))
            })
        {
            self.stream = None;
        }
        outcome
    }

    /// Sends bytes as they are and reads one answer.
    ///
    /// # Errors
    /// When the connection breaks or what comes is not HTTP/1.1.
    pub fn exchange(&mut self, request: &[u8], without_body: bool) -> io::Result<Answer> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(120)))?;
            self.stream = Some(BufReader::new(stream));
        }
        let stream = self.stream.as_mut().unwrap();
        stream.get_mut().write_all(request)?;
        read_answer(stream, without_body)
    }

    /// A request that must be answered 2xx.
    pub fn made(&mut self, method: &str, path: &str, body: &str) -> Answer {
        self.made_with(method, path, &[], body)
    }

    /// The same with headers.
    pub fn made_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut all = vec![("Accept", "application/json")];
        all.extend_from_slice(headers);
        let answer = self
            .send(method, path, &all, body.as_bytes())
            .unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        assert!(
            (200..300).contains(&answer.status),
            "{method} {path} is answered {}: {}",
            answer.status,
            answer.text()
        );
        answer
    }

    /// An OData collection with one entity type.
    pub fn make_odata(&mut self, path: &str, entity_type: &str) {
        let kind = "<D:mkcol xmlns:D='DAV:' xmlns:p='urn:x-personium:xmlns'><D:set><D:prop><D:resourcetype><D:collection/><p:odata/>\
                    </D:resourcetype></D:prop></D:set></D:mkcol>";
        self.made("MKCOL", path, kind);
        self.made(
            "POST",
            &format!("{path}/$metadata/EntityType"),
            &format!("{{\"Name\":\"{entity_type}\"}}"),
        );
    }
}

/// Reads one answer to its end.
///
/// # Errors
/// When the connection breaks or what comes is not HTTP/1.1.
pub fn read_answer(stream: &mut impl BufRead, without_body: bool) -> io::Result<Answer> {
    loop {
        let first = line(stream)?;
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, format!("no status: {first:?}"))
            })?;
        let mut headers = Vec::new();
        loop {
            let text = line(stream)?;
            if text.is_empty() {
                break;
            }
            let (name, value) = text.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        let mut answer = Answer {
            status,
            headers,
            body: Vec::new(),
        };
        if status < 200 {
            continue;
        }
        if without_body || matches!(status, 204 | 304) {
            return Ok(answer);
        }
        if answer.header("transfer-encoding").is_some() {
            loop {
                let size = usize::from_str_radix(line(stream)?.trim(), 16)
                    .map_err(|_| io::ErrorKind::InvalidData)?;
                let mut piece = vec![0; size];
                stream.read_exact(&mut piece)?;
                answer.body.extend(piece);
                line(stream)?;
                if size == 0 {
                    return Ok(answer);
                }
            }
        }
        if let Some(length) = answer.header("content-length") {
            let length = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            answer.body.resize(length, 0);
            stream.read_exact(&mut answer.body)?;
        } else {
            stream.read_to_end(&mut answer.body)?;
        }
        return Ok(answer);
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if stream.read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Whether a program is on the path. Says so loudly when it is not.
pub fn installed(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|folder| folder.join(program).is_file());
    if !found {
        println!("LEFT OUT: {program} is not installed, so this test shows nothing");
    }
    found
}
