//! The plugin with components that are honest, hostile or broken.

#![expect(
    clippy::disallowed_methods,
    reason = "a test may use the real clock and the environment"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod component_text;
mod extension;
mod hostile;
mod imports;
mod loading;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use personium_plugin::{
    BoxError, LoadedPlugin, PluginCall, PluginError, PluginFolder, PluginHost, PluginKind,
    PluginState,
};
use personium_wasm::WasmPluginKind;
use tempfile::TempDir;

/// The time of the host in milliseconds since 1970.
const NOW_MS: i64 = 1_796_000_000_123;

/// The behaviour of the service behind the host.
enum Service {
    /// Answers with this body.
    Answers(&'static str),
    /// Never answers.
    IsSilent,
}

/// A host with a service.
struct TestHost {
    service: Service,
    requests: Mutex<Vec<Request<Bytes>>>,
}

impl TestHost {
    fn new(service: Service) -> Self {
        Self {
            service,
            requests: Mutex::default(),
        }
    }
}

#[async_trait]
impl PluginHost for TestHost {
    async fn send(
        &self,
        request: Request<Bytes>,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, BoxError> {
        self.requests.lock().unwrap().push(request);
        match self.service {
            Service::Answers(body) if body.len() <= max_bytes => {
                Ok(Response::new(Bytes::from_static(body.as_bytes())))
            }
            Service::Answers(_) => Err("too large".into()),
            Service::IsSilent => std::future::pending().await,
        }
    }

    fn now_ms(&self) -> i64 {
        NOW_MS
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn new_id(&self) -> String {
        "0".repeat(32)
    }

    fn fill_random(&self, out: &mut [u8]) -> Result<(), BoxError> {
        out.fill(b'r');
        Ok(())
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// A folder of plugins, each with a component and settings.
struct Plugins {
    folder: TempDir,
    opened: PluginFolder,
}

impl Plugins {
    fn new() -> Self {
        Self::of_kind(WasmPluginKind::default())
    }

    fn of_kind(kind: WasmPluginKind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kinds: Vec<Arc<dyn PluginKind>> = vec![Arc::new(kind)];
        let opened = PluginFolder::new(folder.path().to_owned(), kinds);
        Self { folder, opened }
    }

    /// Adds a plugin with the longest time, unless its settings name one.
    fn add(&self, name: &str, component: &[u8], settings: &str) {
        let timeout = match settings.contains("timeout_ms") {
            true => "",
            false => "timeout_ms = 20000",
        };
        let text = format!(
            "kind = 'wasm'\ngrant_type = 'urn:x:{name}'\naccount_types = ['{name}']\n[wasm]\n{timeout}\n{settings}\n"
        );
        write(self.folder.path(), &format!("{name}.toml"), text.as_bytes());
        write(self.folder.path(), &format!("{name}.wasm"), component);
    }

    /// A plugin, or the reason why it is broken.
    fn load(&self, name: &str) -> Result<Arc<LoadedPlugin>, String> {
        let found = self.opened.load().unwrap();
        let found = found.into_iter().find(|found| found.name == name);
        match found.unwrap().state {
            PluginState::Loaded(plugin) => Ok(plugin),
            PluginState::Broken(reason) => Err(reason),
            PluginState::Extension(_) | PluginState::Disabled => panic!("no such plugin"),
        }
    }
}

/// A plugin called `x` of this component.
fn plugin(component: &[u8], settings: &str) -> Result<Arc<LoadedPlugin>, String> {
    let plugins = Plugins::new();
    plugins.add("x", component, settings);
    plugins.load("x")
}

/// The outcome of a log-in: the account, `nobody`, or the error with its causes.
async fn log_in(plugin: &LoadedPlugin, host: &dyn PluginHost) -> String {
    let fields = [
        ("user", "alice"),
        ("password", "word"),
        ("client_secret", "z"),
    ];
    let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let call = PluginCall {
        cell_url: "https://cell.example/",
        fields: &fields,
        host,
    };
    match plugin.authenticate(&call).await {
        Ok(Some(identity)) => format!("{} of {}", identity.name, identity.account_type),
        Ok(None) => "nobody".to_owned(),
        Err(error) => {
            let kind = match &error {
                PluginError::Refused { .. } => "refused",
                PluginError::Unavailable(_) => "unavailable",
                PluginError::Broken(_) => "broken",
            };
            format!("{kind}: {}", personium_types::error::chain(&error))
        }
    }
}

fn host() -> TestHost {
    TestHost::new(Service::Answers(""))
}
