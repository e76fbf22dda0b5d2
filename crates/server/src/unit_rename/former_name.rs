//! The name that a unit had.

use std::str::FromStr;

use personium_model::UnitUrls;

/// The URL that a unit had, with the URLs of its cells in both forms: as paths, and as hosts of their own.
#[derive(Debug, Clone)]
pub struct FormerName {
    path_based: UnitUrls,
    host_based: UnitUrls,
}

impl FromStr for FormerName {
    type Err = String;

    /// Reads `http(s)://host[:port]/`, with or without the final slash.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || format!("{text} is no URL of a unit, such as https://unit.example/");
        let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| malformed())?)),
            None => (authority, None),
        };
        let is_host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let is_scheme = matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https");
        if !is_scheme || host.is_empty() || !host.chars().all(is_host_char) {
            return Err(malformed());
        }
        Ok(Self {
            path_based: UnitUrls::new(scheme, host, port, true),
            host_based: UnitUrls::new(scheme, host, port, false),
        })
    }
}

impl FormerName {
    /// The URL of the unit with this name.
    pub(super) fn unit_url(&self) -> String {
        self.path_based.unit()
    }

    /// Whether its host is this one.
    pub(super) fn is_host(&self, host: &str) -> bool {
        self.path_based.host().eq_ignore_ascii_case(host)
    }

    /// Whether a unit has this name now.
    pub(super) fn is_name_of(&self, urls: &UnitUrls) -> bool {
        self.path_based.unit() == urls.unit()
    }

    /// The URL of the same resource of the unit with its present name; `None` if the URL has not the former name, or stays
    /// the same.
    pub(super) fn renamed(&self, url: &str, urls: &UnitUrls) -> Option<String> {
        if url.strip_suffix('/').unwrap_or(url) == self.path_based.unit().trim_end_matches('/') {
            return Some(urls.unit());
        }
        let split = self.path_based.split(url);
        let (cell, path) = split.or_else(|| self.host_based.split(url))?;
        Some(urls.cell(&cell) + path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_both_forms_get_the_present_name() {
        let former: FormerName = "https://Old.example".parse().unwrap();
        let urls = UnitUrls::new("https", "new.example", Some(8443), false);
        for (url, expected) in [
            ("https://old.example/", Some("https://new.example:8443/")),
            ("https://old.example", Some("https://new.example:8443/")),
            (
                "https://old.example/a/",
                Some("https://a.new.example:8443/"),
            ),
            (
                "https://a.old.example/",
                Some("https://a.new.example:8443/"),
            ),
            (
                "https://a.old.example/#me",
                Some("https://a.new.example:8443/#me"),
            ),
            (
                "https://a.old.example/__role/b/r?x=1",
                Some("https://a.new.example:8443/__role/b/r?x=1"),
            ),
            ("http://old.example/a/", None),
            ("https://old.example:8443/a/", None),
            ("https://old.example.evil/a/", None),
            ("https://other.example/old.example/", None),
            ("personium-localunit:a:/", None),
            ("", None),
        ] {
            assert_eq!(former.renamed(url, &urls).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn texts_that_are_no_url_of_a_unit_are_refused() {
        for text in [
            "",
            "old.example",
            "ftp://old.example",
            "https://",
            "https://old.example/a/",
            "https://old.example:x/",
            "https://me@old.example/",
        ] {
            assert!(text.parse::<FormerName>().is_err(), "{text}");
        }
        let former: FormerName = "http://localhost:9998/".parse().unwrap();
        assert!(former.is_name_of(&UnitUrls::new("http", "localhost", Some(9998), false)));
        assert!(!former.is_name_of(&UnitUrls::new("http", "localhost", None, false)));
    }
}
