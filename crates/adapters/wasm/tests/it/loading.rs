//! Components that are loaded, or named as broken with the reason.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use crate::component_text::{Parts, component_of};
use crate::{Plugins, host, log_in, plugin, write};

fn good() -> Vec<u8> {
    Parts::account(b"alice", "x").component("plugin")
}

#[test]
fn files_that_are_no_components_are_refused() {
    let module = wat::parse_str("(module)").unwrap();
    let empty = wat::parse_str("(component)").unwrap();
    let files = component_of(
        &wat::parse_str(r#"(module (import "wasi:filesystem/preopens@0.2.0" "f" (func)))"#)
            .unwrap(),
        "package wasi:filesystem@0.2.0; interface preopens { f: func(); } world w { import preopens; }",
        "w",
    );
    let both = component_of(
        &wat::parse_str(
            r#"(module (import "wasi:sockets/tcp@0.2.0" "f" (func))
              (func (export "personium:authentication/authenticator@1.0.0#f")))"#,
        )
        .unwrap(),
        "package x:y; world w { import wasi:sockets/tcp@0.2.0; export personium:authentication/authenticator@1.0.0; }
         package wasi:sockets@0.2.0 { interface tcp { f: func(); } }
         package personium:authentication@1.0.0 { interface authenticator { f: func(); } }",
        "w",
    );
    let other_type = component_of(
        &wat::parse_str(
            r#"(module (func (export "personium:authentication/authenticator@1.0.0#authenticate")))"#,
        )
        .unwrap(),
        "package personium:authentication@1.0.0; interface authenticator { authenticate: func(); } world w { export authenticator; }",
        "w",
    );
    let mut cut = good();
    cut.truncate(cut.len() / 2);
    let starts = |text: &str| Parts {
        fields: format!("(func $s {text}) (start $s)"),
        ..Parts::default()
    };
    let large = Parts {
        pages: Some(2_000),
        ..Parts::default()
    };
    for (bytes, expected) in [
        (Vec::new(), "it is no component"),
        (b"(component)".to_vec(), "it is no component"),
        (b"\x7fELF\x02\x01\x01".to_vec(), "it is no component"),
        (module, "it is a module of WebAssembly"),
        (
            empty,
            "it does not export personium:authentication/authenticator@1.0.0",
        ),
        (files, "it does not export"),
        (
            both,
            "it imports \"wasi:sockets/tcp@0.2.0\", which plugins cannot have",
        ),
        (other_type, "type mismatch"),
        (cut, "unexpected end"),
        (starts("unreachable").component("plugin"), "unreachable"),
        (
            starts("(loop $l (br $l))").component("plugin"),
            "computed for more than 2 seconds",
        ),
        (large.component("plugin"), "memory_mib"),
    ] {
        let reason = plugin(&bytes, "").err().unwrap_or_default();
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
}

#[tokio::test]
async fn settings_are_checked() {
    for (settings, expected) in [
        ("file = 'x.cwasm'", "ends with .wasm"),
        ("file = '../x.wasm'", "in the folder of plugins"),
        ("file = 'missing.wasm'", "missing.wasm: No such file"),
        ("grants = ['files']", "unknown variant"),
        ("grants = ['http']", "http_urls"),
        ("http_urls = ['https://a.example/']", "http_urls"),
        (
            "grants = ['http']\nhttp_urls = ['http://a.example/']",
            "must begin with https://",
        ),
        (
            "grants = ['http']\nhttp_urls = ['https://a.example/?x']",
            "no query",
        ),
        ("timeout_ms = 0", "timeout_ms"),
        ("timeout_ms = 20001", "timeout_ms"),
        ("memory_mib = 257", "memory_mib"),
        ("other = 1", "unknown field"),
        (
            "[wasm.secret_files]\nkey = 'missing.secret'",
            "missing.secret",
        ),
    ] {
        let reason = plugin(&good(), settings).err().unwrap_or_default();
        assert!(reason.contains(expected), "{expected}: {reason}");
    }
    let plugins = Plugins::new();
    let settings = "[wasm.settings]\nurl = 'u'\n[wasm.secret_files]\nkey = 'x.secret'";
    write(plugins.folder.path(), "x.secret", b"s3cret\n");
    // The value of the second setting is returned as the name: after the pointers of the first field.
    let shown = Parts::body(
        "(i32.store (i32.const 1028) (i32.const 1))
         (i32.store (i32.const 1032) (i32.load offset=24 (local.get 10)))
         (i32.store (i32.const 1036) (i32.load offset=28 (local.get 10)))
         (i32.store (i32.const 1040) (i32.load (local.get 4)))
         (i32.store (i32.const 1044) (i32.load offset=4 (local.get 4)))
         (i32.const 1024)",
    );
    plugins.add("x", &shown.component("plugin"), settings);
    let found = log_in(&plugins.load("x").unwrap(), &host()).await;
    assert_eq!(found, "s3cret of x");
}

#[tokio::test]
async fn components_are_replaced_and_files_that_all_can_change_refused() {
    let plugins = Plugins::new();
    plugins.add("x", &good(), "");
    let before = plugins.opened.fingerprint().unwrap();
    let first = plugins.load("x").unwrap();
    let second = Parts::account(b"bob", "x").component("plugin");
    write(plugins.folder.path(), "new", &second);
    let path = plugins.folder.path().join("x.wasm");
    std::fs::rename(plugins.folder.path().join("new"), &path).unwrap();
    assert_ne!(plugins.opened.fingerprint().unwrap(), before);
    let now = plugins.load("x").unwrap();
    assert_eq!(log_in(&now, &host()).await, "bob of x");
    assert_eq!(log_in(&first, &host()).await, "alice of x");
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let reason = plugins.load("x").err().unwrap();
    assert_eq!(reason, "x.wasm: all users of this machine can change it");
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len((32 << 20) + 1).unwrap();
    let reason = plugins.load("x").err().unwrap();
    assert_eq!(reason, "x.wasm: it has more than 33554432 bytes");
}
