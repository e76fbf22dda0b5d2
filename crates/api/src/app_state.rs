//! The state of the application under the current settings.

use std::sync::Arc;

use parking_lot::RwLock;
use personium_install::InstallAuthority;
use personium_model::{ServerAuthority, Settings, Unit};
use personium_plugin::PluginSet;

use crate::compression::Compressor;
use crate::http_client::NetworkClient;
use crate::oidc_plugin;
use crate::scripts::Scripts;

/// The parts that requests share as long as the settings stay the same. A request keeps the state that it began with.
pub(crate) struct AppState {
    pub(crate) unit: Arc<Unit>,
    pub(crate) network: Arc<NetworkClient>,
    /// The plugins that are built in.
    pub(crate) built_in_plugins: Arc<PluginSet>,
    pub(crate) install_authority: InstallAuthority,
    pub(crate) compressor: Compressor,
    pub(crate) scripts: Arc<Scripts>,
}

impl AppState {
    fn new(
        unit: Arc<Unit>,
        install_authority: InstallAuthority,
        scripts: Arc<Scripts>,
    ) -> Arc<Self> {
        Arc::new(Self {
            network: Arc::new(NetworkClient::new(unit.settings())),
            built_in_plugins: Arc::new(oidc_plugin::plugins(&unit.settings().auth.oidc_providers)),
            install_authority,
            compressor: Compressor::default(),
            scripts,
            unit,
        })
    }
}

/// The state for new requests. It is replaced when the settings change.
pub(crate) struct CurrentState(RwLock<Arc<AppState>>);

impl CurrentState {
    /// The state of a unit, with the authority of the server over it.
    pub(crate) fn new(unit: Arc<Unit>, server: ServerAuthority) -> Self {
        let authority = InstallAuthority::new(server);
        let scripts = Arc::new(Scripts::new(
            &unit.settings().scripts,
            Arc::clone(unit.clock()),
        ));
        Self(RwLock::new(AppState::new(unit, authority, scripts)))
    }

    /// The state for a request that begins now.
    pub(crate) fn get(&self) -> Arc<AppState> {
        Arc::clone(&self.0.read())
    }

    /// Applies settings to all requests that begin from now on.
    pub(crate) fn apply(&self, settings: Settings) {
        let mut current = self.0.write();
        let unit = Arc::new(current.unit.with_settings(settings));
        let scripts = Arc::clone(&current.scripts);
        *current = AppState::new(unit, current.install_authority.clone(), scripts);
    }
}
