//! The certificate of the TLS port from an authority (ACME, RFC 8555): got at the start, renewed when a third of its life is left.
//!
//! One process works on a folder at a time: it holds a lock. Every attempt is written down before it begins, so that neither a
//! failure nor a crash makes the next one come sooner.

mod account;
mod authority_client;
mod dns_command;
mod failures;
mod files;
mod order;
mod renewal;
mod schedule;
mod show;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use personium_model::UnitUrls;
use personium_types::error::chain;
use personium_types::{Clock, Random};

use crate::config::{AcmeChallenge, Config};
use crate::tls::{Challenges, ServerCertificate, TlsError};

pub(crate) use failures::{AcmeCollector, AcmeFailures};
pub(crate) use files::{AcmeFolder, AcmeState};
pub(crate) use renewal::AcmeRenewal;
pub(crate) use show::{report, run_if_due, run_now};

/// The time for one attempt, without the waiting for the name system.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(600);

/// A certificate that was not obtained.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The authority refuses, does not answer, or answers something else than the protocol says.
    #[error("the authority: {0}")]
    Authority(String),
    /// The authority does not find the answer to its challenge.
    #[error("the challenge: {0}")]
    Challenge(String),
    /// The command for records of the name system failed.
    #[error("{}: {reason}", command.display())]
    Command {
        /// The command.
        command: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A file cannot be used, or the certificate is of no use.
    #[error(transparent)]
    Certificate(#[from] TlsError),
    /// The attempt took too long.
    #[error("no certificate within {} s", .0.as_secs())]
    Timeout(Duration),
}

impl From<instant_acme::Error> for AcmeError {
    fn from(error: instant_acme::Error) -> Self {
        Self::Authority(chain(&error))
    }
}

/// The settings of the authority, with their defaults.
#[derive(Debug, Clone)]
pub(crate) struct AcmeSettings {
    pub(crate) directory: String,
    contact: Option<String>,
    pub(crate) names: Vec<String>,
    pub(crate) challenge: AcmeChallenge,
    dns_command: Option<PathBuf>,
    dns_wait: Duration,
    root: Option<PathBuf>,
    pub(crate) folder: PathBuf,
    account: PathBuf,
    retry: Duration,
}

impl AcmeSettings {
    /// The settings for a unit with these URLs; `None` without an authority.
    pub(crate) fn of(config: &Config, urls: &UnitUrls) -> Option<Self> {
        let acme = &config.acme;
        let directory = acme.directory.clone()?;
        let folder = acme
            .folder
            .clone()
            .unwrap_or_else(|| config.store.data_dir.join("acme"));
        let mut names = acme.names.clone();
        if names.is_empty() {
            names.push(urls.host().to_owned());
            if acme.challenge == AcmeChallenge::Dns01 && !urls.path_based() {
                names.push(format!("*.{}", urls.host()));
            }
        }
        let account = acme.account.clone();
        Some(Self {
            contact: acme.contact.clone(),
            names,
            challenge: acme.challenge,
            dns_command: acme.dns_command.clone(),
            dns_wait: Duration::from_secs(acme.dns_wait_secs),
            root: acme.root.clone(),
            account: account.unwrap_or_else(|| folder.join(account::file_name(&directory))),
            folder,
            retry: Duration::from_secs(acme.retry_secs),
            directory,
        })
    }

    /// The purpose that the certificate in the folder is compared by. With another one it is replaced.
    fn purpose(&self) -> String {
        format!("{} {}", self.directory, self.names.join(" "))
    }

    /// The settings that decide whether an attempt succeeds. After a change of it, the next attempt does not wait.
    fn fingerprint(&self) -> String {
        format!(
            "{} {} {:?} {:?}",
            self.purpose(),
            self.challenge.as_str(),
            self.dns_command,
            self.root
        )
    }
}

/// The settings and ports with which certificates are obtained.
pub(crate) struct AcmeClient {
    pub(crate) settings: AcmeSettings,
    pub(crate) challenges: Arc<Challenges>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
}

impl AcmeClient {
    /// Makes an attempt, and writes down that it was made. The certificate is in the folder when this returns.
    ///
    /// # Errors
    /// [`AcmeError`]; the certificate in the folder stays as it was.
    pub(crate) async fn attempt(
        &self,
        folder: &AcmeFolder,
    ) -> Result<ServerCertificate, AcmeError> {
        let now_ms = self.clock.now_ms();
        let mut state = folder.state();
        if state.fingerprint != self.settings.fingerprint() {
            state.failures = 0;
            state.fingerprint = self.settings.fingerprint();
        }
        state.failures = state.failures.saturating_add(1);
        state.last_attempt_ms = now_ms;
        let pause = schedule::pause(self.settings.retry, state.failures, &*self.random);
        state.next_attempt_ms = schedule::after(now_ms, pause);
        state.is_running = true;
        folder.write_state(&state)?;

        let limit = ATTEMPT_TIMEOUT.saturating_add(self.settings.dns_wait);
        let mut ordered = order::OrderOutcome::default();
        let work = Box::pin(order::obtain(self, &mut ordered));
        let obtained = match tokio::time::timeout(limit, work).await {
            Ok(obtained) => obtained.and_then(|pem| self.accept(folder, &pem)),
            Err(_) => Err(AcmeError::Timeout(limit)),
        };
        self.challenges.clear();
        let now_ms = self.clock.now_ms();
        state.is_running = false;
        match &obtained {
            Ok(_) => {
                state.failures = 0;
                state.last_error = None;
                state.last_success_ms = now_ms;
                state.issued_for = self.settings.purpose();
                state.next_attempt_ms = schedule::after(now_ms, pause);
            }
            Err(error) => {
                state.last_error = Some(files::bounded(&chain(error)));
                let asked = schedule::after(now_ms, ordered.retry_after());
                state.next_attempt_ms = state.next_attempt_ms.max(asked);
            }
        }
        folder.write_state(&state)?;
        obtained
    }

    /// Checks what the authority has sent, and writes it.
    fn accept(&self, folder: &AcmeFolder, pem: &str) -> Result<ServerCertificate, AcmeError> {
        let subject = "the certificate of the authority";
        let certificate = ServerCertificate::read(pem.as_bytes(), pem.as_bytes(), subject)?;
        let refused = |reason: String| TlsError::Content {
            subject: subject.to_owned(),
            reason,
        };
        let own = &certificate.details.alternative_names;
        let is_named = |name: &&String| own.iter().any(|own| own.eq_ignore_ascii_case(name));
        if let Some(missing) = self.settings.names.iter().find(|name| !is_named(name)) {
            return Err(refused(format!("it is not for {missing}")).into());
        }
        if certificate.details.info.not_after_ms <= self.clock.now_ms() {
            return Err(refused("it has expired already: look at the clock".to_owned()).into());
        }
        folder.write_certificate(pem)?;
        Ok(certificate)
    }
}
