//! The `X-Forwarded-*` headers of reverse proxies, which are accepted only from trusted ones.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, StatusCode};
use personium_types::network::Networks;

use crate::headers::FORWARDED_FOR;

/// The prefix of the headers.
pub(crate) const PREFIX: &str = "x-forwarded-";

/// The status upon which the proxy sends the request to another node.
const RETRY: &str = "x-forwarded-retry";

/// Whether a trusted proxy says that it sends the request to another node if this one answers with the status.
pub(crate) fn repeats_upon(
    status: StatusCode,
    headers: &HeaderMap,
    peer: IpAddr,
    proxies: &Networks,
) -> bool {
    let named = headers.get(RETRY).map(HeaderValue::as_bytes);
    proxies.contains(peer) && named == Some(status.as_str().as_bytes())
}

/// Removes the headers unless the peer is a trusted proxy. Loopback requests have no peer.
pub(crate) fn strip(headers: &mut HeaderMap, peer: Option<IpAddr>, proxies: &Networks) {
    if peer.is_none_or(|peer| proxies.contains(peer)) {
        return;
    }
    let forwarded: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(PREFIX))
        .cloned()
        .collect();
    for name in forwarded {
        headers.remove(name);
    }
}

/// The address of the client: the last one in `X-Forwarded-For` that is not a proxy, because the client controls those before
/// it. `None` if an address cannot be parsed.
pub(crate) fn client(
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    proxies: &Networks,
) -> Option<IpAddr> {
    let mut nearest = peer;
    for value in headers.get_all(&FORWARDED_FOR).iter().rev() {
        for item in value.to_str().ok()?.rsplit(',') {
            let address = address(item.trim())?;
            nearest = Some(address);
            if !proxies.contains(address) {
                return nearest;
            }
        }
    }
    nearest
}

/// An address with or without port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.parse().ok();
    plain.or_else(|| {
        text.parse()
            .ok()
            .map(|socket: std::net::SocketAddr| socket.ip())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&FORWARDED_FOR, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn client_is_the_last_address_that_is_no_proxy() {
        let proxies: Networks = "127.0.0.1, 10.0.0.0/8".parse().unwrap();
        let peer = Some("127.0.0.1".parse().unwrap());
        for (values, expected) in [
            (&[][..], Some("127.0.0.1")),
            (&["192.0.2.1"], Some("192.0.2.1")),
            (&["203.0.113.9, 192.0.2.1"], Some("192.0.2.1")),
            (&["203.0.113.9, 192.0.2.1, 10.0.0.2"], Some("192.0.2.1")),
            (&["203.0.113.9", "192.0.2.1,10.0.0.2"], Some("192.0.2.1")),
            (&["10.0.0.3,10.0.0.2"], Some("10.0.0.3")),
            (&["[2001:db8::1]:443"], Some("2001:db8::1")),
            (&["192.0.2.1:80"], Some("192.0.2.1")),
            (&["unknown"], None),
            (&["192.0.2.1, unknown, 10.0.0.2"], None),
            (&[""], None),
        ] {
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(
                client(&headers(values), peer, &proxies),
                expected,
                "{values:?}"
            );
        }
    }

    #[test]
    fn only_a_trusted_proxy_can_say_that_it_repeats_a_request() {
        let proxies: Networks = "127.0.0.1".parse().unwrap();
        for (peer, value, expected) in [
            ("127.0.0.1", Some("502"), true),
            ("127.0.0.1", Some("503"), false),
            ("127.0.0.1", None, false),
            ("192.0.2.1", Some("502"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(RETRY, HeaderValue::from_static(value));
            }
            let peer = peer.parse().unwrap();
            let found = repeats_upon(StatusCode::BAD_GATEWAY, &headers, peer, &proxies);
            assert_eq!(found, expected, "{peer} {value:?}");
        }
    }

    #[test]
    fn headers_of_untrusted_peers_are_removed() {
        let proxies: Networks = "127.0.0.1".parse().unwrap();
        for (peer, trusted) in [
            (Some("127.0.0.1"), true),
            (Some("192.0.2.1"), false),
            (None, true),
        ] {
            let peer = peer.map(|text| text.parse().unwrap());
            let mut sent = headers(&["203.0.113.9"]);
            sent.insert("x-forwarded-host", "unit.example".parse().unwrap());
            sent.insert("host", "unit.example".parse().unwrap());
            strip(&mut sent, peer, &proxies);
            assert_eq!(sent.len(), if trusted { 3 } else { 1 }, "{peer:?}");
        }
    }
}
