//! Logins by an HTTP plugin whose service is honest, hostile or away.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use personium_model::Settings;
use personium_model::credentials::LoginRateLimit;
use personium_plugin::{HttpPluginKind, PluginFolder, PluginKind, PluginSet};
use personium_testkit::{TestResponse, TestUnit, text_member};
use personium_types::hex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{oauth_error, unit_with_accounts};

const GRANT: &str = "urn:x-personium:auth:test";
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// The way a service treats a request.
enum Reply {
    /// A signed answer with the id of the request.
    Signed(Value),
    /// An answer as it is, with the head after the status line.
    Raw {
        status: u16,
        head: String,
        body: String,
    },
    /// No answer at all.
    Silence,
    /// An answer that never ends.
    Endless,
}

type Behaviour = Box<dyn Fn(&Value) -> Reply + Send>;

/// A service of an operator on a port of this machine.
#[derive(Clone)]
struct Service {
    port: u16,
    behaviour: Arc<Mutex<Behaviour>>,
    /// Head and body of each request.
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

fn sign(kind: &str, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    let tag = hmac::sign(&key, &[kind.as_bytes(), b".", body].concat());
    format!("v1={}", hex::encode(tag.as_ref()))
}

impl Service {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let behaviour: Behaviour = Box::new(|_| Reply::Signed(json!({"account": null})));
        let service = Self {
            port: listener.local_addr().unwrap().port(),
            behaviour: Arc::new(Mutex::new(behaviour)),
            requests: Arc::default(),
        };
        let serving = service.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serving.clone().answer(stream));
            }
        });
        service
    }

    fn behave(&self, behaviour: impl Fn(&Value) -> Reply + Send + 'static) {
        *self.behaviour.lock().unwrap() = Box::new(behaviour);
    }

    /// Answers every request with a signed answer.
    fn always(&self, answer: Value) {
        self.behave(move |_| Reply::Signed(answer.clone()));
    }

    async fn answer(self, mut stream: TcpStream) {
        let Some((head, body)) = read_request(&mut stream).await else {
            return;
        };
        let question: Value = serde_json::from_slice(&body).unwrap();
        let signature = format!("x-personium-signature: {}", sign("request", &body));
        assert!(head.to_lowercase().contains(&signature), "{head}");
        let reply = (self.behaviour.lock().unwrap())(&question);
        self.requests.lock().unwrap().push((head, question.clone()));
        let (status, head, body) = match reply {
            Reply::Signed(mut answer) => {
                let id = &question["id"];
                answer
                    .as_object_mut()
                    .unwrap()
                    .entry("id")
                    .or_insert_with(|| id.clone());
                let body = answer.to_string();
                let signature = sign("answer", body.as_bytes());
                (200, format!("X-Personium-Signature: {signature}\r\n"), body)
            }
            Reply::Raw { status, head, body } => (status, head, body),
            Reply::Silence => return std::future::pending().await,
            Reply::Endless => {
                let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
                let _ = stream.write_all(head.as_bytes()).await;
                let chunk = format!("{:x}\r\n{}\r\n", 4096, " ".repeat(4096));
                while stream.write_all(chunk.as_bytes()).await.is_ok() {}
                return;
            }
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status} X\r\n{head}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}

async fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut read = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let count = stream
            .read(&mut chunk)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        read.extend_from_slice(&chunk[..count]);
        let Some(end) = read.windows(4).position(|w| w == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&read[..end]).into_owned();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.parse::<usize>().ok())?
        });
        let body = &read[end + 4..];
        if body.len() >= length? {
            return Some((head, body.to_vec()));
        }
    }
}

/// The plugins of a folder with one that asks a service. `more` is added to its settings.
fn plugins(port: u16, more: &str, of_http: &str) -> PluginSet {
    let folder = tempfile::tempdir().unwrap();
    let private = || Permissions::from_mode(0o600);
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(path, private()).unwrap();
    };
    write("test.secret", SECRET);
    let text = format!(
        "kind = 'http'\ngrant_type = '{GRANT}'\naccount_types = ['auth:test', 'auth:second']\n{more}\n\
         [http]\nurl = 'http://127.0.0.1:{port}/login'\nsecret_file = 'test.secret'\n{of_http}\n"
    );
    write("test.toml", text.as_bytes());
    let kinds: Vec<Arc<dyn PluginKind>> = vec![Arc::new(HttpPluginKind)];
    let found = PluginFolder::new(folder.path().to_owned(), kinds)
        .load()
        .unwrap();
    let set: PluginSet = found.into_iter().collect();
    assert!(set.find(GRANT).is_some());
    set
}

/// A time that is long enough on every machine.
const PATIENT: &str = "timeout_ms = 20000";

async fn unit_asking(service: &Service, change: impl FnOnce(&mut Settings)) -> TestUnit {
    let unit = unit_with_accounts(change).await;
    unit.model
        .plugins()
        .replace(plugins(service.port, "", PATIENT));
    for json in [
        r#"{"Name":"alice","Type":"auth:test"}"#,
        r#"{"Name":"both","Type":"basic auth:test"}"#,
        r#"{"Name":"second","Type":"auth:second"}"#,
        r#"{"Name":"off","Type":"auth:test","Status":"deactivated"}"#,
        r#"{"Name":"new","Type":"auth:test","Status":"passwordChangeRequired"}"#,
    ] {
        unit.create_account("c", json).await;
    }
    unit.create_account("d", r#"{"Name":"neighbour","Type":"auth:test"}"#)
        .await;
    unit
}

async fn log_in(unit: &TestUnit) -> TestResponse {
    unit.request_token("c", &[("grant_type", GRANT), ("user", "x")])
        .await
}

/// The status of a response with its code.
fn outcome(response: &TestResponse) -> String {
    let body = response.json();
    match body.get("error_description") {
        Some(_) => format!("{} {}", response.status.as_u16(), oauth_error(response)),
        None => format!(
            "{} {}",
            response.status.as_u16(),
            body["code"].as_str().unwrap_or("-")
        ),
    }
}

fn account(name: &str, account_type: &str) -> Value {
    json!({"account": {"name": name, "type": account_type}})
}

#[tokio::test]
async fn named_account_logs_in_only_with_the_returned_type() {
    let service = Service::start().await;
    let unit = unit_asking(&service, |_| {}).await;
    for (name, account_type, expected) in [
        ("alice", "auth:test", "200 -"),
        ("both", "auth:test", "200 -"),
        ("second", "auth:second", "200 -"),
        ("alice", "auth:second", "400 invalid_grant AN-0017"),
        ("me", "auth:test", "400 invalid_grant AN-0017"),
        ("off", "auth:test", "400 invalid_grant AN-0017"),
        ("new", "auth:test", "401 invalid_grant AN-0023"),
        ("Alice", "auth:test", "400 invalid_grant AN-0017"),
        ("", "auth:test", "400 invalid_grant AN-0017"),
        // Accounts of other cells, and names that are none.
        ("neighbour", "auth:test", "400 invalid_grant AN-0017"),
        (
            "http://unit.example/d/#neighbour",
            "auth:test",
            "400 invalid_grant AN-0017",
        ),
        ("../d/neighbour", "auth:test", "400 invalid_grant AN-0017"),
        ("alice\u{0}", "auth:test", "400 invalid_grant AN-0017"),
        ("alice\n", "auth:test", "400 invalid_grant AN-0017"),
        (&"a".repeat(1_024), "auth:test", "400 invalid_grant AN-0017"),
        // A name that no account can have.
        (&"a".repeat(1_025), "auth:test", "500 PR500-PL-0001"),
        // Types that the plugin does not declare.
        ("both", "basic", "500 PR500-PL-0001"),
        ("me", "basic", "500 PR500-PL-0001"),
        ("alice", "", "500 PR500-PL-0001"),
        ("alice", "auth:test auth:second", "500 PR500-PL-0001"),
    ] {
        service.always(account(name, account_type));
        let response = log_in(&unit).await;
        let name = &name[..name.len().min(40)];
        assert_eq!(
            outcome(&response),
            expected,
            "{name} {account_type}: {}",
            response.text()
        );
    }
    service.always(account("alice", "auth:test"));
    let token = text_member(&log_in(&unit).await.json(), "access_token");
    assert!(token.starts_with("AR~"));
    let refresh = text_member(&log_in(&unit).await.json(), "refresh_token");
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.as_str()),
    ];
    assert_eq!(unit.request_token("c", &fields).await.status, 200);
    let fields = [
        ("grant_type", GRANT),
        ("p_target", "http://unit.example/d/"),
    ];
    let response = unit.request_token("c", &fields).await;
    assert!(!text_member(&response.json(), "access_token").starts_with("AR~"));
}

#[tokio::test]
async fn errors_of_the_plugin_become_those_of_oauth() {
    let service = Service::start().await;
    let unit = unit_asking(&service, |_| {}).await;
    for (error, expected) in [
        ("invalid_request", "400 invalid_request PA-0001"),
        ("invalid_client", "400 invalid_client PA-0001"),
        ("invalid_grant", "400 invalid_grant PA-0001"),
        ("invalid_scope", "400 invalid_scope PA-0001"),
        (
            "unsupported_grant_type",
            "400 unsupported_grant_type PA-0001",
        ),
        (
            "unsupported_response_type",
            "400 unsupported_response_type PA-0001",
        ),
        ("unauthorized_client", "401 unauthorized_client PA-0001"),
        ("access_denied", "401 access_denied PA-0001"),
        ("server_error", "500 server_error PA-0001"),
        (
            "temporarily_unavailable",
            "503 temporarily_unavailable PA-0001",
        ),
    ] {
        service
            .always(json!({"error": error, "error_description": "why \"not\"\r\nSet-Cookie: x"}));
        let response = log_in(&unit).await;
        assert_eq!(outcome(&response), expected);
        let is_refusal = response.status.as_u16() < 500;
        let text = text_member(&response.json(), "error_description");
        assert_eq!(text.contains("why notSet-Cookie: x"), is_refusal, "{text}");
        service.always(json!({"error": error}));
        assert_eq!(outcome(&log_in(&unit).await), expected);
    }
    service.always(json!({"account": null}));
    assert_eq!(outcome(&log_in(&unit).await), "400 invalid_grant AN-0017");
    service.always(json!({}));
    assert_eq!(outcome(&log_in(&unit).await), "400 invalid_grant AN-0017");
}

#[tokio::test]
async fn answers_that_break_the_contract_log_nobody_in() {
    let service = Service::start().await;
    let unit = unit_asking(&service, |_| {}).await;
    let good = account("alice", "auth:test");
    let mut both = good.clone();
    both["error"] = json!("access_denied");
    let mut replayed = good.clone();
    replayed["id"] = json!("00000000000000000000000000000000");
    let broken = "500 PR500-PL-0001";
    for answer in [
        both,
        replayed,
        json!({"error": "no_such_error"}),
        json!({"account": {"name": "alice"}}),
        json!({"account": {"name": ["alice"], "type": "auth:test"}}),
        json!({"account": "alice"}),
        json!({"id": 1}),
    ] {
        let shown = answer.to_string();
        service.always(answer);
        assert_eq!(outcome(&log_in(&unit).await), broken, "{shown}");
    }
    // The head and the body of an answer to the request with an id.
    type Forgery = fn(&str, String) -> (u16, String, String);
    let forgeries: [(&str, Forgery, &str); 9] = [
        ("no signature", |_, body| (200, String::new(), body), broken),
        (
            "signature of a request",
            |_, body| (200, sign("request", body.as_bytes()), body),
            broken,
        ),
        (
            "signature of other bytes",
            |_, body| (200, sign("answer", b"{}"), body),
            broken,
        ),
        (
            "no JSON",
            |_, _| (200, sign("answer", b"<html>"), "<html>".into()),
            broken,
        ),
        (
            "deep JSON",
            |_, _| {
                let body = "[".repeat(30_000);
                (200, sign("answer", body.as_bytes()), body)
            },
            broken,
        ),
        (
            "another status",
            |_, body| (201, sign("answer", body.as_bytes()), body),
            broken,
        ),
        (
            "a redirect",
            |_, body| (307, "v1=\r\nLocation: http://127.0.0.1:1/".into(), body),
            broken,
        ),
        (
            "a client error",
            |_, body| (404, sign("answer", body.as_bytes()), body),
            broken,
        ),
        (
            "a server error",
            |_, body| (502, sign("answer", body.as_bytes()), body),
            "503 temporarily_unavailable PA-0001",
        ),
    ];
    for (name, forge, expected) in forgeries {
        service.behave(move |question| {
            let id = question["id"].as_str().unwrap();
            let mut answer = account("alice", "auth:test");
            answer["id"] = json!(id);
            let (status, signature, body) = forge(id, answer.to_string());
            let head = match signature.is_empty() {
                true => String::new(),
                false => format!("X-Personium-Signature: {signature}\r\n"),
            };
            Reply::Raw { status, head, body }
        });
        assert_eq!(outcome(&log_in(&unit).await), expected, "{name}");
    }
    service.always(good);
    assert_eq!(log_in(&unit).await.status, 200);
}

#[tokio::test]
async fn huge_slow_and_missing_services_end_within_limits() {
    let service = Service::start().await;
    let unit = unit_asking(&service, |_| {}).await;
    let unavailable = "503 temporarily_unavailable PA-0001";
    service.behave(|_| Reply::Endless);
    assert_eq!(outcome(&log_in(&unit).await), unavailable);
    service.behave(|question| {
        let mut answer = account("alice", "auth:test");
        answer["id"] = question["id"].clone();
        answer["padding"] = json!(" ".repeat(70_000));
        let body = answer.to_string();
        let head = format!(
            "X-Personium-Signature: {}\r\n",
            sign("answer", body.as_bytes())
        );
        Reply::Raw {
            status: 200,
            head,
            body,
        }
    });
    assert_eq!(outcome(&log_in(&unit).await), unavailable);

    // A call that waits takes the only place. Password logins go on.
    let slow = plugins(service.port, "calls_max = 1", PATIENT);
    unit.model.plugins().replace(slow);
    service.behave(|_| Reply::Silence);
    let waiting = {
        let unit = unit.clone();
        tokio::spawn(async move { log_in(&unit).await })
    };
    let before = service.requests.lock().unwrap().len();
    while service.requests.lock().unwrap().len() == before && !waiting.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    service.always(account("alice", "auth:test"));
    assert_eq!(outcome(&log_in(&unit).await), unavailable);
    let fields = [
        ("grant_type", "password"),
        ("username", "me"),
        ("password", personium_testkit::PASSWORD),
    ];
    assert_eq!(unit.request_token("c", &fields).await.status, 200);
    waiting.abort();
    let _ = waiting.await;
    assert_eq!(log_in(&unit).await.status, 200);

    let hasty = plugins(service.port, "", "timeout_ms = 1");
    unit.model.plugins().replace(hasty);
    service.behave(|_| Reply::Silence);
    assert_eq!(outcome(&log_in(&unit).await), unavailable);
    unit.model.plugins().replace(plugins(1, "", PATIENT));
    assert_eq!(outcome(&log_in(&unit).await), unavailable);
    // The plugin is removed.
    unit.model.plugins().replace(PluginSet::default());
    assert_eq!(
        outcome(&log_in(&unit).await),
        "400 unsupported_grant_type AN-0001"
    );
}

#[tokio::test]
async fn service_gets_the_fields_of_the_form() {
    let service = Service::start().await;
    let unit = unit_asking(&service, |_| {}).await;
    let form = [
        ("grant_type", GRANT),
        ("user", "alice"),
        ("user", "bob"),
        ("empty", ""),
        ("quote", "\"},\u{e9}\u{0}"),
        ("scope", "root"),
    ];
    let last = || service.requests.lock().unwrap().last().cloned().unwrap();
    unit.request_token("c", &form).await;
    let (_, body) = last();
    let expected = json!({
        "grant_type": [GRANT], "user": ["alice", "bob"], "empty": [""], "quote": ["\"},\u{e9}\u{0}"],
        "scope": ["root"],
    });
    assert_eq!(body["fields"], expected);
    assert_eq!(body["cell"], "http://unit.example/c/");
    assert_eq!(
        (&body["plugin"], &body["grant_type"]),
        (&json!("test"), &json!(GRANT))
    );
    assert_eq!(body["version"], 1);
    assert_eq!(body["time"], unit.model.now_ms() / 1_000);
    unit.request_token("c", &form).await;
    assert_ne!(last().1["id"], body["id"]);

    let only_user = plugins(service.port, "", &format!("{PATIENT}\nfields = ['user']"));
    unit.model.plugins().replace(only_user);
    unit.request_token("c", &form).await;
    assert_eq!(last().1["fields"], json!({"user": ["alice", "bob"]}));

    let count = service.requests.lock().unwrap().len();
    let long = "x".repeat(300_000);
    let too_long = unit
        .request_token("c", &[("grant_type", GRANT), ("x", &long)])
        .await;
    assert_eq!(outcome(&too_long), "400 invalid_request PA-0001");
    let mut many = vec![("grant_type", GRANT)];
    many.resize(201, ("x", ""));
    let too_many = unit.request_token("c", &many).await;
    assert_eq!(outcome(&too_many), "400 invalid_request PA-0001");
    assert_eq!(
        service.requests.lock().unwrap().len(),
        count,
        "the service is not asked"
    );
}

#[tokio::test]
async fn account_types_of_loaded_plugins_are_accepted() {
    let service = Service::start().await;
    let unit = unit_asking(&service, |_| {}).await;
    let create = async |name: &str, account_type: &str| {
        let body = json!({"Name": name, "Type": account_type}).to_string();
        unit.admin()
            .request("POST", "c/__ctl/Account")
            .body(body)
            .send()
            .await
            .status
            .as_u16()
    };
    assert_eq!(create("a1", "auth:second basic auth:test").await, 201);
    assert_eq!(create("a2", "auth:third").await, 400);
    assert_eq!(create("a2", "auth:test auth:test").await, 400);
    unit.model.plugins().replace(PluginSet::default());
    assert_eq!(create("a2", "auth:test").await, 400);
}

#[tokio::test]
async fn refused_logins_count_for_the_address_and_failures_do_not() {
    let service = Service::start().await;
    let unit = unit_asking(&service, |settings| {
        settings.auth.login_rate_limit = LoginRateLimit {
            burst: 3,
            per_minute: 1,
        };
    })
    .await;
    service.behave(|_| Reply::Raw {
        status: 500,
        head: String::new(),
        body: String::new(),
    });
    for _ in 0..5 {
        assert_eq!(
            outcome(&log_in(&unit).await),
            "503 temporarily_unavailable PA-0001"
        );
    }
    service.always(json!({"account": null}));
    assert_eq!(outcome(&log_in(&unit).await), "400 invalid_grant AN-0017");
    service.always(json!({"error": "access_denied"}));
    assert_eq!(outcome(&log_in(&unit).await), "401 access_denied PA-0001");
    service.always(account("nobody", "auth:test"));
    assert_eq!(outcome(&log_in(&unit).await), "400 invalid_grant AN-0017");
    service.always(account("alice", "auth:test"));
    let count = service.requests.lock().unwrap().len();
    let response = log_in(&unit).await;
    assert_eq!(
        text_member(&response.json(), "error"),
        "temporarily_unavailable"
    );
    assert_eq!(
        service.requests.lock().unwrap().len(),
        count,
        "the service is not asked"
    );
    unit.advance_clock(61_000);
    assert_eq!(log_in(&unit).await.status, 200);
}
