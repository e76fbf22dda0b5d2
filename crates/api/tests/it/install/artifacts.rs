//! Archives that a unit of the reference exported install here with the answers that it gave. They are beside the project, like
//! the recorded exchanges; without them the test does nothing.

use std::fs;

use personium_testkit::{TestUnit, answer_difference, artifacts_folder, recorded_answers, success};
use serde_json::json;

use crate::install::{install_bytes, wait_for_installation};

/// An archive with the answers about its box.
pub(super) struct Artifact {
    pub(super) archive: &'static str,
    answers: &'static str,
    cell: &'static str,
    pub(super) the_box: &'static str,
    /// The key of the request in the recorded log.
    log: Option<&'static str>,
}

pub(super) const ARTIFACTS: [Artifact; 7] = [
    Artifact {
        archive: "box_barsrc_good",
        answers: "barlog",
        cell: "barlog",
        the_box: "installed",
        log: Some("kdHO_eWaCTOahUXvoTkujsw"),
    },
    Artifact {
        archive: "box_barsrc_good",
        answers: "barsrc",
        cell: "barsrc",
        the_box: "good",
        log: None,
    },
    Artifact {
        archive: "box_barsrc_good_notype",
        answers: "barsrc",
        cell: "barsrc",
        the_box: "good",
        log: None,
    },
    Artifact {
        archive: "box_migrated_appbox",
        answers: "migrated",
        cell: "migrated",
        the_box: "appbox",
        log: None,
    },
    Artifact {
        archive: "box_migrated_plain",
        answers: "migrated",
        cell: "migrated",
        the_box: "plain",
        log: None,
    },
    Artifact {
        archive: "box_migrated_plain",
        answers: "barlog",
        cell: "barlog",
        the_box: "plainbox",
        log: Some("pvE8_dob5SwquPq9T3lGbgg"),
    },
    Artifact {
        archive: "box_ownedcell_b",
        answers: "ownedcell",
        cell: "ownedcell",
        the_box: "b",
        log: None,
    },
];

#[tokio::test]
async fn exported_archives_install_with_the_answers_of_the_reference() {
    if artifacts_folder().is_none() {
        return;
    }
    let mut differences = Vec::new();
    for artifact in &ARTIFACTS {
        differences.extend(compare(artifact).await);
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

async fn compare(artifact: &Artifact) -> Vec<String> {
    let unit = TestUnit::new().await;
    // The box of the other tests has a schema and roles of its own.
    let remove = unit
        .admin_request("DELETE", "c/b")
        .header("x-personium-recursive", "true");
    assert_eq!(remove.send().await.outcome(), success(204));
    for role in ["admin", "reader", "writer"] {
        unit.create("c/__ctl/Role", &json!({"Name": role}).to_string())
            .await;
    }
    for condition in [
        r#""EventType":"PL-BI-""#,
        r#""EventType":"boxinstall""#,
        r#""EventInfo":"box install""#,
    ] {
        let rule = format!(r#"{{"Action":"log",{condition}}}"#);
        unit.create("c/__ctl/Rule", &rule).await;
    }
    let path = artifacts_folder()
        .unwrap()
        .join(format!("{}.bar", artifact.archive));
    let response = install_bytes(&unit, artifact.the_box, fs::read(path).unwrap()).await;
    assert_eq!(response.outcome(), success(202), "{}", artifact.archive);
    let shown = wait_for_installation(&unit, artifact.the_box).await;
    assert_eq!(shown["status"], "ready", "{}: {shown}", artifact.archive);

    let mut differences = Vec::new();
    if let Some(key) = artifact.log {
        let recorded = recorded_log(key);
        assert!(recorded.len() > 15, "{key}: {recorded:?}");
        let log = unit.admin_request("GET", "c/__log/current/default.log");
        let log = log.send().await.expect(200).text();
        let logged = log_lines(&log, "http://unit.example/c/");
        if logged != recorded {
            differences.push(format!("{}: {logged:#?} {recorded:#?}", artifact.archive));
        }
    }
    let mut compared = 0;
    for answer in recorded_answers(artifact.answers) {
        let path = answer["path"].as_str().unwrap();
        let is_compared = is_about(artifact, path) && !is_outdated(artifact, path);
        if answer["as"] != "master" || !is_compared {
            continue;
        }
        compared += 1;
        let method = answer["method"].as_str().unwrap();
        let path = path.replacen(&format!("/{}/", artifact.cell), "c/", 1);
        let mut request = unit.admin_request(method, &path);
        for (name, value) in answer["headers"].as_object().unwrap() {
            request = request.header(&name.to_lowercase(), value.as_str().unwrap());
        }
        let response = request.send().await;
        if let Some(difference) = answer_difference((artifact.cell, "c"), &answer, &response) {
            differences.push(format!(
                "{} {method} {path}: {difference}",
                artifact.archive
            ));
        }
    }
    assert!(compared > 10, "{}: {compared}", artifact.archive);
    differences
}

/// The lines of a log about an installation, without the time and the key of the request, sorted: the order of the entries is that
/// of the archive's index there. Names of rules are random.
fn log_lines(log: &str, cell: &str) -> Vec<String> {
    let line = |line: &str| {
        let (_, event) = line.split_once("\"false\",null,null,")?;
        let event = event.replace(cell, "{cell}/");
        let random = event.split("Rule(Name='").nth(1);
        let random = random.and_then(|rest| rest.split('\'').next());
        let event = random.map_or(event.clone(), |name| event.replace(name, "?"));
        Some(event)
    };
    let mut lines: Vec<String> = log.lines().filter_map(line).collect();
    lines.sort();
    lines
}

/// The lines of one installation in the recorded log.
fn recorded_log(request_key: &str) -> Vec<String> {
    let path = artifacts_folder().unwrap().join("bar_install_events.log");
    let log = fs::read_to_string(path).unwrap();
    let of_request = log.lines().filter(|line| line.contains(request_key));
    let log: Vec<String> = of_request
        .map(|line| line.replace("\"/barlog/", "\"/c/"))
        .collect();
    log_lines(&log.join("\n"), "http://localhost:9998/barlog/")
}

/// Whether an answer was taken after a file got a type that it does not have in the archive.
fn is_outdated(artifact: &Artifact, path: &str) -> bool {
    artifact.archive == "box_barsrc_good_notype" && path.ends_with("/docs")
}

/// Whether a request is about what an archive contains: no entities, services and names of rules, which are random.
fn is_about(artifact: &Artifact, path: &str) -> bool {
    let of_cell = format!("/{}/", artifact.cell);
    let Some(rest) = path.strip_prefix(&of_cell) else {
        return false;
    };
    let own_role = format!("_Box.Name='{}'", artifact.the_box);
    if let Some(object) = rest.strip_prefix("__ctl/") {
        let is_own = object.starts_with("Role(") || object.starts_with("Relation(");
        let links_to_content = ["_Account", "_ExtCell", "_ExtRole", "_Relation", "_Role"];
        return is_own
            && object.contains(&own_role)
            && !links_to_content
                .iter()
                .any(|link| object.contains(&format!("$links/{link}")));
    }
    let Some(inside) = rest.strip_prefix(artifact.the_box) else {
        return false;
    };
    let segments: Vec<&str> = inside.split('/').collect();
    let odata = ["data", "od", "od2", "d"];
    match segments.as_slice() {
        [""] => true,
        ["", collection, inside, ..] if odata.contains(collection) => {
            inside.starts_with("$metadata")
        }
        ["", "svc", name, ..] => *name == "__src",
        ["", ..] => true,
        _ => false,
    }
}
