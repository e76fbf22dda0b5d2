//! The forms for logins and password changes, in English and Japanese. They contain no script.

use std::borrow::Cow;

use askama::Template;
use http::{StatusCode, header};
use percent_encoding::percent_decode_str;
use personium_types::{Error, Result};

use super::form_texts::{FormKind, FormTexts};
use super::notice::{LOG_IN, Language, MUST_CHANGE, Notice};
use super::request::{AuthorizationRequest, FORWARDED_PARAMETERS};
use crate::content_policy;
use crate::html_proxy::{self, CustomForm};
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};

/// The built-in form.
#[derive(Template)]
#[template(path = "authorize.html")]
struct FormPage<'a> {
    texts: &'static FormTexts,
    kind: FormKind,
    notice: &'static str,
    /// The ARIA role of the notice.
    notice_role: &'static str,
    style_nonce: &'a str,
    cell_url: &'a str,
    client_id: &'a str,
    hidden_fields: Vec<(&'static str, Cow<'a, str>)>,
}

/// Shows a form: the page of the cell or of the unit if one is set and can be fetched, else the built-in one.
///
/// # Errors
/// [`Unknown`](personium_types::Code::Unknown) if the template fails.
pub async fn show(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    kind: FormKind,
) -> Result<Response> {
    let (property, default) = source(request, kind);
    let custom = html_proxy::custom_form(request, &request.context, property, default).await;
    Ok(match custom {
        Some(CustomForm { page, is_of_cell }) => {
            let page = page.replace(['\r', '\n'], "");
            let response = respond(page, "frame-ancestors 'none'");
            match is_of_cell {
                true => content_policy::sandbox(&request.unit, response),
                false => response,
            }
        }
        None => {
            let (page, policy) = built_in(request, authorization, kind)?;
            respond(page, &policy)
        }
    })
}

/// The property of the cell that names the page of a form, and the page of the unit.
fn source(request: &CellRequest, kind: FormKind) -> (&'static str, Option<&str>) {
    let settings = request.unit.settings();
    match kind {
        FormKind::Login => ("authorizationhtmlurl", settings.login_page_url.as_deref()),
        FormKind::PasswordChange => (
            "authorizationpasswordchangehtmlurl",
            settings.password_change_page_url.as_deref(),
        ),
    }
}

/// Whether browsers keep the form apart from the origin of the cell, so that they send it without one (`Origin: null`).
///
/// # Errors
/// The error of the store.
pub async fn has_no_origin(request: &CellRequest, kind: FormKind) -> Result<bool> {
    let (property, default) = source(request, kind);
    Ok(content_policy::is_sandboxed(&request.unit)
        && html_proxy::has_form_of_cell(&request.unit, &request.context, property, default).await?)
}

fn respond(page: String, policy: &str) -> Response {
    response::content(StatusCode::OK, "text/html;charset=UTF-8", page)
        .with_header(header::CONTENT_SECURITY_POLICY, policy)
        .with_header(header::X_FRAME_OPTIONS, "DENY")
        .with_header(header::REFERRER_POLICY, "same-origin")
}

/// The built-in form and its content security policy.
fn built_in(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    kind: FormKind,
) -> Result<(String, String)> {
    let language = request.header("accept-language").unwrap_or_default();
    let language = Language::of_header(language);
    // Only known notices are shown, whatever else the query contains.
    let requested = Notice::find(authorization.form.get("code").unwrap_or_default());
    let notice = requested.unwrap_or(match kind {
        FormKind::Login => &LOG_IN,
        FormKind::PasswordChange => &MUST_CHANGE,
    });
    let style_nonce = request.unit.random().uuid().simple().to_string();
    let page = FormPage {
        texts: FormTexts::of(kind, language),
        kind,
        notice: notice.text(language),
        notice_role: if requested.is_some() {
            "alert"
        } else {
            "status"
        },
        style_nonce: &style_nonce,
        cell_url: &request.cell_url(),
        client_id: &authorization.client_id,
        hidden_fields: hidden_fields(authorization, kind),
    };
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{style_nonce}'; base-uri 'none'; \
         form-action 'self' {}; frame-ancestors 'none'",
        origin(&authorization.target.redirect_uri)
    );
    Ok((page.render().map_err(Error::internal)?, policy))
}

fn origin(url: &str) -> String {
    url::Url::parse(url)
        .map(|url| url.origin().ascii_serialization())
        .unwrap_or_default()
}

fn hidden_fields(
    authorization: &AuthorizationRequest,
    kind: FormKind,
) -> Vec<(&'static str, Cow<'_, str>)> {
    let mut names = vec![
        "response_type",
        "client_id",
        "redirect_uri",
        "state",
        "scope",
        "expires_in",
    ];
    names.extend(FORWARDED_PARAMETERS);
    if kind == FormKind::PasswordChange {
        names.extend(["access_token", "password_change_required"]);
    }
    let value = |name| {
        let value = authorization.form.get(name)?;
        // A redirect to the form encodes the scope twice, a browser decodes it once.
        let value = if name == "scope" && value.contains('%') {
            percent_decode_str(value).decode_utf8_lossy()
        } else {
            Cow::Borrowed(value)
        };
        Some((name, value))
    };
    names.into_iter().filter_map(value).collect()
}
