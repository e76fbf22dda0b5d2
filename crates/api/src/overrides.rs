//! Headers that replace the method or other headers of a request.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};

use personium_model::event::{EVENT_ID, RULE_CHAIN, RULE_CHAIN_PROOF, VIA};

use crate::forwarded;
use crate::headers::OVERRIDE;

/// The headers that replace the method of a POST, in the order of their precedence.
const METHOD_OVERRIDES: [&str; 2] = ["x-http-method-override", "x-http-method"];

/// The headers about the chain of rules, which the unit sets for its own requests: a script must not replace them.
const OF_CHAINS: [&str; 4] = [EVENT_ID, RULE_CHAIN, RULE_CHAIN_PROOF, VIA];

/// Returns the method of a request, which `X-HTTP-Method-Override` or `X-HTTP-Method` replaces on POST.
#[must_use]
pub fn method(method: &Method, headers: &HeaderMap) -> Method {
    if method != Method::POST {
        return method.clone();
    }
    METHOD_OVERRIDES
        .iter()
        .find_map(|name| headers.get(*name).filter(|value| !value.is_empty()))
        .and_then(|value| Method::from_bytes(value.as_bytes()).ok())
        .unwrap_or_else(|| method.clone())
}

/// Applies `X-Override: Name: Value`, which replaces the named header unless only a proxy or the unit may set it.
pub fn apply_to_headers(headers: &mut HeaderMap) {
    let overrides: Vec<HeaderValue> = headers.get_all(&OVERRIDE).iter().cloned().collect();
    for value in overrides {
        let Ok(text) = value.to_str() else { continue };
        let Some((name, value)) = text.split_once(':') else {
            continue;
        };
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name.trim().as_bytes()),
            HeaderValue::from_str(value.trim()),
        ) && !name.as_str().starts_with(forwarded::PREFIX)
            && !OF_CHAINS.contains(&name.as_str())
        {
            headers.insert(name, value);
        }
    }
}
