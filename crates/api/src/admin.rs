//! The administration of a running unit.

use std::sync::Arc;

use personium_model::Settings;
use personium_types::Result;

use crate::app_state::CurrentState;

/// The settings of the unit and where they come from, as the server provides them.
pub trait AdminHooks: Send + Sync + 'static {
    /// Every setting by its name, as it was read last. Secrets are masked.
    fn settings(&self) -> Vec<(String, String)>;

    /// The names of settings that were changed but take effect only after a restart.
    fn pending_restart(&self) -> Vec<String>;

    /// Reads the settings again. Returns those that a running unit can apply.
    ///
    /// # Errors
    /// [`SettingsUnusable`](personium_types::Code::SettingsUnusable) if they cannot be used; then nothing changes.
    fn reload(&self) -> Result<Settings>;
}

/// The administration of a running unit.
pub(crate) struct Admin {
    hooks: Arc<dyn AdminHooks>,
    state: Arc<CurrentState>,
}

impl Admin {
    /// The administration of the unit of this state.
    pub(crate) fn new(hooks: Arc<dyn AdminHooks>, state: Arc<CurrentState>) -> Self {
        Self { hooks, state }
    }

    /// The settings of the unit and where they come from.
    pub(crate) fn hooks(&self) -> &dyn AdminHooks {
        &*self.hooks
    }

    /// Reads the settings again and applies them to new requests.
    ///
    /// # Errors
    /// As [`AdminHooks::reload`].
    pub(crate) fn reload(&self) -> Result<()> {
        self.state.apply(self.hooks.reload()?);
        tracing::info!(
            waiting_for_restart = self.hooks.pending_restart().join(" "),
            "settings reloaded"
        );
        Ok(())
    }
}
