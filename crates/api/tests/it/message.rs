//! Messages between cells.

mod approval;
mod other_units;
mod port;
mod send;

use serde_json::{Value, json};

use crate::auth::cell_url;
use crate::harness::{TestResponse, TestUnit};

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

impl TestUnit {
    /// The token with which the cell `d` delivers messages to `c`.
    pub fn delivery_token(&self) -> String {
        self.assertion(|token| token.subject.clone_from(&token.issuer))
    }

    /// Sends a POST with a token.
    pub async fn post_as(&self, token: &str, path: &str, body: &str) -> TestResponse {
        let request = self.request("POST", path);
        let request = request.header("authorization", &format!("Bearer {token}"));
        request.body(body).send().await
    }

    /// Sends a POST with the master token.
    pub async fn post(&self, path: &str, body: &str) -> TestResponse {
        self.admin_request("POST", path).body(body).send().await
    }

    /// Delivers a message of `d` to `c`.
    pub async fn deliver(&self, body: &str) {
        let token = self.delivery_token();
        let response = self.post_as(&token, "c/__message/port", body).await;
        assert_eq!(response.status, 201, "{}", response.text());
    }

    /// Sends a command for the delivered message.
    pub async fn command(&self, command: &str) -> (u16, String) {
        let body = json!({"Command": command}).to_string();
        let path = format!("c/__message/received/{ID}");
        self.post(&path, &body).await.outcome()
    }

    /// Lists the entities of a control set.
    pub async fn list_entities(&self, path: &str) -> Vec<Value> {
        let request = self
            .admin_request("GET", path)
            .header("accept", "application/json");
        let response = request.send().await;
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        response.json()["d"]["results"].as_array().unwrap().clone()
    }

    /// Grants everybody these privileges of the cell `c`.
    pub async fn grant_cell(&self, privileges: &[&str]) {
        self.grant_to_everybody("c", privileges).await;
    }
}
