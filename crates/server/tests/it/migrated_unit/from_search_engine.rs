//! A unit is read from its search engine: despite failures, also after interruptions, with user and TLS, with changes since.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use flate2::read::GzDecoder;
use personium_testkit::{
    Disturbance, OnDrop, Process, S3Proxy, artifacts_folder, expect_recorded_answers, free_port,
};
use serde_json::{Value, json};

use super::original::{Original, cell_id, outcome};
use super::search_engine::SearchEngine;
use super::{cells, get, login};
use crate::program;

/// The settings of the unit of the reference that its answers depend on.
const SETTINGS: &str = "io.personium.core.security.auth.password.salt=voAbizvF\n\
    io.personium.core.odata.links.NtoN.maxnum=40\nio.personium.core.dav.childresource.maxnum=20\n\
    io.personium.core.dav.depth.maxnum=5\n";
/// The time after which the search engine is killed at the latest.
const KILL_SECONDS: u32 = 180;

/// The mapping of the indexes of an [`Original`].
fn mapping(_: &str) -> Value {
    json!({"dynamic": false, "properties": {"p": {"type": "long"}}})
}

/// Counts the requests that it is asked about, and acts at one of them.
fn at(
    number: usize,
    part: &'static str,
    act: impl Fn() + Send + 'static,
) -> impl Fn(&http::Method, &http::Uri) -> bool + Send + 'static {
    let seen = AtomicUsize::new(0);
    move |_, uri| {
        if uri.to_string().contains(part) && seen.fetch_add(1, Ordering::Relaxed) + 1 == number {
            act();
        }
        false
    }
}

/// Whether a request is for a part of a path.
fn of(part: &'static str) -> impl Fn(&http::Method, &http::Uri) -> bool + Send + 'static {
    move |_, uri| uri.to_string().contains(part)
}

/// Nginx with TLS and a user in front of a search engine.
struct Guard {
    _process: Process,
    folder: tempfile::TempDir,
    port: u16,
}

impl Guard {
    fn start(engine: &SearchEngine) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let at = folder.path().display().to_string();
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            command
                .args(arguments.split(' '))
                .current_dir(folder.path());
            let made = command.output().unwrap();
            assert!(made.status.success(), "{}", program::text(&made));
            String::from_utf8(made.stdout).unwrap()
        };
        openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=engine -keyout e.key -out e.crt \
             -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE",
        );
        let hash = openssl("passwd -apr1 engine-pass");
        fs::write(folder.path().join("users"), format!("reader:{hash}")).unwrap();
        fs::write(folder.path().join("password"), "engine-pass\n").unwrap();
        fs::write(folder.path().join("wrong"), "another-pass\n").unwrap();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {at}/{kind};"))
            .collect();
        let configuration = format!(
            "daemon off; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
             http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {at}/e.crt;\n\
             ssl_certificate_key {at}/e.key; auth_basic engine; auth_basic_user_file {at}/users;\n\
             location / {{ proxy_pass http://{}; }} }} }}\n",
            engine.address()
        );
        fs::write(folder.path().join("nginx.conf"), configuration).unwrap();
        let program = Path::new("/usr/sbin/nginx");
        let program = if program.exists() {
            program
        } else {
            Path::new("nginx")
        };
        let mut nginx = Command::new(program);
        nginx
            .args(["-e", &format!("{at}/error.log"), "-p", &at, "-c"])
            .arg(folder.path().join("nginx.conf"))
            .stderr(Stdio::null());
        // The workers run as another user, which reads the list of users.
        let mode = Command::new("chmod").args(["-R", "a+rX", &at]).status();
        assert!(mode.unwrap().success());
        let process = Process::listen(&mut nginx, port, OnDrop::Terminate)
            .unwrap()
            .0;
        Self {
            _process: process,
            folder,
            port,
        }
    }

    fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn unit_is_read_from_a_failing_search_engine() {
    let mut original = Original::new(6);
    // More entities than a window of the later run has, created one after the other.
    for number in 100..140 {
        original.add_entity(1, number, "1.5");
        original.documents.last_mut().unwrap()["_source"]["p"] =
            json!(1_600_000_000_000 + number as i64);
    }
    let engine = SearchEngine::start();
    engine.load(&original.documents, mapping);
    // Other units, of which one has a prefix that begins like that of this one.
    let other = |index: &str, source: Value| json!({"_index": index, "_id": cell_id(70), "_version": 1, "_source": source});
    let cell = json!({"type": "Cell", "p": 1, "u": 1, "s": {"Name": "other"}});
    let account =
        json!({"type": "Account", "c": cell_id(70), "p": 1, "u": 1, "s": {"Name": "other"}});
    let others = [
        other("u1_ad.cell", cell.clone()),
        other("u0_b_ad.cell", cell),
        other("u0_b_anon.account", account),
    ];
    engine.load(&others, mapping);
    let proxy = S3Proxy::start(&engine.address()).await;

    wrong_addresses_are_refused(&original, &proxy.url());
    killed_run_goes_on(&original, &proxy);

    // It goes on despite all of this, and reads nothing again that it has.
    proxy.disturb(2, Disturbance::Status(429, "busy"), of("/_cat/indices"));
    proxy.disturb(1, Disturbance::Status(503, "starting"), of("/_count"));
    proxy.disturb(1, Disturbance::LoseResponse, of("/_search/scroll"));
    proxy.disturb(1, Disturbance::CutResponse(20), of("/_search?scroll"));
    proxy.disturb(1, Disturbance::CutRequest, of("/_search/scroll"));
    let ends_scrolls = engine.clone();
    let all_scrolls = "/_search/scroll/_all";
    proxy.disturb(
        1,
        Disturbance::CutRequest,
        at(4, "/_search/scroll", move || {
            ends_scrolls.call("DELETE", all_scrolls, "");
        }),
    );
    let killed = engine.clone();
    proxy.disturb(
        1,
        Disturbance::CutRequest,
        at(6, "/_search?scroll", move || killed.kill()),
    );
    let again = engine.clone();
    let restart = thread::spawn(move || {
        for _ in 0..KILL_SECONDS * 50 {
            if again.is_killed() {
                return again.start_again();
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    // Windows of 40 documents.
    let (status, text) = original.migrate_from(&proxy.url(), &["--page", "1"]);
    restart.join().unwrap();
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("Cells: 6 taken over, 0 unchanged"), "{text}");
    let requests = proxy.take_requests();
    let read_again = requests
        .iter()
        .find(|request| request.contains("u0_ad.cell/_search"));
    assert_eq!(read_again, None);
    let foreign = requests.iter().find(|request| request.contains("u0_b_"));
    assert_eq!(foreign, None);
    let windows = requests
        .iter()
        .filter(|request| request.contains("userdata/_search?scroll"));
    assert!(windows.count() >= 2, "{requests:#?}");

    changes_are_taken_over(&original, &engine, &proxy).await;
}

fn wrong_addresses_are_refused(original: &Original, url: &str) {
    let settings = fs::read_to_string(original.path("unit.properties")).unwrap();
    let wrong = format!("{settings}io.personium.core.es.unitPrefix=u7\n");
    fs::write(original.path("wrong.properties"), wrong).unwrap();
    let data = original.path("wrong");
    let run = |settings: &str, url: &str| {
        let mut command = program::command(&["migrate", "--documents", url, "--from"]);
        command
            .arg(original.path(settings))
            .arg("--data")
            .arg(&data);
        outcome(&command.output().unwrap())
    };
    let (status, text) = run("wrong.properties", url);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("has no index u7_ad.cell; it has units with the prefixes u0, u0_b, u1"),
        "{text}"
    );
    let (status, text) = run("wrong.properties", "http://me:pass@127.0.0.1:1");
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("--password-file") && !text.contains("pass@"),
        "{text}"
    );
}

/// A run is killed in the middle of an index, and the unit does not start.
fn killed_run_goes_on(original: &Original, proxy: &S3Proxy) {
    let id = Arc::new(AtomicU32::new(0));
    let known = Arc::clone(&id);
    let kill = move || {
        while known.load(Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        program::signal(known.load(Ordering::Relaxed), "KILL");
    };
    proxy.disturb(1, Disturbance::CutRequest, at(10, "/_search/scroll", kill));
    let mut command = original.command_from(&proxy.url(), &["--page", "1"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    id.store(child.id(), Ordering::Relaxed);
    assert!(!child.wait().unwrap().success());
    proxy.calm();
    let first = proxy.take_requests();
    assert!(
        first
            .iter()
            .any(|request| request.contains("u0_ad.cell/_search")),
        "{first:?}"
    );
    let data = original.data().display().to_string();
    assert!(!program::run(&["serve", "--data", &data]).status.success());
}

/// The last pass reads the index that has changed, by TLS, and is refused as long as the original changes.
async fn changes_are_taken_over(original: &Original, engine: &SearchEngine, proxy: &S3Proxy) {
    proxy.calm();
    let mut changed = Original::new(6);
    let removed = changed
        .documents
        .iter()
        .rposition(|document| document["_source"]["s"]["__id"] == "e2");
    engine.remove(&changed.documents.remove(removed.unwrap()));
    changed.add_entity(0, 9, "9.5");
    engine.add(&changed.documents[changed.documents.len() - 1..]);
    let writes = engine.clone();
    let late = changed.documents[0].clone();
    let act = at(1, "/_search?scroll", move || {
        let mut late = late.clone();
        late["_version"] = json!(50);
        writes.add(&[late]);
    });
    proxy.disturb(1, Disturbance::CutRequest, act);
    let (status, text) = original.migrate_from(&proxy.url(), &["--finish"]);
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("the index u0_ad.cell has changed while"),
        "{text}"
    );

    let guard = Guard::start(engine);
    let (url, ca) = (guard.url(), guard.path("e.crt"));
    let trusted = ["--ca", &*ca, "--verify", "--finish"];
    let (status, text) = original.migrate_from(&url, &trusted);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("answers 401"), "{text}");
    let wrong = guard.path("wrong");
    let user = ["--user", "reader", "--password-file"];
    let (status, text) = original.migrate_from(&url, &[&trusted[..], &user, &[&*wrong]].concat());
    assert_eq!(status, Some(1), "{text}");
    assert!(
        text.contains("answers 401") && !text.contains("another-pass"),
        "{text}"
    );
    let password = guard.path("password");
    let (status, text) =
        original.migrate_from(&url, &[&trusted[..], &user, &[&*password]].concat());
    assert_eq!(status, Some(0), "{text}");
    // The index of entities was read by the run that was refused.
    let indexes = original
        .documents
        .iter()
        .map(|document| document["_index"].as_str().unwrap());
    let indexes = indexes.collect::<std::collections::BTreeSet<_>>().len();
    let expected = format!("indexes: 1 read, {} unchanged", indexes - 1);
    assert!(text.contains(&expected), "{text}");
    assert!(text.contains("Cells: 2 taken over, 4 unchanged"), "{text}");

    let unit = original.start();
    assert_eq!(cells(&unit).await.len(), 6);
    login(&unit, "cell3").await;
    let entities = get(&unit, "/cell0/b/data/Item?$format=json").await;
    assert!(entities.contains("9.5"), "{entities}");
    let entities = get(&unit, "/cell5/b/data/Item?$format=json").await;
    assert!(
        !entities.contains("\"e2\"") && entities.contains("\"e1\""),
        "{entities}"
    );
}

/// The unit of the reference, with the mappings that it had there. It is beside the project; without it the test does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_of_the_reference_is_read_from_elasticsearch_with_its_answers() {
    let Some(artifacts) = artifacts_folder() else {
        return;
    };
    let read = |name: &str| {
        let mut text = String::new();
        let file = fs::File::open(artifacts.join(name)).unwrap();
        std::io::Read::read_to_string(&mut GzDecoder::new(file), &mut text).unwrap();
        text
    };
    let indices: Value = serde_json::from_str(&read("es_indices.json.gz")).unwrap();
    let documents = read("es_documents.ndjson.gz");
    let documents: Vec<Value> = documents
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let engine = SearchEngine::start();
    engine.load(&documents, |index| {
        indices["indices"][index]["mappings"].clone()
    });

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(artifacts.join("filetree.tar.gz"))
        .arg("-C")
        .arg(folder.path())
        .status();
    assert!(unpacked.unwrap().success());
    fs::create_dir_all(path("unit/data")).unwrap();
    let settings = format!(
        "{SETTINGS}io.personium.core.pathBasedCellUrl.enabled=true\nio.personium.core.masterToken=none\n\
         io.personium.core.security.secret16=0123456789abcdef\n"
    );
    fs::write(path("unit/data/personium-unit-config.properties"), settings).unwrap();
    let mut command = program::command(&["migrate", "--verify", "--finish", "--page", "5"]);
    command
        .args(["--documents", &format!("http://{}", engine.address())])
        .arg("--from")
        .arg(artifacts.join("unit.properties"))
        .arg("--tree")
        .arg(folder.path())
        .arg("--data")
        .arg(path("unit/data"));
    let (status, text) = outcome(&command.output().unwrap());
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("2498 documents read. Cells: 11 taken over, 0 unchanged, 0 removed, 0 failed, 0 different"), "{text}");
    assert!(
        text.contains("433 entities, the checksums of 23 files"),
        "{text}"
    );
    drop(engine);

    let unit = crate::unit()
        .settings(SETTINGS)
        .folder(&path("unit"))
        .start();
    expect_recorded_answers(&unit).await;
}
