//! The state of the certificate of an authority, and an attempt by hand.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use personium_types::error::chain;
use personium_types::time::iso_time;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::schedule::{next_attempt_ms, renewal_ms};
use super::{ATTEMPT_TIMEOUT, AcmeClient, AcmeFolder, AcmeSettings, AcmeState};
use crate::certificate_expiry::days_left;
use crate::config::{AcmeChallenge, LoadedConfig};
use crate::system;
use crate::tls::{Challenges, RedirectService, ServerCertificate, UnitTls};
use crate::unit_url::unit_urls;

/// The time between two looks at the state.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// The time in which a running unit must begin.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The state of the certificate of an authority.
#[derive(Debug)]
pub(crate) struct AcmeReport {
    pub(crate) settings: AcmeSettings,
    pub(crate) state: AcmeState,
    /// The certificate in the folder, or why it cannot be used.
    pub(crate) certificate: Result<Option<ServerCertificate>, String>,
    now_ms: i64,
}

/// Reads the state.
///
/// # Errors
/// A text if the settings name no authority.
pub(crate) fn report(loaded: &LoadedConfig) -> Result<AcmeReport, String> {
    let urls = unit_urls(loaded).map_err(|error| chain(&error))?;
    let settings = AcmeSettings::of(&loaded.config, &urls)
        .ok_or("the settings name no authority (tls.acme.directory)")?;
    let folder = AcmeFolder::new(&settings.folder);
    Ok(AcmeReport {
        state: folder.state(),
        certificate: folder.certificate().map_err(|error| chain(&error)),
        settings,
        now_ms: system::clock().now_ms(),
    })
}

impl AcmeReport {
    /// The time of the next attempt in milliseconds; one that has passed means at once.
    fn next_ms(&self) -> i64 {
        let current = self.certificate.as_ref().ok().and_then(Option::as_ref);
        let current = current.map(|found| &*found.details);
        next_attempt_ms(&self.settings, &self.state, current, self.now_ms)
    }

    /// The same as text.
    pub(crate) fn next(&self) -> String {
        match self.next_ms() {
            at_ms if at_ms <= self.now_ms => "at once".to_owned(),
            at_ms => iso_time(at_ms),
        }
    }

    /// The failures since the last success.
    fn failure(&self) -> Option<String> {
        let AcmeState {
            failures,
            last_error,
            ..
        } = &self.state;
        let error = last_error.as_deref().unwrap_or("interrupted");
        (*failures > 0).then(|| format!("{failures}; the last: {error}"))
    }

    /// The same as JSON.
    pub(crate) fn json(&self) -> Value {
        let certificate = match &self.certificate {
            Ok(Some(found)) => json!({
                "subject": found.details.info.subject,
                "issuer": found.details.info.issuer,
                "names": found.details.alternative_names,
                "until": iso_time(found.details.info.not_after_ms),
                "daysLeft": days_left(&found.details.info, self.now_ms),
                "renewal": iso_time(renewal_ms(&found.details)),
            }),
            Ok(None) => Value::Null,
            Err(problem) => json!({"problem": problem}),
        };
        json!({
            "directory": self.settings.directory,
            "challenge": self.settings.challenge.as_str(),
            "names": self.settings.names,
            "folder": self.settings.folder,
            "certificate": certificate,
            "failures": self.state.failures,
            "lastError": self.state.last_error,
            "nextAttempt": self.next(),
        })
    }
}

impl fmt::Display for AcmeReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        writeln!(f, "authority     {}", settings.directory)?;
        writeln!(f, "challenge     {}", settings.challenge.as_str())?;
        writeln!(f, "names         {}", settings.names.join(" "))?;
        match &self.certificate {
            Ok(Some(found)) => {
                let info = &found.details.info;
                let days = days_left(info, self.now_ms);
                let until = iso_time(info.not_after_ms);
                let names = found.details.alternative_names.join(" ");
                writeln!(
                    f,
                    "certificate   for {names}, issued by {}, until {until} ({days} days)",
                    info.issuer
                )?;
            }
            Ok(None) => writeln!(f, "certificate   none yet")?,
            Err(problem) => writeln!(f, "certificate   of no use: {problem}")?,
        }
        if let Some(failure) = self.failure() {
            writeln!(f, "failures      {failure}")?;
        }
        writeln!(f, "next attempt  {}", self.next())
    }
}

/// Gets a certificate now, whether one is due or not. If the unit runs, it does so and puts the certificate in force.
///
/// # Errors
/// A text if no certificate is obtained.
pub(crate) async fn run_now(loaded: &LoadedConfig) -> Result<(), String> {
    let before = report(loaded)?;
    let folder = AcmeFolder::new(&before.settings.folder);
    folder.create().map_err(|error| chain(&error))?;
    match folder.try_lock().map_err(|error| chain(&error))? {
        None => ask_unit(&folder, &before).await,
        Some(_lock) => attempt(loaded, &folder, before.settings).await,
    }
}

/// Gets a certificate if one is due. If the unit runs, this is left to it.
///
/// # Errors
/// A text if one is due and is not obtained, or the last attempt failed and the next one has to wait.
pub(crate) async fn run_if_due(loaded: &LoadedConfig) -> Result<(), String> {
    let folder = AcmeFolder::new(&report(loaded)?.settings.folder);
    folder.create().map_err(|error| chain(&error))?;
    let lock = folder.try_lock().map_err(|error| chain(&error))?;
    // Another process may have worked until now.
    let found = report(loaded)?;
    if lock.is_none() {
        return Ok(());
    }
    if found.next_ms() <= found.now_ms {
        return attempt(loaded, &folder, found.settings).await;
    }
    match found.failure() {
        Some(failure) => Err(format!("{failure}; next attempt {}", found.next())),
        None => Ok(()),
    }
}

/// Makes an attempt while no unit runs. The caller has the lock of the folder.
async fn attempt(
    loaded: &LoadedConfig,
    folder: &AcmeFolder,
    settings: AcmeSettings,
) -> Result<(), String> {
    let challenges = Arc::<Challenges>::default();
    let server = challenge_server(loaded, &challenges).await?;
    let client = AcmeClient {
        settings,
        challenges,
        clock: system::clock(),
        random: system::random(),
    };
    let obtained = client.attempt(folder).await;
    if let Some(server) = server {
        server.abort();
    }
    obtained.map(|_| ()).map_err(|error| chain(&error))
}

/// Lets the unit that runs make an attempt.
async fn ask_unit(folder: &AcmeFolder, before: &AcmeReport) -> Result<(), String> {
    let asked_ms = system::clock().now_ms();
    folder.request().map_err(|error| chain(&error))?;
    let limit = before.settings.dns_wait + ATTEMPT_TIMEOUT + BEGIN_TIMEOUT;
    let done = async {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let state = folder.state();
            if state.last_attempt_ms >= asked_ms && !state.is_running {
                return state;
            }
        }
    };
    let state = tokio::time::timeout(limit, done).await;
    let state = state.map_err(|_| "the unit that runs has not answered; look at its log")?;
    match state.last_error {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Answers the challenges while no unit runs.
async fn challenge_server(
    loaded: &LoadedConfig,
    challenges: &Arc<Challenges>,
) -> Result<Option<tokio::task::JoinHandle<()>>, String> {
    let tls = &loaded.config.tls;
    let bind = async |address: SocketAddr| {
        let bound = TcpListener::bind(address).await;
        bound.map_err(|error| format!("cannot listen on {address}: {error}"))
    };
    match (loaded.config.acme.challenge, tls.redirect, tls.listen) {
        (AcmeChallenge::Http01, Some(address), _) => {
            let urls = unit_urls(loaded).map_err(|error| chain(&error))?;
            let service = RedirectService::new(&urls, Arc::clone(challenges));
            Ok(Some(tokio::spawn(service.serve(bind(address).await?))))
        }
        (AcmeChallenge::TlsAlpn01, _, Some(address)) => {
            let acceptor = UnitTls::for_challenges(challenges).map_err(|error| chain(&error))?;
            let listener = bind(address).await?;
            Ok(Some(tokio::spawn(accept_handshakes(listener, acceptor))))
        }
        _ => Ok(None),
    }
}

/// Makes handshakes and closes the connections.
async fn accept_handshakes(listener: TcpListener, acceptor: TlsAcceptor) {
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let handshake = acceptor.accept(stream);
                let _ = tokio::time::timeout(BEGIN_TIMEOUT, handshake).await;
            });
        }
    }
}
