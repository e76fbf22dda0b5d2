//! The script extension that runs a component.

use async_trait::async_trait;
use personium_plugin::{ExtensionCall, ExtensionDeclaration, ExtensionError, ScriptExtension};
use personium_types::ExtensionValue;
use wasmtime::Store;
use wasmtime::component::{HasSelf, InstancePre, Linker};

use crate::bindings::authentication::personium::authentication as guest;
use crate::bindings::extension::exports::personium::extension::methods::{Call, Setting, Value};
use crate::bindings::extension::personium::extension::{clock, http, log, random};
use crate::bindings::extension::{ExtensionWithHost, ExtensionWithHostPre};
use crate::contract::Contract;
use crate::host::GuestState;
use crate::loaded_component::{ComponentFailure, LoadedComponent};
use crate::memory_budget::MemoryUse;
use crate::settings::Grant;

/// The contract of script extensions.
pub(crate) struct Extension(ExtensionWithHostPre<GuestState>);

impl Contract for Extension {
    const PACKAGE: &'static str = "personium:extension/";
    const EXPORT: &'static str = "methods";
    const MEMORY: MemoryUse = MemoryUse::Scripts;
    type Question = Call;
    type Answer = Result<Value, String>;

    fn grant(linker: &mut Linker<GuestState>, grant: Grant) -> wasmtime::Result<()> {
        match grant {
            Grant::Http => http::add_to_linker::<_, HasSelf<GuestState>>(linker, |s| s),
            Grant::Clock => clock::add_to_linker::<_, HasSelf<GuestState>>(linker, |s| s),
            Grant::Random => random::add_to_linker::<_, HasSelf<GuestState>>(linker, |s| s),
            Grant::Log => log::add_to_linker::<_, HasSelf<GuestState>>(linker, |s| s),
        }
    }

    fn link(instance: InstancePre<GuestState>) -> wasmtime::Result<Self> {
        ExtensionWithHostPre::new(instance).map(Self)
    }

    async fn enter(
        &self,
        store: &mut Store<GuestState>,
        call: Option<Call>,
    ) -> wasmtime::Result<Option<Self::Answer>> {
        let instance: ExtensionWithHost = self.0.instantiate_async(&mut *store).await?;
        let Some(call) = call else {
            return Ok(None);
        };
        let methods = instance.personium_extension_methods();
        let answer = methods.call_invoke(&mut *store, &call).await?;
        let limits = &store.data().limits;
        match answer {
            // An interpreter makes an error of its language of the lack of memory.
            Err(message) if limits.is_over_limit() || limits.is_budget_exhausted() => {
                Err(wasmtime::Error::msg(message))
            }
            answer => Ok(Some(answer)),
        }
    }
}

/// An extension that runs a component.
pub(crate) struct WasmExtension {
    component: LoadedComponent<Extension>,
    class: String,
}

impl WasmExtension {
    /// The extension of a component.
    pub(crate) fn new(
        component: LoadedComponent<Extension>,
        declaration: &ExtensionDeclaration,
    ) -> Self {
        Self {
            component,
            class: declaration.class.clone(),
        }
    }

    fn call(&self, call: &ExtensionCall<'_>) -> Call {
        let values = |given: &[ExtensionValue]| given.iter().map(passed).collect();
        let settings = self.component.settings.settings.iter();
        Call {
            extension: self.class.clone(),
            method: call.method.to_owned(),
            cell: call.cell_url.to_owned(),
            created_with: values(call.created_with),
            arguments: values(call.arguments),
            settings: settings
                .map(|(name, value)| Setting {
                    name: name.clone(),
                    value: value.reveal().clone(),
                })
                .collect(),
        }
    }
}

#[async_trait]
impl ScriptExtension for WasmExtension {
    async fn invoke(&self, call: &ExtensionCall<'_>) -> Result<ExtensionValue, ExtensionError> {
        let answer = self.component.ask(call.host, self.call(call)).await;
        let answer = answer.map_err(|failure| match failure {
            ComponentFailure::Unavailable(error) => ExtensionError::Unavailable(error),
            ComponentFailure::Broken(error) => ExtensionError::Broken(error),
        });
        answer?.map(returned).map_err(ExtensionError::Refused)
    }
}

fn passed(value: &ExtensionValue) -> Value {
    match value {
        ExtensionValue::Absent => Value::Absent,
        ExtensionValue::Boolean(value) => Value::Boolean(*value),
        ExtensionValue::Number(value) => Value::Number(*value),
        ExtensionValue::Text(text) => Value::Text(text.clone()),
        ExtensionValue::Json(text) => Value::Json(text.clone()),
        ExtensionValue::Bytes(bytes) => Value::Bytes(bytes.clone()),
    }
}

fn returned(value: Value) -> ExtensionValue {
    match value {
        Value::Absent => ExtensionValue::Absent,
        Value::Boolean(value) => ExtensionValue::Boolean(value),
        Value::Number(value) => ExtensionValue::Number(value),
        Value::Text(text) => ExtensionValue::Text(text),
        Value::Json(text) => ExtensionValue::Json(text),
        Value::Bytes(bytes) => ExtensionValue::Bytes(bytes),
    }
}

// The imports are those of authentication plugins under other names.

impl http::Host for GuestState {
    async fn send(
        &mut self,
        request: http::Request,
    ) -> wasmtime::Result<Result<http::Response, String>> {
        let header = |header: http::Header| guest::http::Header {
            name: header.name,
            value: header.value,
        };
        let request = guest::http::Request {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(header).collect(),
            body: request.body,
        };
        let sent = guest::http::Host::send(self, request).await?;
        let header = |header: guest::http::Header| http::Header {
            name: header.name,
            value: header.value,
        };
        Ok(sent.map(|response| http::Response {
            status: response.status,
            headers: response.headers.into_iter().map(header).collect(),
            body: response.body,
        }))
    }
}

impl clock::Host for GuestState {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        guest::clock::Host::now(self).await
    }
}

impl random::Host for GuestState {
    async fn bytes(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        guest::random::Host::bytes(self, length).await
    }
}

impl log::Host for GuestState {
    async fn write(&mut self, level: log::Level, text: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => guest::log::Level::Debug,
            log::Level::Info => guest::log::Level::Info,
            log::Level::Warn => guest::log::Level::Warn,
            log::Level::Error => guest::log::Level::Error,
        };
        guest::log::Host::write(self, level, text).await
    }
}
