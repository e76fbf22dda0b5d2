//! Archives that a unit of the reference exported install here with the answers that it gave. They are beside the project, like
//! the recorded exchanges; without them the test does nothing.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use personium_testkit::{TestResponse, TestUnit, success};
use personium_xml::{Element, XmlLimits};
use serde_json::{Value, json};

use crate::install::{install_bytes, wait_for_installation};

/// The URL of the unit that gave the answers.
const RECORDED_UNIT: &str = "http://localhost:9998/";
/// Properties that change with time. Other live properties of `DAV:` may be added to a response.
const TIMES: [&str; 3] = ["creationdate", "getlastmodified", "getetag"];
/// The live properties that the reference has.
const RECORDED_PROPERTIES: [&str; 5] = [
    "creationdate",
    "getlastmodified",
    "resourcetype",
    "getcontenttype",
    "getcontentlength",
];
/// The members of JSON that change with time, or have random values.
const VOLATILE: [&str; 5] = ["etag", "__published", "__updated", "__id", "installed_at"];
/// The mark of declared properties. An archive does not keep it: the reference installs all as declared.
const DECLARED: &str = "IsDeclared";

/// An archive with the answers about its box.
pub(super) struct Artifact {
    pub(super) archive: &'static str,
    answers: &'static str,
    cell: &'static str,
    pub(super) the_box: &'static str,
}

pub(super) const ARTIFACTS: [Artifact; 7] = [
    Artifact {
        archive: "box_barsrc_good",
        answers: "barlog",
        cell: "barlog",
        the_box: "installed",
    },
    Artifact {
        archive: "box_barsrc_good",
        answers: "barsrc",
        cell: "barsrc",
        the_box: "good",
    },
    Artifact {
        archive: "box_barsrc_good_notype",
        answers: "barsrc",
        cell: "barsrc",
        the_box: "good",
    },
    Artifact {
        archive: "box_migrated_appbox",
        answers: "migrated",
        cell: "migrated",
        the_box: "appbox",
    },
    Artifact {
        archive: "box_migrated_plain",
        answers: "migrated",
        cell: "migrated",
        the_box: "plain",
    },
    Artifact {
        archive: "box_migrated_plain",
        answers: "barlog",
        cell: "barlog",
        the_box: "plainbox",
    },
    Artifact {
        archive: "box_ownedcell_b",
        answers: "ownedcell",
        cell: "ownedcell",
        the_box: "b",
    },
];

/// The folder of the archives and answers; `None` if it is not beside the project.
pub(crate) fn folder() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/artifacts"
    ));
    folder.is_dir().then_some(folder)
}

pub(crate) fn answers(name: &str) -> Vec<Value> {
    let path = folder().unwrap().join(format!("expected_{name}.json.gz"));
    let unpacked = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
    serde_json::from_slice(&unpacked.stdout).unwrap()
}

#[tokio::test]
async fn exported_archives_install_with_the_answers_of_the_reference() {
    if folder().is_none() {
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
    let path = folder().unwrap().join(format!("{}.bar", artifact.archive));
    let response = install_bytes(&unit, artifact.the_box, fs::read(path).unwrap()).await;
    assert_eq!(response.outcome(), success(202), "{}", artifact.archive);
    let shown = wait_for_installation(&unit, artifact.the_box).await;
    assert_eq!(shown["status"], "ready", "{}: {shown}", artifact.archive);

    let mut differences = Vec::new();
    let mut compared = 0;
    for answer in answers(artifact.answers) {
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
        if let Some(difference) = difference((artifact.cell, "c"), &answer, &response) {
            differences.push(format!(
                "{} {method} {path}: {difference}",
                artifact.archive
            ));
        }
    }
    assert!(compared > 10, "{}: {compared}", artifact.archive);
    differences
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

/// How a response differs from the recorded answer about another cell. `cells` are the names of that cell and of this one.
pub(crate) fn difference(
    (recorded, own): (&str, &str),
    answer: &Value,
    response: &TestResponse,
) -> Option<String> {
    if answer["status"] != response.status.as_u16() {
        return Some(format!(
            "status {}, not {}",
            response.status, answer["status"]
        ));
    }
    let headers = &answer["answer_headers"];
    for name in [
        "content-type",
        "dataserviceversion",
        "accept-ranges",
        "content-range",
    ] {
        let plain = |text: &str| text.replace(' ', "").to_lowercase();
        let expected = headers[name].as_str().map(plain);
        let found = response.header(name).map(plain);
        if expected.is_some() && expected != found {
            return Some(format!("{name} {found:?}, not {expected:?}"));
        }
    }
    if let Some(length) = answer["body_length"].as_u64() {
        let found = response.body.len() as u64;
        return (found != length).then(|| format!("{found} bytes, not {length}"));
    }
    let expected = match answer["body"].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => STANDARD
            .decode(answer["body_base64"].as_str().unwrap_or_default())
            .unwrap(),
    };
    let from = format!("{RECORDED_UNIT}{recorded}/");
    let expected = form(
        &expected,
        headers["content-type"].as_str(),
        &[
            (from.as_str(), &format!("http://unit.example/{own}/")),
            (RECORDED_UNIT, "http://unit.example/"),
            (
                &format!("\"name\":\"{recorded}\""),
                &format!("\"name\":\"{own}\""),
            ),
        ],
    );
    // The schema of a box may be of the recorded unit.
    let found = form(
        &response.body,
        response.header("content-type"),
        &[(RECORDED_UNIT, "http://unit.example/")],
    );
    (expected != found).then(|| format!("\n  expected {expected}\n  found    {found}"))
}

/// The comparable form of a body: without times, ids, order and white space.
fn form(body: &[u8], media_type: Option<&str>, replaced: &[(&str, &str)]) -> String {
    let media_type = media_type.unwrap_or_default();
    let Ok(text) = std::str::from_utf8(body) else {
        return format!("{body:?}");
    };
    let mut text = text.to_owned();
    let is_json = media_type.starts_with("application/json");
    if is_json && let Ok(value) = serde_json::from_str::<Value>(&text) {
        text = value.to_string();
    }
    for (from, to) in replaced {
        text = text.replace(from, to);
    }
    if is_json && let Ok(value) = serde_json::from_str(&text) {
        return json_form(&value);
    }
    if media_type.starts_with("application/xml")
        && let Ok(root) = Element::parse(text.as_bytes(), &XmlLimits::REQUEST)
    {
        return xml_form(&root);
    }
    text
}

pub(super) fn json_form(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let is_masked = |name: &str| VOLATILE.contains(&name) || name == DECLARED;
            let member = |(name, value): (&String, &Value)| match is_masked(name) {
                true => format!("{name}:*"),
                false if name == "uri" => {
                    let uri = percent_decode_str(value.as_str().unwrap_or_default());
                    format!("{name}:{}", uri.decode_utf8_lossy())
                }
                false => format!("{name}:{}", json_form(value)),
            };
            let mut members: Vec<String> = members.iter().map(member).collect();
            members.sort();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => {
            let mut items: Vec<String> = items.iter().map(json_form).collect();
            items.sort();
            format!("[{}]", items.join(","))
        }
        other => other.to_string(),
    }
}

pub(super) fn xml_form(element: &Element) -> String {
    let name = element.name();
    let is_added = |child: &&Element| {
        name.is("DAV:", "prop")
            && child.name().namespace() == "DAV:"
            && !RECORDED_PROPERTIES.contains(&child.name().local())
            && child.name().local() != "acl"
    };
    let children = element.elements().filter(|child| !is_added(child));
    let mut children: Vec<String> = children.map(xml_form).collect();
    children.sort();
    let text = match name.local() {
        time if TIMES.contains(&time) => "*".to_owned(),
        "href" => percent_decode_str(&element.text())
            .decode_utf8_lossy()
            .trim()
            .to_owned(),
        _ => element.text().trim().to_owned(),
    };
    let printed = element.to_xml();
    let start = printed.split('>').next().unwrap_or_default();
    let mut attributes: Vec<&str> = start
        .trim_end_matches('/')
        .split(' ')
        .skip(1)
        .filter(|attribute| !attribute.starts_with("xmlns") && !attribute.contains(DECLARED))
        .map(|attribute| {
            attribute
                .rsplit_once(':')
                .filter(|(p, _)| !p.contains('"'))
                .map_or(attribute, |(_, a)| a)
        })
        .collect();
    attributes.sort_unstable();
    format!(
        "<{}{} {attributes:?} {text}{}>",
        name.namespace(),
        name.local(),
        children.concat()
    )
}
