//! Sets of IP addresses and networks, as settings state them.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// The names for sets of networks, and the networks of each.
const NAMED_NETWORKS: &[(&str, &[&str])] = &[
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

/// A set of IP addresses.
///
/// Its text form is a comma-separated list of addresses, networks in CIDR notation (RFC 4632), and the names `loopback`
/// and `private`. The default is the empty set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Networks {
    text: String,
    networks: Vec<IpNet>,
}

/// The text is not a list of addresses and networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a list of addresses and networks")]
pub struct ParseNetworksError;

impl Networks {
    /// The default addresses of reverse proxies: the machine of the server, and private networks.
    pub const DEFAULT_PROXIES: &'static str = "loopback, private";

    /// The set for [`Networks::DEFAULT_PROXIES`].
    #[must_use]
    pub fn default_proxies() -> Self {
        Self::DEFAULT_PROXIES.parse().unwrap_or_default()
    }

    /// Whether the set contains an address. An IPv4-mapped IPv6 address is treated as the IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }
}

impl FromStr for Networks {
    type Err = ParseNetworksError;

    fn from_str(text: &str) -> Result<Self, ParseNetworksError> {
        let mut networks = Vec::new();
        for item in text.split(',').map(str::trim).filter(|i| !i.is_empty()) {
            match NAMED_NETWORKS.iter().find(|(name, _)| *name == item) {
                Some((_, named)) => {
                    for item in *named {
                        networks.push(parse_network(item)?);
                    }
                }
                None => networks.push(parse_network(item)?),
            }
        }
        Ok(Self {
            text: text.to_owned(),
            networks,
        })
    }
}

/// Parses an address or a network.
///
/// The standard library parses the address, because `IpNet::from_str` accepts octets with leading zeros, which other
/// programs read as octal numbers.
fn parse_network(text: &str) -> Result<IpNet, ParseNetworksError> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| ParseNetworksError)?;
    let address = address.to_canonical();
    match length {
        None => Ok(address.into()),
        Some(length) => {
            let length = length.parse().map_err(|_| ParseNetworksError)?;
            IpNet::new(address, length).map_err(|_| ParseNetworksError)
        }
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_addresses_networks_and_names() {
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
            "010.0.0.0/8",
            "::ffff:10.0.0.0/104",
        ] {
            assert_eq!(bad.parse::<Networks>(), Err(ParseNetworksError), "{bad}");
        }
    }
}
