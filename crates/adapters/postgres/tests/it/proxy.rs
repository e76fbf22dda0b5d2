//! A TCP proxy that counts round trips and cuts connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, watch};

/// The direction of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    ToServer,
    ToClient,
}

/// A cut that is due after a number of bytes in one direction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    pub(crate) side: Side,
    pub(crate) after: usize,
    /// How much later than the client the server learns of it.
    pub(crate) server_later: Duration,
}

#[derive(Debug, Default)]
struct State {
    cut: Mutex<Option<Cut>>,
    /// Whether the last bytes went to the server.
    to_server: AtomicBool,
    round_trips: AtomicUsize,
    connections: AtomicUsize,
}

/// A proxy in front of a server on this machine.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) port: u16,
    state: Arc<State>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<State>::default();
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await {
                        state.connections.fetch_add(1, Ordering::Relaxed);
                        connect(client, server, state).await;
                    }
                });
            }
        });
        Self { port, state, task }
    }

    /// Cuts the next connection that transfers so many bytes from now on.
    pub(crate) async fn arm(&self, cut: Cut) {
        *self.state.cut.lock().await = Some(cut);
    }

    /// Whether the cut was not made. There is none afterwards.
    pub(crate) async fn disarm(&self) -> bool {
        self.state.cut.lock().await.take().is_some()
    }

    /// The number of times that bytes went to the server after bytes of the server.
    pub(crate) fn round_trips(&self) -> usize {
        self.state.round_trips.load(Ordering::SeqCst)
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(client: TcpStream, server: TcpStream, state: Arc<State>) {
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (cut, _) = watch::channel(None::<Duration>);
    let up = transfer(from_client, to_server, Side::ToServer, &state, &cut);
    let down = transfer(from_server, to_client, Side::ToClient, &state, &cut);
    // Both halves of the client are dropped first.
    tokio::join!(up, down);
}

/// Transfers bytes until the end, or a cut in any direction.
async fn transfer(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    side: Side,
    state: &State,
    cut: &watch::Sender<Option<Duration>>,
) {
    let mut is_cut = cut.subscribe();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            _ = is_cut.changed() => 0,
        };
        if read == 0 {
            break;
        }
        let to_server = side == Side::ToServer;
        if to_server && !state.to_server.swap(true, Ordering::SeqCst) {
            state.round_trips.fetch_add(1, Ordering::SeqCst);
        } else if !to_server {
            state.to_server.store(false, Ordering::SeqCst);
        }
        let (passed, later) = pass(side, read, state).await;
        if to.write_all(&buffer[..passed]).await.is_err() {
            break;
        }
        if let Some(later) = later {
            cut.send_replace(Some(later));
            break;
        }
    }
    let later = cut.subscribe().borrow().unwrap_or_default();
    if cut.subscribe().borrow().is_none() {
        cut.send_replace(Some(Duration::ZERO));
    }
    match side {
        // Ends that belong to the server are closed later.
        Side::ToServer => {
            drop(from);
            tokio::time::sleep(later).await;
            drop(to);
        }
        Side::ToClient => {
            drop(to);
            tokio::time::sleep(later).await;
            drop(from);
        }
    }
}

/// The number of bytes of a chunk that pass, and the delay of the cut if it is due then.
async fn pass(side: Side, bytes: usize, state: &State) -> (usize, Option<Duration>) {
    let mut cut = state.cut.lock().await;
    match &mut *cut {
        Some(due) if due.side == side => {
            if due.after >= bytes {
                due.after -= bytes;
                return (bytes, None);
            }
            let (passed, later) = (due.after, due.server_later);
            *cut = None;
            (passed, Some(later))
        }
        _ => (bytes, None),
    }
}
