//! Messages between cells.

mod approval;
mod outside;
mod port;
mod send;

use serde_json::{Value, json};

use crate::auth::cell_url;
use crate::harness::{Reply, World};

/// The id of a message that is delivered by hand.
pub const ID: &str = "0123456789abcdef0123456789abcdef";

/// A message as the cell `d` delivers it, with these members instead.
pub fn letter(members: Value) -> String {
    let mut body = json!({
        "__id": ID, "From": cell_url("d"), "Type": "message", "Title": "t", "Body": "b", "Priority": 3,
        "Status": "unread",
    });
    for (name, value) in members.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

/// A message from the cell `d` that asks for these changes.
pub fn request(objects: Value) -> String {
    letter(json!({"Type": "request", "Status": "none", "RequestObjects": objects}))
}

impl World {
    /// The token that the cell `d` delivers messages to `c` with.
    pub fn delivering(&self) -> String {
        self.signed(|token| token.subject.clone_from(&token.issuer))
    }

    /// A POST with a token.
    pub async fn post_as(&self, token: &str, path: &str, body: &str) -> Reply {
        let ask = self.anybody("POST", path);
        let ask = ask.with("authorization", &format!("Bearer {token}"));
        ask.text(body).send().await
    }

    /// A POST by the master.
    pub async fn post(&self, path: &str, body: &str) -> Reply {
        self.ask("POST", path).text(body).send().await
    }

    /// Delivers a message of `d` to `c`.
    pub async fn deliver(&self, body: &str) {
        let token = self.delivering();
        let reply = self.post_as(&token, "c/__message/port", body).await;
        assert_eq!(reply.status, 201, "{}", reply.text());
    }

    /// Gives a command about the message that was delivered.
    pub async fn command(&self, command: &str) -> (u16, String) {
        let body = json!({"Command": command}).to_string();
        let path = format!("c/__message/received/{ID}");
        self.post(&path, &body).await.outcome()
    }

    /// The entities of a control set.
    pub async fn entities(&self, path: &str) -> Vec<Value> {
        let ask = self.ask("GET", path).with("accept", "application/json");
        let reply = ask.send().await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        reply.json()["d"]["results"].as_array().unwrap().clone()
    }

    /// Gives everybody these privileges of the cell `c`.
    pub async fn grant_cell(&self, privileges: &[&str]) {
        self.grant_all("c", privileges).await;
    }
}
