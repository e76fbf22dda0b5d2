//! A node of a unit that does what a test tells it, for tests of what stands in front of it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The treatment of a request by a [`StubNode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum StubBehaviour {
    /// Answers it with status 200.
    Answer = 0,
    /// Reads its head and closes the connection.
    Break = 1,
    /// Answers it with status 200 and headers that direct an Nginx in front.
    Direct = 2,
    /// Switches to the protocol that it asks for, and sends back what then comes.
    Echo = 3,
}

/// A server on a port of this machine that counts the requests that it gets. It ends when it is dropped.
pub struct StubNode {
    port: u16,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    behaviour: AtomicU8,
    heads: Mutex<Vec<String>>,
}

impl StubNode {
    /// Listens on a free port.
    pub async fn start(behaviour: StubBehaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let of_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&of_task)));
            }
        });
        let node = Self { port, shared, task };
        node.set(behaviour);
        node
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes what it does.
    pub fn set(&self, behaviour: StubBehaviour) {
        self.shared
            .behaviour
            .store(behaviour as u8, Ordering::Relaxed);
    }

    /// The heads of the requests since the last call.
    #[must_use]
    pub fn take_heads(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.heads.lock().unwrap())
    }
}

impl Drop for StubNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut read = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut read).await else {
            return;
        };
        let is_head = head.starts_with("HEAD ");
        let length = header(&head, "content-length").and_then(|value| value.parse().ok());
        let protocol = header(&head, "upgrade").map(str::to_owned);
        shared.heads.lock().unwrap().push(head);
        let more = match shared.behaviour.load(Ordering::Relaxed) {
            1 => return,
            2 => "X-Accel-Redirect: /elsewhere\r\nX-Accel-Limit-Rate: 1\r\n",
            3 if protocol.is_some() => {
                let protocol = protocol.unwrap_or_default();
                return echo(&mut stream, &protocol).await;
            }
            _ => "",
        };
        let length: usize = length.unwrap_or(0);
        while read.len() < length {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        }
        read.drain(..length);
        let body = if is_head { "" } else { "answer" };
        let answer = format!("HTTP/1.1 200 OK\r\n{more}Content-Length: 6\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Reads up to the end of the head of a request; `None` at the end of the connection.
async fn read_head(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = read.split_off(end + 4);
            let head = std::mem::replace(read, rest);
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

/// The value of a header of a head.
fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

async fn echo(stream: &mut TcpStream, protocol: &str) {
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: {protocol}\r\nConnection: upgrade\r\n\r\n"
    );
    if stream.write_all(head.as_bytes()).await.is_err() {
        return;
    }
    let (mut from, mut to) = stream.split();
    let _ = tokio::io::copy(&mut from, &mut to).await;
}
