//! Host names in URLs and certificates.

/// Returns the host of an http or https URL in lower case without port. An IPv6 address is in brackets.
///
/// Only plain hosts are accepted: no user information, no escapes, only letters, digits, `-`, `_` and `.`. So other URL
/// parsers cannot find another host in the same URL.
pub(super) fn of_url(url: &str) -> Option<String> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = if authority.starts_with('[') {
        let end = authority.find(']')?;
        let (host, port) = authority.split_at_checked(end + 1)?;
        let inside = host.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse::<std::net::Ipv6Addr>().ok()?;
        is_port_suffix(port).then_some(host)?
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        let (host, port) = authority.split_at_checked(end)?;
        (is_port_suffix(port) && is_name(host)).then_some(host)?
    };
    Some(host.to_ascii_lowercase())
}

/// Whether the text is empty, or `:` and at most five digits.
fn is_port_suffix(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some(digits) => digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.split('.').all(|label| {
            !label.is_empty()
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
}

/// Whether a name of a certificate covers a host, ignoring the letter case.
///
/// A name covers the equal host and its subdomains (`cell.unit.example` for `unit.example`). `*.unit.example` covers
/// exactly one label before the rest. An address covers only itself.
pub(super) fn covers(name: &str, host: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if let Some(parent) = name.strip_prefix("*.") {
        return is_name(parent)
            && !is_address(host)
            && host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent);
    }
    if name == host {
        return true;
    }
    is_name(&name)
        && !is_address(&name)
        && !is_address(host)
        && host
            .strip_suffix(name.as_str())
            .is_some_and(|front| front.len() > 1 && front.ends_with('.'))
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::{covers, of_url};

    #[test]
    fn of_url_accepts_only_plain_hosts() {
        for (url, host) in [
            ("https://Cell1.Unit.Example/", "cell1.unit.example"),
            ("http://localhost:9998/testcell1/", "localhost"),
            ("https://unit.example", "unit.example"),
            ("https://unit.example/a@b:c/#x", "unit.example"),
            ("http://[::1]:8080/c/", "[::1]"),
            ("https://192.0.2.1/", "192.0.2.1"),
        ] {
            assert_eq!(of_url(url).as_deref(), Some(host), "{url}");
        }
        for url in [
            "",
            "https://",
            "https:///x",
            "ftp://unit.example/",
            "unit.example/",
            "HTTPS://unit.example/",
            "https://user@unit.example/",
            "https://evil.example\\.unit.example/",
            "https://unit.example%2f.evil.example/",
            "https://unit..example/",
            "https://unit.example./",
            "https://unit.example:80a/",
            "https://unit.example:80:80/",
            "https://[::1/",
            "https://[::1]x/",
            "https://[unit.example]/",
            "https://un it.example/",
        ] {
            assert_eq!(of_url(url), None, "{url}");
        }
    }

    #[test]
    fn name_covers_host_and_subdomains() {
        for (name, host) in [
            ("unit.example", "unit.example"),
            ("Unit.Example", "cell.unit.example"),
            ("unit.example", "a.b.unit.example"),
            ("*.unit.example", "cell.unit.example"),
            ("localhost", "localhost"),
            ("192.0.2.1", "192.0.2.1"),
        ] {
            assert!(covers(name, host), "{name} {host}");
        }
        for (name, host) in [
            ("b.example", "evilb.example"),
            ("b.example", "b.example.evil"),
            ("b.example", "example"),
            ("b.example", ".b.example"),
            ("", "b.example"),
            (".example", "b.example"),
            (".b.example", "a.b.example"),
            ("*.b.example", "b.example"),
            ("*.b.example", "x.y.b.example"),
            ("*", "b.example"),
            ("*.", "b.example"),
            ("2.1", "192.0.2.1"),
            ("*.0.2.1", "192.0.2.1"),
        ] {
            assert!(!covers(name, host), "{name} {host}");
        }
    }
}
