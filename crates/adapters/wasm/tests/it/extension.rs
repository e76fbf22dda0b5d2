//! Script extensions that are honest, hostile or broken.

use std::sync::Arc;

use personium_plugin::{ExtensionCall, ExtensionError, LoadedExtension, PluginState};
use personium_types::ExtensionValue;
use personium_wasm::WasmPluginKind;

use crate::component_text::{Parts, RESULT, component_of, data};
use crate::{Plugins, Service, TestHost, host, write};

/// A result: its kind, and the address and length of its content.
fn returns(is_error: u32, kind: u32, content: [u32; 2], fields: &str) -> Parts {
    let words = match is_error {
        0 => [0, 0, kind, 0, content[0], content[1]],
        _ => [is_error, 0, content[0], content[1], 0, 0],
    };
    let mut parts = Parts::result(&words, b"");
    parts.fields += fields;
    parts
}

/// A result whose content is this.
fn content(is_error: u32, kind: u32, bytes: &[u8]) -> Parts {
    let length = u32::try_from(bytes.len()).unwrap();
    returns(is_error, kind, [3_000, length], &data(3_000, bytes))
}

impl Plugins {
    /// Adds an extension with the class `X` and the method `m`.
    fn add_extension(&self, name: &str, component: &[u8], settings: &str) {
        let timeout = match settings.contains("timeout_ms") {
            true => "",
            false => "timeout_ms = 20000",
        };
        let text = format!(
            "kind = 'wasm'\nextension = 'X'\nmethods = ['m']\n[wasm]\n{timeout}\n{settings}\n"
        );
        write(self.folder.path(), &format!("{name}.toml"), text.as_bytes());
        write(self.folder.path(), &format!("{name}.wasm"), component);
    }

    /// An extension, or the reason why it is broken.
    fn load_extension(&self, name: &str) -> Result<Arc<LoadedExtension>, String> {
        let found = self.opened.load().unwrap();
        let found = found.into_iter().find(|found| found.name == name);
        match found.unwrap().state {
            PluginState::Extension(extension) => Ok(extension),
            PluginState::Broken(reason) => Err(reason),
            PluginState::Loaded(_) | PluginState::Disabled => panic!("no extension"),
        }
    }
}

fn extension(component: &[u8], settings: &str) -> Result<Arc<LoadedExtension>, String> {
    let plugins = Plugins::new();
    plugins.add_extension("x", component, settings);
    plugins.load_extension("x")
}

/// The outcome of a call: the value, or the error with its causes.
async fn invoke_with(
    extension: &LoadedExtension,
    host: &TestHost,
    arguments: &[ExtensionValue],
) -> Result<ExtensionValue, String> {
    let call = ExtensionCall {
        cell_url: "https://cell.example/",
        method: "m",
        created_with: &[],
        arguments,
        host,
    };
    extension.invoke(&call).await.map_err(|error| {
        let kind = match &error {
            ExtensionError::Refused(_) => "refused",
            ExtensionError::Unavailable(_) => "unavailable",
            ExtensionError::Broken(_) => "broken",
        };
        format!("{kind}: {}", personium_types::error::chain(&error))
    })
}

async fn invoke(extension: &LoadedExtension) -> Result<ExtensionValue, String> {
    invoke_with(extension, &host(), &[]).await
}

#[tokio::test]
async fn honest_extensions_return_each_kind_of_value() {
    let number = 1.5_f64.to_bits();
    let [low, high] = [number & 0xffff_ffff, number >> 32].map(|word| u32::try_from(word).unwrap());
    for (parts, expected) in [
        (returns(0, 0, [0, 0], ""), Ok(ExtensionValue::Absent)),
        (returns(0, 1, [1, 0], ""), Ok(ExtensionValue::Boolean(true))),
        (
            returns(0, 2, [low, high], ""),
            Ok(ExtensionValue::Number(1.5)),
        ),
        (
            content(0, 3, "\u{1f600}".as_bytes()),
            Ok(ExtensionValue::Text("\u{1f600}".to_owned())),
        ),
        (
            content(0, 4, b"[{}]"),
            Ok(ExtensionValue::Json("[{}]".to_owned())),
        ),
        (
            content(0, 5, b"\xff\0"),
            Ok(ExtensionValue::Bytes(vec![0xff, 0])),
        ),
        (content(1, 0, b"no"), Err("refused: no".to_owned())),
    ] {
        let loaded = extension(&parts.extension("extension"), "").unwrap();
        assert_eq!(invoke(&loaded).await, expected);
    }
    // The third argument is a text of two bytes, and the second one the number.
    let checks = Parts::body(&format!(
        "(if (i32.ne (local.get 9) (i32.const 3)) (then unreachable))
         (if (f64.ne (f64.load offset=24 (local.get 8)) (f64.const 2.5)) (then unreachable))
         (if (i32.ne (i32.load offset=44 (local.get 8)) (i32.const 2)) (then unreachable))
         (i32.const {RESULT})"
    ));
    let loaded = extension(&checks.extension("extension"), "").unwrap();
    let arguments = [
        ExtensionValue::Boolean(true),
        ExtensionValue::Number(2.5),
        ExtensionValue::Text("ab".to_owned()),
    ];
    let found = invoke_with(&loaded, &host(), &arguments).await;
    assert_eq!(found, Ok(ExtensionValue::Absent));
    let large = [
        ExtensionValue::Text("x".repeat(1 << 20)),
        ExtensionValue::Absent,
    ];
    let found = invoke_with(&loaded, &host(), &large).await;
    assert!(found.unwrap_err().starts_with("refused: there are more"));
}

#[tokio::test]
async fn extensions_that_trap_loop_allocate_or_lie_are_broken() {
    let endless = "(loop $l (br $l)) unreachable";
    let grows =
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let huge = Parts {
        pages: Some(600),
        ..returns(0, 5, [0, 30 << 20], "")
    };
    let nested = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let mut wrong = Vec::new();
    for (parts, expected) in [
        (Parts::body("unreachable"), "unreachable"),
        (Parts::body(endless), "computed for more than 2 seconds"),
        (Parts::body(grows), "memory_mib"),
        (huge, "fuel"),
        (returns(0, 3, [0x7fff_ff00, 5], ""), "out of bounds"),
        (returns(0, 9, [0, 0], ""), "discriminant"),
        (returns(7, 0, [0, 0], ""), "discriminant"),
        (content(0, 3, b"\xff"), "utf-8"),
        (content(1, 0, b"\xff"), "utf-8"),
        (content(0, 4, b"{'a'"), "its result is not JSON"),
        (content(0, 4, b""), "its result is not JSON"),
        (content(0, 4, nested.as_bytes()), "its result is not JSON"),
        (Parts::body("(i32.const 1025)"), "aligned"),
    ] {
        for kind in [WasmPluginKind::default(), WasmPluginKind::interpreted()] {
            let plugins = Plugins::of_kind(kind);
            plugins.add_extension("x", &parts.extension("extension"), "");
            let found = invoke(&plugins.load_extension("x").unwrap()).await;
            let found = found.unwrap_err();
            if !found.starts_with("broken: failed: ") || !found.contains(expected) {
                wrong.push(format!("{expected}: {found}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let short = extension(
        &Parts::body(endless).extension("extension"),
        "timeout_ms = 10",
    );
    let found = invoke(&short.unwrap()).await.unwrap_err();
    assert!(found.starts_with("unavailable: "), "{found}");
}

#[test]
fn components_of_other_contracts_are_refused() {
    let other_type = component_of(
        &wat::parse_str(r#"(module (func (export "personium:extension/methods@1.0.0#invoke")))"#)
            .unwrap(),
        "package personium:extension@1.0.0; interface methods { invoke: func(); } world w { export methods; }",
        "w",
    );
    let asks = Parts {
        imports: r#"(import "personium:extension/clock@1.0.0" "now" (func $now (result i64)))"#
            .to_owned(),
        ..Parts::default()
    };
    for (component, settings, expected) in [
        (
            Parts::account(b"a", "x").component("plugin"),
            "",
            "it does not export personium:extension/methods@1.0.0",
        ),
        (other_type, "", "type mismatch"),
        (
            asks.extension("extension-with-host"),
            "",
            "clock@1.0.0, which grants does not name",
        ),
        (
            Parts::default().extension("extension"),
            "fields = ['a']",
            "fields are those of authentication plugins",
        ),
    ] {
        let reason = extension(&component, settings).err().unwrap_or_default();
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
}

/// A component that sends a request, and returns the body of the response, or the error.
fn asking(url: &str) -> Vec<u8> {
    let body = format!(
        "(call $send (i32.const 100) (i32.const 3) (i32.const 200) (i32.const {}) (i32.const 0) (i32.const 0)
            (i32.const 100) (i32.const 0) (i32.const 512))
         (if (i32.load8_u (i32.const 512)) (then
            (i32.store (i32.const 1024) (i32.const 1))
            (i32.store (i32.const 1032) (i32.load (i32.const 516)))
            (i32.store (i32.const 1036) (i32.load (i32.const 520))))
          (else
            (i32.store (i32.const 1032) (i32.const 5))
            (i32.store (i32.const 1040) (i32.load (i32.const 528)))
            (i32.store (i32.const 1044) (i32.load (i32.const 532)))))
         (i32.const 1024)",
        url.len()
    );
    let parts = Parts {
        imports: r#"(import "personium:extension/http@1.0.0" "send"
            (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))"#
            .to_owned(),
        fields: format!("{}{}", data(100, b"GET"), data(200, url.as_bytes())),
        ..Parts::body(&body)
    };
    parts.extension("extension-with-host")
}

#[tokio::test]
async fn extensions_send_requests_to_granted_urls_only() {
    let granted = "grants = ['http']\nhttp_urls = ['https://api.example/v1']";
    let service = TestHost::new(Service::Answers("answer"));
    let good = extension(&asking("https://api.example/v1/x"), granted).unwrap();
    let found = invoke_with(&good, &service, &[]).await;
    assert_eq!(found, Ok(ExtensionValue::Bytes(b"answer".to_vec())));
    let other = extension(&asking("https://api.example/v2"), granted).unwrap();
    let found = invoke_with(&other, &service, &[]).await.unwrap_err();
    assert!(found.contains("not granted"), "{found}");
    assert_eq!(service.requests.lock().unwrap().len(), 1);
}
