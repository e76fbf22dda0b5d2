//! What an engine may answer instead of a result.

/// The result of a call to an engine.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why an engine did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// An assertion of the batch did not hold; nothing was changed. Read again and retry.
    #[error("an assertion of the batch does not hold")]
    Conflict,
    /// The space was dropped; nothing was changed, and nothing ever will be.
    #[error("the space was dropped")]
    Gone,
    /// The engine has no capacity at the moment; a retry later may help.
    #[error("the engine is busy: {0}")]
    Busy(String),
    /// What is stored cannot be read.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
    /// The engine cannot be reached or failed. Whether a batch was committed is unknown.
    #[error("the engine failed: {0}")]
    Down(String),
}
