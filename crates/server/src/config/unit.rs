//! Where the unit is on the web and whom it obeys.

use personium_types::Secret;

use super::rule::{Flag, HostName, Maybe, Number, OneOf, SecretText, Text, WebAddresses};
use super::section::section;

/// The scheme of the unit's URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// With TLS, usually by a proxy in front.
    Https,
    /// Without: for development only.
    Http,
}

impl Scheme {
    /// As it stands in URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

section! {
    /// Where the unit is on the web and whom it obeys.
    UnitSettings "The unit" {
        /// The scheme in every URL that the unit makes. Without TLS in front, for development, use http.
        scheme: Scheme = "unitScheme", "https", OneOf(&[("https", Scheme::Https), ("http", Scheme::Http)]);
        /// The host name of the unit. Without it, the common name of the certificate x509.crt counts, and without
        /// that, localhost.
        host: Option<String> = "unitFqdn", "", Maybe(HostName);
        /// The port in the URLs of the unit, if it is not the usual one of the scheme.
        port: Option<u16> = "unitPort", "", Maybe(Number(1..=u16::MAX));
        /// Whether cells are paths of the unit (https://unit/cell/) instead of hosts of their own
        /// (https://cell.unit/). Hosts of their own keep the pages of cells apart in browsers.
        path_based: bool = "pathBasedCellUrl.enabled", "false", Flag;
        /// A bearer token with full power over the unit; without a value there is none. Remove it once there is an
        /// administrator.
        master_token: Option<Secret<String>> = "masterToken", "", Maybe(SecretText { min_bytes: 1 });
        /// URLs of the cells whose tokens make unit users, such as personium-localunit:unitadmin:/. Without a value
        /// it is the administrator's cell that the first start has made, if it has.
        issuers: Vec<String> = "unitUser.issuers", "", WebAddresses;
        /// The version that operators and clients of other implementations expect. Answers tell the version of the
        /// API, whatever stands here.
        _version: String = "version", "1.8.4", Text;
    }
}
