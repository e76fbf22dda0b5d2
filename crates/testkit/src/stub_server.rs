//! A server that a unit sends requests to.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server on a port of this machine that receives single requests.
pub struct StubServer {
    listener: TcpListener,
}

/// A request that a [`StubServer`] received.
#[derive(Debug)]
pub struct ReceivedRequest {
    /// The request line and the headers.
    pub head: String,
    /// The body, which is JSON.
    pub body: Value,
    /// The body as it arrived.
    pub text: String,
}

impl ReceivedRequest {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl StubServer {
    /// Listens on a free port.
    pub async fn start() -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        }
    }

    /// Listens on a port on which another server has listened.
    pub async fn start_on(port: u16) -> Self {
        Self {
            listener: TcpListener::bind(("127.0.0.1", port)).await.unwrap(),
        }
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// The URL, with a final slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port())
    }

    /// Waits for a connection, and closes it.
    pub async fn accept(&self) {
        self.listener.accept().await.unwrap();
    }

    /// Waits for a connection, and leaves it open without an answer as long as the result lives.
    pub async fn accept_silently(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// Whether a connection is waiting now.
    pub async fn is_called(&self) -> bool {
        let accepted = tokio::time::timeout(Duration::ZERO, self.listener.accept());
        accepted.await.is_ok()
    }

    /// Receives one request with a JSON body, or with none, and answers it with a status such as `200 OK` and a body.
    pub async fn receive(&self, status: &str, answer: &str) -> ReceivedRequest {
        self.receive_bytes(status, answer.as_bytes()).await
    }

    /// As [`Self::receive`], with a body of bytes.
    pub async fn receive_bytes(&self, status: &str, answer: &[u8]) -> ReceivedRequest {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut read = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let count = stream.read(&mut chunk).await.unwrap();
            read.extend_from_slice(&chunk[..count]);
            let text = String::from_utf8_lossy(&read).into_owned();
            if let Some((head, received)) = text.split_once("\r\n\r\n")
                && let Ok(body) = match has_body(head) {
                    true => serde_json::from_str(received),
                    false => Ok(Value::Null),
                }
            {
                let response = format!(
                    "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    answer.len()
                );
                let response = [response.as_bytes(), answer].concat();
                stream.write_all(&response).await.unwrap();
                return ReceivedRequest {
                    head: head.to_owned(),
                    body,
                    text: received.to_owned(),
                };
            }
            assert!(count > 0, "{text}");
        }
    }
}

/// Whether a head announces a body.
fn has_body(head: &str) -> bool {
    let head = head.to_ascii_lowercase();
    head.contains("\r\ncontent-length: ") || head.contains("\r\ntransfer-encoding: ")
}
