//! Keycloak as a neighbour: an identity provider that many use, started in its development mode with a database in memory.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::Outcome;
use crate::connection::{Body, Connection, request};
use crate::process::{Running, Watched, free_port};
use crate::unit::text_of;

/// User name and password of the administrator.
const ADMIN: &str = "admin";
/// Name and secret of the application that asks.
const CLIENT: &str = "app";
/// How long it may take from listening to answering.
const READY_WITHIN: Duration = Duration::from_secs(180);
/// Sessions whose tokens are used.
const SESSIONS: usize = 32;

/// A running Keycloak with a realm `bench`, an application and somebody who is logged in.
pub(crate) struct Keycloak {
    running: Running,
    /// An access and a refresh token of each session.
    sessions: Vec<(String, String)>,
}

impl Keycloak {
    /// Starts it out of an unpacked folder, its output in a file of `scratch`.
    ///
    /// # Errors
    /// When it does not start, or refuses what prepares it.
    pub(crate) async fn start(folder: &Path, scratch: &Path) -> Outcome<Self> {
        let port = free_port()?;
        let log = std::fs::File::create(scratch.join("keycloak.log"))
            .map_err(|e| format!("cannot make a log: {e}"))?;
        let second = log
            .try_clone()
            .map_err(|e| format!("cannot make a log: {e}"))?;
        let mut command = Command::new("sh");
        command
            .arg(folder.join("bin").join("kc.sh"))
            .args(["start-dev", "--db", "dev-mem", "--http-host", "127.0.0.1"])
            .args(["--http-port", &port.to_string()])
            .env("KC_BOOTSTRAP_ADMIN_USERNAME", ADMIN)
            .env("KC_BOOTSTRAP_ADMIN_PASSWORD", ADMIN)
            .stdout(Stdio::from(log))
            .stderr(Stdio::from(second));
        let (running, _) = Running::start(&mut command, port)?;
        let mut keycloak = Self {
            running,
            sessions: Vec::new(),
        };
        keycloak.wait().await?;
        keycloak.prepare().await?;
        Ok(keycloak)
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.running.port
    }

    /// For reading its figures.
    pub(crate) fn watched(&self) -> Watched {
        self.running.watched()
    }

    /// Requests that refresh, one for each session.
    pub(crate) fn refreshes(&self) -> Vec<Vec<u8>> {
        let form = |(_, refresh): &(String, String)| {
            post(
                &realm("token"),
                &format!(
                    "grant_type=refresh_token&{}&refresh_token={refresh}",
                    client()
                ),
            )
        };
        self.sessions.iter().map(form).collect()
    }

    /// Requests that introspect an access token, one for each session.
    pub(crate) fn introspections(&self) -> Vec<Vec<u8>> {
        let form = |(access, _): &(String, String)| {
            post(
                &realm("token/introspect"),
                &format!("{}&token={access}", client()),
            )
        };
        self.sessions.iter().map(form).collect()
    }

    async fn wait(&self) -> Outcome {
        let began = Instant::now();
        while began.elapsed() < READY_WITHIN {
            let asked = self
                .exchange(&request("GET", "/realms/master", &[], b""))
                .await;
            if asked.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        Err("Keycloak does not answer".to_owned())
    }

    async fn prepare(&mut self) -> Outcome {
        let form =
            format!("grant_type=password&client_id=admin-cli&username={ADMIN}&password={ADMIN}");
        let path = "/realms/master/protocol/openid-connect/token";
        let answer = self.exchange(&post(path, &form)).await?;
        let bearer = format!("Bearer {}", text_of(&answer, "access_token")?);
        let hour = 3600;
        for (path, body) in [
            (
                "/admin/realms",
                json!({"realm": "bench", "enabled": true, "accessTokenLifespan": hour,
                       "ssoSessionIdleTimeout": 10 * hour, "ssoSessionMaxLifespan": 10 * hour}),
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
            self.exchange(&request("POST", path, &headers, body.as_bytes()))
                .await?;
        }
        for _ in 0..SESSIONS {
            let form = format!(
                "grant_type=password&{}&username=somebody&password=password1",
                client()
            );
            let answer = self.exchange(&post(&realm("token"), &form)).await?;
            let pair = (
                text_of(&answer, "access_token")?,
                text_of(&answer, "refresh_token")?,
            );
            self.sessions.push(pair);
        }
        let told = self.introspections();
        let told = self.exchange(told.first().ok_or("no session")?).await?;
        if told.get("active") != Some(&Value::Bool(true)) {
            return Err(format!("Keycloak does not know its own token: {told}"));
        }
        Ok(())
    }

    /// One request that must be answered 2xx; gives the JSON of the answer, null if there is none.
    async fn exchange(&self, asked: &[u8]) -> Outcome<Value> {
        let failed = |e: std::io::Error| format!("Keycloak: {e}");
        let mut connection = Connection::open(self.port()).await.map_err(failed)?;
        let mut answer = Vec::new();
        let got = connection
            .exchange(asked, Body::Keep(&mut answer))
            .await
            .map_err(failed)?;
        if !(200..300).contains(&got.status) {
            let text = String::from_utf8_lossy(&answer).into_owned();
            return Err(format!("Keycloak answers {}: {text}", got.status));
        }
        Ok(serde_json::from_slice(&answer).unwrap_or_default())
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
    request("POST", path, &headers, form.as_bytes())
}
