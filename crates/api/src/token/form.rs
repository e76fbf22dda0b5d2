//! The parameters of a token request.

use personium_model::UnitUrls;
use personium_types::{Code, Error, Result};

/// The fields of a form; of several of one name the first counts. An empty field mostly counts as absent.
#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a form body or a query.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        let fields = url::form_urlencoded::parse(bytes);
        Self(fields.into_owned().collect())
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
    /// 400 with its name if it is absent.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.raw(name)
            .ok_or_else(|| Error::new(Code::GrantParameter).with(name))
    }

    /// Whether a field is `true`.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.raw(name) == Some("true")
    }

    /// A number of seconds from 1 to `most`, as milliseconds; `most` if it is absent.
    ///
    /// # Errors
    /// 400 with its name if it is something else.
    pub fn seconds(&self, name: &str, most: i64) -> Result<i64> {
        let seconds = match self.get(name) {
            None => Some(most),
            Some(text) => text.parse().ok().filter(|n| (1..=most).contains(n)),
        };
        seconds
            .map(|n| n * 1_000)
            .ok_or_else(|| Error::new(Code::GrantParameter).with(name))
    }

    /// The URL that a token shall be made for, with its final slash.
    ///
    /// # Errors
    /// 400 if `p_target` is no URL.
    pub fn target(&self, urls: &UnitUrls) -> Result<Option<String>> {
        let Some(text) = self.get("p_target") else {
            return Ok(None);
        };
        let mut url = urls.resolve(text).ok_or(Code::TargetInvalid)?;
        let readable = url::Url::parse(&url)
            .is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some());
        if !readable || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Code::TargetInvalid.into());
        }
        if !url.ends_with('/') {
            url.push('/');
        }
        Ok(Some(url))
    }
}

#[cfg(test)]
mod tests {
    use super::Form;
    use personium_model::UnitUrls;

    #[test]
    fn seconds_of_a_life() {
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

    #[test]
    fn targets() {
        let urls = UnitUrls::new("http", "localhost", Some(9998), true);
        let target = |text: &str| {
            let text: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
            Form::parse(format!("p_target={text}").as_bytes()).target(&urls)
        };
        for (text, url) in [
            ("http://a.example/c", "http://a.example/c/"),
            ("https://a.example/c/", "https://a.example/c/"),
            ("personium-localunit:/c1/", "http://localhost:9998/c1/"),
            ("personium-localunit:c1:/", "http://localhost:9998/c1/"),
        ] {
            assert_eq!(target(text).unwrap().as_deref(), Some(url));
        }
        for bad in [
            "no url",
            "http://a.example/\r\nx",
            "mailto:a@b",
            "personium-localunit:",
        ] {
            assert!(target(bad).is_err(), "{bad}");
        }
        assert!(target("").unwrap().is_none());
    }
}
