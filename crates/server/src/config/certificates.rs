//! Settings of the unit's key and of certificates.

use std::path::PathBuf;

use super::section::section;
use super::value_parser::{FilePath, FilePathList, Optional};

section! {
    /// Settings of the unit's key and of certificates.
    CertificateConfig "Certificates" {
        /// The private RSA key (PEM, 2048 bits or more) that signs tokens for other cells. Without it, the first start
        /// generates one and stores it in data.dir.
        key: Option<PathBuf> = "x509.key", "", Optional(FilePath);
        /// The certificate (PEM) of that key. It must be for the host name of the unit. Without it, the unit issues its own,
        /// and issues it again if the host name changes or the validity is over.
        certificate: Option<PathBuf> = "x509.crt", "", Optional(FilePath);
        /// Trusted certificates (PEM): authorities that issue certificates of other units, or those certificates
        /// themselves. The certificate of this unit is always trusted.
        roots: Vec<PathBuf> = "x509.root", "", FilePathList;
    }
}
