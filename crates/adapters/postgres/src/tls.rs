//! TLS for the connections to the database.

use std::path::Path;
use std::sync::Arc;

use personium_store::{ErrorDetail, Result, StoreError};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::settings::ClientCertificate;

/// Makes the connector.
///
/// # Errors
/// [`StoreError::Unsupported`] if a file cannot be used.
pub(crate) fn connector(
    roots: Option<&Path>,
    client: Option<&ClientCertificate>,
) -> Result<MakeRustlsConnect> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| unusable("failed to set up TLS".into(), e))?
        .with_root_certificates(trusted(roots)?);
    let config = match client {
        None => config.with_no_client_auth(),
        Some(client) => {
            let failed = |path: &Path| format!("failed to use {}", path.display());
            let key = PrivateKeyDer::from_pem_file(&client.key)
                .map_err(|e| unusable(failed(&client.key), e))?;
            config
                .with_client_auth_cert(certificates(&client.certificate)?, key)
                .map_err(|e| unusable(failed(&client.certificate), e))?
        }
    };
    Ok(MakeRustlsConnect::new(config))
}

fn trusted(roots: Option<&Path>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let Some(path) = roots else {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        return Ok(store);
    };
    for certificate in certificates(path)? {
        store
            .add(certificate)
            .map_err(|e| unusable(format!("failed to trust {}", path.display()), e))?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let failed = || format!("failed to read the certificates in {}", path.display());
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|e| unusable(failed(), e))?;
    if found.is_empty() {
        return Err(StoreError::Unsupported(ErrorDetail::new(format!(
            "{}: there is none",
            failed()
        ))));
    }
    Ok(found)
}

fn unusable(
    operation: String,
    source: impl std::error::Error + Send + Sync + 'static,
) -> StoreError {
    StoreError::Unsupported(ErrorDetail::new(operation).with_source(source))
}
