//! Messages between cells.

mod approval;
mod delivery;
mod other_units;
mod port;
mod send;

use personium_testkit::{TestUnit, cell_url};
use serde_json::{Value, json};

/// The id of the message that tests deliver.
pub const ID: &str = "0123456789abcdef0123456789abcdef";

/// The body of a message that the cell `d` delivers, with these members replaced.
pub fn message_body(members: Value) -> String {
    let mut body = json!({
        "__id": ID, "From": cell_url("d"), "Type": "message", "Title": "t", "Body": "b", "Priority": 3,
        "Status": "unread",
    });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

/// The body of a request message of the cell `d` with these request objects.
pub fn request_message(objects: Value) -> String {
    message_body(json!({"Type": "request", "Status": "none", "RequestObjects": objects}))
}

/// The token with which the cell `d` delivers messages to `c`.
pub fn delivery_token(unit: &TestUnit) -> String {
    unit.assertion(|token| token.subject.clone_from(&token.issuer))
}

/// Delivers a message of `d` to `c`.
pub async fn deliver(unit: &TestUnit, body: &str) {
    let token = delivery_token(unit);
    let response = unit.post_as(&token, "c/__message/port", body).await;
    assert_eq!(response.status, 201, "{}", response.text());
}

/// Sends a command for the delivered message.
pub async fn send_command(unit: &TestUnit, command: &str) -> (u16, String) {
    let body = json!({"Command": command}).to_string();
    let path = format!("c/__message/received/{ID}");
    unit.post(&path, &body).await.outcome()
}

/// Grants everybody these privileges of the cell `c`.
pub async fn grant_cell(unit: &TestUnit, privileges: &[&str]) {
    unit.grant_to_everybody("c", privileges).await;
}
