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
        /// The certificate (PEM) of that key. Its common name is the host name of the unit.
        certificate: Option<PathBuf> = "x509.crt", "", Optional(FilePath);
        /// Trusted certificates (PEM): authorities that issue certificates of other units, or those certificates
        /// themselves. By default, it is the certificate of this unit.
        roots: Vec<PathBuf> = "x509.root", "", FilePathList;
    }
}
