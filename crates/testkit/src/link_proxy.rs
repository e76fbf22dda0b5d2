//! A network link between two processes that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The state of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Connections reach the server.
    Whole,
    /// Connections are closed, also those that were open.
    Cut,
    /// Nothing arrives on either side, and nothing says so, as if a switch had lost its power.
    Silent,
}

/// A proxy for TCP connections between a process and a server on this machine. Dropping it closes all of them.
pub struct LinkProxy {
    port: u16,
    link: watch::Sender<Link>,
    accepting: JoinHandle<()>,
}

impl LinkProxy {
    /// Starts a whole link to the server on a port.
    pub async fn start(server_port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (link, state) = watch::channel(Link::Whole);
        let server = SocketAddr::from(([127, 0, 0, 1], server_port));
        let accepting = tokio::spawn(accept(listener, server, state));
        Self {
            port,
            link,
            accepting,
        }
    }

    /// The port on which the process reaches the server.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Changes the state. A link that becomes whole after it was silent closes the connections that it had.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

impl Drop for LinkProxy {
    fn drop(&mut self) {
        self.link.send_replace(Link::Cut);
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, state: watch::Receiver<Link>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        tokio::spawn(serve(client, server, state.clone()));
    }
}

/// Passes on what both sides send while the link is whole. If it is silent, keeps the connections open until that changes.
async fn serve(mut client: TcpStream, server: SocketAddr, mut state: watch::Receiver<Link>) {
    if *state.borrow_and_update() == Link::Whole {
        let Ok(mut server) = TcpStream::connect(server).await else {
            return;
        };
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = state.changed() => {}
        }
        let _ = state.wait_for(|link| *link != Link::Silent).await;
        return;
    }
    let _ = state.wait_for(|link| *link != Link::Silent).await;
}
