//! Settings of the unit: its URL and its administrators.

use personium_types::Secret;

use super::section::section;
use super::value_parser::{Flag, HostName, Number, OneOf, Optional, SecretText, Text, UrlList};

/// The scheme of the unit's URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP over TLS; usually a proxy in front terminates TLS.
    Https,
    /// HTTP without TLS, for development only.
    Http,
}

impl Scheme {
    /// Returns the scheme as it is written in URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

section! {
    /// Settings of the unit: its URL and its administrators.
    UnitConfig "The unit" {
        /// The scheme in every URL of the unit. For development without TLS, use http.
        scheme: Scheme = "unitScheme", "https", OneOf(&[("https", Scheme::Https), ("http", Scheme::Http)]);
        /// The host name of the unit; by default, the common name of the certificate x509.crt, else localhost. A certificate
        /// for another host is refused.
        host: Option<String> = "unitFqdn", "", Optional(HostName);
        /// The port in the URLs of the unit, if it is not the default port of the scheme.
        port: Option<u16> = "unitPort", "", Optional(Number(1..=u16::MAX));
        /// Whether the URL of a cell is a path of the unit (https://unit/cell/) instead of a host (https://cell.unit/).
        /// With hosts, browsers isolate the pages of different cells from each other.
        path_based: bool = "pathBasedCellUrl.enabled", "false", Flag;
        /// A bearer token with all privileges on the unit; by default, there is none. Remove it once the unit has an
        /// administrator.
        master_token: Option<Secret<String>> = "masterToken", "", Optional(SecretText { min_bytes: 1 });
        /// The URLs of the cells whose tokens authenticate unit users, such as personium-localunit:unitadmin:/. By
        /// default, it is the administrator's cell if the first start created one.
        issuers: Vec<String> = "unitUser.issuers", "", UrlList;
        /// The version that operators and clients of other implementations expect.
        _version: String = "version", "1.8.4", Text;
    }
}
