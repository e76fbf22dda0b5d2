//! The contract of authentication plugins.

use async_trait::async_trait;

use crate::call::{BoxError, PluginCall};
use crate::oauth_error::OAuthError;

/// The account that a plugin has authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginIdentity {
    /// The name of the account in the cell.
    pub name: String,
    /// One of the account types that the plugin declares. The account must have it.
    pub account_type: String,
}

/// The reason why a plugin has authenticated nobody.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The plugin refuses the request with an error of OAuth2. The client sees both texts.
    #[error("{}: {description}", error.as_str())]
    Refused {
        /// The error.
        error: OAuthError,
        /// A text for developers of clients.
        description: String,
        /// The cause, for the log.
        #[source]
        source: Option<BoxError>,
    },
    /// The service that the plugin asks cannot be reached, or not in time. A retry can help.
    #[error("not available")]
    Unavailable(#[source] BoxError),
    /// The plugin breaks its contract.
    #[error("failed")]
    Broken(#[source] BoxError),
}

impl PluginError {
    /// A refusal.
    #[must_use]
    pub fn refused(error: OAuthError, description: &str) -> Self {
        Self::Refused {
            error,
            description: description.to_owned(),
            source: None,
        }
    }

    /// A refusal with its cause.
    #[must_use]
    pub fn refused_because(
        error: OAuthError,
        description: &str,
        source: impl Into<BoxError>,
    ) -> Self {
        Self::Refused {
            error,
            description: description.to_owned(),
            source: Some(source.into()),
        }
    }

    /// An error of a service that cannot be reached.
    #[must_use]
    pub fn unavailable(source: impl Into<BoxError>) -> Self {
        Self::Unavailable(source.into())
    }

    /// An error of a plugin that breaks its contract.
    #[must_use]
    pub fn broken(source: impl Into<BoxError>) -> Self {
        Self::Broken(source.into())
    }
}

/// A way to authenticate accounts.
#[async_trait]
pub trait AuthPlugin: Send + Sync {
    /// Authenticates an account by the fields of a token request. `None` means that nobody is authenticated, for whatever reason.
    ///
    /// # Errors
    /// [`PluginError`]
    async fn authenticate(
        &self,
        call: &PluginCall<'_>,
    ) -> Result<Option<PluginIdentity>, PluginError>;

    /// Looks whether the plugin works, without the credentials of anybody.
    ///
    /// # Errors
    /// [`PluginError`]
    async fn probe(&self, call: &PluginCall<'_>) -> Result<(), PluginError> {
        match self.authenticate(call).await {
            Ok(_) | Err(PluginError::Refused { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
