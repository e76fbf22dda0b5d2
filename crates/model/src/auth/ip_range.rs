//! Client addresses from which an account may log in.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

/// Whether a client may log in to an account with this `IPAddressRange`: a comma-separated list of IPv4 addresses and
/// networks `address/1..32`. The first and the last address of a network do not belong to it. Without a range every
/// address is allowed; with one, an unknown address is not.
#[must_use]
pub fn allows(range: Option<&str>, client: Option<IpAddr>) -> bool {
    let Some(range) = range.map(str::trim).filter(|r| !r.is_empty()) else {
        return true;
    };
    let Some(IpAddr::V4(client)) = client.map(|c| c.to_canonical()) else {
        return false;
    };
    range
        .split(',')
        .any(|item| item_allows(item.trim(), client))
}

fn item_allows(item: &str, client: Ipv4Addr) -> bool {
    let Some((address, length)) = item.split_once('/') else {
        return item.parse() == Ok(client);
    };
    let (Ok(address), Ok(length)) = (address.parse(), length.parse()) else {
        return false;
    };
    let Ok(network) = Ipv4Net::new(address, length) else {
        return false;
    };
    length > 0
        && network.contains(&client)
        && client != network.network()
        && client != network.broadcast()
}

#[cfg(test)]
mod tests {
    use super::allows;

    #[test]
    fn ip_range_allows_listed_addresses_and_networks() {
        let ip = |text: &str| Some(text.parse().unwrap());
        for (range, client, allowed) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1,192.168.1.0/24", "192.168.1.7", true),
            ("10.0.0.1, 192.168.1.0/24", "192.168.1.0", false),
            ("192.168.1.0/24", "192.168.1.255", false),
            ("192.168.1.9/24", "192.168.1.254", true),
            ("192.168.1.0/24", "192.168.2.1", false),
            ("1.2.3.4/32", "1.2.3.4", false),
            ("1.2.3.4/0", "1.2.3.4", false),
            ("10.0.0.1", "::1", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("no address", "10.0.0.1", false),
        ] {
            assert_eq!(allows(Some(range), ip(client)), allowed, "{range} {client}");
        }
        assert!(allows(None, None));
        assert!(allows(Some(""), None));
        assert!(!allows(Some("10.0.0.1"), None));
    }
}
