//! The choice between JSON and Atom.

/// A response format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFormat {
    /// JSON
    Json,
    /// Atom (RFC 4287)
    Atom,
}

/// Why no format could be chosen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatChoiceError {
    /// `$format` is neither `json` nor `atom`.
    #[error("$format has no such value: {0}")]
    Option(String),
    /// `Accept` allows neither format.
    #[error("no format is acceptable: {0}")]
    Accept(String),
}

/// The format of a list or an entity. `$format` wins; of the types in `Accept` XML wins over JSON whatever their
/// weights; without `Accept` (or with an empty one, or any type) it is Atom.
///
/// # Errors
/// [`FormatChoiceError`]
pub fn choose(option: Option<&str>, accept: Option<&str>) -> Result<BodyFormat, FormatChoiceError> {
    if let Some(option) = option {
        return of_option(option);
    }
    let accept = accept.unwrap_or("").trim();
    if accept.is_empty() {
        return Ok(BodyFormat::Atom);
    }
    let has = |wanted: &str| media_types(accept).any(|own| own == wanted);
    if has("application/atom+xml") || has("application/xml") {
        Ok(BodyFormat::Atom)
    } else if has("application/json") {
        Ok(BodyFormat::Json)
    } else if has("*/*") {
        Ok(BodyFormat::Atom)
    } else {
        Err(FormatChoiceError::Accept(accept.to_owned()))
    }
}

/// The format of the answer to a POST: JSON unless `$format` asks for Atom.
///
/// # Errors
/// [`FormatChoiceError::Option`]
pub fn choose_for_created(option: Option<&str>) -> Result<BodyFormat, FormatChoiceError> {
    option.map_or(Ok(BodyFormat::Json), of_option)
}

/// True when a client with this `Accept` takes the answer to a request through a navigation property, which is JSON
/// always but was declared as one of three types.
#[must_use]
pub fn accepts_navigation(accept: Option<&str>) -> bool {
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
pub fn lists(accept: Option<&str>, media_type: &str) -> bool {
    media_types(accept.unwrap_or("")).any(|own| own == media_type)
}

fn media_types(accept: &str) -> impl Iterator<Item = &str> {
    accept
        .split(',')
        .map(|item| item.split(';').next().unwrap_or("").trim())
}

fn of_option(option: &str) -> Result<BodyFormat, FormatChoiceError> {
    match option {
        "json" => Ok(BodyFormat::Json),
        "atom" => Ok(BodyFormat::Atom),
        other => Err(FormatChoiceError::Option(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_wins_over_json_and_is_the_default() {
        for (accept, format) in [
            (None, BodyFormat::Atom),
            (Some(""), BodyFormat::Atom),
            (Some("*/*"), BodyFormat::Atom),
            (Some("application/json"), BodyFormat::Json),
            (
                Some("text/html, application/json;q=0.1, */*"),
                BodyFormat::Json,
            ),
            (
                Some("application/json,application/xml;q=0.1"),
                BodyFormat::Atom,
            ),
        ] {
            assert_eq!(choose(None, accept), Ok(format), "{accept:?}");
        }
        assert_eq!(
            choose(None, Some("text/html")),
            Err(FormatChoiceError::Accept("text/html".into()))
        );
        assert_eq!(
            choose(Some("json"), Some("text/html")),
            Ok(BodyFormat::Json)
        );
        assert_eq!(
            choose(Some("JSON"), None),
            Err(FormatChoiceError::Option("JSON".into()))
        );
        assert_eq!(choose_for_created(None), Ok(BodyFormat::Json));
    }

    #[test]
    fn navigation_takes_three_types() {
        for accept in [
            None,
            Some("*/*"),
            Some("text/*"),
            Some("a/b,application/json"),
        ] {
            assert!(accepts_navigation(accept), "{accept:?}");
        }
        assert!(
            !accepts_navigation(Some("application/xml")) && !accepts_navigation(Some("text/html"))
        );
        assert!(lists(
            Some("a/b, application/atomsvc+xml;q=1"),
            "application/atomsvc+xml"
        ));
    }
}
