//! TLS for the connections to the object store.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The file cannot be read, or is not in PEM.
    #[error("failed to read the certificates in {file}")]
    Read {
        file: String,
        source: rustls::pki_types::pem::Error,
    },
    /// There are none, in the file or in the system.
    #[error("there are no certificates in {place}")]
    None { place: String },
    /// A certificate is not one.
    #[error("failed to trust the certificates in {file}")]
    Trust { file: String, source: rustls::Error },
    /// The library refuses.
    #[error("failed to set up TLS")]
    Setup(#[source] rustls::Error),
}

/// The configuration of clients that trust the certificates in this PEM file, or else those of the system.
///
/// # Errors
/// [`TlsError`] if there are none.
pub(crate) fn client_config(roots: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let roots = match roots {
        Some(path) => read(path)?,
        None => of_system()?,
    };
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn of_system() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let place = "the system".to_owned();
        return Err(TlsError::None { place });
    }
    Ok(store)
}

fn read(path: &Path) -> Result<RootCertStore, TlsError> {
    let file = path.display().to_string();
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<CertificateDer<'static>> = match found {
        Ok(found) => found,
        Err(source) => return Err(TlsError::Read { file, source }),
    };
    let mut store = RootCertStore::empty();
    for certificate in found {
        let file = file.clone();
        let added = store.add(certificate);
        added.map_err(|source| TlsError::Trust { file, source })?;
    }
    match store.is_empty() {
        true => Err(TlsError::None { place: file }),
        false => Ok(store),
    }
}
