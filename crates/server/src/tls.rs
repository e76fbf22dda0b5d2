//! TLS in this process: the certificate of the TLS port, and the port that leads to it.

mod address_limit;
mod certificates;
mod challenges;
mod redirect;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;

use crate::config::Config;

pub(crate) use certificates::{HTTP2_ALPN, ServerCertificate, ServerCertificates, read_file};
pub(crate) use challenges::{ACME_ALPN, Challenges, TokenChallenge};
pub(crate) use redirect::RedirectService;
pub(crate) use stream::ClientStream;

/// A certificate of the TLS port that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot use {}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The content of a file is not what it should be.
    #[error("{subject}: {reason}")]
    Content {
        /// The file, or the source of the certificate.
        subject: String,
        /// The reason.
        reason: String,
    },
}

/// The TLS of a unit: its certificate, which may be replaced, and the challenges of an authority.
#[derive(Debug)]
pub(crate) struct UnitTls {
    pub(crate) certificates: Arc<ServerCertificates>,
    pub(crate) challenges: Arc<Challenges>,
    config: Arc<rustls::ServerConfig>,
}

impl UnitTls {
    /// The TLS that the settings ask for; `None` without a TLS port. The certificate of given files is loaded.
    ///
    /// # Errors
    /// [`TlsError`] if the given files cannot be used.
    pub(crate) fn open(config: &Config) -> Result<Option<Self>, TlsError> {
        if config.tls.listen.is_none() {
            return Ok(None);
        }
        let challenges = Arc::<Challenges>::default();
        let certificates = Arc::new(ServerCertificates::new(Arc::clone(&challenges)));
        if let Some(given) = ServerCertificate::of_settings(config)? {
            certificates.replace(given);
        }
        let config = certificates::server_config(&certificates)?;
        Ok(Some(Self {
            certificates,
            challenges,
            config,
        }))
    }

    /// The acceptor of connections that answer challenges, and of no others.
    ///
    /// # Errors
    /// [`TlsError`] if the library cannot be used.
    pub(crate) fn for_challenges(challenges: &Arc<Challenges>) -> Result<TlsAcceptor, TlsError> {
        let certificates = Arc::new(ServerCertificates::new(Arc::clone(challenges)));
        let config = certificates::server_config(&certificates)?;
        Ok(TlsAcceptor::from(config))
    }

    /// The acceptor of connections.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}
