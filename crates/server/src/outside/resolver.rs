//! Host names to addresses: by the resolver of the system, or always the same address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

/// A resolver.
#[derive(Debug, Clone)]
pub(super) struct Resolver {
    fixed: Option<IpAddr>,
    system: GaiResolver,
}

impl Resolver {
    pub(super) fn new(fixed: Option<IpAddr>) -> Self {
        Self {
            fixed,
            system: GaiResolver::new(),
        }
    }
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        if let Some(address) = self.fixed {
            // The port is that of the URL.
            let found = vec![SocketAddr::new(address, 0)].into_iter();
            return Box::pin(std::future::ready(Ok(found)));
        }
        let found = self.system.call(name);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = found.await?.collect();
            Ok(addresses.into_iter())
        })
    }
}
