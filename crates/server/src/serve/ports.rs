//! The ports of a unit: reserved at first, opened once it can answer.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

use super::StartError;
use crate::admin;
use crate::config::Config;

/// The largest number of connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1_024;

/// A port that is reserved for the unit, on which it does not listen yet: connections are refused.
pub(super) struct BoundPort {
    socket: TcpSocket,
    pub(super) address: SocketAddr,
}

impl BoundPort {
    pub(super) fn bind(address: SocketAddr) -> Result<Self, StartError> {
        let failed = |error| StartError::Listen { address, error };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.map_err(failed)?;
        // The port of a unit that has just ended can be used at once.
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    pub(super) fn listen(self) -> Result<Listener, StartError> {
        let address = self.address;
        let listening = self.socket.listen(BACKLOG);
        let listener = listening.map_err(|error| StartError::Listen { address, error })?;
        Ok(Listener { listener, address })
    }
}

/// The ports that are reserved for clients.
pub(super) struct BoundPorts {
    pub(super) plain: BoundPort,
    pub(super) tls: Option<BoundPort>,
    pub(super) redirect: Option<BoundPort>,
}

impl BoundPorts {
    pub(super) fn bind(config: &Config) -> Result<Self, StartError> {
        let tls = config.tls.listen.map(BoundPort::bind).transpose()?;
        let redirect = config.tls.redirect.filter(|_| tls.is_some());
        Ok(Self {
            plain: BoundPort::bind(config.listen.address)?,
            redirect: redirect.map(BoundPort::bind).transpose()?,
            tls,
        })
    }
}

pub(super) async fn listen_admin(address: SocketAddr) -> Result<Listener, StartError> {
    let failed = |error| StartError::Listen { address, error };
    let listener = admin::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listener { listener, address })
}

/// An open port and its address.
pub(super) struct Listener {
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}
