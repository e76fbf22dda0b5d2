//! The contract of script extensions.

use async_trait::async_trait;
use personium_types::ExtensionValue;

use crate::call::{BoxError, PluginHost};

/// A call of a method of an extension.
pub struct ExtensionCall<'a> {
    /// The URL of the cell of the service, with its final slash.
    pub cell_url: &'a str,
    /// One of the methods that the extension declares.
    pub method: &'a str,
    /// The arguments of the constructor.
    pub created_with: &'a [ExtensionValue],
    /// The arguments of the method.
    pub arguments: &'a [ExtensionValue],
    /// The part of the unit that the extension may use.
    pub host: &'a dyn PluginHost,
}

/// The reason why a method has no result.
#[derive(Debug, thiserror::Error)]
pub enum ExtensionError {
    /// The extension says so, with this text for the script.
    #[error("{0}")]
    Refused(String),
    /// It did not answer in time, or there is no room for the call. A retry can help.
    #[error("not available")]
    Unavailable(#[source] BoxError),
    /// The extension breaks its contract.
    #[error("failed")]
    Broken(#[source] BoxError),
}

/// A class of `_p.extension`.
#[async_trait]
pub trait ScriptExtension: Send + Sync {
    /// Calls a method.
    ///
    /// # Errors
    /// [`ExtensionError`]
    async fn invoke(&self, call: &ExtensionCall<'_>) -> Result<ExtensionValue, ExtensionError>;
}
