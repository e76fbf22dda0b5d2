//! Requests that are possible while the storage is full: reading, deleting, and logging in to do so.

use http::Method;
use personium_types::{Code, Result};

/// The endpoints whose POST stores next to nothing.
const LOGIN_ENDPOINTS: &[&str] = &["__token", "__authz", "__introspect"];

/// The methods that add nothing to the storage, besides those of RFC 9110.
const DAV_METHODS: &[&str] = &["PROPFIND", "REPORT"];

/// Checks a request while the storage is full.
///
/// # Errors
/// [`Code::StorageFull`] if it may store something.
pub(crate) fn check(method: &Method, path: &str) -> Result<()> {
    match may_store(method, path) {
        true => Err(Code::StorageFull.into()),
        false => Ok(()),
    }
}

/// Whether a method only reads.
pub(crate) fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS].contains(method)
        || DAV_METHODS.contains(&method.as_str())
}

/// Whether a request may store something.
pub(crate) fn may_store(method: &Method, path: &str) -> bool {
    let endpoint = path.trim_end_matches('/').rsplit('/').next();
    let is_login =
        method == Method::POST && endpoint.is_some_and(|name| LOGIN_ENDPOINTS.contains(&name));
    !(is_read(method) || is_login || method == Method::DELETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_deleting_and_logging_in_are_possible_and_nothing_else() {
        let method = |name: &str| Method::from_bytes(name.as_bytes()).unwrap();
        for name in ["GET", "HEAD", "OPTIONS", "PROPFIND", "REPORT", "DELETE"] {
            assert!(check(&method(name), "/c/b/f").is_ok(), "{name}");
        }
        for path in ["/c/__token", "/c/__authz", "/c/__introspect/"] {
            assert!(check(&Method::POST, path).is_ok(), "{path}");
        }
        for (name, path) in [
            ("PUT", "/c/b/f"),
            ("PUT", "/c/__token"),
            ("POST", "/c/b/data/Row"),
            ("POST", "/c/b/data/$batch"),
            ("POST", "/__ctl/Cell"),
            ("POST", "/c/__message/send"),
            ("PATCH", "/c/b/data/Row('1')"),
            ("MERGE", "/c/b/data/Row('1')"),
            ("MKCOL", "/c/b/d"),
            ("MOVE", "/c/b/f"),
            ("COPY", "/c/b/f"),
            ("PROPPATCH", "/c/b/f"),
            ("ACL", "/c/b/f"),
            ("LOCK", "/c/b/f"),
        ] {
            let refused = check(&method(name), path).map_err(|e| e.code());
            assert_eq!(refused, Err(Code::StorageFull), "{name} {path}");
        }
    }
}
