//! Errors of root certificates and of the certificates of tokens.

/// An error in the list of root certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootConfigError {
    /// The file is neither a PEM file with certificates nor a DER certificate.
    #[error("a file of root certificates contains none in PEM or DER")]
    Unreadable {
        /// The index of the file in the list.
        file: usize,
    },
    /// The certificate is expired or not valid yet, and there is no other one of its name that is valid.
    #[error("root certificate {subject} is expired or not valid yet")]
    NotValidNow {
        /// The subject name of the certificate.
        subject: String,
    },
    /// The certificate has name constraints or unknown critical extensions.
    #[error("root certificate {subject} has unsupported constraints")]
    Unsupported {
        /// The subject name of the certificate.
        subject: String,
    },
}

/// The reason why a certificate is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// No root is configured.
    #[error("no trusted root is configured")]
    NoRoots,
    /// The bytes are not a certificate, or its key or its critical extensions are not supported.
    #[error("the certificate is malformed or not supported")]
    Unreadable,
    /// No root has the name of the issuer of the certificate.
    #[error("the issuer of the certificate is not a trusted root")]
    UnknownRoot,
    /// The certificate is not signed by a root with the name of its issuer, or key usages do not allow the signatures.
    #[error("the certificate is not signed by its trusted root")]
    NotSignedByRoot,
    /// The certificate is expired or not valid yet.
    #[error("the certificate is expired or not valid yet")]
    NotValidNow,
    /// The root has expired since it was loaded, or is one that is kept beside a valid one.
    #[error("the trusted root is expired or not valid yet")]
    RootNotValidNow,
    /// The certificate is not for the host of the issuer of the token.
    #[error("the certificate is not for the host of the issuer")]
    OtherHost,
}
