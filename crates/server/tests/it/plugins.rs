//! Authentication plugins: the services of docs/plugins.md, the folder of plugins while a unit runs, and `personium plugin`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use personium_testkit::{ProcessUnit, TestClient, text_member};
use serde_json::{Value, json};

use crate::external_programs::{LocalServer, is_installed, run_python};
use crate::program::{self, logged_after};

const GRANT: &str = "urn:x-personium:auth:sample";
const FIELDS: [(&str, &str); 3] = [
    ("grant_type", GRANT),
    ("sample_account", "alice"),
    ("sample_password", "personium"),
];
/// The time that a unit may take to follow a change of its folder of plugins.
const FOLLOW_TIMEOUT: Duration = Duration::from_secs(60);

/// The first block of a language in docs/plugins.md.
fn block(language: &str) -> String {
    block_with(language, "")
}

/// The first block of a language in docs/plugins.md that contains a text.
pub fn block_with(language: &str, text: &str) -> String {
    let page = fs::read_to_string("../../docs/plugins.md").unwrap();
    let fence = format!("```{language}\n");
    let mut blocks = page
        .split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    let found = blocks.find(|block| block.contains(text));
    found
        .unwrap_or_else(|| panic!("no block with {text}"))
        .to_owned()
}

/// A folder of plugins, and a file with settings that name it.
pub struct PluginPlace {
    folder: tempfile::TempDir,
}

impl PluginPlace {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plugins")).unwrap();
        let place = Self { folder };
        fs::set_permissions(place.path(""), Permissions::from_mode(0o700)).unwrap();
        let setting = format!(
            "io.personium.core.plugin.path={}\n",
            place.path("").display()
        );
        fs::write(place.settings(), setting).unwrap();
        place.write("sample.secret", "3f9a5c7e1b8d2046a7c9e3f5b1d80264");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("plugins").join(name)
    }

    pub fn settings(&self) -> PathBuf {
        self.folder.path().join("unit.properties")
    }

    /// Writes a file as docs/plugins.md says: it is never there in part.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, self.path(name)).unwrap();
    }

    /// Describes a plugin as docs/plugins.md does, with another URL and the longest time.
    fn write_sample(&self, url: &str) {
        let text = block("toml").replace("https://auth.example/login", url);
        assert!(text.contains(url));
        self.write("sample.toml", format!("{text}timeout_ms = 20000\n"));
    }

    pub fn unit(&self) -> ProcessUnit {
        crate::unit()
            .setting("io.personium.core.plugin.path", self.path("").display())
            .start()
    }

    /// Runs `personium plugin`.
    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        self.run_with(arguments, |_| {})
    }

    fn run_with(
        &self,
        arguments: &[&str],
        change: impl FnOnce(&mut Command),
    ) -> (Option<i32>, String) {
        let settings = self.settings();
        let all = [
            &["plugin"],
            arguments,
            &["--config", settings.to_str().unwrap()],
        ]
        .concat();
        let mut command = program::command(&all);
        change(&mut command);
        let output: Output = command.output().unwrap();
        (output.status.code(), program::text(&output))
    }
}

async fn create_accounts(unit: &TestClient) {
    unit.create_cell_with_owner("ours").await;
    for account in [
        json!({"Name": "alice", "Type": "auth:sample"}),
        json!({"Name": "basic"}),
    ] {
        unit.create("ours/__ctl/Account", &account.to_string())
            .await;
    }
}

/// Starts a service of docs/plugins.md.
fn start_service(
    program: &str,
    language: &str,
    place: &PluginPlace,
    tls: Option<&Path>,
) -> LocalServer {
    let name = match language {
        "python" => "sample.py",
        _ => "sample.mjs",
    };
    let file = place.folder.path().join(name);
    fs::write(&file, block(language)).unwrap();
    let mut command = Command::new(program);
    command.arg(file).arg("0").arg(place.path("sample.secret"));
    if let Some(folder) = tls {
        command.env("TLS_CERT", folder.join("service.crt"));
        command.env("TLS_KEY", folder.join("service.key"));
    }
    LocalServer::start(&mut command)
}

/// The status of the log-in as alice, and its error.
async fn log_in(unit: &TestClient, password: &str) -> (u16, Value) {
    let mut fields = FIELDS;
    fields[2].1 = password;
    let response = unit.request_token("ours", &fields).await;
    (response.status.as_u16(), response.json()["error"].clone())
}

/// Waits until the log-in as alice has a status.
async fn log_in_until(unit: &TestClient, status: u16) {
    let until = Instant::now() + FOLLOW_TIMEOUT;
    loop {
        let found = log_in(unit, "personium").await;
        if found.0 == status {
            return;
        }
        assert!(Instant::now() < until, "{found:?} is not {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn services_of_the_page_log_accounts_in() {
    let keys = tempfile::tempdir().unwrap();
    let input = json!({"folder": keys.path(), "units": {"service": "localhost"}});
    run_python("make_keys.py", &input);
    let root = keys.path().join("root.crt");
    for (program, language, tls) in [
        ("python3", "python", None),
        ("node", "javascript", Some(keys.path())),
    ] {
        if !is_installed(program) {
            continue;
        }
        let place = PluginPlace::new();
        let service = start_service(program, language, &place, tls);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{}/", service.port("port"));
        place.write_sample(&url);
        let trust = |command: &mut Command| {
            command.env("SSL_CERT_FILE", &root);
        };
        let (status, text) = place.run_with(&["check"], trust);
        assert_eq!(status, Some(0), "{text}");
        let fields = ["sample_account=alice", "sample_password=personium"];
        let (status, text) = place.run_with(&[&["test", "sample"], &fields[..]].concat(), trust);
        assert_eq!(
            (status, text.as_str()),
            (Some(0), "account alice of type auth:sample\n")
        );

        let unit = crate::unit()
            .setting("io.personium.core.plugin.path", place.path("").display())
            .environment("SSL_CERT_FILE", root.to_str().unwrap())
            .start();
        create_accounts(&unit).await;
        let response = unit.request_token("ours", &FIELDS).await.expect(200);
        let token = text_member(&response.json(), "access_token");
        let denied = unit
            .with_token(&token)
            .request("GET", "ours/__ctl/Account")
            .send()
            .await;
        assert_eq!(denied.status, 403, "a log-in gives no role");
        assert_eq!(log_in(&unit, "wrong").await, (400, json!("invalid_grant")));
        assert_eq!(log_in(&unit, "").await, (400, json!("invalid_request")));
        let mut fields = FIELDS;
        fields[1].1 = "basic";
        unit.request_token("ours", &fields).await.expect(400);

        // The service has another secret.
        place.write("sample.secret", "another secret of the same length");
        let (status, text) = place.run_with(&["check", "sample"], trust);
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains("status 403"), "{text}");
        log_in_until(&unit, 500).await;
        assert!(unit.log().contains("the service answered with status 403"));
        if tls.is_some() {
            // Without its root, the certificate is not trusted, and nothing is sent.
            let (status, text) = place.run(&["check", "sample"]);
            assert_eq!(status, Some(1), "{text}");
            assert!(
                text.contains("certificate") || text.contains("UnknownIssuer"),
                "{text}"
            );
        }
        assert!(
            !unit.log().contains("sample_password"),
            "no fields are logged"
        );
    }
}

#[tokio::test]
async fn folder_of_a_running_unit_is_followed() {
    let place = PluginPlace::new();
    place.write("broken.toml", "kind = 'http'\n");
    place.write("old.jar", "PK");
    let unit = place.unit();
    create_accounts_without_plugin(&unit).await;
    let log = logged_after(&unit, 0, "plugin not loaded").await;
    assert!(
        log.contains("broken") && log.contains("the table [http] is missing"),
        "{log}"
    );
    assert!(log.contains("plugins in Java"), "{log}");
    assert_eq!(
        log_in(&unit, "personium").await,
        (400, json!("unsupported_grant_type"))
    );

    // Dropped into the folder; nobody answers there.
    place.write_sample("http://127.0.0.1:1/");
    log_in_until(&unit, 503).await;
    unit.create(
        "ours/__ctl/Account",
        r#"{"Name":"alice","Type":"auth:sample"}"#,
    )
    .await;

    let (status, text) = place.run(&["list"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(
        text.contains("broken    broken  the table [http] is missing"),
        "{text}"
    );
    assert!(
        text.contains(&format!("enabled   sample  http {GRANT} for auth:sample")),
        "{text}"
    );
    let (status, text) = place.run(&["check", "--json"]);
    assert_eq!(status, Some(1), "{text}");
    let rows: Value = serde_json::from_str(&text).unwrap();
    let states: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["broken", "broken", "failed"]);
    assert!(
        rows[2]["reason"]
            .as_str()
            .unwrap()
            .contains("not available"),
        "{text}"
    );
    let data = tempfile::tempdir().unwrap();
    let (settings, data) = (place.settings(), data.path().to_str().unwrap());
    let settings = settings.to_str().unwrap();
    let output = program::run(&["check", "--config", settings, "--data", data]);
    let text = program::text(&output);
    assert!(
        text.contains("broken: the table [http] is missing"),
        "{text}"
    );
    let (status, text) = place.run(&["test", "sample", "a=b"]);
    assert_eq!(status, Some(1), "{text}");

    assert_eq!(place.run(&["disable", "sample"]).0, Some(0));
    log_in_until(&unit, 400).await;
    let refused = unit
        .admin()
        .request("POST", "ours/__ctl/Account")
        .body(r#"{"Name":"bob","Type":"auth:sample"}"#);
    assert_eq!(refused.send().await.status, 400);
    assert!(place.run(&["list"]).1.contains("disabled  sample"));
    assert_eq!(place.run(&["test", "sample"]).0, Some(1));
    assert_eq!(place.run(&["enable", "sample"]).0, Some(0));
    log_in_until(&unit, 503).await;
    let (status, text) = place.run(&["enable", "other"]);
    assert_eq!(status, Some(1), "{text}");

    // A replaced file that is broken is not used any more, and a removed one neither.
    place.write("sample.toml", "kind = ");
    log_in_until(&unit, 400).await;
    place.write_sample("http://127.0.0.1:1/");
    log_in_until(&unit, 503).await;
    fs::remove_file(place.path("sample.toml")).unwrap();
    log_in_until(&unit, 400).await;
    logged_after(&unit, 0, "plugin removed").await;
    // Password logins were never affected.
    let fields = [
        ("grant_type", "password"),
        ("username", "basic"),
        ("password", personium_testkit::PASSWORD),
    ];
    unit.request_token("ours", &fields).await.expect(200);
}

#[tokio::test]
async fn plugin_whose_reason_to_be_broken_has_passed_is_loaded_though_the_folder_has_not_changed() {
    let place = PluginPlace::new();
    let secret = place.folder.path().join("elsewhere.secret");
    let text = block("toml").replace("sample.secret", secret.to_str().unwrap());
    assert!(text.contains("elsewhere.secret"));
    let text = text.replace("https://auth.example/login", "http://127.0.0.1:1/");
    place.write("sample.toml", text);
    let unit = place.unit();
    logged_after(&unit, 0, "plugin not loaded").await;
    let logged = unit.log().matches("plugin not loaded").count();
    fs::write(&secret, "3f9a5c7e1b8d2046a7c9e3f5b1d80264").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    logged_after(&unit, 0, "authentication plugin loaded").await;
    create_accounts_without_plugin(&unit).await;
    log_in_until(&unit, 503).await;
    // A reason that stays is logged once.
    assert!(unit.log().matches("plugin not loaded").count() <= logged + 1);
}

async fn create_accounts_without_plugin(unit: &TestClient) {
    unit.create_cell_with_owner("ours").await;
    unit.create_account("ours", r#"{"Name":"basic"}"#).await;
}

#[tokio::test]
async fn missing_folder_stops_nothing() {
    let place = PluginPlace::new();
    let missing = place.path("missing");
    let unit = crate::unit()
        .setting("io.personium.core.plugin.path", missing.display())
        .start();
    logged_after(&unit, 0, "the folder of plugins cannot be used").await;
    fs::create_dir(&missing).unwrap();
    fs::set_permissions(&missing, Permissions::from_mode(0o700)).unwrap();
    fs::write(missing.join("x.toml"), "").unwrap();
    logged_after(&unit, 0, "kind is missing").await;
    let settings = format!("io.personium.core.plugin.path={}", missing.display());
    let output = program::run(&["plugin", "check", "-c", &settings]);
    assert_eq!(output.status.code(), Some(1));
    let output = program::run(&["plugin", "check"]);
    assert!(program::text(&output).contains("plugin.path"));
}
