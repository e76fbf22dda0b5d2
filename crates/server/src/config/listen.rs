//! Settings of the listeners, and limits on connections and requests.

use std::net::SocketAddr;

use personium_types::network::Networks;

use super::section::section;
use super::value_parser::{Flag, LoopbackSocketAddress, NetworkList, Number, SocketAddress};

section! {
    /// Settings of the listeners, and limits on connections and requests.
    ListenConfig "Listening" {
        /// The address and port for clients, or for the proxy in front.
        address: SocketAddr = "listen", "127.0.0.1:9998", SocketAddress;
        /// The addresses of the proxies in front. The X-Forwarded headers of a proxy are used, those of other clients are
        /// ignored.
        trusted_proxies: Networks = "server.trustedProxies", Networks::DEFAULT_PROXIES, NetworkList;
        /// The loopback address and port for health, readiness and metrics. If the port is in use, the unit listens on
        /// another one and logs it.
        admin_address: SocketAddr = "admin.listen", "127.0.0.1:9997", LoopbackSocketAddress;
        /// The largest number of connections at the same time; further ones wait.
        connections_max: usize = "server.connections.max", "10000", Number(1..=1_000_000);
        /// The largest size of the head of a request (request line and headers) in bytes.
        header_max_bytes: usize = "server.header.maxBytes", "65536", Number(8192..=1 << 20);
        /// The largest number of headers of a request.
        header_max_count: usize = "server.header.maxCount", "100", Number(16..=1000);
        /// The number of seconds in which the head of a request must arrive, counted from the end of the previous request.
        /// A connection without requests is closed after this time.
        header_timeout_secs: u64 = "server.header.timeoutInSec", "60", Number(1..=3600);
        /// The number of seconds in which the next chunk of a request body must arrive, or the client must accept the next
        /// chunk of a response. Both must also have a mean rate of 256 bytes for each second of waiting, once that many
        /// seconds have been spent waiting. A response of more than 16 KiB must be accepted at 16 KiB for each second of
        /// waiting after 10 seconds, as long as memory for responses is short.
        transfer_timeout_secs: u64 = "server.transfer.timeoutInSec", "60", Number(1..=86400);
        /// The largest amount of memory for request bodies in bytes, for all requests together. A request that needs more
        /// is refused. Bodies that arrive while others use a half of it wait in temporary files (bar.tmp.dir) until they
        /// are complete. Bodies of up to 16 KiB and uploads of files, which are not kept in memory, do not count.
        body_memory_max_bytes: u64 = "server.bodyMemory.maxBytes", "268435456", Number(1 << 20..=1 << 40);
        /// The largest amount of memory for responses in bytes, for all requests together: what was read and rendered for
        /// them and not yet received by the client. The responses of one cell get a quarter of it, or one of them more.
        /// A request that finds none free waits for 5 seconds and is then refused. Responses of up to 16 KiB do not count.
        answer_memory_max_bytes: u64 = "server.answerMemory.maxBytes", "134217728", Number(16 << 20..=1 << 40);
        /// Whether texts (XML, JSON, text files, scripts) are compressed by gzip for clients that accept it. Responses
        /// with tokens and forms never are.
        compress_responses: bool = "server.compression.enabled", "true", Flag;
        /// The number of seconds for which a start waits for the layers outside of the process, such as a database or a shared
        /// folder, until they can be used. With 0 it does not wait.
        start_wait_secs: u64 = "server.start.waitInSec", "60", Number(0..=86_400);
        /// The number of seconds from the begin of a stop until the unit accepts no more connections. Until then it says that
        /// it is not ready and closes connections after their next response, so that a proxy with several nodes leads
        /// requests to the others.
        shutdown_delay_secs: u64 = "server.shutdown.delayInSec", "0", Number(0..=600);
        /// The number of seconds that requests in flight have to finish during shutdown.
        shutdown_timeout_secs: u64 = "server.shutdown.timeoutInSec", "30", Number(0..=3600);
        /// The number of threads that handle requests; 0 means one for each processor.
        threads: usize = "server.threads", "0", Number(0..=1024);
    }
}
