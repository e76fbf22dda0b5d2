//! `personium backup` and `personium restore` with a bucket of an object store in place of a folder.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Method, Uri};
use personium_object_store::{Addressing, S3Credentials, S3Settings, SmallObjects};
use personium_testkit::{Disturbance, S3Program, S3Proxy, S3Server, wait_until};
use personium_types::{Secret, SystemClock};

use crate::copied_unit::stage::{Side, Stage};
use crate::program;

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789a";

/// More requests than a command makes.
const ALWAYS: usize = 100_000;

/// The time after which a request that was held would be answered: longer than a test takes.
const HELD: Duration = Duration::from_secs(600);

/// The time within which a request is made.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The bodies of the unit, the records of 4 cells, three files of those of the unit, the list and the keys.
const FILES: usize = 16 + 4 + 3 + 2;

/// A bucket behind a proxy.
struct Bucket {
    server: S3Server,
    proxy: S3Proxy,
    prefix: &'static str,
    settings: PathBuf,
    key: Option<PathBuf>,
}

impl Bucket {
    async fn start(stage: &Stage, prefix: &'static str) -> Self {
        let server = S3Server::start(S3Program::Minio);
        let proxy = S3Proxy::start(&server.address()).await;
        let settings = stage.unit.folder().join("s3.properties");
        let lines = S3Server::settings_at(&proxy.url(), prefix);
        let is_of_server = |line: &&str| {
            let of_place = ["blobStore.type=", "s3.bucket=", "s3.prefix="];
            !of_place.iter().any(|key| line.contains(key))
        };
        let mut lines: Vec<&str> = lines.lines().filter(is_of_server).collect();
        lines.push("io.personium.core.blobStore.s3.retries=1\n");
        fs::write(&settings, lines.join("\n")).unwrap();
        Self {
            server,
            proxy,
            prefix,
            settings,
            key: None,
        }
    }

    fn place(&self) -> String {
        format!("s3://{}/{}", S3Server::BUCKET, self.prefix)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program::command(arguments);
        command.arg("--s3").arg(&self.settings);
        if let Some(key) = &self.key {
            command.arg("--key").arg(key);
        }
        command
    }

    fn backup_command(&self, side: &Side, more: &[&str]) -> Command {
        let place = self.place();
        let own = ["backup", "--config", side.settings(), "--to", &place];
        self.command(&[&own, more].concat())
    }

    fn restore_command(&self, more: &[&str]) -> Command {
        let place = self.place();
        self.command(&[&["restore", "--from", &place], more].concat())
    }

    async fn backup(&self, side: &Side, more: &[&str]) -> (bool, String) {
        finish(self.backup_command(side, more)).await
    }

    async fn expect_backup(&self, side: &Side, more: &[&str]) -> String {
        let (done, text) = self.backup(side, more).await;
        assert!(done && text.contains("Generation "), "{text}");
        text
    }

    async fn restore(&self, more: &[&str]) -> (bool, String) {
        finish(self.restore_command(more)).await
    }

    async fn generations(&self) -> Vec<String> {
        let (done, text) = self.restore(&["--list"]).await;
        assert!(done, "{text}");
        let names = text.lines().filter_map(|line| line.split_once(": "));
        names.map(|(name, _)| name.to_owned()).collect()
    }

    /// The objects, not through the proxy.
    fn objects(&self) -> SmallObjects {
        let settings = S3Settings {
            endpoint: Some(self.server.url()),
            region: "us-east-1".to_owned(),
            bucket: S3Server::BUCKET.to_owned(),
            prefix: self.prefix.to_owned(),
            credentials: S3Credentials::Keys {
                access_key: S3Server::ACCESS_KEY.to_owned(),
                secret_key: Secret::new(S3Server::SECRET_KEY.to_owned()),
                session_token: None,
            },
            tls_roots: None,
            addressing: Addressing::Path,
            part_bytes: 8 << 20,
            retries: 4,
            timeout: Duration::from_secs(20),
            removal_delay: Duration::ZERO,
            health: Arc::default(),
        };
        SmallObjects::new(&settings, Arc::new(SystemClock::new())).unwrap()
    }

    async fn names(&self, folder: &str) -> Vec<String> {
        self.objects().list(folder, usize::MAX).await.unwrap()
    }

    /// Checks that the bucket has one generation and nothing that it does not need.
    async fn expect_only_one_generation(&self) {
        let small = self.names("generations").await;
        assert!(small.len() == 1 && small[0].ends_with(".json"), "{small:?}");
        assert_eq!(self.names("files").await.len(), FILES);
        let all = self.names("").await;
        assert_eq!(all.len(), FILES + 2, "{all:?}");
    }
}

/// Whether a command succeeds, and what it says. The proxy serves meanwhile.
async fn finish(mut command: Command) -> (bool, String) {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = run.await.unwrap();
    let text = program::text(&output);
    assert!(!text.contains(S3Server::SECRET_KEY), "{text}");
    (output.status.success(), text)
}

fn is_put(part: &'static str) -> impl Fn(&Method, &Uri) -> bool + Send {
    move |method, uri| method == Method::PUT && uri.path().contains(part)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_comes_back_from_a_bucket_that_gets_only_what_is_new() {
    let mut stage = Stage::start("").await;
    let mut bucket = Bucket::start(&stage, "backups/unit").await;
    let key = stage.unit.folder().join("backup-key");
    fs::write(&key, SECRET).unwrap();
    bucket.key = Some(key);
    let text = bucket.expect_backup(&stage.source, &[]).await;
    assert!(text.contains("4 cells (4 new or changed)"), "{text}");
    assert!(text.contains("16 file bodies"), "{text}");
    let _ = bucket.proxy.take_requests();
    let again = bucket.expect_backup(&stage.source, &[]).await;
    assert!(again.contains("4 cells (0 new or changed)"), "{again}");
    let requests = bucket.proxy.take_requests();
    let of_cells = |line: &&String| line.contains("/files/") && !line.contains("/files/unit/");
    assert_eq!(requests.iter().filter(of_cells).count(), 0, "{requests:?}");

    // Of a changed cell the new body is sent, and the others are not looked for.
    stage.unit.restart();
    let new = "n".repeat(400_000);
    stage.unit.put_file("two/box/new", &new).await;
    stage.unit.terminate();
    assert!(stage.unit.wait());
    let text = bucket.expect_backup(&stage.source, &["--keep", "2"]).await;
    assert!(text.contains("4 cells (1 new or changed)"), "{text}");
    assert!(text.contains("(1 new, 400"), "{text}");
    assert!(text.contains("1 former generations were removed"), "{text}");
    let requests = bucket.proxy.take_requests();
    let writes = |line: &&String| of_cells(line) && line.starts_with("PUT");
    assert_eq!(requests.iter().filter(writes).count(), 2, "{requests:?}");
    let generations = bucket.generations().await;
    assert_eq!(generations.len(), 2);

    // The tools of AWS have their credentials in the environment.
    let scratch = stage.unit.folder().join("scratch");
    let mut drill = bucket.restore_command(&["--drill", scratch.to_str().unwrap()]);
    let lines = fs::read_to_string(&bucket.settings).unwrap();
    let without = lines.lines().filter(|line| !line.contains("Key="));
    fs::write(&bucket.settings, without.collect::<Vec<_>>().join("\n")).unwrap();
    drill.env("AWS_ACCESS_KEY_ID", S3Server::ACCESS_KEY);
    drill.env("AWS_SECRET_ACCESS_KEY", S3Server::SECRET_KEY);
    let (done, text) = finish(drill).await;
    assert!(done && text.contains(": 0 damaged, 0 orphaned"), "{text}");
    fs::write(&bucket.settings, lines).unwrap();

    let there = stage.side("there", "");
    let first = generations[0].as_str();
    let (done, text) = bucket
        .restore(&["--generation", first, "--to", there.settings()])
        .await;
    assert!(
        done && text.contains("Copied and compared: 4 cells"),
        "{text}"
    );
    stage.expect_same_answers(&there).await;

    // One cell, which the unit has not any more, and then not even its back-ups.
    stage.unit.restart();
    let four = stage.unit.admin_request("DELETE", "four");
    let four = four.header("x-personium-recursive", "true");
    four.send().await.expect(204);
    stage.unit.terminate();
    assert!(stage.unit.wait());
    let own = stage.source.settings();
    let (done, text) = bucket.restore(&["--cell", "four", "--to", own]).await;
    assert!(done && text.contains("Restored the cell four"), "{text}");
    let (done, text) = bucket.restore(&["--cell", "four", "--dry-run"]).await;
    assert!(done && text.contains("is whole"), "{text}");
    let before = bucket.names("files").await.len();
    let former = ["--forget", "four"];
    let (done, text) = bucket.backup(&stage.source, &former).await;
    assert!(
        done && text.contains("four was removed from 2 generations"),
        "{text}"
    );
    assert!(bucket.names("files").await.len() < before);
    let (done, text) = bucket.restore(&["--dry-run"]).await;
    assert!(done && text.contains("is whole: 3 cells"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failing_and_wrong_bucket_is_named_and_the_former_generation_stays() {
    let stage = Stage::start("").await;
    let bucket = Bucket::start(&stage, "p").await;
    bucket.expect_backup(&stage.source, &[]).await;
    let full = ["--full", "--keep", "1"];
    for (disturbance, part) in [
        (Disturbance::Status(503, "SlowDown"), "/p/files/"),
        (
            Disturbance::Status(429, "TooManyRequests"),
            "/p/files/unit/",
        ),
        (
            Disturbance::Status(507, "XMinioStorageFull"),
            "/p/generations/",
        ),
        (Disturbance::CutRequest, "/p/"),
    ] {
        bucket.proxy.disturb(ALWAYS, disturbance, is_put(part));
        let (done, text) = bucket.backup(&stage.source, &full).await;
        assert!(!done, "{disturbance:?} {part}: {text}");
        bucket.proxy.calm();
        assert_eq!(bucket.generations().await.len(), 1, "{part}");
    }
    // One that is slow, and fails now and then, is enough.
    let slow = Disturbance::Delay(Duration::from_millis(300));
    bucket.proxy.disturb(5, slow, is_put("/p/files/"));
    let (lost, busy) = (
        Disturbance::LoseResponse,
        Disturbance::Status(503, "SlowDown"),
    );
    for (disturbance, part) in [
        (lost, "/p/lock"),
        (lost, "/p/files/unit/"),
        (busy, "/p/generations/"),
    ] {
        bucket.proxy.disturb(1, disturbance, is_put(part));
    }
    bucket.expect_backup(&stage.source, &full).await;
    bucket.expect_only_one_generation().await;

    // A damaged object is found before anything is restored.
    let there = stage.side("there", "");
    let is_body =
        |method: &Method, uri: &Uri| method == Method::GET && uri.path().contains("/p/files/");
    bucket
        .proxy
        .disturb(ALWAYS, Disturbance::ChangeByte(40), is_body);
    let (done, text) = bucket.restore(&["--to", there.settings()]).await;
    assert!(
        !done && !there.data.join("records/unit.db").exists(),
        "{text}"
    );
    bucket.proxy.calm();

    let refused = async |place: &str, reason: &str| {
        let own = ["backup", "--config", stage.source.settings(), "--to", place];
        let (done, text) = finish(bucket.command(&own)).await;
        assert!(!done && text.contains(reason), "{place}: {text}");
    };
    let other = format!("s3://{}", S3Server::BUCKET);
    refused(&other, "is not empty and has no back-ups").await;
    refused("s3://no-such-bucket/p", "no-such-bucket").await;
    refused("s3://key:secret@bodies/p", "the file that --s3 names").await;
    let empty = ["restore", "--from", "s3://bodies/empty", "--list"];
    let (done, text) = finish(bucket.command(&empty)).await;
    assert!(!done && text.contains("has no back-ups"), "{text}");
    let objects = bucket.objects();
    let mark = objects.find("personium-backup.json", 1_000).await;
    let mark = String::from_utf8(mark.unwrap().unwrap().bytes.into()).unwrap();
    let (before, unit) = mark.split_once("\"unit\":\"").unwrap();
    let of_other = format!("{before}\"unit\":\"x{unit}");
    let put = objects.put("personium-backup.json", of_other.into());
    put.await.unwrap();
    let (done, text) = bucket.backup(&stage.source, &[]).await;
    assert!(
        !done && text.contains("the back-ups of another unit"),
        "{text}"
    );
    assert!(!bucket.names("").await.contains(&"lock".to_owned()));
}

fn lock_of_another_machine() -> String {
    r#"{"token":"t","host":"elsewhere","scope":"other","process":1,"renewals":0}"#.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locked_bucket_is_refused_and_a_lost_lock_ends_a_backup() {
    let stage = Stage::start("").await;
    let bucket = Bucket::start(&stage, "p").await;
    bucket.expect_backup(&stage.source, &[]).await;
    let objects = bucket.objects();
    let put = objects.put("lock", lock_of_another_machine().into());
    put.await.unwrap();
    let (done, text) = bucket.backup(&stage.source, &[]).await;
    assert!(!done && text.contains("process 1 of elsewhere"), "{text}");
    // Whoever restores needs no lock.
    let (done, text) = bucket.restore(&["--dry-run"]).await;
    assert!(done, "{text}");

    // A generation waits for the end of another back-up, as a pass of a journal.
    let is_seen = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_seen);
    let look = move |method: &Method, uri: &Uri| {
        let is_look = *method == Method::GET && uri.path().ends_with("/p/lock");
        seen.fetch_or(is_look, Ordering::SeqCst);
        false
    };
    bucket.proxy.disturb(1, Disturbance::CutRequest, look);
    let other = async {
        let is_seen = async || is_seen.load(Ordering::SeqCst);
        wait_until("a look at the lock", is_seen).await;
        objects.remove("lock").await.unwrap();
    };
    let ((done, text), ()) = tokio::join!(bucket.backup(&stage.source, &[]), other);
    assert!(done, "{text}");
    bucket.proxy.calm();
    assert_eq!(bucket.generations().await.len(), 2);

    let is_taken = Arc::new(AtomicBool::new(false));
    let (taken, runtime) = (Arc::clone(&is_taken), tokio::runtime::Handle::current());
    let objects = Arc::new(objects);
    let other = Arc::clone(&objects);
    let take = move |method: &Method, uri: &Uri| {
        if is_put("/p/files/unit/")(method, uri) && !taken.swap(true, Ordering::SeqCst) {
            let (runtime, other) = (runtime.clone(), Arc::clone(&other));
            let put = move || {
                let put = other.put("lock", lock_of_another_machine().into());
                runtime.block_on(put).unwrap();
            };
            std::thread::spawn(put).join().unwrap();
        }
        false
    };
    bucket.proxy.disturb(1, Disturbance::CutRequest, take);
    let (done, text) = bucket.backup(&stage.source, &["--full"]).await;
    assert!(is_taken.load(Ordering::SeqCst));
    assert!(
        !done && text.contains("the lock of the back-ups was lost"),
        "{text}"
    );
    assert_eq!(bucket.generations().await.len(), 2);
    // It does not remove the lock of the other one.
    assert!(objects.find("lock", 1_000).await.unwrap().is_some());
    objects.remove("lock").await.unwrap();
    bucket.proxy.calm();
    bucket.expect_backup(&stage.source, &["--keep", "1"]).await;
    bucket.expect_only_one_generation().await;
}

/// Starts a back-up, and ends it by SIGKILL when it makes its request number `n`, which does not reach the server. Returns whether it
/// made so many.
async fn kill_at(bucket: &Bucket, side: &Side, n: usize) -> bool {
    let _ = bucket.proxy.take_requests();
    let seen = std::sync::atomic::AtomicUsize::new(0);
    let is_nth = move |_: &Method, _: &Uri| seen.fetch_add(1, Ordering::SeqCst) >= n;
    bucket
        .proxy
        .disturb(ALWAYS, Disturbance::Delay(HELD), is_nth);
    let mut command = bucket.backup_command(side, &["--full", "--keep", "1"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child: Child = command.spawn().unwrap();
    let (until, mut made) = (Instant::now() + REQUEST_TIMEOUT, 0);
    let was_killed = loop {
        made += bucket.proxy.take_requests().len();
        if made > n {
            let _ = child.kill();
            let _ = child.wait();
            break true;
        }
        if child.try_wait().unwrap().is_some() {
            break false;
        }
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    bucket.proxy.calm();
    was_killed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backup_that_is_killed_at_any_request_leaves_a_whole_generation_and_no_rest() {
    let stage = Stage::start("").await;
    let bucket = Bucket::start(&stage, "p").await;
    bucket.expect_backup(&stage.source, &[]).await;
    let _ = bucket.proxy.take_requests();
    bucket
        .expect_backup(&stage.source, &["--full", "--keep", "1"])
        .await;
    let all = bucket.proxy.take_requests().len();
    // The last ones complete the generation and remove what is not needed.
    let early = (0..all.saturating_sub(24)).step_by(25);
    let mut killed = 0;
    for n in early.chain((all.saturating_sub(24)..all).step_by(3)) {
        killed += usize::from(kill_at(&bucket, &stage.source, n).await);
        let generations = bucket.generations().await;
        assert!((1..=2).contains(&generations.len()), "{n}: {generations:?}");
        let (done, text) = bucket.restore(&["--dry-run"]).await;
        assert!(done && text.contains("is whole: 4 cells"), "{n}: {text}");
    }
    assert!(killed > 5);
    bucket.expect_backup(&stage.source, &["--keep", "1"]).await;
    bucket.expect_only_one_generation().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_cell_alone_is_backed_up_to_a_bucket_and_restored() {
    let stage = Stage::start("").await;
    let bucket = Bucket::start(&stage, "cells/").await;
    let text = bucket
        .expect_backup(&stage.source, &["--cell", "two"])
        .await;
    assert!(text.contains(": 1 cells ("), "{text}");
    let (done, text) = bucket.backup(&stage.source, &[]).await;
    assert!(
        !done && text.contains("has back-ups of the cell two"),
        "{text}"
    );
    let to = stage.source.settings();
    let (done, text) = bucket
        .restore(&["--cell", "two", "--as", "former", "--to", to])
        .await;
    assert!(done && text.contains("Restored the cell former"), "{text}");
    crate::verified_unit::expect_whole(&stage.source);
}
