//! The plugin that runs a component.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use personium_plugin::{
    AuthPlugin, Declaration, OAuthError, PluginCall, PluginError, PluginIdentity,
    printable_description,
};

use crate::bindings::exports::personium::authentication::authenticator::{
    Field, Login, OauthError, Refusal,
};
use crate::guests::{GuestAnswer, GuestCall, GuestError, Guests, LinkedPlugin};
use crate::host::{GuestState, HostCall};
use crate::settings::WasmSettings;

/// The largest response to a request of a plugin in bytes.
const MAX_RESPONSE_BYTES: usize = 256 << 10;
/// The time for the first instance.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A plugin that runs a component.
pub(crate) struct WasmPlugin {
    guests: Arc<Guests>,
    linked: Arc<LinkedPlugin>,
    settings: WasmSettings,
    declaration: Declaration,
}

impl WasmPlugin {
    /// Loads the component of a plugin, and makes an instance of it once.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn load(
        guests: Arc<Guests>,
        settings: WasmSettings,
        declaration: &Declaration,
    ) -> Result<Self, String> {
        let component = guests.compiler().compile_file(&settings.path)?;
        let plugin = Self {
            linked: Arc::new(guests.link(component, &settings.grants)?),
            guests,
            settings,
            declaration: declaration.clone(),
        };
        plugin.try_instance()?;
        Ok(plugin)
    }

    fn try_instance(&self) -> Result<(), String> {
        let mut call = self.start(None).ok_or("the process ends")?;
        // Code that runs at the start has nobody to ask yet.
        call.questions.close();
        let (sender, receiver) = mpsc::channel();
        self.guests.watch(call, sender);
        match receiver.recv_timeout(TRIAL_TIMEOUT) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no instance can be made in time".to_owned()),
        }
    }

    fn start(&self, login: Option<Login>) -> Option<GuestCall> {
        let limits = self.guests.limits(self.settings.memory_bytes);
        let state =
            |host| GuestState::new(&self.declaration.name, &self.settings.urls, limits, host);
        self.guests.call(&self.linked, state, login)
    }

    fn login(&self, call: &PluginCall<'_>) -> Login {
        let field = |name: &str, value: &str| Field {
            name: name.to_owned(),
            value: value.to_owned(),
        };
        let fields = call.passed_fields(self.settings.fields.as_deref());
        let settings = self.settings.settings.iter();
        Login {
            plugin: self.declaration.name.clone(),
            grant_type: self.declaration.grant_type.clone(),
            account_types: self.declaration.account_types.clone(),
            cell: call.cell_url.to_owned(),
            fields: fields.map(|(name, value)| field(name, value)).collect(),
            settings: settings
                .map(|(name, value)| field(name, value.reveal()))
                .collect(),
        }
    }

    async fn run(&self, call: &PluginCall<'_>) -> Result<GuestAnswer, PluginError> {
        let started = self.start(Some(self.login(call)));
        let mut running = started.ok_or_else(|| PluginError::unavailable("the process ends"))?;
        loop {
            tokio::select! {
                biased;
                ended = &mut running.task => {
                    let answer = ended.map_err(PluginError::broken)?.map_err(failure)?;
                    return answer.ok_or_else(|| PluginError::broken("it was not called"));
                }
                Some(question) = running.questions.recv() => answer(call, question).await,
            }
        }
    }
}

#[async_trait]
impl AuthPlugin for WasmPlugin {
    async fn authenticate(
        &self,
        call: &PluginCall<'_>,
    ) -> Result<Option<PluginIdentity>, PluginError> {
        let answer = tokio::time::timeout(self.settings.timeout, self.run(call)).await;
        match answer.map_err(PluginError::unavailable)?? {
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

/// Answers a question of the code of a plugin. Nobody may wait for the answer any more.
async fn answer(call: &PluginCall<'_>, question: HostCall) {
    match question {
        HostCall::Send(request, reply) => {
            let sent = call.host.send(*request, MAX_RESPONSE_BYTES).await;
            let sent = sent.map_err(|error| error.to_string());
            let _ = reply.send(sent);
        }
        HostCall::Now(reply) => {
            let _ = reply.send(call.host.now_ms());
        }
        HostCall::Random(length, reply) => {
            let mut bytes = vec![0; length];
            let filled = call.host.fill_random(&mut bytes);
            let _ = reply.send(filled.map(|()| bytes).map_err(|error| error.to_string()));
        }
    }
}

fn failure(error: GuestError) -> PluginError {
    match error {
        GuestError::MemoryExhausted => PluginError::unavailable(error),
        _ => PluginError::broken(error),
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
