//! TLS for the connections to the database.

use std::path::Path;

use personium_operator_files::tls::{ClientCertificate, client_config};
use personium_store::{ErrorDetail, Result, StoreError};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Makes the connector.
///
/// # Errors
/// [`StoreError::Unsupported`] if a file cannot be used.
pub(crate) fn connector(
    roots: Option<&Path>,
    client: Option<&ClientCertificate>,
) -> Result<MakeRustlsConnect> {
    let config = client_config(roots, client).map_err(|error| {
        StoreError::Unsupported(ErrorDetail::new("failed to set up TLS").with_source(error))
    })?;
    Ok(MakeRustlsConnect::new(config))
}
