//! Where the unit listens, and what it accepts there.

use std::net::SocketAddr;

use personium_types::network::Networks;

use super::rule::{Address, Addresses, LoopbackAddress, Number};
use super::section::section;

section! {
    /// Where the unit listens, and what it accepts there.
    Listen "Listening" {
        /// The address and port for clients or the proxy in front.
        address: SocketAddr = "listen", "127.0.0.1:9998", Address;
        /// The proxies in front: what their X-Forwarded headers say is believed, what others say there is not.
        proxies: Networks = "server.trustedProxies", Networks::USUAL_PROXIES, Addresses;
        /// The address and port for health, readiness and figures, of this machine only. If the port is taken, another
        /// one is used and named in the log.
        admin_address: SocketAddr = "admin.listen", "127.0.0.1:9997", LoopbackAddress;
        /// Connections at the same time; further ones wait.
        connections_max: usize = "server.connections.max", "10000", Number(1..=1_000_000);
        /// Bytes of the head of a request: request line and headers.
        header_bytes_max: usize = "server.header.maxBytes", "65536", Number(8192..=1 << 20);
        /// Headers of a request.
        header_count_max: usize = "server.header.maxCount", "100", Number(16..=1000);
        /// Seconds for the head of a request to arrive, counted from the end of the last one: also how long a
        /// connection may stay without a request.
        header_seconds: u64 = "server.header.timeoutInSec", "60", Number(1..=3600);
        /// Seconds within which the next piece of a request body must arrive, and of an answer be taken. A request body
        /// that comes in small pieces must bring 256 bytes for each second of waiting, once these seconds are used up.
        body_seconds: u64 = "server.body.timeoutInSec", "60", Number(1..=86400);
        /// Bytes of request bodies that are read as a whole, of all requests together; what does not fit is refused.
        /// Bodies up to 16 KiB and files, which are not read as a whole, do not count.
        bodies_max: u64 = "server.bodies.maxBytes", "268435456", Number(1 << 20..=1 << 40);
        /// Seconds that requests in hand have to finish when the unit stops.
        stop_seconds: u64 = "server.stop.timeoutInSec", "30", Number(0..=3600);
        /// Threads that answer requests; 0 is one for each processor.
        threads: usize = "server.threads", "0", Number(0..=1024);
    }
}
