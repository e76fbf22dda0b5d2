//! Keys and certificates between units.

use std::path::PathBuf;

use super::rule::{File, FileList, Maybe};
use super::section::section;

section! {
    /// Keys and certificates between units.
    X509 "Certificates" {
        /// The private RSA key (PEM, 2048 bits or more) that signs tokens for other cells. Without a value, the first
        /// start makes one and keeps it in the data folder.
        key: Option<PathBuf> = "x509.key", "", Maybe(File);
        /// The certificate (PEM) of that key. Its common name is the host name of the unit.
        certificate: Option<PathBuf> = "x509.crt", "", Maybe(File);
        /// Certificates (PEM) of those whose word counts about other units, or of those units themselves. Without a
        /// value it is the unit's own certificate.
        roots: Vec<PathBuf> = "x509.root", "", FileList;
    }
}
