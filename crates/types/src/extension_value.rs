//! Values that scripts and their extensions exchange.

/// A value that a script passes to an extension, or gets from it.
#[derive(Debug, Clone, PartialEq)]
pub enum ExtensionValue {
    /// `undefined` or `null`.
    Absent,
    /// A boolean.
    Boolean(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// An object or an array as JSON text.
    Json(String),
    /// The content of a buffer or a stream.
    Bytes(Vec<u8>),
}

impl ExtensionValue {
    /// The largest size of the arguments of a call together, and of a result, in bytes.
    pub const MAX_BYTES: usize = 1 << 20;

    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Absent | Self::Boolean(_) | Self::Number(_) => 8,
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}
