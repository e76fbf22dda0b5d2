//! The parameters of an authorization request.

use personium_model::auth::scope;
use personium_model::cell_policy::{OAuthPolicy, policy_enabled};
use personium_types::{Code, Error, Result};

use super::destination::Destination;
use super::redirect_target::RedirectTarget;
use crate::form::Form;
use crate::request_context::CellRequest;

/// The maximum and default lifetime of an access token.
const MAX_ACCESS_TTL_SECS: i64 = 3_600;
/// The length of a SHA-256 code challenge in base64url.
const CHALLENGE_CHARS: usize = 43;

/// The parameters that the form and redirects to it contain as they were sent.
pub const FORWARDED_PARAMETERS: [&str; 3] = ["nonce", "code_challenge", "code_challenge_method"];

/// The `response_type` (RFC 6749 section 3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseType {
    /// An access token.
    Token,
    /// A code.
    Code,
    /// An ID token.
    IdToken,
}

impl ResponseType {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "token" => Some(Self::Token),
            "code" => Some(Self::Code),
            "id_token" => Some(Self::IdToken),
            _ => None,
        }
    }
}

/// The forms that an application wants or permits (`prompt`, OpenID Connect Core 1.0 section 3.1.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// Those that are needed.
    Needed,
    /// None.
    None,
    /// The login form, also for an account that is logged in.
    Login,
}

impl Prompt {
    /// Reads the parameter; unknown values are ignored.
    ///
    /// # Errors
    /// [`Code::PromptInvalid`] if `none` is not the only value.
    fn parse(text: &str) -> Result<Self, Code> {
        let values: Vec<&str> = text.split_whitespace().collect();
        if values == ["none"] {
            return Ok(Self::None);
        }
        if values.contains(&"none") {
            return Err(Code::PromptInvalid);
        }
        let asks = |value: &&str| matches!(*value, "login" | "consent" | "select_account");
        Ok(match values.iter().any(asks) {
            true => Self::Login,
            false => Self::Needed,
        })
    }
}

/// A valid authorization request.
pub struct AuthorizationRequest {
    /// All parameters.
    pub form: Form,
    /// The requested response.
    pub response_type: ResponseType,
    /// The URL of the application.
    pub client_id: String,
    /// The scopes to be granted, provided that role URLs among them name roles.
    pub scopes: Vec<String>,
    /// The lifetime of the access token.
    pub access_ttl_ms: i64,
    /// The forms that the application wants.
    pub prompt: Prompt,
    /// The redirect to the application.
    pub target: RedirectTarget,
}

/// The refusal of an authorization request, by the way in which it is reported.
pub enum AuthorizationRefusal {
    /// By a page of the cell, because the redirect URI is not valid.
    ErrorPage(Code),
    /// By a redirect to the application.
    Redirect(RedirectTarget, Code),
    /// By an error response.
    Response(Error),
}

impl From<Error> for AuthorizationRefusal {
    fn from(error: Error) -> Self {
        Self::Response(error)
    }
}

/// Reads and checks a request.
///
/// # Errors
/// [`AuthorizationRefusal`]
pub async fn read(
    request: &CellRequest,
    form: Form,
) -> Result<AuthorizationRequest, AuthorizationRefusal> {
    let destination = Destination::read(&form, request.unit.urls(), &request.cell_url());
    let destination = destination.map_err(AuthorizationRefusal::ErrorPage)?;
    let names_issuer = policy_enabled(&request.context, OAuthPolicy::NamesIssuer).await?;
    let response_type = ResponseType::parse(form.get("response_type").unwrap_or_default());
    let target = RedirectTarget {
        redirect_uri: destination.redirect_uri,
        state: form.get("state").map(str::to_owned),
        separator: match response_type {
            Some(ResponseType::Code) => '?',
            _ => '#',
        },
        issuer: names_issuer.then(|| request.cell_url()),
    };
    match Parameters::check(request, &form, response_type).await? {
        Ok(parameters) => Ok(AuthorizationRequest {
            form,
            response_type: parameters.response_type,
            client_id: destination.client_id,
            scopes: parameters.scopes,
            access_ttl_ms: parameters.access_ttl_ms,
            prompt: parameters.prompt,
            target,
        }),
        Err(code) => Err(AuthorizationRefusal::Redirect(target, code)),
    }
}

/// The parameters whose errors are reported to the application.
struct Parameters {
    response_type: ResponseType,
    scopes: Vec<String>,
    access_ttl_ms: i64,
    prompt: Prompt,
}

impl Parameters {
    async fn check(
        request: &CellRequest,
        form: &Form,
        response_type: Option<ResponseType>,
    ) -> Result<Result<Self, Code>> {
        if form.get("response_type").is_none() {
            return Ok(Err(Code::ResponseTypeMissing));
        }
        let Ok(access_ttl_ms) = form.seconds("expires_in", MAX_ACCESS_TTL_SECS) else {
            return Ok(Err(Code::AuthzExpiresIn));
        };
        let Some(response_type) = response_type else {
            return Ok(Err(Code::ResponseTypeUnsupported));
        };
        let allowed = &request.unit.settings().auth.default_scope_code;
        let requested = scope::parse(form.raw("scope").unwrap_or_default());
        let scopes = scope::restrict(&requested, allowed);
        let supported = match response_type {
            ResponseType::Code => true,
            ResponseType::IdToken => scopes.first().map(String::as_str) == Some(scope::OPENID),
            ResponseType::Token => {
                !policy_enabled(&request.context, OAuthPolicy::RefusesImplicit).await?
            }
        };
        if !supported {
            return Ok(Err(Code::ResponseTypeUnsupported));
        }
        let requires_pkce = policy_enabled(&request.context, OAuthPolicy::RequiresPkce).await?;
        let needs_challenge = requires_pkce && response_type == ResponseType::Code;
        let lacks_challenge = needs_challenge && form.get("code_challenge").is_none();
        if lacks_challenge || !is_challenge_valid(form) {
            return Ok(Err(Code::CodeChallenge));
        }
        let prompt = match Prompt::parse(form.get("prompt").unwrap_or_default()) {
            Ok(prompt) => prompt,
            Err(code) => return Ok(Err(code)),
        };
        if form.is_true("cancel_flg") {
            return Ok(Err(Code::AuthzCancelled));
        }
        Ok(Ok(Self {
            response_type,
            scopes,
            access_ttl_ms,
            prompt,
        }))
    }
}

/// Whether the challenge (RFC 7636) is absent or one of SHA-256.
fn is_challenge_valid(form: &Form) -> bool {
    let Some(challenge) = form.get("code_challenge") else {
        return form.get("code_challenge_method").is_none();
    };
    let is_base64url = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    form.get("code_challenge_method") == Some("S256")
        && challenge.len() == CHALLENGE_CHARS
        && challenge.bytes().all(is_base64url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_must_be_the_only_prompt() {
        for (text, prompt) in [
            ("", Ok(Prompt::Needed)),
            ("none", Ok(Prompt::None)),
            (" none ", Ok(Prompt::None)),
            ("login", Ok(Prompt::Login)),
            ("consent other", Ok(Prompt::Login)),
            ("other", Ok(Prompt::Needed)),
            ("none login", Err(Code::PromptInvalid)),
            ("login none", Err(Code::PromptInvalid)),
        ] {
            assert_eq!(Prompt::parse(text), prompt, "{text}");
        }
    }

    #[test]
    fn only_sha256_challenges_are_valid() {
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let is_valid = |query: &str| is_challenge_valid(&Form::parse(query.as_bytes()));
        let valid = format!("code_challenge={challenge}&code_challenge_method=S256");
        assert!(is_valid("") && is_valid(&valid));
        for invalid in [
            format!("code_challenge={challenge}"),
            format!("code_challenge={challenge}&code_challenge_method=plain"),
            "code_challenge=short&code_challenge_method=S256".to_owned(),
            "code_challenge_method=S256".to_owned(),
        ] {
            assert!(!is_valid(&invalid), "{invalid}");
        }
    }
}
