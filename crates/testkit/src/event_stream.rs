//! A client of Server-Sent Events, which reads them as the standard says (WHATWG HTML, section 9.2.6).

use std::time::Duration;

use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::timeout;

use crate::{Body, BoxError, TestClient};

/// The time within which something must arrive.
const LIMIT: Duration = Duration::from_secs(60);

/// A received event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamedEvent {
    /// Its type; `message` if none was sent.
    pub kind: String,
    /// The id from which a client resumes after it.
    pub id: String,
    /// Its data.
    pub data: String,
}

/// The events of a cell as a client receives them.
pub struct EventStream {
    body: Body,
    /// The received bytes that were not read yet. A character may be cut at their end.
    received: Vec<u8>,
    id: String,
}

impl EventStream {
    /// Begins to listen to all events of a cell with the token of the client. `last_id` is the id of the last event that it knows.
    pub async fn open(client: &TestClient, cell: &str, last_id: Option<&str>) -> Self {
        let path = format!("{cell}/__event?type=*&object=*");
        Self::open_at(client, &path, last_id).await
    }

    /// As [`Self::open`]; `None` if the unit does not answer, or refuses.
    pub async fn try_open(client: &TestClient, cell: &str, last_id: Option<&str>) -> Option<Self> {
        let path = format!("{cell}/__event?type=*&object=*");
        let response = Self::request(client, &path, last_id).await.ok()?;
        (response.status() == 200).then(|| Self::of(response, last_id))
    }

    /// Begins to read what a path streams with the token of the client.
    pub async fn open_at(client: &TestClient, path: &str, last_id: Option<&str>) -> Self {
        let response = Self::request(client, path, last_id).await.unwrap();
        assert_eq!(response.status(), 200);
        Self::of(response, last_id)
    }

    async fn request(
        client: &TestClient,
        path: &str,
        last_id: Option<&str>,
    ) -> Result<http::Response<Body>, BoxError> {
        let mut request = client
            .request("GET", path)
            .header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        request.send_streaming().await
    }

    fn of(response: http::Response<Body>, last_id: Option<&str>) -> Self {
        Self {
            body: response.into_body(),
            received: Vec::new(),
            id: last_id.unwrap_or_default().to_owned(),
        }
    }

    /// The id from which the client would resume.
    #[must_use]
    pub fn last_id(&self) -> &str {
        &self.id
    }

    /// Waits until the client knows from where it would resume.
    pub async fn wait_for_id(&mut self) {
        while self.id.is_empty() {
            let block = self.next_block().await.expect("the stream ended");
            assert_eq!(self.read(&block), None, "an event came before");
        }
    }

    /// The next event; `None` when the stream has ended.
    pub async fn next(&mut self) -> Option<StreamedEvent> {
        loop {
            let block = self.next_block().await?;
            if let Some(event) = self.read(&block) {
                return Some(event);
            }
        }
    }

    /// The next event, which must be one of the cell, with its id.
    pub async fn next_of_cell(&mut self) -> (String, Value) {
        let event = self.next().await.expect("the stream ended");
        assert_eq!(event.kind, "message", "{event:?}");
        (event.id, serde_json::from_str(&event.data).unwrap())
    }

    async fn next_block(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.received.windows(2).position(|it| it == b"\n\n") {
                let mut block: Vec<u8> = self.received.drain(..end + 2).collect();
                block.truncate(end);
                return Some(String::from_utf8(block).unwrap());
            }
            let frame = timeout(LIMIT, self.body.frame()).await.expect("no event");
            // A connection that breaks ends the stream too.
            let data = frame?.ok()?.into_data().unwrap();
            self.received.extend_from_slice(&data);
        }
    }

    fn read(&mut self, block: &str) -> Option<StreamedEvent> {
        let (mut kind, mut data) = ("message", Vec::new());
        for line in block.lines() {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => self.id = value.to_owned(),
                "event" => kind = value,
                "data" => data.push(value),
                _ => {}
            }
        }
        (!data.is_empty()).then(|| StreamedEvent {
            kind: kind.to_owned(),
            id: self.id.clone(),
            data: data.join("\n"),
        })
    }
}
