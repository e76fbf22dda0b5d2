//! The task of a running unit that gets the certificate and renews it.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use personium_types::Code;
use personium_types::error::chain;
use personium_types::time::iso_time;

use super::failures::AcmeFailures;
use super::schedule::{next_attempt_ms, renewal_ms};
use super::{AcmeClient, AcmeFolder};
use crate::tls::UnitTls;

/// The time between two looks at the clock and for requests of `personium cert acme`.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Gets and renews the certificate of a running unit.
pub(crate) struct AcmeRenewal {
    pub(crate) client: AcmeClient,
    pub(crate) folder: AcmeFolder,
    pub(crate) tls: Arc<UnitTls>,
    pub(crate) failures: Arc<AcmeFailures>,
}

impl AcmeRenewal {
    /// Puts the certificate in the folder in force, if there is one. One that cannot be read is logged.
    pub(crate) fn load(&self) {
        match self.folder.certificate() {
            Ok(Some(certificate)) => self.tls.certificates.replace(certificate),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(error = %chain(&error), "certificate of the TLS port not loaded");
            }
        }
    }

    /// Works until the task is aborted.
    pub(crate) async fn run(self) {
        let _lock = self.lock().await;
        // The command may have replaced it meanwhile.
        self.load();
        let mut state = self.folder.state();
        self.failures.set(state.failures);
        let (clock, settings) = (&self.client.clock, &self.client.settings);
        let mut last_attempt = None;
        loop {
            let current = self.tls.certificates.current();
            let current = current.as_ref().map(|found| &*found.details);
            let now_ms = clock.now_ms();
            let due_ms = next_attempt_ms(settings, &state, current, now_ms);
            // Even if the state cannot be written.
            let may_retry = last_attempt.is_none_or(|last| {
                clock.monotonic().saturating_duration_since(last) >= settings.retry
            });
            if self.folder.take_request() || may_retry && now_ms >= due_ms {
                self.attempt().await;
                state = self.folder.state();
                last_attempt = Some(clock.monotonic());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Waits for the lock of the folder.
    async fn lock(&self) -> File {
        let mut is_noted = false;
        loop {
            let problem = match self.folder.create().and_then(|()| self.folder.try_lock()) {
                Ok(Some(lock)) => return lock,
                Ok(None) => "another process gets certificates".to_owned(),
                Err(error) => chain(&error),
            };
            if !is_noted {
                tracing::warn!(
                    problem,
                    "certificates of the TLS port are not renewed, will retry"
                );
                is_noted = true;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    async fn attempt(&self) {
        let names = self.client.settings.names.join(" ");
        match self.client.attempt(&self.folder).await {
            Ok(certificate) => {
                let details = Arc::clone(&certificate.details);
                self.tls.certificates.replace(certificate);
                self.failures.set(0);
                tracing::info!(
                    names,
                    until = iso_time(details.info.not_after_ms),
                    renewal = iso_time(renewal_ms(&details)),
                    "certificate of the TLS port obtained"
                );
            }
            Err(error) => {
                let state = self.folder.state();
                self.failures.set(state.failures);
                let current = self.tls.certificates.current();
                let until = current.map(|found| iso_time(found.details.info.not_after_ms));
                tracing::error!(
                    code = Code::CertificateNotObtained.as_str(),
                    names,
                    error = chain(&error),
                    failures = state.failures,
                    next.attempt = iso_time(state.next_attempt_ms),
                    current.until = until.as_deref().unwrap_or("none"),
                    "certificate of the TLS port not obtained, the one in use stays"
                );
            }
        }
    }
}
