//! Scripts with the answers that the engine of the reference gave. They are beside the project; without them the test does nothing.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use personium_testkit::{TestResponse, TestUnit, artifacts_folder, text_member};
use serde_json::{Value, json};

use super::register;

/// The service of most cases.
const SERVICE: &str = "scriptcell/sb/svc";
/// The names of the unit of the reference, and those of this unit.
const NAMES: [(&str, &str); 2] = [
    ("http://localhost:9998/", "http://unit.example/"),
    ("localhost:9998", "unit.example"),
];
/// The script of the second service: it shows the request.
const SHOW: &str = "function (request) { var names = []; for (var name in request.headers) names.push(name);
    return { status: 201, headers: {'X-Two': '2', 'Content-Type': 'application/json'}, body: [JSON.stringify({ method: request.method,
      body: request.input.readAll(), ct: request.headers['content-type'], h: names.sort() })] }; }";
/// The script of the case that looks whether something is left of its last request.
const COUNT: &str =
    "function (request) { if (typeof counter === 'undefined') { counter = 0; } counter += 1;
    return { status: 200, headers: {'Content-Type': 'text/plain'}, body: [String(counter)] }; }";

/// The cases whose answer differs, with the answer of this unit: a part of its body, or for a list of outcomes those that differ.
/// Each has a row in `conformance/differences.md`.
const DIFFERENT: [(&str, u16, &[&str]); 10] = [
    ("request headers", 200, &["\"user-agent\":\"personium\""]),
    ("response: header concatenated", 200, &["x"]),
    ("response: content type trailing ;", 200, &["x"]),
    (
        "syntax error",
        500,
        &["Server Error : ", "(unnamed script#1)"],
    ),
    (
        "language",
        200,
        &[
            "[\"template\",\"v 3\"]",
            "[\"const assign\",\"thrown\",\"TypeError\"",
        ],
    ),
    ("syntax: class", 200, &["1"]),
    ("syntax: default parameter", 200, &["1"]),
    ("syntax: exponent", 200, &["8"]),
    (
        "syntax: e4x",
        500,
        &["Server Error : syntax error (unnamed script#1)"],
    ),
    ("serviceSubject odata", 200, &["[\"expand\",1]"]),
];
/// The outcomes in a list that may differ.
const DIFFERENT_OUTCOMES: [&str; 4] = ["template", "const assign", "typeof", "expand"];

async fn unit_with_services() -> TestUnit {
    let unit = TestUnit::without_cells(|_| {});
    unit.create_cell("scriptcell").await;
    for account in ["engine", "caller"] {
        unit.create_account("scriptcell", &json!({"Name": account}).to_string())
            .await;
    }
    unit.grant_by_new_role("scriptcell", ("engine", "adm"), &["p:root"])
        .await;
    let schema = json!({"Name": "sb", "Schema": "http://unit.example/schemaapp/"}).to_string();
    unit.create("scriptcell/__ctl/Box", &schema).await;
    for service in ["svc", "svc2", "badroute", "nosvc"] {
        unit.create_collection(&format!("scriptcell/sb/{service}"), "service")
            .await;
    }
    register_services(&unit, Some("engine")).await;
    register(
        &unit,
        "scriptcell/sb/svc2",
        Some("engine"),
        &[("t", "t.js")],
    )
    .await;
    register(
        &unit,
        "scriptcell/sb/badroute",
        None,
        &[("ok", "t.js"), ("{id/bbb", "t.js")],
    )
    .await;
    unit.put_file("scriptcell/sb/svc2/__src/t.js", SHOW).await;
    unit.put_file("scriptcell/sb/svc/__src/empty.js", "").await;
    unit.put_file("scriptcell/sb/svc/__src/t.js", COUNT).await;
    unit.grant_by_new_role(SERVICE, ("caller", "exec"), &["p:exec"])
        .await;
    put_content(&unit).await;
    unit
}

async fn register_services(unit: &TestUnit, subject: Option<&str>) {
    let routes = [
        ("t", "t.js"),
        ("num/{id: [0-9]+}/x", "t.js"),
        ("missing", "nosuch.js"),
        ("emptyfile", "empty.js"),
    ];
    register(unit, SERVICE, subject, &routes).await;
}

/// The files and entities that the scripts read.
async fn put_content(unit: &TestUnit) {
    unit.create_collection("scriptcell/sb/d", "").await;
    unit.put_file("scriptcell/sb/d/f.txt", "日本語 file").await;
    let all_bytes: Vec<u8> = (0..=255).collect();
    for (name, bytes) in [
        ("sjis.txt", b"\x93\xfa\x96\x7b\x8c\xea".as_slice()),
        ("bin", &all_bytes),
    ] {
        let path = format!("scriptcell/sb/d/{name}");
        let put = unit
            .admin_request("PUT", &path)
            .header("content-type", "application/octet-stream");
        put.body(bytes).send().await.expect(201);
    }
    unit.create_odata_collection("scriptcell/sb/od", "Item")
        .await;
    unit.create_entity_type("scriptcell/sb/od", "Sub").await;
    let ends = "scriptcell/sb/od/$metadata/AssociationEnd";
    for (name, kind, multiplicity) in [("item", "Item", "0..1"), ("sub", "Sub", "*")] {
        let end = json!({"Name": name, "_EntityType.Name": kind, "Multiplicity": multiplicity});
        unit.create(ends, &end.to_string()).await;
    }
    let uri = format!("http://unit.example/{ends}(Name='sub',_EntityType.Name='Sub')");
    let links = format!("{ends}(Name='item',_EntityType.Name='Item')/$links/_AssociationEnd");
    unit.post(&links, &json!({"uri": uri}).to_string())
        .await
        .expect(204);
    for at in 0..30 {
        let item = json!({"__id": format!("i{at:02}"), "n": at, "t": format!("項目{at}")});
        unit.create("scriptcell/sb/od/Item", &item.to_string())
            .await;
    }
}

fn renamed(text: &str) -> String {
    NAMES
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[tokio::test]
async fn scripts_are_answered_as_by_the_reference() {
    let Some(folder) = artifacts_folder() else {
        return;
    };
    let unit = unit_with_services().await;
    let token = unit.login_as("scriptcell", "caller", &[]).await;
    let token = text_member(&token, "access_token");
    let cases = fs::read_to_string(folder.join("scripts.jsonl")).unwrap();
    let (mut wrong, mut count) = (Vec::new(), 0);
    for line in cases.lines() {
        let case: Value = serde_json::from_str(&renamed(line)).unwrap();
        let response = run(&unit, &token, &case).await;
        count += 1;
        if let Some(difference) = difference(&case, &response) {
            wrong.push(format!("{}: {difference}", text_member(&case, "name")));
        }
    }
    assert_eq!(count, 77);
    assert!(
        wrong.is_empty(),
        "{} of {count}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

async fn run(unit: &TestUnit, token: &str, case: &Value) -> TestResponse {
    let name = text_member(case, "name");
    let script = case["script"].as_str();
    if let Some(script) = script.or_else(|| name.starts_with("function hoisted").then_some(COUNT)) {
        unit.put_file("scriptcell/sb/svc/__src/t.js", script).await;
    }
    for (file, text) in case["files"].as_object().unwrap() {
        let path = format!("scriptcell/sb/svc/__src/{file}");
        unit.put_file(&path, text.as_str().unwrap()).await;
    }
    let subject = match name.as_str() {
        "no subject" => None,
        "subject account missing" => Some("nobody"),
        _ => Some("engine"),
    };
    register_services(unit, subject).await;
    let client = match case["as"].as_str() {
        Some("master") => unit.admin(),
        Some(_) => unit.with_token(token),
        None => (**unit).clone(),
    };
    let request = &case["request"];
    let path = text_member(request, "path");
    let mut sent = client.request(&text_member(request, "method"), &path);
    sent = sent.header("accept-encoding", "identity");
    for (header, value) in request["headers"].as_object().unwrap() {
        sent = sent.header(&header.to_lowercase(), value.as_str().unwrap());
    }
    let sent = match request["body"].as_str() {
        Some(body) => match body.strip_prefix("base64:") {
            Some(encoded) => sent.body(STANDARD.decode(encoded).unwrap()),
            None => sent.body(body),
        },
        None => sent,
    };
    sent.send().await
}

fn difference(case: &Value, response: &TestResponse) -> Option<String> {
    let name = text_member(case, "name");
    let found = response.status.as_u16();
    let known = DIFFERENT.iter().find(|(known, ..)| *known == name);
    let text = response.text();
    if let Some((_, status, parts)) = known {
        if found != *status || !parts.iter().all(|part| text.contains(part)) {
            return Some(format!("{found} {text}"));
        }
    } else if case["answer"]["status"] != found {
        return Some(format!("{found} {text}, not {}", case["answer"]["status"]));
    }
    let expected = &case["answer"];
    if known.is_none_or(|(_, status, _)| expected["status"] == *status) {
        let headers = header_difference(expected, response);
        if headers.is_some() && name != "response: content type trailing ;" {
            return headers;
        }
    }
    let body = match expected["body_base64"].as_str() {
        Some(encoded) => STANDARD.decode(encoded).unwrap(),
        None => expected["body"]
            .as_str()
            .unwrap_or_default()
            .as_bytes()
            .to_vec(),
    };
    if body == response.body.as_ref() {
        return known.map(|_| "answers as the reference: it is no difference any more".to_owned());
    }
    let (expected, found) = (comparable(&body), comparable(&response.body));
    let same = match (&expected, &found) {
        (Some(expected), Some(found)) => same_outcomes(&name, expected, found),
        _ => known.is_some(),
    };
    (!same).then(|| {
        format!(
            "\n  expected {}\n  found    {text}",
            String::from_utf8_lossy(&body)
        )
    })
}

/// JSON with the texts of messages of the unit masked, also in texts that are or end with JSON.
fn comparable(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok().map(masked)
}

fn masked(value: Value) -> Value {
    match value {
        Value::String(text) => {
            let start = text.find('{').unwrap_or(text.len());
            let (before, json) = text.split_at(start);
            match serde_json::from_str(json) {
                Ok(inner) => json!(format!("{before}{}", masked(inner))),
                Err(_) => Value::String(text),
            }
        }
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::Object(mut members) => {
            if members.contains_key("lang") {
                members.insert("value".to_owned(), json!("TEXT"));
            }
            members
                .into_iter()
                .map(|(name, value)| (name, masked(value)))
                .collect()
        }
        other => other,
    }
}

/// Whether JSON is the same, apart from the outcomes and headers that may differ.
fn same_outcomes(name: &str, expected: &Value, found: &Value) -> bool {
    if name == "request headers" {
        let names = |headers: &Value| -> BTreeMap<String, Value> {
            let headers = headers.as_object().unwrap().iter();
            let different = ["user-agent", "connection"];
            headers
                .map(|(name, value)| {
                    let value = if different.contains(&name.as_str()) {
                        Value::Null
                    } else {
                        value.clone()
                    };
                    (name.clone(), value)
                })
                .collect()
        };
        return names(expected) == names(found);
    }
    let (Some(expected_list), Some(found_list)) = (expected.as_array(), found.as_array()) else {
        return expected == found;
    };
    expected_list.len() == found_list.len()
        && expected_list
            .iter()
            .zip(found_list)
            .all(|(expected, found)| {
                let may_differ = DIFFERENT_OUTCOMES.iter().any(|name| expected[0] == *name);
                expected == found || (may_differ && expected[0] == found[0])
            })
}

/// A header of the answer that is missing or differs.
fn header_difference(expected: &Value, response: &TestResponse) -> Option<String> {
    let plain = |text: &str| text.replace(' ', "").to_lowercase();
    for header in expected["headers"].as_array().unwrap() {
        let name = header[0].as_str().unwrap().to_lowercase();
        if [
            "keep-alive",
            "connection",
            "content-length",
            "x-personium-version",
            "content-language",
        ]
        .contains(&name.as_str())
        {
            continue;
        }
        let value = header[1].as_str().map(plain);
        let found = response.header(&name).map(plain);
        if value != found {
            return Some(format!("{name} {found:?}, not {value:?}"));
        }
    }
    None
}
