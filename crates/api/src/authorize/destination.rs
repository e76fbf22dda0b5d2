//! The application of an authorization request and its redirect URI.

use personium_model::UnitUrls;
use personium_types::Code;
use url::Url;

use crate::form::Form;

/// The `client_id` and `redirect_uri` of a request. They are valid together.
pub struct Destination {
    /// The URL of the application, with its final slash.
    pub client_id: String,
    /// A URL below it.
    pub redirect_uri: String,
}

impl Destination {
    /// Reads and checks the parameters. `client_id` may be in the unit-local form.
    ///
    /// # Errors
    /// [`Code::ClientIdInvalid`] unless `client_id` is the URL of another cell; [`Code::RedirectUriInvalid`] unless
    /// `redirect_uri` is a URL below it.
    pub fn read(form: &Form, urls: &UnitUrls, cell_url: &str) -> Result<Self, Code> {
        let client_id = form.get("client_id").and_then(|id| urls.resolve(id));
        let client_id = with_slash(&client_id.ok_or(Code::ClientIdInvalid)?);
        let client = parse_strictly(&client_id).ok_or(Code::ClientIdInvalid)?;
        let is_this_cell = parse_strictly(cell_url).is_some_and(|cell| cell == client);
        if client.query().is_some() || client.fragment().is_some() || is_this_cell {
            return Err(Code::ClientIdInvalid);
        }
        let redirect_uri = form.get("redirect_uri").ok_or(Code::RedirectUriInvalid)?;
        let target = parse_strictly(redirect_uri).ok_or(Code::RedirectUriInvalid)?;
        // Compared as sent and as browsers parse it, so that no escape leads out of the folder of the application.
        let is_below = with_slash(redirect_uri).starts_with(&client_id)
            && target.origin() == client.origin()
            && with_slash(target.path()).starts_with(client.path());
        if !is_below {
            return Err(Code::RedirectUriInvalid);
        }
        Ok(Self {
            client_id,
            redirect_uri: redirect_uri.to_owned(),
        })
    }
}

fn with_slash(url: &str) -> String {
    if url.ends_with('/') {
        url.to_owned()
    } else {
        format!("{url}/")
    }
}

/// Parses an `http(s)` URL. Refuses user information, and characters and escapes that parsers treat differently.
fn parse_strictly(text: &str) -> Option<Url> {
    let is_ambiguous = |c: char| c.is_control() || c.is_whitespace() || c == '\\' || !c.is_ascii();
    if text.chars().any(is_ambiguous) {
        return None;
    }
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let lower = path.to_ascii_lowercase();
    if ["%2f", "%5c", "%2e"]
        .iter()
        .any(|escape| lower.contains(escape))
    {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let valid = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none();
    valid.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pairs: &[(&str, &str)]) -> Form {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(pairs);
        Form::parse(body.finish().as_bytes())
    }

    fn urls() -> UnitUrls {
        UnitUrls::new("https", "unit.example", None, true)
    }

    #[test]
    fn client_id_may_be_in_the_unit_local_form() {
        let redirect = "https://unit.example/app1/__/redirect.html";
        for id in ["personium-localunit:/app1/", "personium-localunit:app1:/"] {
            let form = form(&[("client_id", id), ("redirect_uri", redirect)]);
            let found = Destination::read(&form, &urls(), "https://unit.example/cell1/");
            assert_eq!(found.unwrap().client_id, "https://unit.example/app1/");
        }
        for bad in ["personium-localunit:", "personium-localunit:/cell1/"] {
            let form = form(&[("client_id", bad), ("redirect_uri", redirect)]);
            let found = Destination::read(&form, &urls(), "https://unit.example/cell1/");
            assert_eq!(
                found.map(|d| d.client_id),
                Err(Code::ClientIdInvalid),
                "{bad}"
            );
        }
    }

    #[test]
    fn redirect_uri_must_be_below_the_application() {
        let cell = "https://unit.example/cell1/";
        let app = "https://unit.example/app1/";
        let read = |redirect: &str| {
            let form = form(&[("client_id", app), ("redirect_uri", redirect)]);
            Destination::read(&form, &urls(), cell).map(|d| d.redirect_uri)
        };
        for good in [
            "https://unit.example/app1/",
            "https://unit.example/app1",
            "https://unit.example/app1/__/redirect.html",
            "https://unit.example/app1/__/redirect.html?a=b",
            "https://unit.example/app1/x#y",
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "__/redirect.html",
            "https://unit.example/app10/",
            "https://unit.example/app2/",
            "https://unit.example/",
            "http://unit.example/app1/",
            "https://unit.example:444/app1/",
            "https://evil.example/app1/",
            "https://unit.example.evil.example/app1/",
            "https://unit.example@evil.example/app1/",
            "https://u:p@unit.example/app1/",
            "https://unit.example/app1/../app2/",
            "https://unit.example/app1/%2e%2e/app2/",
            "https://unit.example/app1/..%2fapp2/",
            "https://unit.example/app1/..\\app2/",
            "https://unit.example\\@evil.example/app1/",
            "https://unit.example/app1/\r\nSet-Cookie: a=b",
            "https://unit.example/app1/\tx",
            "//unit.example/app1/",
            "javascript:alert(1)//https://unit.example/app1/",
            "data:text/html,https://unit.example/app1/",
        ] {
            assert_eq!(read(bad).unwrap_err(), Code::RedirectUriInvalid, "{bad}");
        }
    }

    #[test]
    fn client_id_must_be_the_url_of_another_cell() {
        let cell = "https://unit.example/cell1/";
        for bad in [
            "",
            "app1",
            "https://unit.example/cell1/",
            "https://unit.example/cell1",
            "https://unit.example/cell1/#c",
            "https://unit.example/app1/\r\n",
            "javascript:alert(1)",
        ] {
            let form = form(&[("client_id", bad), ("redirect_uri", bad)]);
            assert_eq!(
                Destination::read(&form, &urls(), cell)
                    .map(|d| d.client_id)
                    .unwrap_err(),
                Code::ClientIdInvalid,
                "{bad}"
            );
        }
    }
}
