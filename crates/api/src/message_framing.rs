//! Headers that decide where a request goes and where it ends. A proxy could read an ambiguous one in another way.

use http::{HeaderMap, HeaderName, header};
use personium_types::{Code, Error, Result};

/// Refuses more than one `Host` header (RFC 9112, section 3.2) and transfer codings other than one `chunked` (section 6.1).
///
/// # Errors
/// [`Code::HeaderInvalid`]; [`Code::NotImplementedFeature`] for another transfer coding.
pub(crate) fn check(headers: &HeaderMap) -> Result<()> {
    if headers.get_all(header::HOST).iter().nth(1).is_some() {
        return Err(invalid(headers, &header::HOST));
    }
    let mut is_chunked = false;
    for value in headers.get_all(header::TRANSFER_ENCODING) {
        for coding in value.as_bytes().split(|b| *b == b',') {
            if !coding.trim_ascii().eq_ignore_ascii_case(b"chunked") {
                return Err(Error::new(Code::NotImplementedFeature).with("Transfer-Encoding"));
            }
            if is_chunked {
                return Err(invalid(headers, &header::TRANSFER_ENCODING));
            }
            is_chunked = true;
        }
    }
    Ok(())
}

fn invalid(headers: &HeaderMap, name: &HeaderName) -> Error {
    let values: Vec<_> = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    Error::new(Code::HeaderInvalid)
        .with(name.as_str())
        .with(values.join(", "))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn check_values(name: HeaderName, values: &[&'static str]) -> Option<Code> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_static(value));
        }
        check(&headers).err().map(|refusal| refusal.code())
    }

    #[test]
    fn requests_have_one_host() {
        assert_eq!(check_values(header::HOST, &[]), None);
        assert_eq!(check_values(header::HOST, &["a.example"]), None);
        for hosts in [["a.example", "b.example"], ["a.example", "a.example"]] {
            let refusal = check_values(header::HOST, &hosts);
            assert_eq!(refusal, Some(Code::HeaderInvalid), "{hosts:?}");
        }
    }

    #[test]
    fn only_one_chunked_coding_is_accepted() {
        let check = |values: &[&'static str]| check_values(header::TRANSFER_ENCODING, values);
        for known in [&[][..], &["chunked"], &[" Chunked "]] {
            assert_eq!(check(known), None, "{known:?}");
        }
        for unknown in [
            &["gzip, chunked"][..],
            &["gzip", "chunked"],
            &["identity"],
            &[""],
        ] {
            assert_eq!(
                check(unknown),
                Some(Code::NotImplementedFeature),
                "{unknown:?}"
            );
        }
        for repeated in [&["chunked, chunked"][..], &["chunked", "chunked"]] {
            assert_eq!(check(repeated), Some(Code::HeaderInvalid), "{repeated:?}");
        }
    }
}
