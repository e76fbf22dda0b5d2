//! The answers of a unit that curl has asked, in a container or a virtual machine.

use std::process::Output;

use serde_json::Value;

/// The name of the unit.
pub const HOST: &str = "unit.example";

/// The status and the body of an answer, after which curl has written a line with the status.
pub fn status_and_body(output: &Output) -> (String, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_default();
    (status.to_owned(), body.to_owned())
}

/// Logs the administrator in; returns the header with the token. `send` sends a request with arguments of curl to a path, and returns
/// status and body.
pub fn log_in(password: &str, send: impl FnOnce(&[&str], &str) -> (String, String)) -> String {
    let form = format!(
        "grant_type=password&username=unitadmin&password={password}&p_target=https://{HOST}/"
    );
    let (status, body) = send(&["-d", &form], "unitadmin/__token");
    assert_eq!(status, "200", "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    format!(
        "Authorization: Bearer {}",
        body["access_token"].as_str().unwrap()
    )
}
