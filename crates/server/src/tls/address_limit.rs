//! A bound on the connections of one address at the same time.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// The bits of an IPv6 address that name the network of one customer.
const NETWORK_BITS: u128 = !0 << 64;

/// The connections of each address.
#[derive(Debug, Clone)]
pub(super) struct AddressLimit {
    max: usize,
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub(super) struct AddressPermit {
    limit: AddressLimit,
    network: IpAddr,
}

impl AddressLimit {
    /// At most so many connections of each address; those of an IPv6 network of 64 bits count together.
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            open: Arc::default(),
        }
    }

    /// A permit for one more connection; `None` if the address has as many as it may have.
    pub(super) fn admit(&self, address: IpAddr) -> Option<AddressPermit> {
        let network = network(address);
        let mut open = self.open.lock();
        let count = open.entry(network).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(AddressPermit {
            limit: self.clone(),
            network,
        })
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut open = self.limit.open.lock();
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK_BITS).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_has_its_own_bound_and_gets_back_what_ends() {
        let limit = AddressLimit::new(2);
        let admit = |text: &str| limit.admit(text.parse().unwrap());
        let first = admit("192.0.2.1").unwrap();
        let second = admit("::ffff:192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_none());
        let others = [
            admit("192.0.2.2"),
            admit("2001:db8::1"),
            admit("2001:db8::ffff"),
        ];
        assert!(others.iter().all(Option::is_some));
        assert!(admit("2001:db8::2").is_none());
        assert!(admit("2001:db8:0:1::2").is_some());
        drop(first);
        let third = admit("192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_none());
        drop((second, third, others));
        assert!(limit.open.lock().is_empty());
    }
}
