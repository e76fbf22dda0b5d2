//! Parsers of values: how a value is read from text, and the phrase that names the permitted values.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use personium_postgres::PostgresHost;
use personium_trace::TraceTarget;
use personium_types::network::Networks;
use personium_types::{Privilege, Secret};
use regex::Regex;

/// The largest limit of a level of nesting: the most properties that an entity type can have by default.
const MAX_LEVEL_LIMIT: usize = 400;

/// Parses the text of a key.
pub trait ValueParser<T> {
    /// Returns the value; `None` if the text is not permitted. Relative paths are relative to `folder`.
    fn parse(&self, text: &str, folder: &Path) -> Option<T>;

    /// Returns a phrase that names the permitted values.
    fn permitted(&self) -> String;

    /// Whether the value must not be shown.
    fn is_secret(&self) -> bool {
        false
    }
}

/// An integer in a range.
#[derive(Debug)]
pub struct Number<T>(pub RangeInclusive<T>);

impl<T: FromStr + PartialOrd + Display> ValueParser<T> for Number<T> {
    fn parse(&self, text: &str, _folder: &Path) -> Option<T> {
        text.trim()
            .parse()
            .ok()
            .filter(|number| self.0.contains(number))
    }

    fn permitted(&self) -> String {
        format!("a whole number from {} to {}", self.0.start(), self.0.end())
    }
}

/// A number from 0 to 1.
#[derive(Debug)]
pub struct Fraction;

impl ValueParser<f64> for Fraction {
    fn parse(&self, text: &str, _folder: &Path) -> Option<f64> {
        let number = text.trim().parse::<f64>().ok();
        number.filter(|number| (0.0..=1.0).contains(number))
    }

    fn permitted(&self) -> String {
        "a number from 0 to 1, such as 0.05".into()
    }
}

/// Host names of servers that are told of traces, separated by spaces; the list may be empty.
#[derive(Debug)]
pub struct TraceTargetList;

impl ValueParser<Vec<TraceTarget>> for TraceTargetList {
    fn parse(&self, text: &str, _folder: &Path) -> Option<Vec<TraceTarget>> {
        text.split_whitespace().map(TraceTarget::parse).collect()
    }

    fn permitted(&self) -> String {
        "host names, *.domain, or *, separated by spaces".into()
    }
}

/// `true` or `false`.
#[derive(Debug)]
pub struct Flag;

impl ValueParser<bool> for Flag {
    fn parse(&self, text: &str, _folder: &Path) -> Option<bool> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    fn permitted(&self) -> String {
        "true or false".into()
    }
}

/// Any text without line breaks.
#[derive(Debug)]
pub struct Text;

impl ValueParser<String> for Text {
    fn parse(&self, text: &str, _folder: &Path) -> Option<String> {
        (!text.contains(['\r', '\n'])).then(|| text.trim().to_owned())
    }

    fn permitted(&self) -> String {
        "text".into()
    }
}

/// One of several words, in any case.
#[derive(Debug)]
pub struct OneOf<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy> ValueParser<T> for OneOf<T> {
    fn parse(&self, text: &str, _folder: &Path) -> Option<T> {
        self.0
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text.trim()))
            .map(|(_, value)| *value)
    }

    fn permitted(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        format!("one of {}", words.join(", "))
    }
}

/// Scopes separated by spaces: privileges of the cell level, URLs of roles, and `openid`; the list may be empty.
#[derive(Debug)]
pub struct ScopeList;

impl ValueParser<Vec<String>> for ScopeList {
    fn parse(&self, text: &str, folder: &Path) -> Option<Vec<String>> {
        let is_scope = |word: &str| {
            word == "openid"
                || Privilege::find_cell_level(word).is_some()
                || Url.parse(word, folder).is_some()
        };
        let words = text.split_whitespace();
        words
            .map(|word| is_scope(word).then(|| word.to_owned()))
            .collect()
    }

    fn permitted(&self) -> String {
        let levels = Privilege::ALL.iter().filter(|p| p.is_cell_level());
        let names: Vec<&str> = levels.map(|p| p.local_name()).collect();
        format!(
            "privileges of a cell ({}), URLs of roles, or openid, separated by spaces",
            names.join(", ")
        )
    }
}

/// The filter of the log: levels, separated by commas.
#[derive(Debug)]
pub struct LogFilter;

/// The names of levels.
const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];

impl LogFilter {
    /// The parts of a filter: the crate or module, if one is named, and the level.
    pub fn directives(text: &str) -> Option<Vec<(Option<&str>, &str)>> {
        let is_level = |level: &str| LEVELS.iter().any(|name| name.eq_ignore_ascii_case(level));
        let is_module = |name: &str| {
            let mut bytes = name.bytes();
            bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
                && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
        };
        text.split(',')
            .map(|part| match part.trim().split_once('=') {
                Some((module, level)) => {
                    (is_module(module) && is_level(level)).then_some((Some(module), level))
                }
                None => is_level(part.trim()).then_some((None, part.trim())),
            })
            .collect()
    }
}

impl ValueParser<String> for LogFilter {
    fn parse(&self, text: &str, _folder: &Path) -> Option<String> {
        Self::directives(text).map(|_| text.trim().to_owned())
    }

    fn permitted(&self) -> String {
        format!(
            "a level ({}), and for crates name=level, separated by commas",
            LEVELS.join(", ")
        )
    }
}

/// Addresses and networks separated by commas; the list may be empty.
#[derive(Debug)]
pub struct NetworkList;

impl ValueParser<Networks> for NetworkList {
    fn parse(&self, text: &str, _folder: &Path) -> Option<Networks> {
        text.trim().parse().ok()
    }

    fn permitted(&self) -> String {
        "addresses and networks (10.0.0.0/8) separated by commas; also the words loopback and private".into()
    }
}

/// The path of a file or folder.
#[derive(Debug)]
pub struct FilePath;

impl ValueParser<PathBuf> for FilePath {
    fn parse(&self, text: &str, folder: &Path) -> Option<PathBuf> {
        let text = text.trim();
        (!text.is_empty() && !text.contains('\0')).then(|| folder.join(text))
    }

    fn permitted(&self) -> String {
        "the path of a file or folder, relative to the folder of the settings file".into()
    }
}

/// Paths of files separated by spaces; the list may be empty.
#[derive(Debug)]
pub struct FilePathList;

impl ValueParser<Vec<PathBuf>> for FilePathList {
    fn parse(&self, text: &str, folder: &Path) -> Option<Vec<PathBuf>> {
        text.split_whitespace()
            .map(|name| FilePath.parse(name, folder))
            .collect()
    }

    fn permitted(&self) -> String {
        "paths of files separated by spaces".into()
    }
}

/// A URL with scheme and host, or one that is relative to the unit or to a cell.
#[derive(Debug)]
pub struct Url;

impl ValueParser<String> for Url {
    fn parse(&self, text: &str, _folder: &Path) -> Option<String> {
        let text = text.trim();
        let absolute = ["http://", "https://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        let relative = ["personium-localunit:", "personium-localcell:"]
            .iter()
            .find_map(|s| text.strip_prefix(s));
        let rest = absolute.or(relative)?;
        let is_permitted = |c: char| c.is_ascii_graphic() && !"<>\"\\^`{|}".contains(c);
        (!rest.is_empty() && !rest.starts_with("//") && text.chars().all(is_permitted))
            .then(|| text.to_owned())
    }

    fn permitted(&self) -> String {
        "a URL (http:, https:, personium-localunit: or personium-localcell:)".into()
    }
}

/// URLs separated by spaces; the list may be empty.
#[derive(Debug)]
pub struct UrlList;

impl ValueParser<Vec<String>> for UrlList {
    fn parse(&self, text: &str, folder: &Path) -> Option<Vec<String>> {
        text.split_whitespace()
            .map(|url| Url.parse(url, folder))
            .collect()
    }

    fn permitted(&self) -> String {
        "URLs separated by spaces".into()
    }
}

/// A host name without port.
#[derive(Debug)]
pub struct HostName;

impl ValueParser<String> for HostName {
    fn parse(&self, text: &str, _folder: &Path) -> Option<String> {
        let text = text.trim();
        let is_label = |label: &str| {
            let inner = label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
            inner
                && (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        (text.len() <= 253 && text.split('.').all(is_label)).then(|| text.to_ascii_lowercase())
    }

    fn permitted(&self) -> String {
        "a host name without port".into()
    }
}

/// Servers separated by commas: names or addresses with an optional port, or folders of Unix sockets.
#[derive(Debug)]
pub struct HostPortList {
    /// The port of a server without one.
    pub default_port: u16,
}

impl HostPortList {
    fn server(&self, text: &str) -> Option<PostgresHost> {
        if text.starts_with('/') {
            return Some(PostgresHost {
                name: text.to_owned(),
                port: self.default_port,
            });
        }
        let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => (
                address,
                rest.strip_prefix(':').or(rest.is_empty().then_some(""))?,
            ),
            None => text.split_once(':').unwrap_or((text, "")),
        };
        let port = match port {
            "" => Some(self.default_port),
            port => port.parse().ok().filter(|port| *port != 0),
        };
        let is_permitted = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        (!name.is_empty() && name.chars().all(is_permitted)).then_some(PostgresHost {
            name: name.to_owned(),
            port: port?,
        })
    }
}

impl ValueParser<Vec<PostgresHost>> for HostPortList {
    fn parse(&self, text: &str, _folder: &Path) -> Option<Vec<PostgresHost>> {
        text.split(',')
            .map(|part| self.server(part.trim()))
            .collect()
    }

    fn permitted(&self) -> String {
        format!(
            "names or addresses with an optional port (db1, db2:{}, [::1]:{}), or the path of the folder of a Unix socket, \
             separated by commas",
            self.default_port, self.default_port
        )
    }
}

/// An address and port to listen on.
#[derive(Debug)]
pub struct SocketAddress;

impl ValueParser<SocketAddr> for SocketAddress {
    fn parse(&self, text: &str, _folder: &Path) -> Option<SocketAddr> {
        let text = text.trim().replace("localhost:", "127.0.0.1:");
        text.parse().ok()
    }

    fn permitted(&self) -> String {
        "an address and port such as 127.0.0.1:9998 or [::]:9998".into()
    }
}

/// A loopback address and port.
#[derive(Debug)]
pub struct LoopbackSocketAddress;

impl ValueParser<SocketAddr> for LoopbackSocketAddress {
    fn parse(&self, text: &str, folder: &Path) -> Option<SocketAddr> {
        SocketAddress
            .parse(text, folder)
            .filter(|address| address.ip().is_loopback())
    }

    fn permitted(&self) -> String {
        "a loopback address and port such as 127.0.0.1:9997".into()
    }
}

/// A regular expression that does not match the empty text.
#[derive(Debug)]
pub struct Pattern;

impl ValueParser<Regex> for Pattern {
    fn parse(&self, text: &str, _folder: &Path) -> Option<Regex> {
        Regex::new(text)
            .ok()
            .filter(|pattern| !text.trim().is_empty() && !pattern.is_match(""))
    }

    fn permitted(&self) -> String {
        "a regular expression that does not match the empty text".into()
    }
}

/// Limits for each level of nesting: numbers or `*` (no limit), separated by commas.
#[derive(Debug)]
pub struct LevelLimits;

impl ValueParser<Vec<Option<usize>>> for LevelLimits {
    fn parse(&self, text: &str, _folder: &Path) -> Option<Vec<Option<usize>>> {
        let limit = |part: &str| match part.trim() {
            "*" => Some(None),
            number => number
                .parse()
                .ok()
                .filter(|n| *n <= MAX_LEVEL_LIMIT)
                .map(Some),
        };
        text.split(',').map(limit).collect()
    }

    fn permitted(&self) -> String {
        "a number from 0 to 400 or * for each level, separated by commas".into()
    }
}

/// A value of another parser, or none: an empty text.
#[derive(Debug)]
pub struct Optional<R>(pub R);

impl<T, R: ValueParser<T>> ValueParser<Option<T>> for Optional<R> {
    fn parse(&self, text: &str, folder: &Path) -> Option<Option<T>> {
        if text.trim().is_empty() {
            Some(None)
        } else {
            self.0.parse(text, folder).map(Some)
        }
    }

    fn permitted(&self) -> String {
        format!("{}, or empty", self.0.permitted())
    }

    fn is_secret(&self) -> bool {
        self.0.is_secret()
    }
}

/// A secret text of a minimum length.
#[derive(Debug)]
pub struct SecretText {
    /// The minimum length in bytes.
    pub min_bytes: usize,
}

impl ValueParser<Secret<String>> for SecretText {
    fn parse(&self, text: &str, _folder: &Path) -> Option<Secret<String>> {
        let text = text.trim();
        (text.len() >= self.min_bytes).then(|| Secret::new(text.to_owned()))
    }

    fn permitted(&self) -> String {
        match self.min_bytes {
            1 => "a text".into(),
            min_bytes => format!("a text of at least {min_bytes} bytes"),
        }
    }

    fn is_secret(&self) -> bool {
        true
    }
}
