//! How a script fails.

/// The failure of a script.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, thiserror::Error)]
pub enum ScriptFailure {
    /// Too many scripts run already.
    #[error("too many scripts run at once")]
    Busy,
    /// It did not end in time.
    #[error("the script did not end in time")]
    Timeout,
    /// It ended with an error, or its response is not valid.
    #[error("the script failed: {text}")]
    Failed {
        /// The text that the client may know.
        text: String,
        /// The stack of the error, for the developer.
        stack: String,
    },
    /// The engine itself failed.
    #[error("the script engine failed: {0}")]
    Engine(String),
}

impl ScriptFailure {
    /// A failure that has no stack.
    pub(crate) fn refused(text: &str) -> Self {
        Self::Failed {
            text: text.to_owned(),
            stack: String::new(),
        }
    }
}
