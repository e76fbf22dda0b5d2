//! `personium service`: scripts of a local folder in a unit that runs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use personium_testkit::{MASTER_TOKEN, PASSWORD, ProcessUnit, wait_until};

use crate::program;

const SCRIPT: &str = "function (request) {
  return { status: 200, headers: { 'Content-Type': 'text/plain' }, body: ['first ' + (request.pathParameters.id || '')] };
}";
const CASES: &str = r#"[
  {"request": {"path": "greet/7"}, "response": {"status": 200, "body": "first 7", "headers": {"content-type": "text/plain"}}},
  {"name": "no token", "request": {"path": "greet/7", "anonymous": true}, "response": {"status": 401}},
  {"name": "no such path", "request": {"method": "POST", "path": "other", "body": {"a": 1}}, "response": {"status": 404}}
]"#;
const DESCRIPTION: &str = r#"{"paths": [{"name": "greet/{id}", "src": "greet.js"}]}"#;

/// A unit with a box, and the folder of a service.
struct Scene {
    unit: ProcessUnit,
    folder: tempfile::TempDir,
}

/// A command that is killed at the end.
struct Watch(Child);

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn scene() -> Scene {
    let unit = crate::unit().start();
    unit.create_cell("c").await;
    unit.create_box("c", "b").await;
    let scene = Scene {
        unit,
        folder: tempfile::tempdir().unwrap(),
    };
    scene.write("service/greet.js", SCRIPT);
    scene.write("service/service.json", DESCRIPTION);
    scene.write("service/tests/greet.json", CASES);
    scene.write("token", MASTER_TOKEN);
    scene.write("password", PASSWORD);
    scene
}

impl Scene {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}/{path}", self.unit.port())
    }

    fn command(&self, name: &str, collection: &str) -> Command {
        let url = self.url(collection);
        let mut command = program::command(&["service", name, "--url", &url]);
        command.arg(self.path("service"));
        command
    }

    fn run(&self, name: &str, collection: &str) -> Output {
        let mut command = self.command(name, collection);
        command.arg("--token-file").arg(self.path("token"));
        command.output().unwrap()
    }

    async fn answer(&self, path: &str) -> (u16, String) {
        let response = self.unit.admin().request("GET", path).send().await;
        (response.status.as_u16(), response.text())
    }
}

#[tokio::test]
async fn cases_of_a_service_are_sent_and_compared() {
    let scene = scene().await;
    let tested = scene.run("test", "c/b/svc");
    let text = program::text(&tested);
    assert!(tested.status.success(), "{text}");
    for line in [
        "made http://localhost",
        "copied greet.js",
        "set the paths",
        "ok      greet 1",
        "ok      no token",
        "3 passed, 0 failed",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    scene.write("service/greet.js", &SCRIPT.replace("first ", "other "));
    let failed = scene.run("test", "c/b/svc");
    let text = program::text(&failed);
    assert!(!failed.status.success());
    assert!(
        text.contains("FAILED  greet 1: another body: other 7"),
        "{text}"
    );
    assert!(text.contains("2 passed, 1 failed"), "{text}");
}

#[tokio::test]
async fn service_that_cannot_be_copied_is_reported() {
    let scene = scene().await;
    scene.unit.create_collection("c/b/plain", "").await;
    for (collection, reason) in [
        ("c/b/plain", "is no service collection"),
        ("c/nobox/svc", "answers 404"),
        ("c", "is not the URL of a collection"),
    ] {
        let refused = scene.run("test", collection);
        assert!(!refused.status.success());
        let text = program::text(&refused);
        assert!(text.contains(reason), "{text}");
    }
    scene.write("token", "wrong");
    let mut once = scene.command("run", "c/b/svc");
    once.arg("--once")
        .arg("--token-file")
        .arg(scene.path("token"));
    let refused = once.output().unwrap();
    assert!(!refused.status.success());
    let text = program::text(&refused);
    assert!(text.contains("answers 401"), "{text}");
}

#[tokio::test]
async fn changes_of_the_folder_are_in_the_next_answers() {
    let scene = scene().await;
    scene.unit.create_account("c", r#"{"Name":"dev"}"#).await;
    let mut command = scene.command("run", "c/b/svc");
    command
        .args(["--cell", &scene.url("c/"), "--account", "dev"])
        .arg("--password-file")
        .arg(scene.path("password"));
    // An account without rights: what is refused is tried again.
    let out = std::fs::File::create(scene.path("out")).unwrap();
    let _watch = Watch(command.stdout(Stdio::from(out)).spawn().unwrap());
    let printed = || std::fs::read_to_string(scene.path("out")).unwrap();
    wait_until("the refusal", || async {
        printed().contains("answers 403")
    })
    .await;
    let everything = &["D:all"];
    scene
        .unit
        .grant_by_new_role("c/b", ("dev", "developer"), everything)
        .await;
    wait_until("the service", || async {
        printed().contains("the service is at")
    })
    .await;
    assert_eq!(scene.answer("c/b/svc/greet/1").await.1, "first 1");
    scene.write("service/greet.js", &SCRIPT.replace("first ", "second "));
    wait_until("the new script", || async {
        scene.answer("c/b/svc/greet/1").await.1 == "second 1"
    })
    .await;
    scene.write("service/more.js", &SCRIPT.replace("first ", "more "));
    std::fs::remove_file(scene.path("service/service.json")).unwrap();
    wait_until("the new path", || async {
        scene.answer("c/b/svc/more").await.1 == "more "
    })
    .await;
    std::fs::remove_file(scene.path("service/more.js")).unwrap();
    wait_until("the removal", || async {
        scene.answer("c/b/svc/__src/more.js").await.0 == 404
    })
    .await;
}
