//! Requests to a service, and the answers that are expected.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::Method;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::Value;

use super::deployment::{Deployment, ServiceRequest};
use super::read_text;
use crate::outside::OutsideResponse;

/// The folder of the cases.
pub(super) const FOLDER: &str = "tests";
/// The ending of the names of files with cases.
const ENDING: &str = "json";
/// The largest size of such a file in bytes.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// The outcome of a case.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CaseOutcome {
    /// The answer was as expected.
    Passed,
    /// How it was not.
    Failed(String),
}

/// A request and the expected answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceCase {
    #[serde(default)]
    name: String,
    request: CaseRequest,
    response: CaseResponse,
}

/// A request below the service.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseRequest {
    #[serde(default)]
    method: Option<String>,
    /// The path below the service, with its query.
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text, or a value that is sent as JSON.
    #[serde(default)]
    body: Option<Value>,
    /// Whether it is sent without a token.
    #[serde(default)]
    anonymous: bool,
}

/// The parts of an answer that are compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseResponse {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text that is the whole body, or a value that the body is as JSON.
    #[serde(default)]
    body: Option<Value>,
    /// A text that the body contains.
    #[serde(default)]
    contains: Option<String>,
}

/// A file has one case or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum CaseFile {
    Several(Vec<Value>),
    One(Value),
}

/// Reads the cases of a folder, in the order of the names of the files.
///
/// # Errors
/// A text if there is no case, or one cannot be read.
pub(super) fn read(folder: &Path) -> Result<Vec<ServiceCase>, String> {
    let unreadable = |error| format!("cannot read {}: {error}", folder.display());
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|found| found == ENDING) {
            files.push(path);
        }
    }
    files.sort();
    let mut out = Vec::new();
    for file in &files {
        out.extend(read_file(folder, file)?);
    }
    match out.is_empty() {
        true => Err(format!("{} has no case (*.json)", folder.display())),
        false => Ok(out),
    }
}

fn read_file(folder: &Path, file: &Path) -> Result<Vec<ServiceCase>, String> {
    let wrong = |error: serde_json::Error| format!("{}: {error}", file.display());
    let text = read_text(folder, file, MAX_FILE_BYTES)?;
    let found = match serde_json::from_str(&text).map_err(wrong)? {
        CaseFile::Several(found) => found,
        CaseFile::One(found) => vec![found],
    };
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let mut out = Vec::new();
    for (at, value) in found.into_iter().enumerate() {
        let mut case: ServiceCase = serde_json::from_value(value).map_err(wrong)?;
        if case.name.is_empty() {
            case.name = format!("{stem} {}", at + 1);
        }
        out.push(case);
    }
    Ok(out)
}

impl ServiceCase {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends the request and compares the answer.
    pub async fn run(&self, deployment: &mut Deployment) -> CaseOutcome {
        let request = match self.request.build() {
            Ok(request) => request,
            Err(why) => return CaseOutcome::Failed(why),
        };
        match deployment.send(request).await {
            Ok(response) => match self.response.difference(&response) {
                None => CaseOutcome::Passed,
                Some(why) => CaseOutcome::Failed(why),
            },
            Err(why) => CaseOutcome::Failed(why),
        }
    }
}

impl CaseRequest {
    fn build(&self) -> Result<ServiceRequest, String> {
        let method = self.method.as_deref().unwrap_or("GET");
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| format!("{method:?} is no method"))?;
        if leads_upwards(&self.path) {
            return Err(format!("{:?} leads out of the service", self.path));
        }
        let mut headers: Vec<_> = self
            .headers
            .iter()
            .map(|(name, value)| (name.clone().into(), value.clone()))
            .collect();
        let body = match &self.body {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(json) => {
                if !self
                    .headers
                    .keys()
                    .any(|name| name.eq_ignore_ascii_case("content-type"))
                {
                    headers.push(("content-type".into(), "application/json".to_owned()));
                }
                json.to_string()
            }
        };
        Ok(ServiceRequest {
            method,
            path: self.path.trim_start_matches('/').to_owned(),
            headers,
            body,
            is_anonymous: self.anonymous,
        })
    }
}

/// Whether a part of a path is the folder above, also percent-encoded. The cases of a service of somebody else have the rights of the user
/// below the service only.
fn leads_upwards(path: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let mut segments = decoded.split(['/', '\\']);
    segments.any(|segment| segment == "..")
}

impl CaseResponse {
    /// The first difference; `None` if the answer is as expected.
    fn difference(&self, response: &OutsideResponse) -> Option<String> {
        if response.status != self.status {
            return Some(format!(
                "status {} instead of {}: {}",
                response.status,
                self.status,
                response.shown()
            ));
        }
        for (name, expected) in &self.headers {
            let found = response.headers.get(name);
            if found.is_none_or(|found| found.as_bytes() != expected.as_bytes()) {
                return Some(format!("header {name}: {found:?} instead of {expected:?}"));
            }
        }
        let is_expected = match &self.body {
            None => true,
            Some(Value::String(text)) => response.body == text.as_bytes(),
            Some(json) => serde_json::from_slice::<Value>(&response.body).is_ok_and(|b| b == *json),
        };
        let text = String::from_utf8_lossy(&response.body);
        let is_contained = self
            .contains
            .as_ref()
            .is_none_or(|part| text.contains(part));
        (!is_expected || !is_contained).then(|| format!("another body: {}", response.shown()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, header};
    use serde_json::json;

    use super::*;

    fn difference(expected: Value) -> Option<String> {
        let expected: CaseResponse = serde_json::from_value(expected).unwrap();
        let content_type = (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        expected.difference(&OutsideResponse {
            status: 200,
            headers: HeaderMap::from_iter([content_type]),
            body: Bytes::from_static(br#"{ "a": [1] }"#),
            elapsed: Duration::ZERO,
        })
    }

    #[test]
    fn answers_are_compared_in_each_part() {
        for same in [
            json!({"status": 200}),
            json!({"status": 200, "body": {"a": [1]}}),
            json!({"status": 200, "body": "{ \"a\": [1] }", "contains": "[1]"}),
            json!({"status": 200, "headers": {"Content-Type": "application/json"}}),
        ] {
            assert_eq!(difference(same), None);
        }
        for (other, why) in [
            (json!({"status": 404}), "status 200"),
            (json!({"status": 200, "body": {"a": []}}), "another body"),
            (json!({"status": 200, "body": "{}"}), "another body"),
            (json!({"status": 200, "contains": "[2]"}), "another body"),
            (
                json!({"status": 200, "headers": {"Content-Type": "x"}}),
                "header",
            ),
            (json!({"status": 200, "headers": {"ETag": "x"}}), "header"),
        ] {
            assert!(difference(other).unwrap().contains(why));
        }
    }

    #[test]
    fn requests_stay_below_the_service() {
        let build = |path: &str| {
            let case = json!({"request": {"path": path}, "response": {"status": 200}});
            let case: ServiceCase = serde_json::from_value(case).unwrap();
            case.request.build().map(|request| request.path)
        };
        assert_eq!(build("/a/..b/c?x=/../y"), Ok("a/..b/c?x=/../y".to_owned()));
        for path in [
            "../x",
            "/..",
            "a/../../x",
            "a/%2e%2E/x",
            "a%2f..%2fx",
            "..\\x",
        ] {
            assert!(build(path).is_err(), "{path}");
        }
    }

    #[test]
    fn cases_with_misspelt_members_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read(folder.path()).unwrap_err().contains("no case"));
        let file = folder.path().join("a.json");
        std::fs::write(
            &file,
            r#"{"request":{"path":"x"},"response":{"status":200}}"#,
        )
        .unwrap();
        assert_eq!(read(folder.path()).unwrap()[0].name(), "a 1");
        std::fs::write(
            &file,
            r#"[{"request":{"path":"x"},"response":{"state":200}}]"#,
        )
        .unwrap();
        assert!(read(folder.path()).unwrap_err().contains("unknown field"));
    }
}
