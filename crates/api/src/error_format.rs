//! The format of error bodies that a request asks for.

use http::HeaderMap;
use personium_odata::dialect::{Dialect, DialectHints};

/// The format of an error body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorFormat {
    /// `{"code":...,"message":{...}}`, as Personium units have always answered.
    Personium,
    /// `{"error":{"code":...,"message":{...}}}` (OData 2.0, JSON format, section 11).
    ODataJson,
    /// The `error` element (OData 2.0, Atom format).
    ODataXml,
}

impl ErrorFormat {
    /// The format for a request: that of OData for [`Dialect::Standard`]; then it is XML if `Accept` lists XML before JSON.
    /// `default` is the dialect of requests that do not show theirs.
    pub(crate) fn of(headers: &HeaderMap, default: Dialect) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let accept = text("accept");
        let hints = DialectHints {
            version: text("dataserviceversion"),
            max_version: text("maxdataserviceversion"),
            accept,
        };
        if hints.dialect(default) == Dialect::Original {
            return Self::Personium;
        }
        let is_xml = |range: &str| match range.split(';').next().unwrap_or_default().trim() {
            "application/atom+xml" | "application/atomsvc+xml" | "application/xml" | "text/xml" => {
                Some(true)
            }
            "application/json" => Some(false),
            _ => None,
        };
        match accept.unwrap_or_default().split(',').find_map(is_xml) {
            Some(true) => Self::ODataXml,
            Some(false) | None => Self::ODataJson,
        }
    }

    /// The media type of the body.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Personium | Self::ODataJson => "application/json",
            Self::ODataXml => "application/xml",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_that_of_odata_if_the_request_names_a_version() {
        let version = ("maxdataserviceversion", "2.0");
        let accept = |value| ("accept", value);
        for (headers, format) in [
            (vec![], ErrorFormat::Personium),
            (vec![accept("application/json")], ErrorFormat::Personium),
            (vec![accept("application/atom+xml")], ErrorFormat::Personium),
            (
                vec![accept("application/json;odata=verbose")],
                ErrorFormat::ODataJson,
            ),
            (vec![version], ErrorFormat::ODataJson),
            (vec![("dataserviceversion", "1.0")], ErrorFormat::ODataJson),
            (vec![version, accept("*/*")], ErrorFormat::ODataJson),
            (
                vec![version, accept("application/atom+xml,application/json")],
                ErrorFormat::ODataXml,
            ),
            (
                vec![version, accept("application/json, application/xml;q=0.1")],
                ErrorFormat::ODataJson,
            ),
        ] {
            let map = headers.iter().map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, http::HeaderValue::from_static(value))
            });
            let found = ErrorFormat::of(&map.collect(), Dialect::Original);
            assert_eq!(found, format, "{headers:?}");
        }
        let standard = ErrorFormat::of(&HeaderMap::new(), Dialect::Standard);
        assert_eq!(standard, ErrorFormat::ODataJson);
    }
}
