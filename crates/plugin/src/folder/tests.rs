use std::fs::Permissions;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;

use super::*;
use crate::{
    AuthPlugin, ExtensionCall, ExtensionError, ExtensionSource, HttpPluginKind, PluginCall,
    PluginError, PluginIdentity, PluginSource, ScriptExtension,
};
use personium_types::ExtensionValue;

/// A kind whose plugins authenticate nobody, and whose extensions return nothing.
struct Nobody;

#[async_trait]
impl AuthPlugin for Nobody {
    async fn authenticate(
        &self,
        _: &PluginCall<'_>,
    ) -> Result<Option<PluginIdentity>, PluginError> {
        Ok(None)
    }
}

impl PluginKind for Nobody {
    fn name(&self) -> &'static str {
        "nobody"
    }

    fn load(&self, _: PluginSource<'_>) -> Result<Arc<dyn AuthPlugin>, String> {
        Ok(Arc::new(Self))
    }

    fn load_extension(&self, _: ExtensionSource<'_>) -> Result<Arc<dyn ScriptExtension>, String> {
        Ok(Arc::new(Self))
    }
}

#[async_trait]
impl ScriptExtension for Nobody {
    async fn invoke(&self, _: &ExtensionCall<'_>) -> Result<ExtensionValue, ExtensionError> {
        Ok(ExtensionValue::Absent)
    }
}

fn extension(class: &str, methods: &str) -> String {
    format!("kind = 'nobody'\nextension = '{class}'\nmethods = [{methods}]\n[nobody]\n")
}

#[test]
fn extensions_are_loaded_beside_plugins_by_their_class() {
    let place = Place::new();
    place.write("a.toml", &nobody("a", "a"));
    let http = "kind = 'http'\nextension = 'H'\nmethods = ['m']\n[http]\n";
    let both = extension("B", "'m'").replace("extension", "grant_type = 'urn:b'\nextension");
    for (text, reason) in [
        (extension("X", "'m', 'n_2'"), "extension"),
        (extension("X", "'m'"), "the extension X is that of b"),
        (extension("x", "'m'"), "capital letter"),
        (extension("X y", "'m'"), "capital letter"),
        (extension("", "'m'"), "capital letter"),
        (extension(&"X".repeat(65), "'m'"), "capital letter"),
        (extension("HttpClient", "'m'"), "is built in"),
        (extension("Y", ""), "1 to 64 methods"),
        (extension("Y", "'constructor'"), "not allowed"),
        (extension("Y", "'core'"), "not allowed"),
        (extension("Y", "'__proto__'"), "not allowed"),
        (extension("Y", "'m n'"), "not allowed"),
        (extension("Y", "1"), "invalid type"),
        (http.to_owned(), "the kind http has no extensions"),
        (both, "unknown field `grant_type`"),
    ] {
        let name = match reason {
            "extension" => "b.toml",
            _ => "c.toml",
        };
        place.write(name, &text);
        let states = place.states();
        let (_, state) = states.last().unwrap();
        assert!(state.contains(reason), "{text}: {state}");
    }
    let loaded: PluginSet = place.folder.load().unwrap().into_iter().collect();
    assert!(loaded.find("urn:a").is_some());
    let found = loaded.find_extension("X").unwrap();
    assert_eq!(found.declaration().methods, ["m", "n_2"]);
    assert!(loaded.find_extension("Y").is_none());
    assert_eq!(loaded.extensions().len(), 1);
}

/// A folder with plugins.
struct Place {
    _temporary: tempfile::TempDir,
    folder: PluginFolder,
}

impl Place {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().to_owned();
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        let kinds: Vec<Arc<dyn PluginKind>> = vec![Arc::new(Nobody), Arc::new(HttpPluginKind)];
        let folder = PluginFolder::new(path, kinds);
        Self {
            _temporary: temporary,
            folder: folder.without_types(vec!["urn:built-in".into()], vec!["oidc:x".into()]),
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
    }

    /// The state of each plugin: `loaded`, `disabled`, or the reason why it is broken.
    fn states(&self) -> Vec<(String, String)> {
        let found = self.folder.load().unwrap();
        let text = |state| match state {
            PluginState::Loaded(_) => "loaded".to_owned(),
            PluginState::Extension(_) => "extension".to_owned(),
            PluginState::Disabled => "disabled".to_owned(),
            PluginState::Broken(reason) => reason,
        };
        found
            .into_iter()
            .map(|found| (found.name, text(found.state)))
            .collect()
    }
}

fn nobody(grant: &str, account: &str) -> String {
    format!(
        "kind = 'nobody'\ngrant_type = 'urn:{grant}'\naccount_types = ['{account}']\n[nobody]\n"
    )
}

#[test]
fn broken_plugins_are_named_and_stop_no_other() {
    let place = Place::new();
    let long = "x".repeat(70_000);
    let good = nobody("good", "good");
    for (name, text, reason) in [
        ("a.jar", "", "plugins in Java"),
        ("b.toml", "kind = ", "TOML parse error"),
        ("c.toml", "", "kind is missing"),
        (
            "d.toml",
            "kind = 'other'",
            "kind must be one of nobody, http",
        ),
        ("e.toml", "kind = 'nobody'", "the table [nobody] is missing"),
        (
            "f.toml",
            "kind = 'nobody'\n[nobody]",
            "missing field `grant_type`",
        ),
        ("g.toml", &long, "more than 65536 bytes"),
        ("h.toml", &good, "loaded"),
        (
            "i.toml",
            &nobody("good", "b"),
            "the grant type urn:good is that of h",
        ),
        (
            "j.toml",
            &nobody("b", "good"),
            "the account type good is that of h",
        ),
        ("k.toml", &nobody("built-in", "c"), "is built in"),
        ("l.toml", &nobody("d", "oidc:x"), "is built in"),
        ("m.toml", &nobody("e", "basic"), "not allowed"),
        (
            "n.toml",
            &nobody("f", "f").replace("[nobody]", "calls_max = 0\n[nobody]"),
            "calls_max",
        ),
        (
            "o.toml",
            &nobody("g", "g").replace("[nobody]", "extra = 0\n[nobody]"),
            "unknown field",
        ),
        ("p q.toml", &nobody("h", "h"), "not a name"),
        ("r.toml.disabled", "kind = ", "disabled"),
        ("z.toml", &nobody("last", "last"), "loaded"),
    ] {
        place.write(name, text);
        let states = place.states();
        let (found, state) = states.last().unwrap();
        assert!(name.starts_with(found.as_str()), "{name}");
        assert!(state.contains(reason), "{name}: {state}");
    }
    fs::create_dir(place.folder.path().join("y.toml")).unwrap();
    place.write("unrelated.txt", "x");
    let loaded: PluginSet = place.folder.load().unwrap().into_iter().collect();
    assert_eq!(loaded.account_types().collect::<Vec<_>>(), ["good", "last"]);
    assert!(loaded.find("urn:last").is_some());
    assert!(loaded.find("urn:b").is_none());
}

#[test]
fn files_that_strangers_can_use_are_refused() {
    let place = Place::new();
    let text = "kind = 'http'\ngrant_type = 'urn:x'\naccount_types = ['x']\n\
        [http]\nurl = 'https://auth.example/'\nsecret_file = 'x.secret'\n";
    place.write("x.toml", text);
    let state = || place.states().remove(0).1;
    assert!(state().contains("No such file"), "{}", state());
    place.write("x.secret", "short\n");
    assert!(state().contains("at least 32 bytes"), "{}", state());
    place.write("x.secret", "");
    assert!(state().contains("empty"), "{}", state());
    place.write("x.secret", &"x".repeat(5_000));
    assert!(state().contains("at most"), "{}", state());
    place.write("x.secret", &"x".repeat(32));
    assert_eq!(state(), "loaded");
    let set_mode = |name: &str, mode| {
        let path = place.folder.path().join(name);
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    set_mode("x.secret", 0o644);
    assert!(state().contains("0600"), "{}", state());
    set_mode("x.secret", 0o602);
    assert!(state().contains("can change it"), "{}", state());
    set_mode("x.secret", 0o640);
    assert_eq!(state(), "loaded");
    set_mode("x.toml", 0o646);
    assert!(state().contains("can change it"), "{}", state());
    set_mode("x.toml", 0o644);
    assert_eq!(state(), "loaded");
    set_mode("", 0o777);
    assert!(matches!(place.folder.load(), Err(FolderError::Writable(_))));
}

#[test]
fn plugins_are_disabled_and_enabled_by_their_names() {
    let place = Place::new();
    place.write("x.toml", &nobody("x", "x"));
    let set = |name: &str, is_enabled| place.folder.set_enabled(name, is_enabled);
    let before = place.folder.fingerprint().unwrap();
    set("x", true).unwrap();
    assert_eq!(place.folder.fingerprint().unwrap(), before);
    set("x", false).unwrap();
    set("x", false).unwrap();
    assert_eq!(place.states(), [("x".to_owned(), "disabled".to_owned())]);
    assert_ne!(place.folder.fingerprint().unwrap(), before);
    set("x", true).unwrap();
    assert_eq!(place.states(), [("x".to_owned(), "loaded".to_owned())]);
    place.write("x.toml.disabled", "");
    assert!(matches!(set("x", false), Err(FolderError::Exists(_))));
    assert!(matches!(set("y", true), Err(FolderError::Missing(_))));
    for name in ["", "../x", "a/b", ".x"] {
        assert!(
            matches!(set(name, true), Err(FolderError::Name(_))),
            "{name}"
        );
    }
}

#[test]
fn pipes_in_the_place_of_files_are_refused_at_once() {
    let place = Place::new();
    let pipe = |name: &str| {
        let path = place.folder.path().join(name);
        let made = Command::new("mkfifo")
            .arg("-m")
            .arg("600")
            .arg(path)
            .status();
        assert!(made.unwrap().success());
    };
    pipe("a.toml");
    let text = "kind = 'http'\ngrant_type = 'urn:x'\naccount_types = ['x']\n\
        [http]\nurl = 'https://auth.example/'\nsecret_file = 'x.secret'\n";
    place.write("x.toml", text);
    pipe("x.secret");
    place.write("z.toml", &nobody("last", "last"));
    let (sender, states) = mpsc::channel();
    thread::spawn(move || sender.send(place.states()));
    let states = states.recv_timeout(Duration::from_secs(60)).unwrap();
    let states: Vec<_> = states.iter().map(|(_, state)| state.as_str()).collect();
    assert!(
        states[0].contains("no file") && states[1].contains("no file"),
        "{states:?}"
    );
    assert_eq!(states[2], "loaded");
}
