//! Clients of WebSockets that have not proved yet who they are: how many there may be, and what they may send.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::credentials::login_rate_limiter::address_key;
use crate::memory_budget::{MemoryBudget, Reservation};

/// The largest number of strangers of a process.
const STRANGERS_MAX: usize = 5_000;
/// The largest number of strangers from one address, or from one IPv6 network (/64).
const STRANGERS_OF_ADDRESS_MAX: usize = 1_000;
/// The bytes that a stranger may send: a token, which others put into a header of a request.
const STRANGER_MAX_BYTES: usize = 64 << 10;
/// The bytes that each stranger may send whatever others do. Most tokens are smaller.
const OWN_BYTES: usize = 4 << 10;
/// The bytes that all strangers together may have sent beyond these.
const SHARED_BYTES: u64 = 8 << 20;

/// The strangers of a process.
#[derive(Debug)]
pub struct Strangers {
    max: usize,
    address_max: usize,
    places: Mutex<Places>,
    shared: MemoryBudget,
}

/// How many strangers there are.
#[derive(Debug, Default)]
struct Places {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A stranger, until it is dropped.
#[derive(Debug)]
pub struct Stranger {
    all: Arc<Strangers>,
    address: IpAddr,
    sent_bytes: usize,
    shared: Reservation,
}

impl Default for Strangers {
    fn default() -> Self {
        Self::new((STRANGERS_MAX, STRANGERS_OF_ADDRESS_MAX), SHARED_BYTES)
    }
}

impl Strangers {
    fn new((max, address_max): (usize, usize), shared_bytes: u64) -> Self {
        Self {
            max,
            address_max,
            places: Mutex::default(),
            shared: MemoryBudget::new(shared_bytes),
        }
    }

    /// One more stranger; `None` if there are too many, of all or of this address.
    #[must_use]
    pub fn admit(self: &Arc<Self>, client_address: Option<IpAddr>) -> Option<Stranger> {
        let address = address_key(client_address);
        self.places
            .lock()
            .add(address, self.max, self.address_max)
            .then(|| Stranger {
                all: Arc::clone(self),
                address,
                sent_bytes: 0,
                shared: Reservation::default(),
            })
    }
}

impl Places {
    fn add(&mut self, address: IpAddr, max: usize, address_max: usize) -> bool {
        let of_address = self.by_address.get(&address).copied().unwrap_or_default();
        let is_free = self.all < max && of_address < address_max;
        if is_free {
            self.all += 1;
            self.by_address.insert(address, of_address + 1);
        }
        is_free
    }

    fn remove(&mut self, address: IpAddr) {
        self.all = self.all.saturating_sub(1);
        if let Entry::Occupied(mut found) = self.by_address.entry(address) {
            match found.get() {
                0 | 1 => drop(found.remove()),
                _ => *found.get_mut() -= 1,
            }
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.all.places.lock().remove(self.address);
    }
}

impl Stranger {
    /// Counts bytes that it has sent. `false` if they are too many for one, or for all together: then it is to be refused.
    #[must_use]
    pub fn count(&mut self, bytes: usize) -> bool {
        self.sent_bytes = self.sent_bytes.saturating_add(bytes);
        let shared_bytes = self.sent_bytes.saturating_sub(OWN_BYTES);
        self.sent_bytes <= STRANGER_MAX_BYTES
            && self.all.shared.grow(&mut self.shared, shared_bytes).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_limited_in_number_and_what_each_sends() {
        let all = Arc::new(Strangers::new((2, 2), 1 << 20));
        let mut first = all.admit(None).unwrap();
        let second = all.admit(None).unwrap();
        assert!(all.admit(None).is_none());
        drop(second);
        assert!(all.admit(None).is_some());
        assert!(first.count(STRANGER_MAX_BYTES));
        assert!(first.count(0));
        assert!(!first.count(1));
        assert!(!first.count(usize::MAX));
    }

    #[test]
    fn strangers_of_one_address_leave_places_to_others() {
        let all = Arc::new(Strangers::new((4, 2), 1 << 20));
        let admit = |address: &str| all.admit(Some(address.parse().unwrap()));
        let first = admit("2001:db8::1").unwrap();
        let _second = admit("2001:db8::2").unwrap();
        assert!(admit("2001:db8::3").is_none());
        let _other = (
            admit("192.0.2.1").unwrap(),
            admit("2001:db8:0:1::1").unwrap(),
        );
        assert!(admit("192.0.2.2").is_none());
        drop(first);
        let _third = admit("2001:db8::3").unwrap();
        assert!(admit("192.0.2.1").is_none());
        let counted = all.places.lock().by_address.len();
        assert_eq!(counted, 3);
    }

    #[test]
    fn an_address_without_strangers_takes_no_memory() {
        let all = Arc::new(Strangers::new((4, 2), 1 << 20));
        let strangers = [all.admit(None).unwrap(), all.admit(None).unwrap()];
        drop(strangers);
        let places = all.places.lock();
        assert_eq!((places.all, places.by_address.len()), (0, 0));
    }

    #[test]
    fn what_all_strangers_send_together_is_limited_but_for_the_part_of_each() {
        let all = Arc::new(Strangers::new((10, 10), 2 * STRANGER_MAX_BYTES as u64));
        let mut large: Vec<Stranger> = (0..2).filter_map(|_| all.admit(None)).collect();
        assert!(large.iter_mut().all(|it| it.count(STRANGER_MAX_BYTES)));
        // What is left is twice the part that the two had for themselves.
        let mut last = all.admit(None).unwrap();
        assert!(last.count(3 * OWN_BYTES));
        assert!(!last.count(1));
        let mut small = all.admit(None).unwrap();
        assert!(small.count(OWN_BYTES) && !small.count(1));
        drop(large);
        assert!(last.count(1) && small.count(1));
    }
}
