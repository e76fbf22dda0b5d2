//! `personium copy`: a unit that moves to other stores and back answers as before.

pub mod stage;

use std::fs;
use std::path::Path;
use std::process::Command;

use personium_testkit::{PostgresCluster, S3Program, S3Server, create_unit_database};

use self::stage::{Side, Stage, change, copy, copy_until_line, expect_copied, expect_refused};
use crate::full_disk::{Kind, Mount};
use crate::storage_unit::{bodies, cell_files};

/// More lines than a copy writes.
const LINES_MAX: usize = 40;

fn database(cluster: &PostgresCluster) -> String {
    let settings = create_unit_database(cluster, Path::new(env!("CARGO_BIN_EXE_personium")));
    let line = |(key, value): &(&str, String)| format!("io.personium.core.{key}={value}\n");
    settings.iter().map(line).collect()
}

/// A database without tables.
fn empty_database(cluster: &PostgresCluster) -> String {
    let (name, key) = (cluster.create_database(), "io.personium.core.store");
    format!(
        "{key}.type=postgres\n{key}.postgres.hosts=127.0.0.1:{}\n{key}.postgres.database={name}\n\
         {key}.postgres.user={}\n{key}.postgres.tls=off\n",
        cluster.port(),
        cluster.user()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_copied_to_postgres_and_a_bucket_and_back_answers_as_before() {
    let (cluster, server) = (PostgresCluster::shared(), S3Server::start(S3Program::Minio));
    let mut stage = Stage::start("").await;
    let stores = empty_database(&cluster) + &server.settings("there");
    let there = stage.side("there", &stores);
    let first = expect_copied(&stage.source, &there);
    assert!(first.contains(" 16 file bodies"), "{first}");
    stage.expect_same_answers(&there).await;

    let back = stage.side("back", "");
    let second = expect_copied(&there, &back);
    assert!(second.contains(" 16 file bodies"), "{second}");
    let (whole, report) = back.run("check");
    assert!(whole && report.contains("has all its parts"), "{report}");
    stage.expect_same_answers(&back).await;

    // A unit, parts of one, and the same folder.
    for target in [&there, &back] {
        expect_refused(&stage.source, target, "it is not empty: it has a unit");
    }
    let bucket = stage.side("bucket", &server.settings("there"));
    expect_copied(&there, &bucket);
    expect_refused(&back, &back, "the same data.dir");
    stage.expect_logins(&back).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_move_to_a_database_while_the_bodies_stay_in_their_bucket() {
    let (cluster, server) = (PostgresCluster::shared(), S3Server::start(S3Program::Minio));
    let bucket = server.settings("bodies");
    let mut stage = Stage::start(&bucket).await;
    let there = stage.side("there", &database(&cluster));
    expect_copied(&stage.source, &there);
    stage.expect_same_answers(&there).await;
    let other = stage.side("other", &server.settings("other"));
    expect_copied(&there, &other);
    stage.expect_same_answers(&other).await;
    // Bodies of another unit are not taken for those of this one.
    let second = Stage::start("").await;
    let foreign = second.side("foreign", &bucket);
    expect_refused(&second.source, &foreign, "file bodies of another unit");
}

/// Kills copies with SIGKILL after each line that they write, and lets one end.
fn copy_with_kills(from: &Side, to: &Side) {
    let mut ended = false;
    for lines in 1..LINES_MAX {
        let Some(mut child) = copy_until_line(from, to, lines) else {
            ended = true;
            break;
        };
        let _ = child.kill();
        let status = child.wait().unwrap();
        if status.success() {
            ended = true;
            break;
        }
        // The first lines come before the target is begun.
        if lines > 2 {
            let (done, text) = to.run("check");
            let is_whole = done && text.contains("has all its parts");
            match is_whole {
                true => break,
                false => to.expect_unfinished(),
            }
        }
    }
    let (done, text) = copy(from, to);
    let is_whole = text.contains("it is not empty: it has a unit");
    assert!(done || is_whole, "{ended} {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_to_files_killed_anywhere_does_not_start_and_goes_on_when_repeated() {
    let mut stage = Stage::start("").await;
    let there = stage.side("there", "");
    copy_with_kills(&stage.source, &there);
    stage.expect_same_answers(&there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_to_servers_killed_anywhere_does_not_start_and_goes_on_when_repeated() {
    let (cluster, server) = (PostgresCluster::shared(), S3Server::start(S3Program::Minio));
    let mut stage = Stage::start("").await;
    let there = stage.side("there", &(database(&cluster) + &server.settings("there")));
    copy_with_kills(&stage.source, &there);
    stage.expect_same_answers(&there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_with_an_unfinished_copy_starts_no_node_and_takes_no_other_unit() {
    let cluster = PostgresCluster::shared();
    let stage = Stage::start("").await;
    let stores = database(&cluster);
    let there = stage.side("there", &stores);
    let mut child = copy_until_line(&stage.source, &there, 4).unwrap();
    let _ = child.kill();
    child.wait().unwrap();
    // A node with folders of its own.
    stage.side("node", &stores).expect_unfinished();
    let second = Stage::start("").await;
    let other = second.side("other", &stores);
    expect_refused(&second.source, &other, "an unfinished copy of unit");
    expect_refused(&there, &stage.side("back", ""), "is not finished");
    expect_copied(&stage.source, &there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_of_the_source_between_two_attempts_is_in_the_copy() {
    let mut stage = Stage::start("").await;
    let there = stage.side("there", "");
    // Some cells are copied.
    let mut child = copy_until_line(&stage.source, &there, 6).unwrap();
    let _ = child.kill();
    child.wait().unwrap();
    stage.unit.restart();
    for cell in ["one", "two", "three", "four"] {
        let path = format!("{cell}/box/open/f");
        stage.unit.put_file(&path, &"new".repeat(50_000)).await;
        let delete = stage
            .unit
            .admin_request("DELETE", &format!("{cell}/box/f0"));
        delete.send().await.expect(204);
    }
    let delete = stage.unit.admin_request("DELETE", "four");
    let delete = delete.header("x-personium-recursive", "true");
    delete.send().await.expect(204);
    stage.unit.kill();
    let (done, text) = copy(&stage.source, &there);
    assert!(done && text.contains("3 cells"), "{text}");
    fs::rename(&stage.source.data, stage.unit.folder().join("former")).unwrap();
    fs::rename(&there.data, &stage.source.data).unwrap();
    stage.unit.restart();
    for cell in ["one", "two", "three"] {
        let read = stage
            .unit
            .admin_request("GET", &format!("{cell}/box/open/f"));
        assert_eq!(read.send().await.expect(200).body.len(), 150_000);
        let gone = stage.unit.admin_request("GET", &format!("{cell}/box/f0"));
        gone.send().await.expect(404);
    }
    assert_eq!(stage.unit.list_entities("__ctl/Cell").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn running_unit_is_not_copied_and_a_killed_one_is() {
    let cluster = PostgresCluster::shared();
    let mut stage = Stage::start("").await;
    let there = stage.side("there", &database(&cluster));
    stage.unit.restart();
    expect_refused(&stage.source, &there, "in use by another process");
    stage.unit.kill();
    expect_copied(&stage.source, &there);

    let mut stage = Stage::start(&database(&cluster)).await;
    let there = stage.side("there", "io.personium.core.store.type=sqlite\n");
    stage.unit.restart();
    stage.unit.admin_request("GET", "one").send().await;
    expect_refused(&stage.source, &there, "stop all nodes first");
    stage.unit.kill();
    expect_copied(&stage.source, &there);
    stage.expect_same_answers(&there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_or_missing_data_of_the_source_is_named_and_not_copied() {
    let stage = Stage::start("").await;
    let data = &stage.source.data;
    let there = stage.side("there", "");

    let body = &bodies(data)[0];
    let id = body.file_name().unwrap().to_str().unwrap();
    let whole = change(body, |bytes| bytes[1_000_000] ^= 1);
    expect_refused(&stage.source, &there, id);
    expect_refused(&stage.source, &there, "checksum of a part does not match");
    fs::remove_file(body).unwrap();
    expect_refused(
        &stage.source,
        &there,
        &format!("file body {id}: the source: it is missing"),
    );
    fs::write(body, whole).unwrap();

    let cell = &cell_files(data)[0];
    let id = cell.file_stem().unwrap().to_str().unwrap();
    let text = br#""xxxxxxxxxxxxxxx""#;
    let whole = change(cell, |bytes| {
        let at = bytes.windows(text.len()).position(|part| part == text);
        bytes[at.unwrap() + 3] ^= 1;
    });
    expect_refused(&stage.source, &there, id);
    expect_refused(
        &stage.source,
        &there,
        "the source is damaged after the record",
    );
    fs::rename(cell, data.join("lost")).unwrap();
    expect_refused(&stage.source, &there, id);
    fs::write(cell, whole).unwrap();

    expect_copied(&stage.source, &there);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn target_damaged_between_two_attempts_is_repaired() {
    let mut stage = Stage::start("").await;
    let there = stage.side("there", "");
    let mut damaged = 0;
    for lines in [6, 8] {
        let mut child = copy_until_line(&stage.source, &there, lines).unwrap();
        let _ = child.kill();
        child.wait().unwrap();
        for body in bodies(&there.data)
            .iter()
            .filter(|path| !path.ends_with("unit.id"))
        {
            if fs::metadata(body).unwrap().len() > 1_000_000 {
                change(body, |bytes| bytes[500_000] ^= 1);
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0);
    expect_copied(&stage.source, &there);
    stage.expect_same_answers(&there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn target_that_vanishes_is_named_and_the_copy_goes_on_when_it_is_back() {
    let (cluster, mut server) = (PostgresCluster::start(), S3Server::start(S3Program::Minio));
    let mut stage = Stage::start("").await;
    let key = "io.personium.core";
    let limits = format!(
        "{key}.blobStore.s3.retries=1\n{key}.blobStore.s3.timeoutInSeconds=2\n\
         {key}.store.postgres.connectTimeoutInSec=2\n"
    );
    let stores = database(&cluster) + &server.settings("there") + &limits;
    let there = stage.side("there", &stores);
    let mut child = copy_until_line(&stage.source, &there, 4).unwrap();
    cluster.kill();
    assert!(!child.wait().unwrap().success());
    expect_refused(&stage.source, &there, "the target: ");
    cluster.restart();
    let mut child = copy_until_line(&stage.source, &there, 3).unwrap();
    server.kill();
    assert!(!child.wait().unwrap().success());
    expect_refused(&stage.source, &there, "the target: ");
    server.restart();
    there.expect_unfinished();
    expect_copied(&stage.source, &there);
    stage.expect_same_answers(&there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_target_is_named_and_the_copy_goes_on_when_it_has_space() {
    let mut stage = Stage::start("").await;
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    let Some(_mount) = Mount::new(Kind::Tmpfs, &small, 12) else {
        return;
    };
    let root = small.join("bodies");
    let there = stage.side(
        "there",
        &format!("io.personium.core.blobStore.root={}\n", root.display()),
    );
    let (done, text) = copy(&stage.source, &there);
    assert!(
        !done && text.contains("the target: ") && text.contains("file body"),
        "{text}"
    );
    there.expect_unfinished();
    let grown = Command::new("mount")
        .args(["-o", "remount,size=100m"])
        .arg(&small)
        .status();
    assert!(grown.unwrap().success());
    expect_copied(&stage.source, &there);
    stage.expect_same_answers(&there).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copy_with_another_secret_or_with_other_options_is_refused() {
    let stage = Stage::start("").await;
    let other = stage.side("other", "");
    let lines = fs::read_to_string(&other.settings).unwrap();
    let changed = lines.replace("0123456789abcdef", "fedcba9876543210");
    fs::write(&other.settings, changed).unwrap();
    let (done, text) = copy(&stage.source, &other);
    assert!(
        !done && text.contains("secret16") && !text.contains("0123456789abcdef"),
        "{text}"
    );
    let (from, to) = (stage.source.settings(), other.settings());
    for option in [["--data", "x"], ["-c", "a=b"]] {
        let output =
            crate::program::run(&["copy", "--from", from, "--to", to, option[0], option[1]]);
        let text = crate::program::text(&output);
        assert!(!output.status.success() && text.contains("leave"), "{text}");
    }
}
