//! URLs of services that plugins ask.

use url::{Host, Url};

/// Checks the URL of a service: the fields of a request are secrets, so they leave the machine only over TLS.
///
/// # Errors
/// A text for the operator.
pub fn check_service_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("url: {error}"))?;
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_local;
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    match is_safe && is_plain {
        true => Ok(url),
        false => Err(
            "url must begin with https://, or with http:// for this machine, and have no user and no fragment".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_leave_the_machine_over_tls_only() {
        for good in [
            "https://auth.example/login",
            "https://10.0.0.1:8443/",
            "http://127.0.0.1:8080/x?y",
            "http://[::1]/",
            "http://localhost/",
        ] {
            assert!(check_service_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "auth.example",
            "http://auth.example/",
            "http://localhost.example/",
            "http://10.0.0.1/",
            "http://127.0.0.1@auth.example/",
            "https://user@auth.example/",
            "https://:word@auth.example/",
            "https://auth.example/#x",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
        ] {
            assert!(check_service_url(bad).is_err(), "{bad}");
        }
    }
}
