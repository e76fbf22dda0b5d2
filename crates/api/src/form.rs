//! The parameters of OAuth2 requests.

use personium_types::{Code, Error, Result};

/// The fields of a form or query. Of several with one name the first counts. OAuth2 treats an empty field like an absent one
/// (RFC 6749 section 3.1); [`Form::raw`] and [`Form::required`] do not.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form body or a query.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let fields = url::form_urlencoded::parse(bytes);
        Self(fields.into_owned().collect())
    }

    /// Names and values of all fields in their order.
    #[must_use]
    pub fn fields(&self) -> &[(String, String)] {
        &self.0
    }

    /// The value of a field, even if it is empty.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }

    /// The value of a field that is not empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).filter(|v| !v.is_empty())
    }

    /// The value of a field, even if it is empty.
    ///
    /// # Errors
    /// [`Code::GrantParameter`] if it is absent.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.raw(name)
            .ok_or_else(|| Error::new(Code::GrantParameter).with(name))
    }

    /// Whether the value of a field is `true`.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.raw(name) == Some("true")
    }

    /// A field with a number of seconds from 1 to `max_secs`, in milliseconds. If it is absent, the maximum.
    ///
    /// # Errors
    /// [`Code::GrantParameter`] for other values.
    pub fn seconds(&self, name: &str, max_secs: i64) -> Result<i64> {
        let seconds = match self.get(name) {
            None => Some(max_secs),
            Some(text) => text.parse().ok().filter(|n| (1..=max_secs).contains(n)),
        };
        seconds
            .map(|n| n * 1_000)
            .ok_or_else(|| Error::new(Code::GrantParameter).with(name))
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn seconds_are_limited_and_have_a_default() {
        for (text, expected) in [
            ("", Some(3_600_000)),
            ("x=", Some(3_600_000)),
            ("x=1", Some(1_000)),
            ("x=3600", Some(3_600_000)),
            ("x=0", None),
            ("x=-1", None),
            ("x=3601", None),
            ("x=abc", None),
            ("x=99999999999999999999", None),
        ] {
            let form = Form::parse(text.as_bytes());
            assert_eq!(form.seconds("x", 3_600).ok(), expected, "{text}");
        }
    }
}
