//! The unit under measurement: its process, its settings, and the requests that prepare data.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use personium_testkit::{
    MASTER_TOKEN, ProcessUnit, RawBody, RawConnection, ace, acl_body, request_bytes, text_member,
};
use serde_json::{Value, json};

use crate::load::Target;
use crate::server_process::ProcessMonitor;
use crate::{BenchResult, rows};

/// The user name and password of the unit-wide credential for introspection.
const INTROSPECTION_USER: &str = "inspector";
/// The same credential as the value of an `Authorization` header.
pub(crate) const INTROSPECTION_CREDENTIAL: &str = "Basic aW5zcGVjdG9yOmluc3BlY3Rvcg==";

/// The time after which an idle connection is replaced, before the server closes it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// The time between two questions for the state of an export or import.
const STATE_POLL: Duration = Duration::from_millis(5);
/// The time within which an export or import must end.
const STATE_DEADLINE: Duration = Duration::from_secs(600);

/// The number of rows in one batch.
const BATCH_ROWS: u64 = 1000;

/// The number of bytes of a response that an error message quotes.
const QUOTED_BYTES: usize = 600;

/// A unit in a process and a folder of its own.
pub(crate) struct BenchUnit {
    unit: Arc<ProcessUnit>,
    /// The host name in its URLs.
    host: String,
    /// The connection for requests of the administrator, and the time of its last use.
    admin: RawConnection,
    admin_used: Instant,
}

/// A cell whose account has three roles, with a box that grants read to the first role and write to the second.
pub(crate) struct BenchCell {
    /// The name.
    pub(crate) name: String,
    /// The access token of the account as the value of an `Authorization` header.
    pub(crate) bearer: String,
}

/// The settings of a unit that differ from those of other units.
pub(crate) struct UnitSetup<'s> {
    /// The server program.
    pub(crate) program: &'s Path,
    /// An empty folder.
    pub(crate) folder: &'s Path,
    /// The host name in its URLs.
    pub(crate) host: &'s str,
    /// Further lines of the settings file.
    pub(crate) settings: &'s str,
}

impl BenchUnit {
    /// Starts a unit at `localhost`.
    ///
    /// # Errors
    /// A message if it does not start.
    pub(crate) async fn start(program: &Path, folder: &Path) -> BenchResult<Self> {
        Self::start_with(UnitSetup {
            program,
            folder,
            host: "localhost",
            settings: "",
        })
        .await
    }

    /// Starts a unit.
    ///
    /// # Errors
    /// A message if it does not start.
    pub(crate) async fn start_with(setup: UnitSetup<'_>) -> BenchResult<Self> {
        let UnitSetup {
            program,
            folder,
            host,
            settings,
        } = setup;
        let unit = ProcessUnit::builder(program)
            .folder(folder)
            .host(host)
            .without_port_in_urls()
            .setting("io.personium.core.dav.childresource.maxnum", 1_000_000)
            .setting("io.personium.core.authn.rateLimit.burst", 0)
            .setting("io.personium.core.log.access", "off")
            // Rules send requests to receivers on this machine.
            .setting("io.personium.core.outgoing.privateNetworks.enabled", true)
            .setting("io.personium.core.introspect.username", INTROSPECTION_USER)
            .setting("io.personium.core.introspect.password", INTROSPECTION_USER)
            .settings(settings)
            .start();
        Ok(Self {
            host: host.to_owned(),
            admin: connect(unit.port()).await?,
            admin_used: Instant::now(),
            unit: Arc::new(unit),
        })
    }

    /// Returns the same unit with another connection of the administrator, to prepare data over several.
    ///
    /// # Errors
    /// A message if no connection is possible.
    pub(crate) async fn another(&self) -> BenchResult<Self> {
        Ok(Self {
            host: self.host.clone(),
            admin: connect(self.port()).await?,
            admin_used: Instant::now(),
            unit: Arc::clone(&self.unit),
        })
    }

    /// Kills the unit, as a crash would, and starts it again with the same folder and port.
    ///
    /// # Errors
    /// A message if no connection to it is possible, or another one is in use.
    pub(crate) async fn crash_and_restart(&mut self) -> BenchResult {
        let unit = Arc::get_mut(&mut self.unit).ok_or("the unit is in use")?;
        unit.kill();
        unit.restart();
        self.admin = connect(self.port()).await?;
        self.admin_used = Instant::now();
        Ok(())
    }

    /// Returns the time that the last start took until the unit listened.
    pub(crate) fn start_time(&self) -> Duration {
        self.unit.ready_after()
    }

    /// Returns its folder, which contains `unit.properties` and the data folder `data`.
    pub(crate) fn folder(&self) -> &Path {
        self.unit.folder()
    }

    /// Returns the port on which it listens.
    pub(crate) fn port(&self) -> u16 {
        self.unit.port()
    }

    /// Returns a monitor of its process.
    pub(crate) fn monitor(&self) -> ProcessMonitor {
        ProcessMonitor::new(self.unit.process_id())
    }

    /// Returns the unit as the target of a load.
    pub(crate) fn target(&self) -> Target {
        Target {
            port: self.port(),
            monitor: self.monitor(),
        }
    }

    /// Returns the connection for requests of the administrator; a new one if it was idle for long.
    async fn admin(&mut self) -> BenchResult<&mut RawConnection> {
        if self.admin_used.elapsed() > IDLE_TIMEOUT {
            self.admin = connect(self.port()).await?;
        }
        self.admin_used = Instant::now();
        Ok(&mut self.admin)
    }

    /// Sends a request of the administrator. Returns the body of the response.
    ///
    /// # Errors
    /// A message if the status is not 2xx.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> BenchResult<Vec<u8>> {
        let authorization = format!("Bearer {MASTER_TOKEN}");
        let host = self.host.clone();
        let mut all_headers = vec![
            ("Host", host.as_str()),
            ("Authorization", authorization.as_str()),
            ("Accept", "application/json"),
        ];
        all_headers.extend_from_slice(headers);
        let mut response_body = Vec::new();
        let response = self
            .admin()
            .await?
            .exchange(
                &request_bytes(method, path, &all_headers, body),
                RawBody::Keep(&mut response_body),
            )
            .await
            .map_err(|error| format!("{method} {path}: {error}"))?;
        if !(200..300).contains(&response.status) {
            let text = quoted(&response_body);
            return Err(format!(
                "{method} {path} was refused with status {}: {text}",
                response.status
            ));
        }
        Ok(response_body)
    }

    async fn post_json(&mut self, path: &str, body: &Value) -> BenchResult {
        let body = body.to_string();
        self.call("POST", path, &[], body.as_bytes()).await?;
        Ok(())
    }

    async fn send_xml(&mut self, method: &str, path: &str, body: &str) -> BenchResult {
        let headers = [("Content-Type", "application/xml")];
        self.call(method, path, &headers, body.as_bytes()).await?;
        Ok(())
    }

    /// Creates a cell with an account `me`, the roles `role1` to `role3` and a box `box`.
    ///
    /// # Errors
    /// A message if a request is refused.
    pub(crate) async fn create_cell(&mut self, name: &str) -> BenchResult<BenchCell> {
        self.create_bare_cell(name).await?;
        self.create_account(name, "me").await?;
        for role in ["role1", "role2", "role3"] {
            self.create_role(name, role).await?;
        }
        let ace = |role: &str, privilege: &str| {
            format!(
                "<D:ace><D:principal><D:href>{role}</D:href></D:principal><D:grant><D:privilege><D:{privilege}/></D:privilege></D:grant></D:ace>"
            )
        };
        let acl = format!(
            "<D:acl xmlns:D=\"DAV:\" xml:base=\"http://{}/{name}/__role/__/\">{}{}</D:acl>",
            self.host,
            ace("role1", "read"),
            ace("role2", "write")
        );
        self.send_xml("ACL", &format!("/{name}/box"), &acl).await?;
        let bearer = self.log_in(name, "me").await?;
        Ok(BenchCell {
            name: name.to_owned(),
            bearer,
        })
    }

    /// Creates a cell with a box `box`, and nothing else.
    ///
    /// # Errors
    /// A message if a request is refused.
    pub(crate) async fn create_bare_cell(&mut self, name: &str) -> BenchResult {
        self.post_json("/__ctl/Cell", &json!({"Name": name}))
            .await?;
        let boxes = format!("/{name}/__ctl/Box");
        self.post_json(&boxes, &json!({"Name": "box"})).await
    }

    /// Waits until the state at a path is `ready`; `member` is a JSON pointer to it.
    ///
    /// # Errors
    /// A message if the work failed, or did not end in time.
    pub(crate) async fn wait_until_ready(&mut self, path: &str, member: &str) -> BenchResult {
        let until = Instant::now() + STATE_DEADLINE;
        loop {
            let body = self.call("GET", path, &[], b"").await?;
            let state: Value = serde_json::from_slice(&body)
                .map_err(|error| format!("the state at {path} is not JSON: {error}"))?;
            let status = state.pointer(member).and_then(Value::as_str);
            if status == Some("ready") {
                return Ok(());
            }
            if Instant::now() > until || status.is_some_and(|status| status.contains("failed")) {
                return Err(format!("{path} did not end: {state}"));
            }
            tokio::time::sleep(STATE_POLL).await;
        }
    }

    /// Grants `role1` of a cell the privileges to post events and to listen to them.
    ///
    /// # Errors
    /// A message if the request is refused.
    pub(crate) async fn grant_events(&mut self, cell: &str) -> BenchResult {
        let base = format!("xml:base=\"http://{}/{cell}/__role/__/\"", self.host);
        let aces = ace("role1", &["p:event", "p:event-read"]);
        self.send_xml("ACL", &format!("/{cell}"), &acl_body(&base, &aces))
            .await
    }

    /// Creates an account with the password `password1`.
    ///
    /// # Errors
    /// A message if the request is refused.
    pub(crate) async fn create_account(&mut self, cell: &str, name: &str) -> BenchResult {
        let path = format!("/{cell}/__ctl/Account");
        let credential = [("X-Personium-Credential", "password1")];
        let body = json!({"Name": name}).to_string();
        self.call("POST", &path, &credential, body.as_bytes())
            .await?;
        Ok(())
    }

    /// Creates a role and assigns it to the account `me`.
    ///
    /// # Errors
    /// A message if a request is refused.
    pub(crate) async fn create_role(&mut self, cell: &str, role: &str) -> BenchResult {
        self.create_unassigned_role(cell, role).await?;
        let url = format!("http://{}/{cell}/__ctl/Role('{role}')", self.host);
        let links = format!("/{cell}/__ctl/Account('me')/$links/_Role");
        self.post_json(&links, &json!({"uri": url})).await
    }

    /// Creates a role.
    ///
    /// # Errors
    /// A message if the request is refused.
    pub(crate) async fn create_unassigned_role(&mut self, cell: &str, role: &str) -> BenchResult {
        self.post_json(&format!("/{cell}/__ctl/Role"), &json!({"Name": role}))
            .await
    }

    /// Logs in an account with the password `password1`. Returns its access token as the value of an `Authorization`
    /// header.
    ///
    /// # Errors
    /// A message if the login is refused.
    pub(crate) async fn log_in(&mut self, cell: &str, account: &str) -> BenchResult<String> {
        let form = format!("grant_type=password&username={account}&password=password1");
        let token = text_member(&self.request_tokens(cell, &form).await?, "access_token");
        Ok(format!("Bearer {token}"))
    }

    /// Logs in the account `me`. Returns its refresh token.
    ///
    /// # Errors
    /// A message if the login is refused.
    pub(crate) async fn refresh_token(&mut self, cell: &str) -> BenchResult<String> {
        let form = "grant_type=password&username=me&password=password1";
        let tokens = self.request_tokens(cell, form).await?;
        Ok(text_member(&tokens, "refresh_token"))
    }

    /// Sends a form to the token endpoint of a cell. Returns the response.
    ///
    /// # Errors
    /// A message if the request is refused.
    pub(crate) async fn request_tokens(&mut self, cell: &str, form: &str) -> BenchResult<Value> {
        let host = self.host.clone();
        request_tokens(self.admin().await?, &host, cell, form).await
    }

    /// Creates an OData collection in the box, with an entity type `Row` that declares five properties.
    ///
    /// # Errors
    /// A message if a request is refused.
    pub(crate) async fn create_collection(&mut self, cell: &str, name: &str) -> BenchResult {
        let mkcol = "<D:mkcol xmlns:D=\"DAV:\" xmlns:p=\"urn:x-personium:xmlns\"><D:set><D:prop><D:resourcetype>\
                     <D:collection/><p:odata/></D:resourcetype></D:prop></D:set></D:mkcol>";
        let path = format!("/{cell}/box/{name}");
        self.send_xml("MKCOL", &path, mkcol).await?;
        let types = format!("{path}/$metadata/EntityType");
        self.post_json(&types, &json!({"Name": "Row"})).await?;
        let properties = format!("{path}/$metadata/Property");
        for (property, edm_type) in rows::PROPERTIES {
            let body = json!({"Name": property, "_EntityType.Name": "Row", "Type": edm_type});
            self.post_json(&properties, &body).await?;
        }
        Ok(())
    }

    /// Creates the rows `0..count` in a collection, 1,000 in a batch.
    ///
    /// # Errors
    /// A message if a batch or a row is refused.
    pub(crate) async fn load_rows(&mut self, cell: &str, name: &str, count: u64) -> BenchResult {
        let path = format!("/{cell}/box/{name}/$batch");
        let headers = [
            ("Content-Type", "multipart/mixed; boundary=b"),
            ("X-Personium-Priority", "high"),
        ];
        let mut first = 0;
        while first < count {
            let end = (first + BATCH_ROWS).min(count);
            let body = rows::batch("Row", first..end);
            let response = self.call("POST", &path, &headers, &body).await?;
            let created = occurrences(&response, b"HTTP/1.1 201") as u64;
            if created != end - first {
                return Err(format!(
                    "a batch created {created} rows instead of {}: {}",
                    end - first,
                    quoted(&response)
                ));
            }
            first = end;
        }
        Ok(())
    }
}

/// Sends a form to the token endpoint of a cell. Returns the response.
///
/// # Errors
/// A message if the request is refused.
pub(crate) async fn request_tokens(
    connection: &mut RawConnection,
    host: &str,
    cell: &str,
    form: &str,
) -> BenchResult<Value> {
    let headers = [
        ("Host", host),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ];
    let path = format!("/{cell}/__token");
    let mut body = Vec::new();
    let response = connection
        .exchange(
            &request_bytes("POST", &path, &headers, form.as_bytes()),
            RawBody::Keep(&mut body),
        )
        .await
        .map_err(|error| format!("cannot request tokens: {error}"))?;
    if response.status != 200 {
        return Err(format!(
            "a token was refused with status {}: {}",
            response.status,
            quoted(&body)
        ));
    }
    serde_json::from_slice(&body)
        .map_err(|error| format!("the token response is not JSON: {error}"))
}

async fn connect(port: u16) -> BenchResult<RawConnection> {
    RawConnection::open(port)
        .await
        .map_err(|error| format!("cannot connect to port {port}: {error}"))
}

fn occurrences(text: &[u8], pattern: &[u8]) -> usize {
    text.windows(pattern.len())
        .filter(|window| *window == pattern)
        .count()
}

/// Returns the beginning of a response for an error message.
fn quoted(body: &[u8]) -> String {
    let beginning = body.get(..body.len().min(QUOTED_BYTES)).unwrap_or_default();
    String::from_utf8_lossy(beginning).into_owned()
}
