//! Sets of network addresses, as settings name them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// What a set of addresses is called that is not written as numbers, and the networks it stands for.
const NAMED: &[(&str, &[&str])] = &[
    ("loopback", &["127.0.0.0/8", "::1"]),
    (
        "private",
        &[
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "fc00::/7",
            "fe80::/10",
        ],
    ),
];

/// A set of addresses: single ones, networks (RFC 4632), and the words `loopback` and `private`, separated by commas.
/// The default is no address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    text: String,
    networks: Vec<Network>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: u128,
    mask: u128,
    is_v4: bool,
}

/// The text is no list of addresses and networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a list of addresses and networks")]
pub struct ParseNetworksError;

impl Networks {
    /// Where the proxy in front of a server stands, unless its operator says it: on the same machine or in the same
    /// network.
    pub const USUAL_PROXIES: &'static str = "loopback, private";

    /// The addresses of [`Networks::USUAL_PROXIES`].
    #[must_use]
    pub fn usual_proxies() -> Self {
        Self::USUAL_PROXIES.parse().unwrap_or_default()
    }

    /// Whether an address is in the set. An IPv4 address that is written as an IPv6 one is an IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, is_v4) = bits(address);
        self.networks
            .iter()
            .any(|n| n.is_v4 == is_v4 && bits & n.mask == n.address)
    }
}

impl FromStr for Networks {
    type Err = ParseNetworksError;

    fn from_str(text: &str) -> Result<Self, ParseNetworksError> {
        let mut networks = Vec::new();
        for item in text.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            match NAMED.iter().find(|(name, _)| *name == item) {
                Some((_, known)) => {
                    for item in *known {
                        networks.push(item.parse()?);
                    }
                }
                None => networks.push(item.parse()?),
            }
        }
        Ok(Self {
            text: text.to_owned(),
            networks,
        })
    }
}

impl FromStr for Network {
    type Err = ParseNetworksError;

    fn from_str(text: &str) -> Result<Self, ParseNetworksError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ParseNetworksError)?;
        let (found, is_v4) = bits(address);
        let width: u32 = if is_v4 { 32 } else { 128 };
        let length = match length {
            None => width,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|length| *length <= width)
                .ok_or(ParseNetworksError)?,
        };
        let mask = u128::MAX.checked_shl(width - length).unwrap_or(0);
        Ok(Self {
            address: found & mask,
            mask,
            is_v4,
        })
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn bits(address: IpAddr) -> (u128, bool) {
    match address.to_canonical() {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), true),
        IpAddr::V6(v6) => (u128::from(v6), false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_networks_and_words() {
        let set: Networks = "192.0.2.7, 10.1.0.0/16 ,2001:db8::/32,loopback"
            .parse()
            .unwrap();
        for inside in [
            "192.0.2.7",
            "10.1.255.255",
            "2001:db8:1::2",
            "127.9.9.9",
            "::1",
            "::ffff:10.1.0.1",
        ] {
            assert!(set.contains(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "192.0.2.8",
            "10.2.0.0",
            "2001:db9::",
            "::2",
            "::a01:1",
            "0.0.0.0",
        ] {
            assert!(!set.contains(outside.parse().unwrap()), "{outside}");
        }
        let none: Networks = "".parse().unwrap();
        assert!(!none.contains("127.0.0.1".parse().unwrap()));
        let all: Networks = "0.0.0.0/0,::/0".parse().unwrap();
        assert!(
            all.contains("8.8.8.8".parse().unwrap()) && all.contains("2001::1".parse().unwrap())
        );
        let private: Networks = "private".parse().unwrap();
        assert!(private.contains("172.31.255.255".parse().unwrap()));
        assert!(!private.contains("172.32.0.0".parse().unwrap()));
        for bad in [
            "x",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/-1",
        ] {
            assert_eq!(bad.parse::<Networks>(), Err(ParseNetworksError), "{bad}");
        }
    }
}
