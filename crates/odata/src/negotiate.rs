//! Content negotiation: the choice between JSON and Atom.

/// The format of a response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// JSON
    Json,
    /// Atom (RFC 4287)
    Atom,
}

/// The reason for which no response format can be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiationError {
    /// `$format` is neither `json` nor `atom`.
    #[error("$format does not have the value {0}")]
    UnknownFormat(String),
    /// `Accept` allows neither format; the text is the header.
    #[error("no response format is acceptable: {0}")]
    NotAcceptable(String),
}

/// Chooses the format of a list or entity by `$format`, or else by `Accept`.
///
/// XML precedes JSON in `Accept` regardless of the weights. `*/*` and an absent or empty `Accept` choose Atom.
///
/// # Errors
/// [`NegotiationError::UnknownFormat`] for another value of `$format`, [`NegotiationError::NotAcceptable`] if `Accept`
/// allows neither format.
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
    let has = |media_type: &str| media_types(accept).any(|listed| listed == media_type);
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

/// Chooses the format of the response to a POST: JSON unless `$format` is `atom`.
///
/// # Errors
/// [`NegotiationError::UnknownFormat`] for another value of `$format`.
pub fn choose_for_created(option: Option<&str>) -> Result<ResponseFormat, NegotiationError> {
    option.map_or(Ok(ResponseFormat::Json), of_option)
}

/// Returns true if `Accept` allows the response to a request through a navigation property: it lists Atom, JavaScript,
/// JSON, a range with one of them, or is absent. The response is JSON in any case.
#[must_use]
pub fn accepts_navigation_response(accept: Option<&str>) -> bool {
    let accept = accept.unwrap_or("").trim();
    accept.is_empty()
        || media_types(accept).any(|listed| {
            matches!(
                listed,
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

/// Returns true if `Accept` lists the media type. Parameters and ranges are ignored.
#[must_use]
pub fn accepts(accept: Option<&str>, media_type: &str) -> bool {
    media_types(accept.unwrap_or("")).any(|listed| listed == media_type)
}

/// The media types of `Accept` without parameters.
/// The media types of `Accept` without parameters.
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
    fn format_is_chosen_by_option_then_accept_with_atom_as_default() {
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
    fn navigation_response_is_accepted_as_three_media_types() {
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
