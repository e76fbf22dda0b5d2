//! The authentication plugin that runs a component.

use async_trait::async_trait;
use personium_plugin::{
    AuthPlugin, Declaration, OAuthError, PluginCall, PluginError, PluginIdentity,
    printable_description,
};
use wasmtime::Store;
use wasmtime::component::{HasSelf, InstancePre, Linker};

use crate::bindings::authentication::exports::personium::authentication::authenticator::{
    Account, Field, Login, OauthError, Refusal,
};
use crate::bindings::authentication::personium::authentication::{clock, http, log, random};
use crate::bindings::authentication::{PluginWithHost, PluginWithHostPre};
use crate::contract::Contract;
use crate::host::GuestState;
use crate::loaded_component::{ComponentFailure, LoadedComponent};
use crate::memory_budget::MemoryUse;
use crate::settings::Grant;

/// The contract of authentication plugins.
pub(crate) struct Authentication(PluginWithHostPre<GuestState>);

impl Contract for Authentication {
    const PACKAGE: &'static str = "personium:authentication/";
    const EXPORT: &'static str = "authenticator";
    const MEMORY: MemoryUse = MemoryUse::Logins;
    type Question = Login;
    type Answer = Result<Option<Account>, Refusal>;

    fn grant(linker: &mut Linker<GuestState>, grant: Grant) -> wasmtime::Result<()> {
        match grant {
            Grant::Http => http::add_to_linker::<_, HasSelf<GuestState>>(linker, |s| s),
            Grant::Clock => clock::add_to_linker::<_, HasSelf<GuestState>>(linker, |s| s),
            Grant::Random => random::add_to_linker::<_, HasSelf<GuestState>>(linker, |s| s),
            Grant::Log => log::add_to_linker::<_, HasSelf<GuestState>>(linker, |s| s),
        }
    }

    fn link(instance: InstancePre<GuestState>) -> wasmtime::Result<Self> {
        PluginWithHostPre::new(instance).map(Self)
    }

    async fn enter(
        &self,
        store: &mut Store<GuestState>,
        login: Option<Login>,
    ) -> wasmtime::Result<Option<Self::Answer>> {
        let instance: PluginWithHost = self.0.instantiate_async(&mut *store).await?;
        let Some(login) = login else {
            return Ok(None);
        };
        let authenticator = instance.personium_authentication_authenticator();
        let answer = authenticator.call_authenticate(store, &login).await?;
        Ok(Some(answer))
    }
}

/// A plugin that runs a component.
pub(crate) struct WasmPlugin {
    component: LoadedComponent<Authentication>,
    declaration: Declaration,
}

impl WasmPlugin {
    /// The plugin of a component.
    pub(crate) fn new(
        component: LoadedComponent<Authentication>,
        declaration: &Declaration,
    ) -> Self {
        Self {
            component,
            declaration: declaration.clone(),
        }
    }

    fn login(&self, call: &PluginCall<'_>) -> Login {
        let field = |name: &str, value: &str| Field {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let settings = &self.component.settings;
        let fields = call.passed_fields(settings.fields.as_deref());
        let given = settings.settings.iter();
        Login {
            plugin: self.declaration.name.clone(),
            grant_type: self.declaration.grant_type.clone(),
            account_types: self.declaration.account_types.clone(),
            cell: call.cell_url.to_owned(),
            fields: fields.map(|(name, value)| field(name, value)).collect(),
            settings: given
                .map(|(name, value)| field(name, value.reveal()))
                .collect(),
        }
    }
}

#[async_trait]
impl AuthPlugin for WasmPlugin {
    async fn authenticate(
        &self,
        call: &PluginCall<'_>,
    ) -> Result<Option<PluginIdentity>, PluginError> {
        let answer = self.component.ask(call.host, self.login(call)).await;
        let answer = answer.map_err(|failure| match failure {
            ComponentFailure::Unavailable(error) => PluginError::unavailable(error),
            ComponentFailure::Broken(error) => PluginError::broken(error),
        });
        match answer? {
            Ok(account) => Ok(account.map(|account| PluginIdentity {
                name: account.name,
                account_type: account.account_type,
            })),
            Err(Refusal { error, description }) => Err(PluginError::refused(
                oauth_error(error),
                &printable_description(&description),
            )),
        }
    }
}

fn oauth_error(error: OauthError) -> OAuthError {
    match error {
        OauthError::InvalidRequest => OAuthError::InvalidRequest,
        OauthError::InvalidClient => OAuthError::InvalidClient,
        OauthError::InvalidGrant => OAuthError::InvalidGrant,
        OauthError::InvalidScope => OAuthError::InvalidScope,
        OauthError::UnsupportedGrantType => OAuthError::UnsupportedGrantType,
        OauthError::UnsupportedResponseType => OAuthError::UnsupportedResponseType,
        OauthError::UnauthorizedClient => OAuthError::UnauthorizedClient,
        OauthError::AccessDenied => OAuthError::AccessDenied,
        OauthError::ServerError => OAuthError::ServerError,
        OauthError::TemporarilyUnavailable => OAuthError::TemporarilyUnavailable,
    }
}
