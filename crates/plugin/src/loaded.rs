//! A loaded plugin, which is held to its declaration and to limits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::call::PluginCall;
use crate::declaration::Declaration;
use crate::identity::{AuthPlugin, PluginError, PluginIdentity};
use crate::oauth_error::OAuthError;

/// The time for one call of a plugin. Kinds of plugins have shorter ones.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest number of form fields.
const MAX_FIELDS: usize = 200;
/// The largest size of names and values of form fields together in bytes.
const MAX_FIELD_BYTES: usize = 256 << 10;

/// The largest length of a name that a plugin returns in bytes. That of an account is shorter.
const MAX_NAME_BYTES: usize = 1_024;
/// The largest length of a wrong account type in the log in characters.
const MAX_SHOWN_CHARS: usize = 100;

/// A plugin that can be called. A call that would be one too many at once is refused.
pub struct LoadedPlugin {
    declaration: Declaration,
    calls: Semaphore,
    plugin: Arc<dyn AuthPlugin>,
}

impl LoadedPlugin {
    /// A plugin of which at most `calls_max` calls run at once.
    #[must_use]
    pub fn new(declaration: Declaration, plugin: Arc<dyn AuthPlugin>, calls_max: usize) -> Self {
        Self {
            declaration,
            calls: Semaphore::new(calls_max),
            plugin,
        }
    }

    /// Its declaration.
    #[must_use]
    pub fn declaration(&self) -> &Declaration {
        &self.declaration
    }

    /// Authenticates an account. The type in the result is one that the plugin declares; the name is bounded, and not checked otherwise.
    ///
    /// # Errors
    /// [`PluginError`]
    pub async fn authenticate(
        &self,
        call: &PluginCall<'_>,
    ) -> Result<Option<PluginIdentity>, PluginError> {
        let _permit = self.begin()?;
        let sizes = call
            .fields
            .iter()
            .map(|(name, value)| name.len() + value.len());
        if call.fields.len() > MAX_FIELDS || sizes.sum::<usize>() > MAX_FIELD_BYTES {
            let text = "the form has too many fields, or too long ones";
            return Err(PluginError::refused(OAuthError::InvalidRequest, text));
        }
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.plugin.authenticate(call)).await;
        let answer = answer.map_err(PluginError::unavailable)??;
        let Some(identity) = answer.filter(|found| !found.name.is_empty()) else {
            return Ok(None);
        };
        let account_type = &identity.account_type;
        if !self.declaration.account_types.contains(account_type) {
            let shown: String = account_type.chars().take(MAX_SHOWN_CHARS).collect();
            return Err(PluginError::broken(format!(
                "it returned the account type {shown:?}, which it does not declare"
            )));
        }
        if identity.name.len() > MAX_NAME_BYTES {
            return Err(PluginError::broken(format!(
                "it returned a name of more than {MAX_NAME_BYTES} bytes"
            )));
        }
        Ok(Some(identity))
    }

    /// Looks whether the plugin works, without the credentials of anybody.
    ///
    /// # Errors
    /// [`PluginError`]
    pub async fn probe(&self, call: &PluginCall<'_>) -> Result<(), PluginError> {
        let _permit = self.begin()?;
        let answer = tokio::time::timeout(CALL_TIMEOUT, self.plugin.probe(call)).await;
        answer.map_err(PluginError::unavailable)?
    }

    fn begin(&self) -> Result<SemaphorePermit<'_>, PluginError> {
        let permit = self.calls.try_acquire();
        permit.map_err(|_| PluginError::unavailable("too many calls of the plugin at once"))
    }
}
