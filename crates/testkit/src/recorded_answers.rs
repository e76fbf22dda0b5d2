//! The answers of a unit of the reference, and how those of a unit are compared with them. They are beside the project, like the
//! recorded exchanges; tests that need them do nothing without them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use personium_xml::{Element, XmlLimits};
use serde_json::Value;

use crate::{TestClient, TestResponse};

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
/// The members of an answer of `__rule` that change with time: of rules, timers, and `id` of boxes.
const VOLATILE_OF_RULES: [&str; 4] = ["HitCount", "count", "nextTime", "id"];
/// The mark of declared properties. An archive does not keep it: the reference installs all as declared.
const DECLARED: &str = "IsDeclared";

/// The folder of the archives and answers; `None` if it is not beside the project.
#[must_use]
pub fn artifacts_folder() -> Option<PathBuf> {
    let folder = PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../../shared/artifacts"
    ));
    folder.is_dir().then_some(folder)
}

/// The recorded answers about a cell.
#[must_use]
pub fn recorded_answers(name: &str) -> Vec<Value> {
    let path = artifacts_folder()
        .unwrap()
        .join(format!("expected_{name}.json.gz"));
    let unpacked = Command::new("gzip").arg("-dc").arg(path).output().unwrap();
    serde_json::from_slice(&unpacked.stdout).unwrap()
}

/// How a response differs from the recorded answer about another cell. `cells` are the names of that cell and of this one.
#[must_use]
pub fn answer_difference(
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
    if is_json && let Ok(mut value) = serde_json::from_str::<Value>(&text) {
        for of_rules in ["rules", "timers", "boxes"] {
            let items = value.get_mut(of_rules).and_then(Value::as_array_mut);
            for item in items.into_iter().flatten() {
                for (_, value) in item
                    .as_object_mut()
                    .into_iter()
                    .flatten()
                    .filter(|(name, _)| VOLATILE_OF_RULES.contains(&name.as_str()))
                {
                    *value = Value::Null;
                }
            }
        }
        return json_form(&value);
    }
    if media_type.starts_with("application/xml")
        && let Ok(root) = Element::parse(text.as_bytes(), &XmlLimits::REQUEST)
    {
        return xml_form(&root);
    }
    text
}

/// The comparable form of JSON.
#[must_use]
pub fn json_form(value: &Value) -> String {
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

/// The comparable form of XML.
#[must_use]
pub fn xml_form(element: &Element) -> String {
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

/// The passwords of the accounts of the cells.
const PASSWORDS: [(&str, &str); 6] = [
    ("alice", "alicepass1"),
    ("bob", "bobpass22"),
    ("bobby", "bobbypass2"),
    ("carol", "carolpass3"),
    ("fay@mail.example", "faypass666"),
    ("own", "ownpass777"),
];

/// Checks that the cells of the unit of the reference, which were migrated, give the answers that they gave there.
///
/// # Panics
/// If an answer differs, or fewer were compared than there are.
pub async fn expect_recorded_answers(unit: &TestClient) {
    for (cell, least) in [("migrated", 1_100), ("ownedcell", 40)] {
        let (compared, differences) = compare_all_answers(unit, cell).await;
        assert!(compared > least, "{cell}: {compared}");
        assert!(
            differences.is_empty(),
            "{cell}: {} of {compared} differ\n{}",
            differences.len(),
            differences.join("\n")
        );
    }
}

/// Compares all answers about a cell with those of the cell that was migrated, and the values that a migration keeps.
async fn compare_all_answers(unit: &TestClient, cell: &str) -> (usize, Vec<String>) {
    let is_compared = |answer: &Value, path: &str| {
        let group = answer["group"].as_str().unwrap();
        // Tokens are never the same.
        let is_other = ["login", "service"].contains(&group)
            || ["__certs", "$format=atom"]
                .iter()
                .any(|part| path.contains(part))
            // Boxes have no order.
            || path.ends_with("/__role")
            || answer["body"]
                .as_str()
                .is_some_and(|body| body.contains("<uuid>"));
        !is_other
    };
    compare_answers(unit, (cell, cell), is_compared, kept_difference).await
}

/// Compares the answers about a cell with those of the cell that it was imported into.
pub async fn compare_answers(
    unit: &TestClient,
    (recorded, own): (&str, &str),
    is_compared: impl Fn(&Value, &str) -> bool,
    also: impl Fn(&Value, &TestResponse) -> Option<String>,
) -> (usize, Vec<String>) {
    let mut tokens: HashMap<String, String> = HashMap::new();
    let (mut compared, mut differences) = (0, Vec::new());
    for answer in recorded_answers(recorded) {
        let caller = answer["as"].as_str().unwrap();
        let path = answer["path"].as_str().unwrap();
        if !is_compared(&answer, path) {
            continue;
        }
        let method = answer["method"].as_str().unwrap();
        let changed = match path.strip_prefix("/__ctl/") {
            Some(rest) => format!("__ctl/{rest}"),
            None => path.replacen(&format!("/{recorded}"), own, 1),
        };
        let mut request = match caller {
            "master" => unit.admin_request(method, &changed),
            "anonymous" | "nobody" => unit.request(method, &changed),
            account => {
                let token = match tokens.get(account) {
                    Some(token) => token.clone(),
                    None => {
                        let Some(token) = login(unit, own, account).await else {
                            continue;
                        };
                        tokens.insert(account.to_owned(), token.clone());
                        token
                    }
                };
                unit.request(method, &changed).bearer(&token)
            }
        };
        for (name, value) in answer["headers"].as_object().unwrap() {
            request = request.header(&name.to_lowercase(), value.as_str().unwrap());
        }
        compared += 1;
        let mut response = request.send().await;
        if let Ok(text) = std::str::from_utf8(&response.body) {
            // OData JSON has slashes with and without a backslash.
            let escaped = |url: &str| url.replace('/', "\\/");
            let url = "http://unit.example/";
            let text = text.replace(unit.url(), url);
            let text = text.replace(&escaped(unit.url()), &escaped(url));
            response.body = text.into_bytes().into();
        }
        let difference = match response.status.as_u16() {
            400.. => refusal_difference(&answer, &response),
            _ => answer_difference((recorded, own), &answer, &response)
                .or_else(|| also(&answer, &response)),
        };
        if let Some(difference) = difference {
            differences.push(format!("{method} {path} as {caller}: {difference}"));
        }
    }
    (compared, differences)
}

/// How a refusal differs in status and code; its text is another one.
fn refusal_difference(answer: &Value, response: &TestResponse) -> Option<String> {
    let body = answer["body"].as_str().unwrap_or_default();
    let is_same = answer["status"] == response.status.as_u16()
        && code_in(body).is_none_or(|code| response.text().contains(code));
    (!is_same).then(|| format!("{} {}, not {body}", response.status, response.text()))
}

fn code_in(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("PR")?;
    rest.get(.."400-OD-0001".len())
}

async fn login(unit: &TestClient, cell: &str, account: &str) -> Option<String> {
    let (_, password) = PASSWORDS.iter().find(|(name, _)| *name == account)?;
    let fields = [
        ("grant_type", "password"),
        ("username", account),
        ("password", *password),
    ];
    let token = unit.request("POST", &format!("{cell}/__token"));
    let token = token
        .header("x-forwarded-for", "127.0.0.1")
        .form(&fields)
        .send()
        .await;
    token.json()["access_token"].as_str().map(str::to_owned)
}

/// The values in an answer that a snapshot or an archive does not keep, and a migration does.
fn kept_values(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    for name in [
        "\"etag\":\"",
        "\"__published\":\"",
        "\"__updated\":\"",
        "\"__id\":\"",
    ] {
        for rest in text.replace("\\/", "/").split(name).skip(1) {
            let value = rest.replace("\\\"", "'");
            out.push(format!("{name}{}", value.split('"').next().unwrap()));
        }
    }
    out.sort();
    out
}

/// How the values differ that a migration keeps.
fn kept_difference(answer: &Value, response: &TestResponse) -> Option<String> {
    let recorded = kept_values(answer["body"].as_str().unwrap_or_default());
    let found = kept_values(&String::from_utf8_lossy(&response.body));
    (recorded != found).then(|| format!("\n  kept {recorded:?}\n  found {found:?}"))
}
