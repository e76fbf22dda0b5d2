//! The choice between JSON and Atom.

/// A response format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// JSON
    Json,
    /// Atom (RFC 4287)
    Atom,
}

/// Why no format could be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// `$format` is neither `json` nor `atom`.
    #[error("$format has no such value: {0}")]
    UnknownFormat(String),
    /// `Accept` allows neither format.
    #[error("no format is acceptable: {0}")]
    NotAcceptable(String),
}

/// The format of a list or an entity. `$format` wins; of the types in `Accept` XML wins over JSON whatever their
/// weights; without `Accept` (or with an empty one, or any type) it is Atom.
///
/// # Errors
/// [`FormatChoiceError`]
pub fn choose(
    option: Option<&str>,
    accept: Option<&str>,
) -> Result<ResponseFormat, NegotiationError> {
    if let Some(option) = option {
        return of_option(option);
    }
    let accept = accept.unwrap_or("").trim();
    if accept.is_empty() {
        return Ok(ResponseFormat::Atom);
    }
    let has = |wanted: &str| media_types(accept).any(|own| own == wanted);
    if has("application/atom+xml") || has("application/xml") {
        Ok(ResponseFormat::Atom)
    } else if has("application/json") {
        Ok(ResponseFormat::Json)
    } else if has("*/*") {
        Ok(ResponseFormat::Atom)
    } else {
        Err(NegotiationError::NotAcceptable(accept.to_owned()))
    }
}

/// The format of the answer to a POST: JSON unless `$format` asks for Atom.
///
/// # Errors
/// [`FormatChoiceError::Option`]
pub fn choose_for_created(option: Option<&str>) -> Result<ResponseFormat, NegotiationError> {
    option.map_or(Ok(ResponseFormat::Json), of_option)
}

/// True when a client with this `Accept` takes the answer to a request through a navigation property, which is JSON
/// always but was declared as one of three types.
#[must_use]
pub fn accepts_navigation_response(accept: Option<&str>) -> bool {
    let accept = accept.unwrap_or("").trim();
    accept.is_empty()
        || media_types(accept).any(|own| {
            matches!(
                own,
                "application/atom+xml"
                    | "text/javascript"
                    | "application/json"
                    | "application/*"
                    | "text/*"
                    | "*/*"
                    | "*"
            )
        })
}

/// True when `Accept` lists the type, parameters aside.
#[must_use]
pub fn accepts(accept: Option<&str>, media_type: &str) -> bool {
    media_types(accept.unwrap_or("")).any(|own| own == media_type)
}

fn media_types(accept: &str) -> impl Iterator<Item = &str> {
    accept
        .split(',')
        .map(|item| item.split(';').next().unwrap_or("").trim())
}

fn of_option(option: &str) -> Result<ResponseFormat, NegotiationError> {
    match option {
        "json" => Ok(ResponseFormat::Json),
        "atom" => Ok(ResponseFormat::Atom),
        other => Err(NegotiationError::UnknownFormat(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_wins_over_json_and_is_the_default() {
        for (accept, format) in [
            (None, ResponseFormat::Atom),
            (Some(""), ResponseFormat::Atom),
            (Some("*/*"), ResponseFormat::Atom),
            (Some("application/json"), ResponseFormat::Json),
            (
                Some("text/html, application/json;q=0.1, */*"),
                ResponseFormat::Json,
            ),
            (
                Some("application/json,application/xml;q=0.1"),
                ResponseFormat::Atom,
            ),
        ] {
            assert_eq!(choose(None, accept), Ok(format), "{accept:?}");
        }
        assert_eq!(
            choose(None, Some("text/html")),
            Err(NegotiationError::NotAcceptable("text/html".into()))
        );
        assert_eq!(
            choose(Some("json"), Some("text/html")),
            Ok(ResponseFormat::Json)
        );
        assert_eq!(
            choose(Some("JSON"), None),
            Err(NegotiationError::UnknownFormat("JSON".into()))
        );
        assert_eq!(choose_for_created(None), Ok(ResponseFormat::Json));
    }

    #[test]
    fn navigation_takes_three_types() {
        for accept in [
            None,
            Some("*/*"),
            Some("text/*"),
            Some("a/b,application/json"),
        ] {
            assert!(accepts_navigation_response(accept), "{accept:?}");
        }
        assert!(
            !accepts_navigation_response(Some("application/xml"))
                && !accepts_navigation_response(Some("text/html"))
        );
        assert!(accepts(
            Some("a/b, application/atomsvc+xml;q=1"),
            "application/atomsvc+xml"
        ));
    }
}
