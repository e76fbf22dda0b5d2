//! The unit under measurement, seen from outside: its program, its settings, and the calls that prepare data.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Outcome;
use crate::connection::{Body, Connection, request};
use crate::process::{Running, Watched, free_port};
use crate::rows;

const MASTER: &str = "bench-master-token";
/// User name and password of the unit-wide credential for introspection.
const INSPECTOR: &str = "inspector";
/// The same as Basic credentials.
pub(crate) const INSPECTOR_BASIC: &str = "Basic aW5zcGVjdG9yOmluc3BlY3Rvcg==";

/// A connection that was not used for so long is not used again.
const PAUSE: Duration = Duration::from_secs(10);

/// A unit with a folder of its own.
pub(crate) struct Unit {
    program: PathBuf,
    folder: PathBuf,
    running: Running,
    /// The name by which it is asked.
    host: String,
    /// The administrator's connection, and when it was used last.
    admin: (Connection, Instant),
    /// How long the newest start took until it listened.
    pub(crate) ready_after: Duration,
}

/// A cell in which the owner of the token has three roles, and a box that lets the first read and the second write.
pub(crate) struct Cell {
    /// Its name.
    pub(crate) name: String,
    /// `Bearer` and the access token of the account.
    pub(crate) bearer: String,
}

impl Unit {
    /// Starts a unit on an empty folder.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start(program: &Path, folder: &Path) -> Outcome<Self> {
        Self::start_as(program, folder, "localhost", "").await
    }

    /// The same with a host name in its URLs, and with more lines of settings.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) async fn start_as(
        program: &Path,
        folder: &Path,
        host: &str,
        more: &str,
    ) -> Outcome<Self> {
        std::fs::create_dir_all(folder)
            .map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        let port = free_port()?;
        let settings = format!(
            "io.personium.core.unitScheme=http\n\
             io.personium.core.pathBasedCellUrl.enabled=true\nio.personium.core.masterToken={MASTER}\n\
             io.personium.core.security.secret16=bench-secret-016\n\
             io.personium.core.dav.childresource.maxnum=1000000\n\
             io.personium.core.authn.rateLimit.burst=0\n\
             io.personium.core.introspect.username={INSPECTOR}\n\
             io.personium.core.introspect.password={INSPECTOR}\n\
             io.personium.core.unitFqdn={host}\n{more}"
        );
        let file = folder.join("unit.properties");
        std::fs::write(&file, settings)
            .map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        Self::open(program.to_owned(), folder.to_owned(), port, host.to_owned()).await
    }

    async fn open(program: PathBuf, folder: PathBuf, port: u16, host: String) -> Outcome<Self> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("unit.log"))
            .map_err(|e| format!("cannot make a log: {e}"))?;
        let second = log
            .try_clone()
            .map_err(|e| format!("cannot make a log: {e}"))?;
        let mut command = Command::new(&program);
        command
            .arg("serve")
            .arg("--config")
            .arg(folder.join("unit.properties"))
            .arg("--data")
            .arg(folder.join("data"));
        command
            .args(["--port", &port.to_string()])
            .stdout(Stdio::from(log))
            .stderr(Stdio::from(second));
        let (running, ready_after) = Running::start(&mut command, port)?;
        let admin = (connect(port).await?, Instant::now());
        Ok(Self {
            program,
            folder,
            running,
            host,
            admin,
            ready_after,
        })
    }

    /// Ends the unit as a crash would, and starts it again on the same folder and port.
    ///
    /// # Errors
    /// When it does not start again.
    pub(crate) async fn crash_and_restart(self) -> Outcome<Self> {
        let port = self.running.port;
        self.running.crash();
        Self::open(self.program, self.folder, port, self.host).await
    }

    /// The administrator's connection; a new one after a pause, because servers close those that idle.
    async fn admin(&mut self) -> Outcome<&mut Connection> {
        if self.admin.1.elapsed() > PAUSE {
            self.admin.0 = connect(self.running.port).await?;
        }
        self.admin.1 = Instant::now();
        Ok(&mut self.admin.0)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.running.port
    }

    /// For reading its figures.
    pub(crate) fn watched(&self) -> Watched {
        self.running.watched()
    }

    /// A call of the administrator; gives the body.
    ///
    /// # Errors
    /// When the answer is not a 2xx.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Outcome<Vec<u8>> {
        let master = format!("Bearer {MASTER}");
        let host = self.host.clone();
        let mut all = vec![
            ("Host", host.as_str()),
            ("Authorization", master.as_str()),
            ("Accept", "application/json"),
        ];
        all.extend_from_slice(headers);
        let mut answer = Vec::new();
        let got = self
            .admin()
            .await?
            .exchange(&request(method, path, &all, body), Body::Keep(&mut answer))
            .await
            .map_err(|e| format!("{method} {path}: {e}"))?;
        if !(200..300).contains(&got.status) {
            let text =
                String::from_utf8_lossy(answer.get(..answer.len().min(300)).unwrap_or_default())
                    .into_owned();
            return Err(format!(
                "{method} {path} is answered {}: {text}",
                got.status
            ));
        }
        Ok(answer)
    }

    /// A cell with an account `me`, the roles `role1` to `role3` and a box `box` whose list names the first two.
    ///
    /// # Errors
    /// When a call is refused.
    pub(crate) async fn make_cell(&mut self, name: &str) -> Outcome<Cell> {
        self.call(
            "POST",
            "/__ctl/Cell",
            &[],
            format!("{{\"Name\":\"{name}\"}}").as_bytes(),
        )
        .await?;
        let ctl = format!("/{name}/__ctl");
        self.call(
            "POST",
            &format!("{ctl}/Account"),
            &[("X-Personium-Credential", "password1")],
            b"{\"Name\":\"me\"}",
        )
        .await?;
        for role in ["role1", "role2", "role3"] {
            self.call(
                "POST",
                &format!("{ctl}/Role"),
                &[],
                format!("{{\"Name\":\"{role}\"}}").as_bytes(),
            )
            .await?;
            let link = format!(
                "{{\"uri\":\"http://{}/{name}/__ctl/Role('{role}')\"}}",
                self.host
            );
            self.call(
                "POST",
                &format!("{ctl}/Account('me')/$links/_Role"),
                &[],
                link.as_bytes(),
            )
            .await?;
        }
        self.call("POST", &format!("{ctl}/Box"), &[], b"{\"Name\":\"box\"}")
            .await?;
        let ace = |role: &str, privilege: &str| {
            format!(
                "<D:ace><D:principal><D:href>{role}</D:href></D:principal><D:grant><D:privilege><D:{privilege}/></D:privilege></D:grant></D:ace>"
            )
        };
        let list = format!(
            "<D:acl xmlns:D=\"DAV:\" xml:base=\"http://{}/{name}/__role/__/\">{}{}</D:acl>",
            self.host,
            ace("role1", "read"),
            ace("role2", "write")
        );
        self.call(
            "ACL",
            &format!("/{name}/box"),
            &[("Content-Type", "application/xml")],
            list.as_bytes(),
        )
        .await?;
        let bearer = self.log_in(name, "me").await?;
        Ok(Cell {
            name: name.to_owned(),
            bearer,
        })
    }

    /// A fresh access token for an account with the password `password1`, with `Bearer` before it.
    ///
    /// # Errors
    /// When it is refused.
    pub(crate) async fn log_in(&mut self, cell: &str, account: &str) -> Outcome<String> {
        let form = format!("grant_type=password&username={account}&password=password1");
        let token = text_of(&self.tokens(cell, &form).await?, "access_token")?;
        Ok(format!("Bearer {token}"))
    }

    /// What the token endpoint of a cell answers to a form.
    ///
    /// # Errors
    /// When it refuses.
    pub(crate) async fn tokens(&mut self, cell: &str, form: &str) -> Outcome<Value> {
        let host = self.host.clone();
        let headers = [
            ("Host", host.as_str()),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ];
        let path = format!("/{cell}/__token");
        let mut answer = Vec::new();
        let got = self
            .admin()
            .await?
            .exchange(
                &request("POST", &path, &headers, form.as_bytes()),
                Body::Keep(&mut answer),
            )
            .await
            .map_err(|e| format!("cannot ask for tokens: {e}"))?;
        if got.status != 200 {
            return Err(format!(
                "a token is refused with {}: {}",
                got.status,
                String::from_utf8_lossy(&answer)
            ));
        }
        serde_json::from_slice(&answer).map_err(|e| format!("the token answer is not JSON: {e}"))
    }

    /// An OData collection `name` in the box, with one entity type `Row` that declares the five properties.
    ///
    /// # Errors
    /// When a call is refused.
    pub(crate) async fn make_rows_type(&mut self, cell: &str, name: &str) -> Outcome {
        let kind = "<D:mkcol xmlns:D=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><D:set><D:prop><D:resourcetype>\
                    <D:collection/><p:odata/></D:resourcetype></D:prop></D:set></D:mkcol>";
        let path = format!("/{cell}/box/{name}");
        self.call(
            "MKCOL",
            &path,
            &[("Content-Type", "application/xml")],
            kind.as_bytes(),
        )
        .await?;
        self.call(
            "POST",
            &format!("{path}/$metadata/EntityType"),
            &[],
            b"{\"Name\":\"Row\"}",
        )
        .await?;
        for (property, edm) in rows::PROPERTIES {
            let body = format!(
                "{{\"Name\":\"{property}\",\"_EntityType.Name\":\"Row\",\"Type\":\"{edm}\"}}"
            );
            self.call(
                "POST",
                &format!("{path}/$metadata/Property"),
                &[],
                body.as_bytes(),
            )
            .await?;
        }
        Ok(())
    }

    /// Puts rows `0..count` into a collection, 1,000 in a batch.
    ///
    /// # Errors
    /// When a batch is refused or one of its parts was.
    pub(crate) async fn load_rows(&mut self, cell: &str, name: &str, count: u64) -> Outcome {
        let path = format!("/{cell}/box/{name}/$batch");
        let mut first = 0;
        while first < count {
            let last = (first + 1000).min(count);
            let body = rows::batch("Row", first..last);
            let headers = [
                ("Content-Type", "multipart/mixed; boundary=b"),
                ("X-Personium-Priority", "high"),
            ];
            let answer = self.call("POST", &path, &headers, &body).await?;
            let made = count_of(&answer, b"HTTP/1.1 201");
            if made as u64 != last - first {
                let text = String::from_utf8_lossy(
                    answer.get(..answer.len().min(600)).unwrap_or_default(),
                )
                .into_owned();
                return Err(format!(
                    "a batch made {made} rows instead of {}: {text}",
                    last - first
                ));
            }
            first = last;
        }
        Ok(())
    }
}

/// A text out of a JSON answer.
///
/// # Errors
/// When it is not there.
pub(crate) fn text_of(answer: &Value, name: &str) -> Outcome<String> {
    answer
        .get(name)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| format!("the answer has no {name}"))
}

async fn connect(port: u16) -> Outcome<Connection> {
    Connection::open(port)
        .await
        .map_err(|e| format!("cannot connect to port {port}: {e}"))
}

fn count_of(text: &[u8], wanted: &[u8]) -> usize {
    text.windows(wanted.len()).filter(|w| *w == wanted).count()
}
