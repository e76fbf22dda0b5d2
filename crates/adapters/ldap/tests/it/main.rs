//! The plugin against a real directory, and against servers that are hostile.

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

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use personium_ldap::LdapPluginKind;
use personium_plugin::{
    BoxError, LoadedPlugin, PluginCall, PluginError, PluginFolder, PluginHost, PluginKind,
    PluginState,
};
use personium_testkit::{DIRECTORY_BASE, READER_PASSWORD, Slapd};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A host that must not be used.
struct NoHost;

#[async_trait]
impl PluginHost for NoHost {
    async fn send(&self, _: Request<Bytes>, _: usize) -> Result<Response<Bytes>, BoxError> {
        panic!("no HTTP")
    }

    fn now_ms(&self) -> i64 {
        0
    }

    fn monotonic(&self) -> Instant {
        Instant::now()
    }

    fn new_id(&self) -> String {
        String::new()
    }

    fn fill_random(&self, _: &mut [u8]) -> Result<(), BoxError> {
        panic!("no randomness")
    }
}

const STAFF: &str = "(&(employeeType=staff)(uid={username}))";

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// A plugin with these settings. The time for a login is long enough on every machine, unless they have another.
fn plugin(settings: &str) -> (TempDir, Arc<LoadedPlugin>) {
    let folder = tempfile::tempdir().unwrap();
    let timeout = if settings.contains("timeout_ms") {
        ""
    } else {
        "timeout_ms = 20000"
    };
    let text = format!(
        "kind = 'ldap'\ngrant_type = 'urn:x:ldap'\naccount_types = ['ldap']\n[ldap]\n{settings}\n{timeout}\n"
    );
    write(folder.path(), "reader.secret", READER_PASSWORD);
    write(folder.path(), "wrong.secret", "wrong");
    write(folder.path(), "x.toml", &text);
    let kinds: Vec<Arc<dyn PluginKind>> = vec![Arc::new(LdapPluginKind)];
    let found = PluginFolder::new(folder.path().to_owned(), kinds)
        .load()
        .unwrap();
    match found.into_iter().next().unwrap().state {
        PluginState::Loaded(plugin) => (folder, plugin),
        PluginState::Broken(reason) => panic!("{reason}: {text}"),
        PluginState::Extension(_) | PluginState::Disabled => panic!("no plugin"),
    }
}

/// The settings of a search in a directory.
fn search(directory: &Slapd, url: &str, filter: &str) -> String {
    format!(
        "url = '{url}'\nca_file = '{}'\nbase = '{DIRECTORY_BASE}'\nfilter = '{filter}'\nname_attribute = 'UID'\n\
         search_dn = 'cn=reader,{DIRECTORY_BASE}'\nsearch_password_file = 'reader.secret'",
        directory.ca_file().display()
    )
}

/// The outcome of a log-in: the name of the account, `nobody`, or the error.
async fn log_in(plugin: &LoadedPlugin, user: &str, password: &str) -> String {
    let fields = [
        ("username".to_owned(), user.to_owned()),
        ("password".to_owned(), password.to_owned()),
    ];
    let call = PluginCall {
        cell_url: "https://cell.example/",
        fields: &fields,
        host: &NoHost,
    };
    match plugin.authenticate(&call).await {
        Ok(Some(identity)) => {
            assert_eq!(identity.account_type, "ldap");
            identity.name
        }
        Ok(None) => "nobody".to_owned(),
        Err(error) => text(&error),
    }
}

fn text(error: &PluginError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

async fn probe(plugin: &LoadedPlugin) -> Result<(), String> {
    let call = PluginCall {
        cell_url: "https://cell.example/",
        fields: &[],
        host: &NoHost,
    };
    plugin.probe(&call).await.map_err(|error| text(&error))
}

#[tokio::test]
async fn users_of_a_directory_log_in_by_search_and_bind() {
    let Some(directory) = Slapd::start() else {
        return;
    };
    for url in [directory.url(), directory.tls_url()] {
        let (_folder, plugin) = plugin(&search(&directory, &url, STAFF));
        assert_eq!(probe(&plugin).await, Ok(()));
        for (user, password, expected) in [
            ("alice", "alice-password", "alice"),
            // The account is named by the attribute, however the user spells it.
            ("ALICE", "alice-password", "alice"),
            ("alice", "Alice-password", "nobody"),
            ("alice", "bob-password", "nobody"),
            ("alice", &"x".repeat(2_000), "nobody"),
            ("alice", "alice-password\0", "nobody"),
            ("nopassword", "x", "nobody"),
            // Whoever does not know the password does not learn that there is such a user.
            ("two", "x", "nobody"),
            ("nobody", "x", "nobody"),
            // Bob is not of the staff.
            ("bob", "bob-password", "nobody"),
        ] {
            assert_eq!(log_in(&plugin, user, password).await, expected, "{user}");
        }
        let two = log_in(&plugin, "two", "two-password").await;
        assert!(two.contains("has not one value of UID"), "{two}");
    }
}

#[tokio::test]
async fn empty_passwords_and_injected_filters_log_nobody_in() {
    let Some(directory) = Slapd::start() else {
        return;
    };
    let (_folder, by_search) = plugin(&search(&directory, &directory.tls_url(), STAFF));
    let (_folder2, by_name) = plugin(&format!(
        "url = '{}'\nca_file = '{}'\nbind_dn = 'uid={{username}},ou=people,{DIRECTORY_BASE}'",
        directory.tls_url(),
        directory.ca_file().display()
    ));
    // This directory lets everybody bind with a name and no password.
    for plugin in [&by_search, &by_name] {
        let refused = log_in(plugin, "alice", "").await;
        assert!(refused.starts_with("invalid_request"), "{refused}");
        let refused = log_in(plugin, "", "alice-password").await;
        assert!(refused.starts_with("invalid_request"), "{refused}");
        for user in [
            "*",
            "a*",
            "alice)(uid=*",
            "*)(uid=*))(|(uid=*",
            "bob)(|(employeeType=guest)",
            "alice\\2a",
            "alice,ou=people",
            "bob,ou=people,dc=corp,dc=example",
            "alice\0",
            "alice ",
            " alice",
            "\u{ff41}lice",
            &"a".repeat(200),
        ] {
            for password in ["alice-password", "bob-password"] {
                assert_eq!(log_in(plugin, user, password).await, "nobody", "{user}");
            }
        }
    }
    assert_eq!(log_in(&by_name, "Alice", "alice-password").await, "alice");
    assert_eq!(log_in(&by_name, "bob", "bob-password").await, "bob");
    assert_eq!(log_in(&by_name, "bob", "alice-password").await, "nobody");
    assert_eq!(probe(&by_name).await, Ok(()));
    // Two entries have this address, so it names nobody.
    let by_mail = search(&directory, &directory.tls_url(), "(mail={username})");
    let (_folder, by_mail) = plugin(&by_mail);
    let refused = log_in(&by_mail, "alice@corp.example", "alice-password").await;
    assert_eq!(refused, "nobody");
    let unknown = log_in(&by_mail, "nobody@corp.example", "alice-password").await;
    assert_eq!(refused, unknown);
    assert_eq!(probe(&by_mail).await, Ok(()));
    // A filter that everybody matches is found by the check.
    let any = search(
        &directory,
        &directory.tls_url(),
        "(|(objectClass=person)(uid={username}))",
    );
    let (_folder, any) = plugin(&any);
    let problem = probe(&any).await.unwrap_err();
    assert!(problem.contains("several entries"), "{problem}");
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_that_is_not_the_directory() {
    let Some(directory) = Slapd::start() else {
        return;
    };
    let good = search(&directory, &directory.url(), STAFF);
    let other = tempfile::tempdir().unwrap();
    let made = std::process::Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout k -out c -days 30 -subj /CN=other".split(' '))
        .current_dir(other.path())
        .output()
        .unwrap();
    assert!(made.status.success());
    let other_root = other.path().join("c");
    let with_root = |root: &Path| {
        let ca_file = directory.ca_file();
        good.replace(ca_file.to_str().unwrap(), root.to_str().unwrap())
    };
    for settings in [
        // A certificate of another authority, and one for another name.
        with_root(&other_root),
        good.replace("localhost", "127.0.0.1"),
        good.replace(&directory.url(), &directory.tls_url())
            .replace("localhost", "127.0.0.1"),
    ] {
        let (_folder, plugin) = plugin(&settings);
        let refused = log_in(&plugin, "alice", "alice-password").await;
        assert!(
            refused.contains("not available") && refused.contains("certificate"),
            "{refused}"
        );
        assert!(probe(&plugin).await.is_err());
    }
    // The directory refuses passwords in clear, and the password of the reader may be wrong.
    let (_folder, clear) = plugin(&format!("{good}\nstart_tls = false"));
    let refused = log_in(&clear, "alice", "alice-password").await;
    assert!(refused.contains("result code 13"), "{refused}");
    let (_folder, wrong) = plugin(&good.replace("reader.secret", "wrong.secret"));
    let refused = probe(&wrong).await.unwrap_err();
    assert!(
        refused.contains("bind of search_dn: result code 49"),
        "{refused}"
    );

    // A directory that has stopped.
    let (_folder, hasty) = plugin(&format!("{good}\ntimeout_ms = 300"));
    directory.pause();
    let refused = log_in(&hasty, "alice", "alice-password").await;
    directory.resume();
    assert!(refused.starts_with("not available"), "{refused}");
    let (_folder, patient) = plugin(&good);
    assert_eq!(log_in(&patient, "alice", "alice-password").await, "alice");
}

/// A server that answers every message with these bytes, over and over if they are to be endless.
async fn hostile_server(answer: Vec<u8>, is_endless: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut read = [0; 4096];
                while stream.read(&mut read).await.is_ok_and(|count| count > 0) {
                    while stream.write_all(&answer).await.is_ok() && is_endless {}
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn hostile_servers_end_a_login_and_nothing_else() {
    let mut nested = Vec::new();
    for _ in 0..20_000 {
        let length = u32::try_from(nested.len()).unwrap().to_be_bytes();
        nested = [&[0x30, 0x84], &length[..], &nested].concat();
    }
    let bind_success = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
    let answers: [(&str, Vec<u8>, bool); 9] = [
        ("nothing", Vec::new(), false),
        (
            "no LDAP",
            b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
            false,
        ),
        ("deep nesting", nested, false),
        ("a huge length", b"\x30\x84\x7f\xff\xff\xff".to_vec(), false),
        ("an empty message", b"\x30\x00".to_vec(), false),
        (
            "a message without an operation",
            b"\x30\x03\x02\x01\x01".to_vec(),
            false,
        ),
        (
            "an answer without a result",
            b"\x30\x05\x02\x01\x01\x61\x00".to_vec(),
            false,
        ),
        (
            "an unknown operation",
            b"\x30\x05\x02\x01\x01\x7e\x00".to_vec(),
            false,
        ),
        (
            "messages without end",
            b"\x30\x0c\x02\x01\x09\x61\x07\x0a\x01\x00\x04\x00\x04\x00".to_vec(),
            true,
        ),
    ];
    for start_tls in [true, false] {
        for (name, answer, is_endless) in answers.clone() {
            let port = hostile_server(answer, is_endless).await;
            let (_folder, plugin) = plugin(&format!(
                "url = 'ldap://127.0.0.1:{port}'\nstart_tls = {start_tls}\ntimeout_ms = 1000\nbind_dn = 'uid={{username}}'"
            ));
            let refused = log_in(&plugin, "alice", "x").await;
            let is_failure = refused.starts_with("not available") || refused.starts_with("failed");
            assert!(is_failure, "{name} {start_tls}: {refused}");
        }
    }
    // It agrees to everything, but has no certificate.
    let agrees = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00".to_vec();
    let port = hostile_server(agrees, false).await;
    let settings = format!("url = 'ldap://127.0.0.1:{port}'\nbind_dn = 'uid={{username}}'");
    let (_folder, agreed) = plugin(&settings);
    let refused = log_in(&agreed, "alice", "x").await;
    assert!(refused.starts_with("not available"), "{refused}");
    // A search that returns an entry without a name.
    let entry = b"\x30\x10\x02\x01\x01\x64\x0b\x04\x00\x30\x07\x30\x05\x04\x01x\x31\x00";
    let done = b"\x30\x0c\x02\x01\x01\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
    let port = hostile_server([&entry[..], &done[..]].concat(), false).await;
    let (_folder, unnamed) = plugin(&format!(
        "url = 'ldap://127.0.0.1:{port}'\nstart_tls = false\nbase = ''\nfilter = '(x={{username}})'\nname_attribute = 'x'"
    ));
    let refused = log_in(&unnamed, "alice", "x").await;
    assert!(refused.contains("an entry without a name"), "{refused}");
    // The tests above fail if the answer to a bind is not one that is accepted otherwise.
    let port = hostile_server(bind_success.to_vec(), false).await;
    let (_folder, honest) = plugin(&format!(
        "url = 'ldap://127.0.0.1:{port}'\nstart_tls = false\nbind_dn = 'uid={{username}}'"
    ));
    assert_eq!(log_in(&honest, "alice", "x").await, "alice");
}
