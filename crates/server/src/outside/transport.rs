//! The names and the TLS of a server, looked at without a request.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The time that a look may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The protocols that are offered.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The addresses of a name; none if there are none, or no name server answers.
pub(super) async fn addresses(name: &str) -> Vec<IpAddr> {
    // Without brackets, as URLs have them around addresses of IPv6.
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let found = timeout(TIMEOUT, lookup_host((name, 0))).await;
    let Ok(Ok(found)) = found else {
        return Vec::new();
    };
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Shakes hands with a server. Returns what was agreed on, such as `TLSv1_3, TLS13_AES_256_GCM_SHA384, h2`; `None` if there was no
/// agreement.
pub(super) async fn agreement(
    mut config: ClientConfig,
    name: &str,
    place: (IpAddr, u16),
) -> Option<String> {
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(name.to_owned()).ok()?;
    let shake = async {
        let stream = TcpStream::connect(place).await.ok()?;
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.ok()
    };
    let stream = timeout(TIMEOUT, shake).await.ok()??;
    let (_, connection) = stream.get_ref();
    let version = connection.protocol_version()?;
    let suite = connection.negotiated_cipher_suite()?.suite();
    let protocol = match connection.alpn_protocol() {
        Some(protocol) => String::from_utf8_lossy(protocol).into_owned(),
        None => "http/1.1".to_owned(),
    };
    Some(format!("{version:?}, {suite:?}, {protocol}"))
}
