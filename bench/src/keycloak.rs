//! Keycloak for comparison: a widely used identity provider, in its development mode with an in-memory database.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use personium_testkit::{RawBody, RawConnection, free_port, request_bytes, text_member};
use serde_json::{Value, json};

use crate::BenchResult;
use crate::load::Target;
use crate::server_process::ServerProcess;

/// The user name and password of the administrator.
const ADMIN: &str = "admin";
/// The id and secret of the client.
const CLIENT: &str = "app";
/// The time in which it must respond after it listens.
const READY_TIMEOUT: Duration = Duration::from_secs(180);
/// The pause between two requests whether it is ready.
const READY_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// The number of sessions whose tokens are used.
const SESSIONS: usize = 32;
/// The lifetime of an access token in seconds. A session lasts ten times as long.
const TOKEN_TTL_SECS: u64 = 3600;

/// A running Keycloak with a realm `bench`, a client and sessions of a user.
pub(crate) struct Keycloak {
    process: ServerProcess,
    sessions: Vec<Session>,
}

/// The tokens of a session.
struct Session {
    access_token: String,
    refresh_token: String,
}

impl Keycloak {
    /// Starts it from an unpacked folder; its output goes to a file in `scratch`.
    ///
    /// # Errors
    /// A message if it does not start or refuses a request.
    pub(crate) async fn start(folder: &Path, scratch: &Path) -> BenchResult<Self> {
        let port = free_port();
        let failed = |error: std::io::Error| format!("cannot create a log: {error}");
        let log = std::fs::File::create(scratch.join("keycloak.log")).map_err(failed)?;
        let stderr = log.try_clone().map_err(failed)?;
        let mut command = Command::new("sh");
        command
            .arg(folder.join("bin").join("kc.sh"))
            .args(["start-dev", "--db", "dev-mem", "--http-host", "127.0.0.1"])
            .args(["--http-port", &port.to_string()])
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN)
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN)
            .stdout(Stdio::from(log))
            .stderr(Stdio::from(stderr));
        let mut keycloak = Self {
            process: ServerProcess::start(&mut command, port)?,
            sessions: Vec::new(),
        };
        keycloak.wait_until_ready().await?;
        keycloak.create_realm().await?;
        keycloak.create_sessions().await?;
        Ok(keycloak)
    }

    /// Returns it as the target of a load.
    pub(crate) fn target(&self) -> Target {
        Target {
            port: self.process.port,
            monitor: self.process.monitor(),
        }
    }

    /// Returns a refresh request for each session.
    pub(crate) fn refreshes(&self) -> Vec<Vec<u8>> {
        let request = |session: &Session| {
            let token = &session.refresh_token;
            let form = format!(
                "grant_type=refresh_token&{}&refresh_token={token}",
                client()
            );
            post(&realm("token"), &form)
        };
        self.sessions.iter().map(request).collect()
    }

    /// Returns an introspection request for the access token of each session.
    pub(crate) fn introspections(&self) -> Vec<Vec<u8>> {
        let request = |session: &Session| {
            let form = format!("{}&token={}", client(), session.access_token);
            post(&realm("token/introspect"), &form)
        };
        self.sessions.iter().map(request).collect()
    }

    async fn wait_until_ready(&self) -> BenchResult {
        let start = Instant::now();
        while start.elapsed() < READY_TIMEOUT {
            let response = self
                .exchange(&request_bytes("GET", "/realms/master", &[], b""))
                .await;
            if response.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(READY_POLL_INTERVAL).await;
        }
        Err("Keycloak does not respond".to_owned())
    }

    async fn create_realm(&self) -> BenchResult {
        let form =
            format!("grant_type=password&client_id=admin-cli&username={ADMIN}&password={ADMIN}");
        let path = "/realms/master/protocol/openid-connect/token";
        let response = self.exchange(&post(path, &form)).await?;
        let bearer = format!("Bearer {}", text_member(&response, "access_token"));
        for (path, body) in [
            (
                "/admin/realms",
                json!({"realm": "bench", "enabled": true, "accessTokenLifespan": TOKEN_TTL_SECS,
                       "ssoSessionIdleTimeout": 10 * TOKEN_TTL_SECS, "ssoSessionMaxLifespan": 10 * TOKEN_TTL_SECS}),
            ),
            (
                "/admin/realms/bench/clients",
                json!({"clientId": CLIENT, "secret": CLIENT, "directAccessGrantsEnabled": true}),
            ),
            (
                "/admin/realms/bench/users",
                json!({"username": "somebody", "enabled": true, "email": "me@example.org", "emailVerified": true,
                       "firstName": "M", "lastName": "E",
                       "credentials": [{"type": "password", "value": "password1", "temporary": false}]}),
            ),
        ] {
            let headers = [
                ("Authorization", bearer.as_str()),
                ("Content-Type", "application/json"),
            ];
            let body = body.to_string();
            self.exchange(&request_bytes("POST", path, &headers, body.as_bytes()))
                .await?;
        }
        Ok(())
    }

    async fn create_sessions(&mut self) -> BenchResult {
        let form = format!(
            "grant_type=password&{}&username=somebody&password=password1",
            client()
        );
        for _ in 0..SESSIONS {
            let response = self.exchange(&post(&realm("token"), &form)).await?;
            self.sessions.push(Session {
                access_token: text_member(&response, "access_token"),
                refresh_token: text_member(&response, "refresh_token"),
            });
        }
        let introspections = self.introspections();
        let introspection = introspections.first().ok_or("there is no session")?;
        let token_info = self.exchange(introspection).await?;
        if token_info.get("active") != Some(&Value::Bool(true)) {
            return Err(format!(
                "Keycloak does not accept its own token: {token_info}"
            ));
        }
        Ok(())
    }

    /// Sends a request. Returns the JSON of the response; null if the body is empty.
    async fn exchange(&self, request: &[u8]) -> BenchResult<Value> {
        let failed = |error: std::io::Error| format!("Keycloak: {error}");
        let mut connection = RawConnection::open(self.process.port)
            .await
            .map_err(failed)?;
        let mut body = Vec::new();
        let response = connection
            .exchange(request, RawBody::Keep(&mut body))
            .await
            .map_err(failed)?;
        if !(200..300).contains(&response.status) {
            let text = String::from_utf8_lossy(&body).into_owned();
            return Err(format!("Keycloak responded {}: {text}", response.status));
        }
        Ok(serde_json::from_slice(&body).unwrap_or_default())
    }
}

fn realm(endpoint: &str) -> String {
    format!("/realms/bench/protocol/openid-connect/{endpoint}")
}

fn client() -> String {
    format!("client_id={CLIENT}&client_secret={CLIENT}")
}

fn post(path: &str, form: &str) -> Vec<u8> {
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    request_bytes("POST", path, &headers, form.as_bytes())
}
