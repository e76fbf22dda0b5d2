//! A component with its settings, which can be asked.

use std::sync::{Arc, mpsc};
use std::time::Duration;

use personium_plugin::{BoxError, PluginHost};

use crate::contract::Contract;
use crate::guests::{GuestCall, GuestError, Guests, LinkedComponent};
use crate::host::{GuestState, HostCall};
use crate::settings::WasmSettings;

/// The largest response to a request of a component in bytes.
const MAX_RESPONSE_BYTES: usize = 256 << 10;
/// The time for the first instance.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(30);

/// The component of a plugin.
pub(crate) struct LoadedComponent<C> {
    guests: Arc<Guests>,
    linked: Arc<LinkedComponent<C>>,
    /// The settings of the plugin.
    pub(crate) settings: WasmSettings,
    /// The name of the plugin.
    plugin: String,
}

/// The reason why a component has not answered.
pub(crate) enum ComponentFailure {
    /// It was not in time, or there is no memory. A retry can help.
    Unavailable(BoxError),
    /// It breaks its contract.
    Broken(BoxError),
}

impl<C: Contract> LoadedComponent<C> {
    /// Loads the component of a plugin, and makes an instance of it once.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn load(
        guests: Arc<Guests>,
        settings: WasmSettings,
        plugin: &str,
    ) -> Result<Self, String> {
        let component = guests.compiler().compile_file(&settings.path)?;
        let loaded = Self {
            linked: Arc::new(guests.link(component, &settings.grants)?),
            guests,
            settings,
            plugin: plugin.to_owned(),
        };
        loaded.try_instance()?;
        Ok(loaded)
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

    fn start(&self, question: Option<C::Question>) -> Option<GuestCall<C>> {
        let limits = self.guests.limits::<C>(self.settings.memory_bytes);
        let state = |host| GuestState::new(&self.plugin, &self.settings.urls, limits, host);
        self.guests.call(&self.linked, state, question)
    }

    /// Asks a fresh instance. It uses the unit through this host.
    ///
    /// # Errors
    /// [`ComponentFailure`]
    pub(crate) async fn ask(
        &self,
        host: &dyn PluginHost,
        question: C::Question,
    ) -> Result<C::Answer, ComponentFailure> {
        let asking = self.ask_without_limit(host, question);
        let answer = tokio::time::timeout(self.settings.timeout, asking).await;
        answer.map_err(|late| ComponentFailure::Unavailable(late.into()))?
    }

    async fn ask_without_limit(
        &self,
        host: &dyn PluginHost,
        question: C::Question,
    ) -> Result<C::Answer, ComponentFailure> {
        let started = self.start(Some(question));
        let ends = || ComponentFailure::Unavailable("the process ends".into());
        let mut running = started.ok_or_else(ends)?;
        loop {
            tokio::select! {
                biased;
                ended = &mut running.task => {
                    let broken = |error| ComponentFailure::Broken(Box::new(error));
                    let answer = ended.map_err(broken)?.map_err(failure)?;
                    return answer.ok_or_else(|| ComponentFailure::Broken("it was not called".into()));
                }
                Some(question) = running.questions.recv() => answer(host, question).await,
            }
        }
    }
}

/// Answers a question of the code of a component. Nobody may wait for the answer any more.
async fn answer(host: &dyn PluginHost, question: HostCall) {
    match question {
        HostCall::Send(request, reply) => {
            let sent = host.send(*request, MAX_RESPONSE_BYTES).await;
            let sent = sent.map_err(|error| error.to_string());
            let _ = reply.send(sent);
        }
        HostCall::Now(reply) => {
            let _ = reply.send(host.now_ms());
        }
        HostCall::Random(length, reply) => {
            let mut bytes = vec![0; length];
            let filled = host.fill_random(&mut bytes);
            let _ = reply.send(filled.map(|()| bytes).map_err(|error| error.to_string()));
        }
    }
}

fn failure(error: GuestError) -> ComponentFailure {
    match error {
        GuestError::MemoryExhausted => ComponentFailure::Unavailable(error.into()),
        _ => ComponentFailure::Broken(error.into()),
    }
}
