//! Failures of the cluster, and refusals.

use std::io;

use crate::wire::Malformed;

/// The reason why an operation of the cluster failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KafkaError {
    /// It took too long.
    #[error("the broker does not answer")]
    Silent,
    /// The connection failed.
    #[error("{address}: {source}")]
    Connection {
        /// The host and port.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// An address that no connection can be made to.
    #[error("{0} is not an address of a broker")]
    Address(String),
    /// The server did not prove that it knows the password.
    #[error("the broker sent no acceptable answer to the log-in")]
    Login,
    /// No randomness.
    #[error("there is no randomness")]
    Random,
    /// The cluster has refused something.
    #[error("the broker says: {0}")]
    Refused(ErrorCode),
    /// An answer that cannot be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A code of an error of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ErrorCode(pub(crate) i16);

impl ErrorCode {
    const UNKNOWN_TOPIC: Self = Self(3);
    pub(crate) const LEADER_NOT_AVAILABLE: Self = Self(5);
    const NOT_LEADER: Self = Self(6);

    /// Those that a writer meets, by their names at <https://kafka.apache.org/protocol.html#protocol_error_codes>.
    const NAMES: &[(i16, &str)] = &[
        (2, "CORRUPT_MESSAGE"),
        (3, "UNKNOWN_TOPIC_OR_PARTITION"),
        (5, "LEADER_NOT_AVAILABLE"),
        (6, "NOT_LEADER_OR_FOLLOWER"),
        (7, "REQUEST_TIMED_OUT"),
        (10, "MESSAGE_TOO_LARGE"),
        (17, "INVALID_TOPIC_EXCEPTION"),
        (18, "RECORD_LIST_TOO_LARGE"),
        (19, "NOT_ENOUGH_REPLICAS"),
        (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND"),
        (29, "TOPIC_AUTHORIZATION_FAILED"),
        (31, "CLUSTER_AUTHORIZATION_FAILED"),
        (32, "INVALID_TIMESTAMP"),
        (33, "UNSUPPORTED_SASL_MECHANISM"),
        (34, "ILLEGAL_SASL_STATE"),
        (35, "UNSUPPORTED_VERSION"),
        (44, "POLICY_VIOLATION"),
        (56, "KAFKA_STORAGE_ERROR"),
        (58, "SASL_AUTHENTICATION_FAILED"),
        (87, "INVALID_RECORD"),
    ];

    /// The error of a code of an answer; 0 is none.
    pub(crate) fn check(code: i16) -> Result<(), KafkaError> {
        match code {
            0 => Ok(()),
            code => Err(KafkaError::Refused(Self(code))),
        }
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Self::NAMES.iter().find(|(code, _)| *code == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

impl KafkaError {
    /// Whether the cluster works, and refuses these records as they are.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(ErrorCode(10 | 18 | 32 | 44 | 87)))
    }

    /// Whether the cluster may do it a little later, or another of its brokers now.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Refused(code) => [
                ErrorCode::UNKNOWN_TOPIC,
                ErrorCode::LEADER_NOT_AVAILABLE,
                ErrorCode::NOT_LEADER,
            ]
            .contains(code),
            _ => false,
        }
    }
}
