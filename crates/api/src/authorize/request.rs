//! What an application asks of the authorization endpoint.

use personium_model::auth::scope;
use personium_model::cell::{OAuthPolicy, policy_enabled};
use personium_types::{Code, Error, Result};
use url::Url;

use super::redirect::RedirectTarget;
use crate::request_context::CellRequest;
use crate::token::Form;

/// Longest life of an access token in seconds, and the usual one.
const ACCESS_SECONDS: i64 = 3_600;

/// What the application wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseType {
    /// An access token.
    Token,
    /// A code.
    Code,
    /// An ID token.
    IdToken,
}

/// A checked request.
pub struct AuthorizationRequest {
    /// All parameters.
    pub form: Form,
    /// What the application wants.
    pub wanted: ResponseType,
    /// The `response_type`.
    pub response_type: String,
    /// The application.
    pub client_id: String,
    /// Where the answer goes.
    pub redirect_uri: String,
    /// The scopes that are granted, if the URLs among them are those of roles.
    pub scopes: Vec<String>,
    /// Life of the access token, in milliseconds.
    pub expires: i64,
    /// The way back to the application.
    pub back: RedirectTarget,
}

/// Why a request is refused, and who is told.
pub enum Refusal {
    /// The user, on the cell's own page.
    Page(Code),
    /// The application.
    Client(RedirectTarget, Code),
    /// Whoever sent the request.
    Other(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// Checks a request.
pub async fn read(request: &CellRequest, form: Form) -> Result<AuthorizationRequest, Refusal> {
    let (client_id, redirect_uri) =
        destination(&form, &request.cell_url()).map_err(Refusal::Page)?;
    let response_type = form.get("response_type").unwrap_or_default().to_owned();
    let wanted = match response_type.as_str() {
        "token" => Some(ResponseType::Token),
        "code" => Some(ResponseType::Code),
        "id_token" => Some(ResponseType::IdToken),
        _ => None,
    };
    let names_issuer = policy_enabled(&request.context, OAuthPolicy::NamesIssuer).await?;
    let back = RedirectTarget {
        redirect_uri: redirect_uri.clone(),
        state: form.get("state").map(str::to_owned),
        separator: if wanted == Some(ResponseType::Code) {
            '?'
        } else {
            '#'
        },
        issuer: names_issuer.then(|| request.cell_url()),
    };
    if response_type.is_empty() {
        return Err(Refusal::Client(back, Code::ResponseTypeMissing));
    }
    let Ok(expires) = form.seconds("expires_in", ACCESS_SECONDS) else {
        return Err(Refusal::Client(back, Code::AuthzExpiresIn));
    };
    let Some(wanted) = wanted else {
        return Err(Refusal::Client(back, Code::ResponseTypeUnsupported));
    };
    let most = &request.unit.settings().auth.scope_code;
    let asked = scope::parse(form.raw("scope").unwrap_or_default());
    let scopes = scope::restrict(&asked, most);
    if wanted == ResponseType::IdToken && scopes.first().map(String::as_str) != Some(scope::OPENID)
    {
        return Err(Refusal::Client(back, Code::ResponseTypeUnsupported));
    }
    if wanted == ResponseType::Token
        && policy_enabled(&request.context, OAuthPolicy::RefusesImplicit).await?
    {
        return Err(Refusal::Client(back, Code::ResponseTypeUnsupported));
    }
    if wanted == ResponseType::Token
        && policy_enabled(&request.context, OAuthPolicy::RefusesImplicit).await?
    {
        return Err(Refusal::Client(back, Code::ResponseTypeUnsupported));
    }
    let pkce = policy_enabled(&request.context, OAuthPolicy::RequiresPkce).await?;
    if !challenge_fits(&form, wanted, pkce) {
        return Err(Refusal::Client(back, Code::CodeChallenge));
    }
    if form.is_true("cancel_flg") {
        return Err(Refusal::Client(back, Code::AuthzCancelled));
    }
    Ok(AuthorizationRequest {
        form,
        wanted,
        response_type,
        client_id,
        redirect_uri,
        scopes,
        expires,
        back,
    })
}

/// The application and where its answer goes: a URL below the application's own.
fn destination(form: &Form, cell_url: &str) -> Result<(String, String), Code> {
    let raw_id = form.get("client_id").ok_or(Code::ClientIdInvalid)?;
    let client_id = with_slash(raw_id);
    let client = plain_url(&client_id).ok_or(Code::ClientIdInvalid)?;
    let is_itself = plain_url(cell_url).is_some_and(|cell| cell == client);
    if client.query().is_some() || client.fragment().is_some() || is_itself {
        return Err(Code::ClientIdInvalid);
    }
    let redirect_uri = form.get("redirect_uri").ok_or(Code::RedirectUriInvalid)?;
    let target = plain_url(redirect_uri).ok_or(Code::RedirectUriInvalid)?;
    // Compared as given and as a browser understands it: no escape leads out of the application's folder.
    let below = with_slash(redirect_uri).starts_with(&client_id)
        && target.origin() == client.origin()
        && with_slash(target.path()).starts_with(client.path());
    if below {
        Ok((client_id, redirect_uri.to_owned()))
    } else {
        Err(Code::RedirectUriInvalid)
    }
}

fn with_slash(url: &str) -> String {
    if url.ends_with('/') {
        url.to_owned()
    } else {
        format!("{url}/")
    }
}

/// An `http(s)` URL without user information and without what different readers understand differently.
fn plain_url(text: &str) -> Option<Url> {
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\' || !c.is_ascii();
    if text.chars().any(odd) {
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
    let plain = matches!(url.scheme(), "http" | "https")
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none();
    plain.then_some(url)
}

/// Whether the challenge (RFC 7636) is absent where it may be, or one of SHA-256.
fn challenge_fits(form: &Form, wanted: ResponseType, required: bool) -> bool {
    let Some(challenge) = form.get("code_challenge") else {
        return !(required && wanted == ResponseType::Code)
            && form.get("code_challenge_method").is_none();
    };
    let digits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    form.get("code_challenge_method") == Some("S256")
        && challenge.len() == 43
        && challenge.bytes().all(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pairs: &[(&str, &str)]) -> Form {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(pairs);
        Form::parse(body.finish().as_bytes())
    }

    #[test]
    fn redirects_stay_below_the_application() {
        let cell = "https://unit.example/cell1/";
        let app = "https://unit.example/app1/";
        let go = |redirect: &str| {
            destination(
                &form(&[("client_id", app), ("redirect_uri", redirect)]),
                cell,
            )
        };
        for good in [
            "https://unit.example/app1/",
            "https://unit.example/app1",
            "https://unit.example/app1/__/redirect.html",
            "https://unit.example/app1/__/redirect.html?a=b",
            "https://unit.example/app1/x#y",
        ] {
            assert!(go(good).is_ok(), "{good}");
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
            assert_eq!(go(bad).unwrap_err(), Code::RedirectUriInvalid, "{bad}");
        }
    }

    #[test]
    fn applications_are_urls_of_others() {
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
                destination(&form, cell).unwrap_err(),
                Code::ClientIdInvalid,
                "{bad}"
            );
        }
    }

    #[test]
    fn challenges() {
        let good = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let fits = |pairs: &[(&str, &str)], required| {
            challenge_fits(&form(pairs), ResponseType::Code, required)
        };
        assert!(fits(&[], false));
        assert!(!fits(&[], true));
        assert!(challenge_fits(&form(&[]), ResponseType::Token, true));
        let s256 = ("code_challenge_method", "S256");
        assert!(fits(&[("code_challenge", good), s256], true));
        assert!(!fits(&[("code_challenge", good)], false));
        assert!(!fits(
            &[("code_challenge", good), ("code_challenge_method", "plain")],
            false
        ));
        assert!(!fits(&[("code_challenge", "short"), s256], false));
        assert!(!fits(&[s256], false));
    }
}
