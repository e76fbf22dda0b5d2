//! The servers that are told of traces.

/// Servers that are told of the trace of a request to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceTarget {
    /// All servers.
    All,
    /// The one with this host name, in lower case.
    Host(String),
    /// Those whose host name ends with a dot and this, in lower case.
    Below(String),
}

impl TraceTarget {
    /// Reads `*`, `*.example.org` or a host name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let is_host = |text: &str| {
            !text.is_empty()
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-.:[]_".contains(&b))
        };
        match text.strip_prefix("*.") {
            _ if text == "*" => Some(Self::All),
            Some(rest) => is_host(rest).then(|| Self::Below(rest.to_owned())),
            None => is_host(&text).then_some(Self::Host(text)),
        }
    }

    pub(crate) fn matches(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        match self {
            Self::All => true,
            Self::Host(name) => *name == host,
            Self::Below(name) => host
                .strip_suffix(name.as_str())
                .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_match_their_hosts_only() {
        for (target, host, expected) in [
            ("*", "a.example", true),
            ("A.example", "a.EXAMPLE", true),
            ("a.example", "b.a.example", false),
            ("*.a.example", "b.a.example", true),
            ("*.a.example", "a.example", false),
            ("*.a.example", ".a.example", false),
            ("*.a.example", "ba.example", false),
            ("*.a.example", "b.a.example.evil", false),
            ("127.0.0.1", "127.0.0.1", true),
        ] {
            let found = TraceTarget::parse(target).unwrap().matches(host);
            assert_eq!(found, expected, "{target} {host}");
        }
        for bad in ["", "*.", "a/b", "http://a.example", "*x", "a b"] {
            assert_eq!(TraceTarget::parse(bad), None, "{bad}");
        }
    }
}
