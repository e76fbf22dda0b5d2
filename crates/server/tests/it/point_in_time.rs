//! The page about restoring a database to a point in time, `docs/operate/point-in-time.md`: its commands lead a unit back to that time, with its
//! file bodies.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use personium_testkit::{PostgresCluster, create_unit_database, wait_until};

use crate::copied_unit::stage::Side;
use crate::program;
use crate::storage_unit::bodies;
use crate::verified_unit::verify;

const PAGE: &str = include_str!("../../../../docs/operate/point-in-time.md");

/// The folder of back-ups in the page.
const BACKUPS_OF_PAGE: &str = "/var/backups/unit";

/// The blocks of the page in this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    let after = PAGE.split(begin.as_str()).skip(1);
    after
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// The settings of the server on the page.
fn settings(backups: &Path) -> Vec<String> {
    let lines = blocks("ini").concat();
    let lines = lines.lines().filter_map(|line| line.split_once(" = "));
    let value = |value: &str| {
        let value = value.trim_matches('\'');
        value.replace(BACKUPS_OF_PAGE, backups.to_str().unwrap())
    };
    lines
        .map(|(key, text)| format!("{key}={}", value(text)))
        .collect()
}

/// The variables and the server that the commands of the page get.
struct Machine {
    cluster: PostgresCluster,
    backups: std::path::PathBuf,
    variables: Vec<(&'static str, String)>,
}

impl Machine {
    /// Runs the only block of the page that has this text. Commands of the server run as its user.
    fn run(&self, text: &str, is_of_server: bool) -> String {
        let found: Vec<_> = blocks("sh")
            .into_iter()
            .filter(|block| block.contains(text))
            .collect();
        assert_eq!(found.len(), 1, "{text}");
        let bash = Path::new("bash");
        let mut command = match is_of_server {
            true => self.cluster.command(bash),
            false => Command::new(bash),
        };
        let programs = Path::new(env!("CARGO_BIN_EXE_personium")).parent().unwrap();
        let path = format!(
            "{}:{}:/usr/bin:/bin",
            programs.display(),
            self.cluster.programs().display()
        );
        command
            .args(["-e", "-u", "-c", found[0]])
            .current_dir("/")
            .env("PATH", path)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.cluster.port().to_string())
            .env("PGUSER", self.cluster.user())
            .env("PGDATA", self.cluster.data_folder())
            .env("BACKUPS", &self.backups);
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{text}: {}",
            program::text(&output)
        );
        program::text(&output)
    }
}

/// A folder that everybody can write.
fn open_folder(path: &Path) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unit_goes_back_to_a_time_with_its_file_bodies_by_the_commands_of_the_page() {
    let folder = tempfile::tempdir().unwrap();
    let backups = folder.path().join("backups");
    open_folder(&backups);
    open_folder(&backups.join("wal"));
    let of_server = settings(&backups);
    assert_eq!(of_server.len(), 3);
    let cluster = PostgresCluster::start_with(folder, |_| of_server);
    let stores = create_unit_database(&cluster, Path::new(env!("CARGO_BIN_EXE_personium")));
    let line = |(key, value): &(&str, String)| format!("io.personium.core.{key}={value}\n");
    let stores: String = stores.iter().map(line).collect();
    let mut unit = crate::unit().settings(&stores).start();
    let data = unit.folder().join("data");
    let side = Side::of_folder(&unit, &data);
    let mut machine = Machine {
        cluster,
        backups,
        variables: vec![
            ("FILES", data.join("files").display().to_string()),
            ("SETTINGS", side.settings().to_owned()),
        ],
    };
    let large = |letter: &str| letter.repeat(300_000);
    for cell in ["one", "two"] {
        unit.create_cell_with_owner(cell).await;
        unit.create_odata_collection(&format!("{cell}/box/data"), "Row")
            .await;
        unit.put_file(&format!("{cell}/box/early"), &large("e"))
            .await;
    }
    machine.run("pg_basebackup", true);
    unit.put_file("one/box/kept", &large("k")).await;
    let row = r#"{"__id":"then","text":"t"}"#;
    unit.create("one/box/data/Row", row).await;
    // The page copies in both directions.
    let copy = |from: &str| format!("rsync --archive --ignore-existing \"${from}/");
    machine.run(&copy("FILES"), false);
    let time = machine.cluster.sql("postgres", "SELECT clock_timestamp()");
    machine.variables.push(("TIME", time));

    // What is undone: files removed, replaced and new, and entities.
    let before = bodies(&data);
    for path in ["one/box/kept", "one/box/data/Row('then')"] {
        let removed = unit.admin_request("DELETE", path).send().await;
        removed.expect(204);
    }
    unit.put_file("one/box/early", &large("n")).await;
    unit.put_file("one/box/late", &large("l")).await;
    let later = r#"{"__id":"later","text":"t"}"#;
    unit.create("one/box/data/Row", later).await;
    unit.create_cell("three").await;
    wait_until("the removed bodies are gone", async || {
        before.iter().filter(|path| !path.exists()).count() == 2
    })
    .await;
    unit.terminate();
    assert!(unit.wait());
    let generations = unit.folder().join("generations");
    let to = generations.to_str().unwrap();
    let backup = || {
        let arguments = ["backup", "--config", side.settings(), "--to", to];
        let output = program::run(&arguments);
        assert!(output.status.success(), "{}", program::text(&output));
        program::text(&output)
    };
    assert!(backup().contains("3 cells (3 new or changed)"));
    assert!(backup().contains("3 cells (0 new or changed)"));

    machine.run("pg_switch_wal", true);
    machine.cluster.stop();
    machine.run("recovery.signal", true);
    machine.cluster.restart();
    machine.run("pg_is_in_recovery", true);
    let (status, text) = verify(&side, &[]);
    assert!(status == Some(3) && text.contains(": 2 damaged"), "{text}");
    machine.run(&copy("BACKUPS/files"), false);
    let text = machine.run("personium verify", false);
    assert!(text.contains(": 0 damaged, 2 orphaned"), "{text}");

    // Cell two was not changed since, but its numbers of commits are used again.
    let text = backup();
    assert!(text.contains("2 cells (2 new or changed)"), "{text}");
    unit.restart();
    let get = async |path: &str| unit.admin_request("GET", path).send().await;
    assert!(get("one/box/early").await.expect(200).text() == large("e"));
    assert!(get("one/box/kept").await.expect(200).text() == large("k"));
    assert!(get("two/box/early").await.expect(200).text() == large("e"));
    get("one/box/data/Row('then')").await.expect(200);
    for path in ["one/box/late", "one/box/data/Row('later')"] {
        get(path).await.expect(404);
    }
    unit.put_file("one/box/kept", "changed").await;
    unit.login("one", &[]).await;
    unit.terminate();
    assert!(unit.wait());
    let (status, text) = verify(&side, &[]);
    assert!(status == Some(0) && text.contains(": 0 damaged"), "{text}");
}
