//! Redirects to the form, with a notice.

use super::notice::Notice;
use super::redirect_target::form_encode;
use super::request::{AuthorizationRequest, FORWARDED_PARAMETERS};

/// The URL of the form with a notice. `password_change_token` makes it the form for a password change.
pub fn url(
    cell_url: &str,
    authorization: &AuthorizationRequest,
    password_change_token: Option<&str>,
    notice: &Notice,
) -> String {
    let mut url = format!("{cell_url}__authz?");
    let mut add = |name: &str, value: &str| {
        if !url.ends_with('?') {
            url.push('&');
        }
        url.push_str(name);
        url.push('=');
        url.push_str(&form_encode(value));
    };
    let form = &authorization.form;
    add(
        "response_type",
        form.get("response_type").unwrap_or_default(),
    );
    add("client_id", &authorization.client_id);
    add("redirect_uri", &authorization.target.redirect_uri);
    if let Some(state) = &authorization.target.state {
        add("state", state);
    }
    if !authorization.scopes.is_empty() {
        add("scope", &authorization.scopes.join(" "));
    }
    for name in FORWARDED_PARAMETERS {
        if let Some(value) = form.get(name) {
            add(name, value);
        }
    }
    if let Some(token) = password_change_token {
        add("access_token", token);
        add("password_change_required", "true");
    }
    add("error", notice.error);
    add("error_description", notice.english);
    add("code", notice.code);
    url
}
