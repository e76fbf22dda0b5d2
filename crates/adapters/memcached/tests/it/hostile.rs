//! Servers that answer nonsense, half, late, or something else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use personium_memcached::{MemcachedCache, MemcachedSettings};
use personium_store::Cache;
use personium_types::SystemClock;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const TTL: Duration = Duration::from_secs(600);

/// A server that answers each line that it gets by a function of the number of the connection and the line.
struct FakeServer {
    address: String,
    connections: Arc<AtomicUsize>,
}

/// The reaction of a fake server to a line.
enum Reaction {
    /// It sends this.
    Send(String),
    /// It sends this after a while.
    SendLate(String),
    /// It sends this and closes the connection.
    SendAndClose(String),
    /// It sends bytes without end.
    Flood,
    /// It does nothing.
    Nothing,
}

impl FakeServer {
    async fn start(react: impl Fn(usize, &str) -> Reaction + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counter, react) = (Arc::clone(&connections), Arc::new(react));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let react = Arc::clone(&react);
                tokio::spawn(async move {
                    // The client may close the connection at any time.
                    let _ = serve(stream, |line| react(number, line)).await;
                });
            }
        });
        Self {
            address,
            connections,
        }
    }

    fn cache(&self) -> MemcachedCache {
        let settings = MemcachedSettings {
            servers: vec![self.address.clone()],
            name_key: [7; 32],
            timeout: Duration::from_millis(300),
            longest_ttl: TTL,
            connections_max: 4,
        };
        MemcachedCache::new(&settings, Arc::new(SystemClock::new()))
    }
}

async fn serve(stream: TcpStream, react: impl Fn(&str) -> Reaction) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        match react(line.trim_end()) {
            Reaction::Send(text) => stream.write_all(text.as_bytes()).await?,
            Reaction::SendLate(text) => {
                tokio::time::sleep(Duration::from_millis(600)).await;
                stream.write_all(text.as_bytes()).await?;
            }
            Reaction::SendAndClose(text) => {
                stream.write_all(text.as_bytes()).await?;
                return Ok(());
            }
            Reaction::Flood => loop {
                stream.write_all(&[b'x'; 4096]).await?;
            },
            Reaction::Nothing => {}
        }
        line.clear();
    }
    Ok(())
}

/// The tag of a command.
fn tag(line: &str) -> &str {
    let mut words = line.split(' ');
    words.find(|word| word.starts_with('O')).unwrap_or_default()
}

/// Gets a value until an answer is accepted.
async fn get_until_answered(cache: &MemcachedCache) -> Option<bytes::Bytes> {
    loop {
        if let Ok(value) = cache.get("k").await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn answer_that_is_none_fails_the_call_and_closes_the_connection() {
    let answers = [
        "\r\n",
        "garbage\r\n",
        "VA 1 O1\n1\r\n",
        "VA 3 O1\r\nabcdef\r\n",
        "VA 3 O9\r\nabc\r\n",
        "VA 3\r\nabc\r\n",
        "VA 99999999999 O1\r\n",
        "VA -3 O1\r\nabc\r\n",
        "HD O9\r\n",
        "HD O1\r\nHD O2\r\n",
        "EN\r\nEN\r\n",
        "END\r\n",
        "ERROR\r\n",
        "SERVER_ERROR out of memory\r\n",
        "HTTP/1.1 200 OK\r\n\r\n",
        "\u{1}\u{2}\r\n",
    ];
    for answer in answers {
        // The first connection gets the answer, all others a right one.
        let server = FakeServer::start(move |connection, line| match connection {
            0 => Reaction::Send(answer.to_owned()),
            _ => Reaction::Send(format!("VA 2 {}\r\nok\r\n", tag(line))),
        });
        let server = server.await;
        let cache = server.cache();
        assert!(cache.get("k").await.is_err(), "{answer:?}");
        assert_eq!(get_until_answered(&cache).await, Some("ok".into()));
        assert_eq!(server.connections.load(Ordering::SeqCst), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn half_an_answer_is_no_answer() {
    for half in [
        "",
        "V",
        "VA 3 O",
        "VA 3 O1\r\n",
        "VA 3 O1\r\nab",
        "VA 3 O1\r\nabc",
    ] {
        for closes in [true, false] {
            let server = FakeServer::start(move |connection, line| match (connection, closes) {
                (0, true) => Reaction::SendAndClose(half.to_owned()),
                (0, false) => Reaction::Send(half.to_owned()),
                _ => Reaction::Send(format!("VA 2 {}\r\nok\r\n", tag(line))),
            });
            let server = server.await;
            let cache = server.cache();
            assert!(cache.get("k").await.is_err(), "{half:?} {closes}");
            assert_eq!(get_until_answered(&cache).await, Some("ok".into()));
        }
    }
}

#[tokio::test]
async fn late_answer_is_never_taken_for_that_of_another_call() {
    let server = FakeServer::start(|connection, line| match connection {
        0 => Reaction::SendLate(format!("VA 3 {}\r\nold\r\n", tag(line))),
        _ => Reaction::Send(format!("VA 3 {}\r\nnew\r\n", tag(line))),
    });
    let server = server.await;
    let cache = server.cache();
    assert!(cache.get("k").await.is_err());
    for _ in 0..40 {
        assert_eq!(get_until_answered(&cache).await, Some("new".into()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn answer_to_a_cancelled_call_is_not_taken_for_that_of_the_next() {
    let server = FakeServer::start(|_, line| {
        let value = if line.contains("ms ") { "HD" } else { "VA 1" };
        Reaction::SendLate(format!("{value} {}\r\n1\r\n", tag(line)))
    });
    let server = server.await;
    let cache = server.cache();
    for _ in 0..3 {
        let call = cache.get("k");
        let cancelled = tokio::time::timeout(Duration::from_millis(50), call).await;
        assert!(cancelled.is_err());
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn flood_ends_with_the_call_and_is_not_kept_in_memory() {
    for flood in [Reaction::Flood, Reaction::Nothing] {
        let is_flood = matches!(flood, Reaction::Flood);
        let server = FakeServer::start(move |connection, line| match (connection, is_flood) {
            (0, true) => Reaction::Flood,
            (0, false) => Reaction::Nothing,
            _ => Reaction::Send(format!("VA 2 {}\r\nok\r\n", tag(line))),
        });
        let server = server.await;
        let cache = server.cache();
        let error = cache.get("k").await.unwrap_err();
        let reason = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(reason.contains("in time"), !is_flood, "{reason}");
        assert_eq!(get_until_answered(&cache).await, Some("ok".into()));
    }
}

#[tokio::test]
async fn number_of_connections_is_bounded() {
    let server =
        FakeServer::start(|_, line| Reaction::Send(format!("VA 2 {}\r\nok\r\n", tag(line))));
    let server = server.await;
    let cache = Arc::new(server.cache());
    let calls = (0..200).map(|_| {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move { cache.get("k").await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap(), Some("ok".into()));
    }
    assert!(server.connections.load(Ordering::SeqCst) <= 4);
}

#[tokio::test]
async fn increment_of_what_is_no_number_fails() {
    let server =
        FakeServer::start(|_, line| Reaction::Send(format!("VA 1 {}\r\nx\r\n", tag(line))));
    let cache = server.await.cache();
    assert!(cache.increment("k", TTL).await.is_err());
}
