//! Errors of trans-cell tokens.

use crate::trust::{CertificateError, KeyError};

/// An error in the text of a trans-cell token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SamlError {
    /// The text is not a document of the expected structure.
    #[error("not a trans-cell token: {what}")]
    Parse {
        /// The unexpected or missing part.
        what: &'static str,
    },
    /// The signature uses an unsupported method, or does not match the content.
    #[error("invalid signature: {what}")]
    Signature {
        /// The invalid part.
        what: &'static str,
    },
    /// The signing certificate is not trusted.
    #[error("the signing certificate is not trusted")]
    Certificate {
        /// The cause.
        source: CertificateError,
    },
}

/// An error while a trans-cell token is issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// The value of a field cannot be written so that it is read back: it contains a character that XML does not allow, is
    /// empty but required, is not the class URL of a role, or is a time out of range.
    #[error("the value of {field} is not allowed in an assertion")]
    Field {
        /// The name of the field.
        field: &'static str,
    },
    /// The document is longer than [`MAX_DOCUMENT_BYTES`](super::MAX_DOCUMENT_BYTES), or has more than 4096 roles or
    /// scopes.
    #[error("the assertion is too large")]
    TooLarge,
    /// The key failed.
    #[error("cannot sign the assertion")]
    Key(#[from] KeyError),
}
