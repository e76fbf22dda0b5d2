//! URLs of the unit and its cells, in both forms that an operator can choose.

use personium_types::name::is_name;

/// The scheme of URLs that are relative to the unit: `personium-localunit:cell:/path` or `personium-localunit:/cell/path`.
pub const LOCAL_UNIT: &str = "personium-localunit:";
/// The scheme of URLs that are relative to a cell: `personium-localcell:/path`.
pub const LOCAL_CELL: &str = "personium-localcell:";
/// The scheme of URLs that are relative to a box: `personium-localbox:/path`.
pub const LOCAL_BOX: &str = "personium-localbox:";

/// Decodes the percent escapes of a segment of a path; `None` if the result is empty or not UTF-8.
#[must_use]
pub fn decode_segment(segment: &str) -> Option<String> {
    let decoded = percent_encoding::percent_decode_str(segment)
        .decode_utf8()
        .ok()?;
    (!decoded.is_empty()).then(|| decoded.into_owned())
}

/// The characters that are escaped in a segment of a path: all but those that RFC 3986 section 3.3 allows.
const ESCAPED: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// Encodes a name as a segment of a path.
#[must_use]
pub fn encode_segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, ESCAPED).to_string()
}

/// The URL of the unit, and the form of the URLs of its cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitUrls {
    scheme: String,
    host: String,
    port: Option<u16>,
    path_based: bool,
    /// The texts before and after the name of a cell in its URL.
    around_cell: (String, String),
}

/// The addressee of a `Host` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Addressee {
    /// The unit itself.
    Unit,
    /// The cell of this name, by its own host name.
    Cell(String),
    /// Neither the unit nor one of its cells.
    Foreign,
}

impl UnitUrls {
    /// URLs of a unit; `host` is without port, `port` is `None` for the scheme's own one.
    #[must_use]
    pub fn new(scheme: &str, host: &str, port: Option<u16>, path_based: bool) -> Self {
        let usual = if scheme == "https" { 443 } else { 80 };
        let mut urls = Self {
            scheme: scheme.to_ascii_lowercase(),
            host: host.to_ascii_lowercase(),
            port: port.filter(|p| *p != usual),
            path_based,
            around_cell: Default::default(),
        };
        urls.around_cell = if path_based {
            (urls.unit(), "/".to_owned())
        } else {
            let end = format!(".{}/", urls.authority());
            (format!("{}://", urls.scheme), end)
        };
        urls
    }

    /// Whether cells are paths below the unit (`true`) or hosts of their own (`false`).
    #[must_use]
    pub fn path_based(&self) -> bool {
        self.path_based
    }

    /// `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host name of the unit, without port.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Host and, if it is not the usual one, port.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = &self.host;
        self.port
            .map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
    }

    /// The unit URL, with its final slash.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("{}://{}/", self.scheme, self.authority())
    }

    /// The URL of a cell, with its final slash.
    #[must_use]
    pub fn cell(&self, name: &str) -> String {
        let (begin, end) = &self.around_cell;
        [begin, name, end].concat()
    }

    /// The addressee of an authority (`host` or `host:port`). Only the configured port is accepted: behind a proxy, callers pass
    /// the authority that the client used.
    #[must_use]
    pub fn addressee(&self, authority: &str) -> Addressee {
        let authority = authority.to_ascii_lowercase();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                (host, digits.parse::<u16>().ok())
            }
            _ => (authority.as_str(), None),
        };
        let usual = if self.scheme == "https" { 443 } else { 80 };
        if port.unwrap_or(usual) != self.port.unwrap_or(usual) {
            return Addressee::Foreign;
        }
        if host == self.host {
            return Addressee::Unit;
        }
        match host
            .strip_suffix(&self.host)
            .and_then(|rest| rest.strip_suffix('.'))
        {
            Some(cell) if is_name(cell) => Addressee::Cell(cell.to_owned()),
            _ => Addressee::Foreign,
        }
    }

    /// The `http(s)` form of a unit-local URL; other URLs stay as they are. `None` if the local form is malformed.
    #[must_use]
    pub fn resolve(&self, url: &str) -> Option<String> {
        let Some(rest) = url.strip_prefix(LOCAL_UNIT) else {
            return Some(url.to_owned());
        };
        if let Some(path) = rest.strip_prefix('/') {
            if path.is_empty() {
                return Some(self.unit());
            }
            let (cell, path) = path.split_once('/').unwrap_or((path, ""));
            return is_name(cell).then(|| self.cell(cell) + path);
        }
        let (cell, path) = rest.split_once(":/")?;
        is_name(cell).then(|| self.cell(cell) + path)
    }

    /// The unit-local form of a URL of this unit (`personium-localunit:cell:/path`); `None` for other URLs.
    #[must_use]
    pub fn localize(&self, url: &str) -> Option<String> {
        let (cell, path) = self.split(url)?;
        Some(format!("{LOCAL_UNIT}{cell}:/{path}"))
    }

    /// The cell name and the path below the cell (without leading slash) of an `http(s)` URL of this unit.
    #[must_use]
    pub fn split<'u>(&self, url: &'u str) -> Option<(String, &'u str)> {
        let rest = url.strip_prefix(&self.scheme)?.strip_prefix("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.strip_prefix('/').unwrap_or(path);
        match self.addressee(authority) {
            Addressee::Cell(name) if !self.path_based => Some((name, path)),
            Addressee::Unit if self.path_based => {
                let end = path.find(['/', '?', '#']).unwrap_or(path.len());
                let (cell, below) = path.split_at(end);
                is_name(cell).then(|| (cell.to_owned(), below.strip_prefix('/').unwrap_or(below)))
            }
            _ => None,
        }
    }

    /// The spellings under which a URL may be stored: as given, as `http(s)`, and in both unit-local forms.
    #[must_use]
    pub fn spellings(&self, url: &str) -> Vec<String> {
        let mut out = vec![url.to_owned()];
        if let Some(http) = self.resolve(url) {
            if let Some((cell, path)) = self.split(&http) {
                out.push(format!("{LOCAL_UNIT}{cell}:/{path}"));
                out.push(format!("{LOCAL_UNIT}/{cell}/{path}"));
            }
            out.push(http);
        }
        out.sort();
        out.dedup();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path() -> UnitUrls {
        UnitUrls::new("http", "localhost", Some(9998), true)
    }

    fn host() -> UnitUrls {
        UnitUrls::new("https", "Unit.example", Some(443), false)
    }

    #[test]
    fn cell_urls_are_paths_or_hosts() {
        assert_eq!(path().unit(), "http://localhost:9998/");
        assert_eq!(path().cell("c1"), "http://localhost:9998/c1/");
        assert_eq!(host().unit(), "https://unit.example/");
        assert_eq!(host().cell("c1"), "https://c1.unit.example/");
    }

    #[test]
    fn host_header_addresses_unit_cell_or_neither() {
        assert_eq!(host().addressee("UNIT.example"), Addressee::Unit);
        assert_eq!(host().addressee("unit.example:443"), Addressee::Unit);
        assert_eq!(host().addressee("unit.example:80"), Addressee::Foreign);
        assert_eq!(
            host().addressee("c1.unit.example"),
            Addressee::Cell("c1".into())
        );
        for foreign in [
            "evilunit.example",
            "a.b.unit.example",
            "unit.example.evil",
            ".unit.example",
            "",
        ] {
            assert_eq!(host().addressee(foreign), Addressee::Foreign, "{foreign}");
        }
        assert_eq!(
            path().addressee("c1.localhost:9998"),
            Addressee::Cell("c1".into())
        );
    }

    #[test]
    fn unit_local_urls_are_resolved_and_localized() {
        for (url, http) in [
            (
                "personium-localunit:/c1/x/y",
                "http://localhost:9998/c1/x/y",
            ),
            (
                "personium-localunit:c1:/x/y",
                "http://localhost:9998/c1/x/y",
            ),
            ("personium-localunit:/", "http://localhost:9998/"),
            ("https://else.example/", "https://else.example/"),
        ] {
            assert_eq!(path().resolve(url).as_deref(), Some(http));
        }
        assert_eq!(path().resolve("personium-localunit:"), None);
        assert_eq!(
            host().localize("https://c1.unit.example/#me").as_deref(),
            Some("personium-localunit:c1:/#me")
        );
        assert_eq!(
            path().localize("http://localhost:9998/c1/#me").as_deref(),
            Some("personium-localunit:c1:/#me")
        );
        assert_eq!(path().localize("http://localhost:9998/"), None);
        assert_eq!(path().spellings("http://localhost:9998/c1/").len(), 3);
    }
}
