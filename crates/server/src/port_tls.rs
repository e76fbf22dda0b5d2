//! The TLS port of a unit, and the tasks that belong to it.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::acme::{AcmeClient, AcmeCollector, AcmeFailures, AcmeFolder, AcmeRenewal, AcmeSettings};
use crate::certificate_expiry;
use crate::components::Components;
use crate::tls::{RedirectService, TlsError, UnitTls};

/// The TLS of the TLS port, the redirect to it, and the renewal of its certificate.
pub(crate) struct PortTls {
    pub(crate) tls: Arc<UnitTls>,
    redirect: RedirectService,
    renewal: Option<AcmeRenewal>,
}

impl PortTls {
    /// Opens what the settings ask for; `None` without a TLS port.
    ///
    /// # Errors
    /// [`TlsError`] if the given files of key and certificate cannot be used.
    pub(crate) fn open(components: &Components) -> Result<Option<Self>, TlsError> {
        let Some(tls) = UnitTls::open(&components.config)?.map(Arc::new) else {
            return Ok(None);
        };
        let settings = AcmeSettings::of(&components.config, &components.urls);
        let renewal = settings.map(|settings| AcmeRenewal {
            folder: AcmeFolder::new(&settings.folder),
            client: AcmeClient {
                settings,
                challenges: Arc::clone(&tls.challenges),
                clock: Arc::clone(&components.clock),
                random: Arc::clone(&components.random),
            },
            tls: Arc::clone(&tls),
            failures: Arc::<AcmeFailures>::default(),
        });
        if let Some(renewal) = &renewal {
            renewal.load();
        }
        let host = components.urls.host();
        if let Some(current) = tls.certificates.current()
            && !current.is_for(host)
        {
            let names = current.details.alternative_names.join(" ");
            tracing::warn!(
                names,
                host,
                "certificate of the TLS port is not for the host of the unit"
            );
        }
        Ok(Some(Self {
            redirect: RedirectService::new(&components.urls, Arc::clone(&tls.challenges)),
            renewal,
            tls,
        }))
    }

    /// The metrics of the certificate.
    pub(crate) fn collector(&self) -> AcmeCollector {
        let failures = self.renewal.as_ref();
        AcmeCollector {
            certificates: Arc::clone(&self.tls.certificates),
            failures: failures.map(|renewal| Arc::clone(&renewal.failures)),
        }
    }

    /// Spawns its tasks, besides the one that serves the TLS port.
    pub(crate) fn spawn(
        self,
        redirect: Option<TcpListener>,
        components: &Components,
    ) -> Vec<JoinHandle<()>> {
        let mut tasks = Vec::new();
        if let Some(listener) = redirect {
            tasks.push(tokio::spawn(self.redirect.serve(listener)));
        }
        match self.renewal {
            Some(renewal) => tasks.push(tokio::spawn(renewal.run())),
            None => tasks.push(tokio::spawn(certificate_expiry::warn_of_server_daily(
                Arc::clone(&self.tls.certificates),
                Arc::clone(&components.clock),
            ))),
        }
        tasks
    }
}
