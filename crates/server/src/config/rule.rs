//! What a value may be: how it is read from text, and how that is said to an operator.

use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use personium_types::Secret;
use personium_types::network::Networks;
use regex::Regex;

/// How the text of a key becomes a value.
pub trait Rule<T> {
    /// The value; `None` if the text is not permitted. Relative paths are relative to `folder`.
    fn read(&self, text: &str, folder: &Path) -> Option<T>;

    /// What is permitted, as a phrase.
    fn allowed(&self) -> String;

    /// Whether the value must not be shown.
    fn is_secret(&self) -> bool {
        false
    }
}

/// A whole number in a range.
#[derive(Debug)]
pub struct Number<T>(pub RangeInclusive<T>);

impl<T: FromStr + PartialOrd + Display> Rule<T> for Number<T> {
    fn read(&self, text: &str, _folder: &Path) -> Option<T> {
        text.trim()
            .parse()
            .ok()
            .filter(|number| self.0.contains(number))
    }

    fn allowed(&self) -> String {
        format!("a whole number from {} to {}", self.0.start(), self.0.end())
    }
}

/// `true` or `false`.
#[derive(Debug)]
pub struct Flag;

impl Rule<bool> for Flag {
    fn read(&self, text: &str, _folder: &Path) -> Option<bool> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    fn allowed(&self) -> String {
        "true or false".into()
    }
}

/// Any text without line breaks.
#[derive(Debug)]
pub struct Text;

impl Rule<String> for Text {
    fn read(&self, text: &str, _folder: &Path) -> Option<String> {
        (!text.contains(['\r', '\n'])).then(|| text.trim().to_owned())
    }

    fn allowed(&self) -> String {
        "text".into()
    }
}

/// One of some words.
#[derive(Debug)]
pub struct OneOf<T: 'static>(pub &'static [(&'static str, T)]);

impl<T: Copy> Rule<T> for OneOf<T> {
    fn read(&self, text: &str, _folder: &Path) -> Option<T> {
        self.0
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(text.trim()))
            .map(|(_, value)| *value)
    }

    fn allowed(&self) -> String {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        format!("one of {}", words.join(", "))
    }
}

/// Words with spaces between them; may be none.
#[derive(Debug)]
pub struct Words;

impl Rule<Vec<String>> for Words {
    fn read(&self, text: &str, _folder: &Path) -> Option<Vec<String>> {
        Some(text.split_whitespace().map(str::to_owned).collect())
    }

    fn allowed(&self) -> String {
        "words with spaces between them".into()
    }
}

/// Addresses and networks with commas between them; may be none.
#[derive(Debug)]
pub struct Addresses;

impl Rule<Networks> for Addresses {
    fn read(&self, text: &str, _folder: &Path) -> Option<Networks> {
        text.trim().parse().ok()
    }

    fn allowed(&self) -> String {
        "addresses and networks (10.0.0.0/8) with commas between them, also the words loopback and private".into()
    }
}

/// The name of a file or folder.
#[derive(Debug)]
pub struct File;

impl Rule<PathBuf> for File {
    fn read(&self, text: &str, folder: &Path) -> Option<PathBuf> {
        let text = text.trim();
        (!text.is_empty() && !text.contains('\0')).then(|| folder.join(text))
    }

    fn allowed(&self) -> String {
        "the name of a file or folder, relative to the folder of the settings".into()
    }
}

/// Names of files with spaces between them; may be none.
#[derive(Debug)]
pub struct FileList;

impl Rule<Vec<PathBuf>> for FileList {
    fn read(&self, text: &str, folder: &Path) -> Option<Vec<PathBuf>> {
        text.split_whitespace()
            .map(|name| File.read(name, folder))
            .collect()
    }

    fn allowed(&self) -> String {
        "names of files with spaces between them".into()
    }
}

/// A URL with scheme and host, or one that is relative to the unit or to a cell.
#[derive(Debug)]
pub struct WebAddress;

impl Rule<String> for WebAddress {
    fn read(&self, text: &str, _folder: &Path) -> Option<String> {
        let text = text.trim();
        let absolute = ["http://", "https://"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme));
        let relative = ["personium-localunit:", "personium-localcell:"]
            .iter()
            .find_map(|s| text.strip_prefix(s));
        let rest = absolute.or(relative)?;
        let plain = |c: char| c.is_ascii_graphic() && !"<>\"\\^`{|}".contains(c);
        (!rest.is_empty() && !rest.starts_with("//") && text.chars().all(plain))
            .then(|| text.to_owned())
    }

    fn allowed(&self) -> String {
        "a URL (http:, https:, personium-localunit: or personium-localcell:)".into()
    }
}

/// URLs with spaces between them; may be none.
#[derive(Debug)]
pub struct WebAddresses;

impl Rule<Vec<String>> for WebAddresses {
    fn read(&self, text: &str, folder: &Path) -> Option<Vec<String>> {
        text.split_whitespace()
            .map(|url| WebAddress.read(url, folder))
            .collect()
    }

    fn allowed(&self) -> String {
        "URLs with spaces between them".into()
    }
}

/// The name of a host without port.
#[derive(Debug)]
pub struct HostName;

impl Rule<String> for HostName {
    fn read(&self, text: &str, _folder: &Path) -> Option<String> {
        let text = text.trim();
        let label = |label: &str| {
            let inner = label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
            inner
                && (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        (text.len() <= 253 && text.split('.').all(label)).then(|| text.to_ascii_lowercase())
    }

    fn allowed(&self) -> String {
        "a host name without port".into()
    }
}

/// An address to listen on.
#[derive(Debug)]
pub struct Address;

impl Rule<SocketAddr> for Address {
    fn read(&self, text: &str, _folder: &Path) -> Option<SocketAddr> {
        let text = text.trim().replace("localhost:", "127.0.0.1:");
        text.parse().ok()
    }

    fn allowed(&self) -> String {
        "an address and port such as 127.0.0.1:9998 or [::]:9998".into()
    }
}

/// An address of this machine that others cannot reach.
#[derive(Debug)]
pub struct LoopbackAddress;

impl Rule<SocketAddr> for LoopbackAddress {
    fn read(&self, text: &str, folder: &Path) -> Option<SocketAddr> {
        Address
            .read(text, folder)
            .filter(|address| address.ip().is_loopback())
    }

    fn allowed(&self) -> String {
        "an address and port of this machine's loopback such as 127.0.0.1:9997".into()
    }
}

/// A regular expression.
#[derive(Debug)]
pub struct Pattern;

impl Rule<Regex> for Pattern {
    fn read(&self, text: &str, _folder: &Path) -> Option<Regex> {
        Regex::new(text).ok()
    }

    fn allowed(&self) -> String {
        "a regular expression".into()
    }
}

/// Limits for each level of nesting: numbers or `*` with commas between them.
#[derive(Debug)]
pub struct Layers;

impl Rule<Vec<Option<usize>>> for Layers {
    fn read(&self, text: &str, _folder: &Path) -> Option<Vec<Option<usize>>> {
        let one = |part: &str| match part.trim() {
            "*" => Some(None),
            number => number.parse().ok().filter(|n| *n <= 400).map(Some),
        };
        text.split(',').map(one).collect()
    }

    fn allowed(&self) -> String {
        "numbers from 0 to 400, or *, for each level, with commas between them".into()
    }
}

/// What another rule permits, or nothing: an empty value is none.
#[derive(Debug)]
pub struct Maybe<R>(pub R);

impl<T, R: Rule<T>> Rule<Option<T>> for Maybe<R> {
    fn read(&self, text: &str, folder: &Path) -> Option<Option<T>> {
        if text.trim().is_empty() {
            Some(None)
        } else {
            self.0.read(text, folder).map(Some)
        }
    }

    fn allowed(&self) -> String {
        format!("{}, or nothing", self.0.allowed())
    }

    fn is_secret(&self) -> bool {
        self.0.is_secret()
    }
}

/// A text that is never shown, of at least so many bytes.
#[derive(Debug)]
pub struct SecretText {
    /// The shortest permitted text, in bytes.
    pub min_bytes: usize,
}

impl Rule<Secret<String>> for SecretText {
    fn read(&self, text: &str, _folder: &Path) -> Option<Secret<String>> {
        let text = text.trim();
        (text.len() >= self.min_bytes).then(|| Secret::new(text.to_owned()))
    }

    fn allowed(&self) -> String {
        format!("a text of at least {} bytes", self.min_bytes)
    }

    fn is_secret(&self) -> bool {
        true
    }
}
