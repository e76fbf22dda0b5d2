//! TLS of the connections to other servers: a database, a broker, a directory, an object store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::trusted_file::read_trusted_file;

/// The largest size of a file of certificates in bytes. That of a system has about 250 KB.
const MAX_BYTES: u64 = 8 << 20;

/// The certificate by which this process proves to a server who it is: files in PEM (RFC 7468).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those of its issuers.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Files of which no settings of TLS can be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, is too large, or can be changed by all users.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A file has something else than certificates or a key in PEM.
    #[error("{}", file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: pem::Error,
    },
    /// A certificate or key cannot be used.
    #[error("{}", file.display())]
    Certificate {
        /// The file of the certificates.
        file: PathBuf,
        /// The cause.
        source: rustls::Error,
    },
    /// A file has no certificate.
    #[error("{}: it has no certificate", file.display())]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// The system trusts no issuer.
    #[error(
        "this system has no certificates of issuers that it trusts (on Debian: package ca-certificates)"
    )]
    NoRoots,
    /// The library refuses.
    #[error("failed to set up TLS")]
    Setup(#[source] rustls::Error),
}

/// Makes the settings of a client that trusts the issuers in a PEM file, or else those of the system.
///
/// # Errors
/// [`TlsError`]
pub fn client_config(
    roots: Option<&Path>,
    own: Option<&ClientCertificate>,
) -> Result<ClientConfig, TlsError> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .with_root_certificates(match roots {
            Some(file) => roots_of(file)?,
            None => roots_of_system()?,
        });
    let Some(own) = own else {
        return Ok(config.with_no_client_auth());
    };
    let chain = certificates(&own.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&own.key)?).map_err(pem_error(&own.key))?;
    let config = config.with_client_auth_cert(chain, key);
    config.map_err(|source| TlsError::Certificate {
        file: own.certificate.clone(),
        source,
    })
}

fn roots_of_system() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match store.is_empty() {
        true => Err(TlsError::NoRoots),
        false => Ok(store),
    }
}

fn roots_of(file: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        let added = store.add(certificate);
        added.map_err(|source| TlsError::Certificate {
            file: file.to_owned(),
            source,
        })?;
    }
    Ok(store)
}

/// Reads the certificates of a PEM file, at least one.
///
/// # Errors
/// [`TlsError`]
pub fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_slice_iter(&read(file)?).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(pem_error(file))?;
    match found.is_empty() {
        true => Err(TlsError::NoCertificate {
            file: file.to_owned(),
        }),
        false => Ok(found),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    read_trusted_file(file, MAX_BYTES).map_err(|reason| TlsError::File {
        file: file.to_owned(),
        reason,
    })
}

fn pem_error(file: &Path) -> impl FnOnce(pem::Error) -> TlsError {
    let file = file.to_owned();
    |source| TlsError::Pem { file, source }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use personium_types::error::chain;

    use super::*;

    #[test]
    fn files_that_cannot_be_used_are_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = folder.path().join(name);
            fs::write(&file, text).unwrap();
            file
        };
        let made = rcgen::generate_simple_self_signed(["server.example".to_owned()]).unwrap();
        let roots = write("roots.pem", &made.cert.pem());
        let own = ClientCertificate {
            certificate: roots.clone(),
            key: write("key.pem", &made.signing_key.serialize_pem()),
        };
        client_config(Some(&roots), Some(&own)).unwrap();

        let open = write("open.pem", &made.cert.pem());
        fs::set_permissions(&open, fs::Permissions::from_mode(0o666)).unwrap();
        let other = rcgen::generate_simple_self_signed(["x".to_owned()]).unwrap();
        let body = |text: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        };
        let refused = [
            (folder.path().join("none.pem"), "No such file"),
            (folder.path().to_owned(), "it is no file"),
            (open, "all users of this machine can change it"),
            (write("empty.pem", "text"), "it has no certificate"),
            (write("garbled.pem", &body("!")), ""),
            (write("no-certificate.pem", &body("AAAA")), ""),
        ];
        for (file, reason) in refused {
            let error = chain(&client_config(Some(&file), None).unwrap_err());
            assert!(error.contains(file.to_str().unwrap()), "{error}");
            assert!(error.contains(reason), "{error}");
        }
        let foreign = ClientCertificate {
            key: write("foreign.pem", &other.signing_key.serialize_pem()),
            ..own.clone()
        };
        let keyless = ClientCertificate {
            key: roots.clone(),
            ..own
        };
        for own in [foreign, keyless] {
            assert!(client_config(Some(&roots), Some(&own)).is_err());
        }
    }
}
