//! Plugins of WebAssembly: built as docs/plugins.md says, in a unit that runs.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use personium_testkit::{PASSWORD, TestClient, text_member};
use serde_json::{Value, json};

use crate::external_programs::plugin_tools;
use crate::plugins::{PluginPlace, block_with};
use crate::program;

/// A language of the page.
pub struct Language {
    pub name: &'static str,
    /// A text of the block with the commands.
    pub command: &'static str,
    /// Its source in the folder `plugins`, which the page links.
    pub source: &'static str,
}

const LANGUAGES: [Language; 4] = [
    Language {
        name: "javascript",
        command: "--js plugins/javascript/sample.js",
        source: "javascript/sample.js",
    },
    Language {
        name: "c",
        command: "clang --target",
        source: "c/sample.c",
    },
    Language {
        name: "rust",
        command: "rustc --target",
        source: "rust/sample.rs",
    },
    Language {
        name: "python",
        command: "componentize-py --wit-path",
        source: "python/sample.py",
    },
];
const TEMPLATES: &str = "../../plugins";
/// The files of that folder that sources need.
const PARTS: [&str; 7] = [
    "wit/authentication.wit",
    "c/personium_component.h",
    "c/personium_plugin.h",
    "c/personium_extension.h",
    "rust/personium_plugin.rs",
    "wit/extension/extension.wit",
    "rust/personium_extension.rs",
];
/// The compiler of Debian, which has the target. That of the project need not have it.
const RUSTC: &str = "/usr/bin/rustc";
/// The time that a unit may take to follow a change of its folder of plugins.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(120);

/// The component that the commands of the page make of a source. What was made of the same files is made once.
pub fn build(language: &Language, source: &str) -> Vec<u8> {
    let [python, node] = plugin_tools();
    let commands = block_with("sh", language.command);
    let mut hasher = DefaultHasher::new();
    let parts = PARTS.map(|part| fs::read(Path::new(TEMPLATES).join(part)).unwrap());
    let lists = [&python, &node].map(|folder| fs::read(folder.join("installed.lock")).unwrap());
    (&commands, source, parts, lists).hash(&mut hasher);
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "plugin-{}-{:016x}.wasm",
        language.name,
        hasher.finish()
    ));
    if let Ok(found) = fs::read(&kept) {
        return found;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for part in PARTS {
        let copy = at("plugins").join(part);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(Path::new(TEMPLATES).join(part), copy).unwrap();
    }
    let file = at("plugins").join(language.source);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, source).unwrap();
    symlink(&python, at("tools")).unwrap();
    symlink(node.join("node_modules"), at("node_modules")).unwrap();
    fs::create_dir(at("bin")).unwrap();
    symlink(RUSTC, at("bin/rustc")).unwrap();
    let path = format!("{}:{}", at("bin").display(), env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.args(["-e", "-c", &commands]).current_dir(&folder);
    command.env("PATH", path);
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", program::text(&output));
    let component = fs::read(at("sample.wasm")).unwrap();
    fs::rename(at("sample.wasm"), &kept)
        .or_else(|_| fs::write(&kept, &component))
        .unwrap();
    component
}

pub fn template(language: &Language) -> String {
    fs::read_to_string(format!("{TEMPLATES}/{}", language.source)).unwrap()
}

/// The tests use the tools that the page installs, in the same versions.
#[test]
fn tools_that_the_page_installs_are_those_of_the_tests() {
    let page = fs::read_to_string("../../docs/plugins.md").unwrap();
    let python = fs::read_to_string("tests/clients/plugin-requirements.txt").unwrap();
    let node = fs::read_to_string("tests/clients/plugins/package.json").unwrap();
    let node: Value = serde_json::from_str(&node).unwrap();
    let mut tools = Vec::new();
    for line in page.lines() {
        if let Some(tool) = line.strip_prefix("tools/bin/pip install ") {
            let pinned = format!("{tool} \\");
            assert!(python.lines().any(|line| line == pinned), "{tool}");
            tools.push(tool);
        }
        if let Some(tool) = line.strip_prefix("npm install ") {
            let (name, version) = tool.split_once('@').unwrap();
            assert_eq!(node["dependencies"][name], version, "{tool}");
            tools.push(tool);
        }
    }
    // Python, Rust, C and JavaScript.
    assert_eq!(tools.len(), 4, "{tools:?}");
}

/// The file of the page for a plugin, with types of this name.
fn description(name: &str) -> String {
    let text =
        block_with("toml", "kind = \"wasm\"").replace("auth:sample", &format!("auth:{name}"));
    // No machine is too slow for the test.
    text.replace(
        "[wasm.settings]",
        "[wasm]\ntimeout_ms = 20000\n[wasm.settings]",
    )
}

/// The answer to a log-in by a plugin.
async fn log_in(unit: &TestClient, name: &str, password: &str) -> (u16, Value) {
    let grant = format!("urn:x-personium:auth:{name}");
    let fields = [
        ("grant_type", grant.as_str()),
        ("sample_account", name),
        ("sample_password", password),
    ];
    let response = unit.request_token("ours", &fields).await;
    (response.status.as_u16(), response.json())
}

/// Waits until a log-in has a status.
async fn log_in_until(unit: &TestClient, name: &str, password: &str, status: u16) {
    let until = Instant::now() + FOLLOW_TIMEOUT;
    loop {
        let found = log_in(unit, name, password).await;
        if found.0 == status {
            return;
        }
        assert!(Instant::now() < until, "{found:?} is not {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn create_account(unit: &TestClient, name: &str) {
    let account = json!({"Name": name, "Type": format!("auth:{name}")});
    unit.create("ours/__ctl/Account", &account.to_string())
        .await;
}

#[tokio::test]
async fn components_of_the_page_log_accounts_in() {
    let place = PluginPlace::new();
    let mut names = Vec::new();
    for language in &LANGUAGES {
        if language.name == "python" {
            // Its component is large: the unit alone compiles it.
            let (status, text) = place.run(&["check"]);
            assert_eq!(status, Some(0), "{text}");
        }
        let component = build(language, &template(language));
        place.write(&format!("{}.wasm", language.name), component);
        place.write(
            &format!("{}.toml", language.name),
            description(language.name),
        );
        names.push(language.name);
    }
    let unit = place.unit();
    unit.create_cell_with_owner("ours").await;
    for name in names {
        create_account(&unit, name).await;
        let (status, answer) = log_in(&unit, name, "personium").await;
        assert_eq!(status, 200, "{name}: {answer}");
        let token = text_member(&answer, "access_token");
        let own = unit.with_token(&token);
        let denied = own.request("GET", "ours/__ctl/Account").send().await;
        assert_eq!(denied.status, 403, "a log-in gives no role");
        let (status, answer) = log_in(&unit, name, "wrong").await;
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_grant")));
        let (status, answer) = log_in(&unit, name, "").await;
        assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")));
        let text = answer["error_description"].as_str().unwrap();
        assert!(text.contains("sample_password are needed"), "{text}");
    }
    assert!(
        !unit.log().contains("sample_password"),
        "no fields are logged"
    );
}

/// Runs a program that must not make memory executable, as `MemoryDenyWriteExecute` of a service does.
const WITHOUT_EXECUTABLE_MEMORY: &str = "\
import ctypes, os, sys
PR_SET_MDWE, REFUSE_EXEC_GAIN = 65, 1
assert ctypes.CDLL(None).prctl(PR_SET_MDWE, REFUSE_EXEC_GAIN, 0, 0, 0) == 0
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn components_are_interpreted_where_memory_must_not_be_executable() {
    let place = PluginPlace::new();
    let c = &LANGUAGES[1];
    place.write("c.wasm", build(c, &template(c)));
    place.write("c.toml", description("c"));
    let settings = place.settings();
    let fields = ["sample_account=alice", "sample_password=personium"];
    let settings = ["--config", settings.to_str().unwrap()];
    let arguments = [&["plugin", "test", "c"][..], &fields, &settings].concat();
    let command = program::command(&arguments);
    let mut python = Command::new("python3");
    python
        .args(["-c", WITHOUT_EXECUTABLE_MEMORY])
        .arg(command.get_program())
        .args(command.get_args());
    let text = program::text(&python.output().unwrap());
    assert_eq!(text, "account alice of type auth:c\n");
}

/// A service on this machine. It answers every request with the name of an account, and hands the requests over.
fn start_service() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 4_096];
            // The body is a list in JSON.
            while !request.ends_with(b"}]") {
                let read = stream.read(&mut chunk).unwrap();
                assert_ne!(read, 0, "the request ends early");
                request.extend_from_slice(&chunk[..read]);
            }
            let request = String::from_utf8(request).unwrap();
            let status = match request.contains("alice") {
                true => "200 OK",
                false => "403 Forbidden",
            };
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: 5\r\nconnection: close\r\n\r\n");
            stream.write_all(format!("{head}alice").as_bytes()).unwrap();
            if sender.send(request).is_err() {
                return;
            }
        }
    });
    (port, requests)
}

#[test]
fn component_asks_a_service_that_the_operator_has_granted() {
    let (port, requests) = start_service();
    let place = PluginPlace::new();
    let language = Language {
        name: "service",
        command: "--world plugin-with-host",
        source: "javascript/service.js",
    };
    place.write("s.wasm", build(&language, &template(&language)));
    let describe = |grants: &str| {
        let granted = format!(
            "grants = [{grants}]\nhttp_urls = ['http://127.0.0.1:{port}/login']\n[wasm.settings]\nurl = 'http://127.0.0.1:{port}/login/x'\n"
        );
        place.write(
            "s.toml",
            description("s").replace("[wasm.settings]\n", &granted),
        );
    };
    describe("'http', 'clock', 'random', 'log'");
    let fields = ["sample_account=alice", "client_secret=hidden"];
    let (status, text) = place.run(&[&["test", "s"][..], &fields].concat());
    assert_eq!(
        (status, text.as_str()),
        (Some(0), "account alice of type auth:s\n")
    );
    let request = requests.recv().unwrap();
    assert!(
        request.starts_with("POST /login/x HTTP/1.1\r\n"),
        "{request}"
    );
    let body = r#"[{"name":"sample_account","value":"alice"}]"#;
    assert!(request.ends_with(body), "{request}");
    let (status, text) = place.run(&["test", "s", "sample_account=bob"]);
    assert_eq!(
        (status, text.as_str()),
        (Some(1), "nobody is authenticated\n")
    );
    describe("'http', 'clock', 'random'");
    let (status, text) = place.run(&["check"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("log@1.0.0, which grants does not name"),
        "{text}"
    );
}

/// Plugins in JavaScript that do harm.
const HOSTILE: [(&str, &str, u16); 6] = [
    ("loop", "for (;;);", 500),
    ("throw", "throw new Error('x');", 500),
    (
        "memory",
        "const all = []; for (;;) all.push(new Array(1e5).fill(all));",
        500,
    ),
    ("recursion", "(function f() { return f() + 1; })();", 500),
    (
        "output",
        "return { name: 'x'.repeat(5e6), accountType: login.accountTypes[0] };",
        500,
    ),
    // It is no name of an account, and so nobody's.
    (
        "name",
        "return { name: 'a\\r\\nb', accountType: login.accountTypes[0] };",
        400,
    ),
];

#[tokio::test]
async fn hostile_components_end_with_codes_while_others_log_in() {
    let place = PluginPlace::new();
    let javascript = &LANGUAGES[0];
    let of_body = |body: &str| {
        let source =
            format!("export const authenticator = {{ authenticate(login) {{ {body} }} }};");
        build(javascript, &source)
    };
    let bodies: String = HOSTILE
        .iter()
        .map(|(name, body, _)| format!("if (login.plugin === '{name}') {{ {body} }}\n"))
        .collect();
    let hostile = of_body(&bodies);
    for (name, ..) in HOSTILE {
        place.write(&format!("{name}.toml"), description(name));
        place.write(&format!("{name}.wasm"), &hostile);
    }
    let unit = place.unit();
    unit.create_cell_with_owner("ours").await;
    unit.create_account("ours", r#"{"Name":"basic"}"#).await;
    let password = [
        ("grant_type", "password"),
        ("username", "basic"),
        ("password", PASSWORD),
    ];
    let client: &TestClient = &unit;
    let calls = HOSTILE.map(|(name, _, expected)| async move {
        let (status, answer) = log_in(client, name, "x").await;
        (name, status, expected, answer)
    });
    let others = async {
        for _ in 0..5 {
            client.request_token("ours", &password).await.expect(200);
        }
    };
    let calls = futures_util::future::join_all(calls);
    let (answers, ()) = tokio::join!(calls, others);
    for (name, status, expected, answer) in answers {
        assert_eq!(status, expected, "{name}: {answer}");
    }
    let log = unit.log();
    for expected in ["computed for more than 2 seconds", "memory_mib", "fuel"] {
        assert!(log.contains(expected), "{expected}: {log}");
    }

    // A component that is dropped in, replaced, broken, and removed.
    follow_component(&place, &unit).await;
}

async fn follow_component(place: &PluginPlace, unit: &TestClient) {
    let of_body = |body: &str| {
        let source = format!(
            "#include \"personium_plugin.h\"\nstatic struct answer authenticate(const struct login *login) {{ {body} }}\n"
        );
        build(&LANGUAGES[1], &source)
    };
    let returns = "return account_of(text_of(\"later\"), login->account_types[0]);";
    place.write("later.wasm", of_body(returns));
    place.write("later.toml", description("later"));
    // Nobody has the type yet.
    log_in_until(unit, "later", "x", 400).await;
    let until = Instant::now() + FOLLOW_TIMEOUT;
    let account = json!({"Name": "later", "Type": "auth:later"}).to_string();
    loop {
        let created = unit
            .admin()
            .request("POST", "ours/__ctl/Account")
            .body(account.as_str());
        let status = created.send().await.status;
        if status == 201 {
            break;
        }
        assert!(Instant::now() < until, "{status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    log_in_until(unit, "later", "x", 200).await;
    place.write(
        "later.wasm",
        of_body("return login->field_count ? refused(ACCESS_DENIED, \"ended\") : nobody();"),
    );
    log_in_until(unit, "later", "x", 401).await;
    place.write("later.wasm", "no component");
    log_in_until(unit, "later", "x", 400).await;
    let (status, text) = place.run(&["check", "later"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("later.wasm: it is no component"), "{text}");
}
