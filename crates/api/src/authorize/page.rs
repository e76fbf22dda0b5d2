//! The forms for logging in and for changing a password, in English and Japanese. They hold no script.

use http::{StatusCode, header};
use personium_types::Result;

use super::request::AuthorizationRequest;
use crate::html_proxy;
use crate::request_context::CellRequest;
use crate::response::{self, Response, WithHeader};

/// Parameters that the form and redirects to it hand on as they are.
pub const CARRIED: [&str; 3] = ["nonce", "code_challenge", "code_challenge_method"];

/// What the form tells the user.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its code.
    pub code: &'static str,
    /// The word that OAuth2 has for it.
    pub error: &'static str,
    /// In English.
    pub english: &'static str,
    /// In Japanese.
    pub japanese: &'static str,
}

/// An invalid token or cookie; also what the form says at first.
pub const LOG_IN: Notice = Notice {
    code: "PS-AU-0002",
    error: "unauthorized_client",
    english: "Please log in.",
    japanese: "ログインしてください。",
};
/// Name or password is missing.
pub const INCOMPLETE: Notice = Notice {
    code: "PS-AU-0003",
    error: "invalid_request",
    english: "Please enter your user name and password.",
    japanese: "ユーザー名とパスワードを入力してください。",
};
/// Not that account and password.
pub const REFUSED: Notice = Notice {
    code: "PS-AU-0004",
    error: "invalid_grant",
    english: "The user name or password is not correct, or logging in is not possible now.",
    japanese: "ユーザー名またはパスワードが正しくないか、現在ログインできません。",
};
/// The cookie or the token is too old.
pub const EXPIRED: Notice = Notice {
    code: "PS-AU-0005",
    error: "unauthorized_client",
    english: "Your login has expired. Please log in again.",
    japanese: "ログインの有効期限が切れました。もう一度ログインしてください。",
};
/// The password must be changed.
pub const MUST_CHANGE: Notice = Notice {
    code: "PS-AU-0006",
    error: "unauthorized_client",
    english: "Please choose a new password.",
    japanese: "新しいパスワードを設定してください。",
};
/// The new password is missing.
pub const NO_NEW_PASSWORD: Notice = Notice {
    code: "PS-AU-0007",
    error: "invalid_request",
    english: "Please enter the new password.",
    japanese: "新しいパスワードを入力してください。",
};
/// The new password breaks the rule.
pub const BAD_NEW_PASSWORD: Notice = Notice {
    code: "PS-AU-0008",
    error: "invalid_request",
    english: "This password is not permitted. Please choose another one.",
    japanese: "このパスワードは使用できません。別のパスワードを入力してください。",
};

const NOTICES: [&Notice; 7] = [
    &LOG_IN,
    &INCOMPLETE,
    &REFUSED,
    &EXPIRED,
    &MUST_CHANGE,
    &NO_NEW_PASSWORD,
    &BAD_NEW_PASSWORD,
];

/// Which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// For logging in.
    Login,
    /// For a new password.
    Change,
}

/// The form: the cell's or the unit's own page if one is set and can be fetched, else the built-in one.
pub async fn show(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    kind: Kind,
) -> Result<Response> {
    let settings = request.unit.settings();
    let (property, default) = match kind {
        Kind::Login => ("authorizationhtmlurl", &settings.authorization_html_url),
        Kind::Change => (
            "authorizationpasswordchangehtmlurl",
            &settings.password_change_html_url,
        ),
    };
    let own =
        html_proxy::custom_form(request, &request.context, property, default.as_deref()).await;
    let nonce = uuid::Uuid::new_v4().simple().to_string();
    let (page, policy) = match own {
        Some(page) => (
            page.replace(['\r', '\n'], ""),
            "frame-ancestors 'none'".to_owned(),
        ),
        None => (
            render(request, authorization, kind, &nonce),
            format!(
                "default-src 'none'; style-src 'nonce-{nonce}'; base-uri 'none'; \
                 form-action 'self' {}; frame-ancestors 'none'",
                origin(&authorization.redirect_uri)
            ),
        ),
    };
    Ok(
        response::content(StatusCode::OK, "text/html;charset=UTF-8", page)
            .with_header(header::CONTENT_SECURITY_POLICY, &policy)
            .with_header(header::X_FRAME_OPTIONS, "DENY")
            .with_header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
            .with_header(header::REFERRER_POLICY, "same-origin")
            .with_header(header::CACHE_CONTROL, "no-store"),
    )
}

fn origin(url: &str) -> String {
    url::Url::parse(url)
        .map(|url| url.origin().ascii_serialization())
        .unwrap_or_default()
}

struct Words {
    lang: &'static str,
    title: &'static str,
    app: &'static str,
    user: &'static str,
    password: &'static str,
    go: &'static str,
    cancel: &'static str,
}

fn words(japanese: bool, kind: Kind) -> Words {
    match (japanese, kind) {
        (false, Kind::Login) => Words {
            lang: "en",
            title: "Log in",
            app: "Application",
            user: "User name",
            password: "Password",
            go: "Log in",
            cancel: "Cancel",
        },
        (false, Kind::Change) => Words {
            lang: "en",
            title: "Change password",
            app: "Application",
            user: "",
            password: "New password",
            go: "Change password",
            cancel: "Cancel",
        },
        (true, Kind::Login) => Words {
            lang: "ja",
            title: "ログイン",
            app: "アプリ",
            user: "ユーザー名",
            password: "パスワード",
            go: "ログイン",
            cancel: "キャンセル",
        },
        (true, Kind::Change) => Words {
            lang: "ja",
            title: "パスワード変更",
            app: "アプリ",
            user: "",
            password: "新しいパスワード",
            go: "変更する",
            cancel: "キャンセル",
        },
    }
}

/// Whether the browser's first language that we speak is Japanese.
fn wants_japanese(request: &CellRequest) -> bool {
    let languages = request.header("accept-language").unwrap_or_default();
    languages
        .split(',')
        .map(|l| l.trim().to_ascii_lowercase())
        .find(|l| l.starts_with("ja") || l.starts_with("en"))
        .is_some_and(|l| l.starts_with("ja"))
}

fn render(
    request: &CellRequest,
    authorization: &AuthorizationRequest,
    kind: Kind,
    nonce: &str,
) -> String {
    let japanese = wants_japanese(request);
    let words = words(japanese, kind);
    // Only texts of our own are shown, whatever the query says.
    let code = authorization.form.get("code").unwrap_or_default();
    let shown = NOTICES.iter().find(|notice| notice.code == code);
    let notice = match (shown, kind) {
        (Some(notice), _) => notice,
        (None, Kind::Login) => &LOG_IN,
        (None, Kind::Change) => &MUST_CHANGE,
    };
    let text = if japanese {
        notice.japanese
    } else {
        notice.english
    };
    let role = if shown.is_some() { "alert" } else { "status" };
    let fields = hidden_fields(authorization, kind);
    let inputs = inputs(&words, kind);
    let (action, app) = (
        escaped(&format!("{}__authz", request.cell_url())),
        escaped(&authorization.client_id),
    );
    let Words {
        lang,
        title,
        app: app_word,
        go,
        cancel,
        ..
    } = words;
    let cell = escaped(&request.cell_url());
    format!(
        "<!DOCTYPE html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style nonce=\"{nonce}\">{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p id=\"dataUserName\">{cell}</p>\n\
         <p>{app_word}: <span id=\"appName\">{app}</span></p>\n\
         <p id=\"error_description\" role=\"{role}\">{text}</p>\n\
         <form method=\"post\" action=\"{action}\">\n{fields}{inputs}\
         <p><button type=\"submit\">{go}</button>\n\
         <button type=\"submit\" name=\"cancel_flg\" value=\"true\" formnovalidate>{cancel}</button></p>\n\
         </form>\n</main>\n</body>\n</html>\n"
    )
}

const STYLE: &str = "body{font-family:sans-serif;margin:0;background:#f4f5f7;color:#1b1f24}\
main{max-width:24rem;margin:2rem auto;padding:1.5rem;background:#fff;border-radius:.5rem}\
h1{font-size:1.4rem;margin-top:0}#dataUserName,#appName{overflow-wrap:anywhere}\
label{display:block;margin-top:1rem}input{width:100%;box-sizing:border-box;font:inherit;padding:.5rem}\
button{font:inherit;padding:.5rem 1rem;margin-right:.5rem}[role=alert]{color:#a40000}";

fn hidden_fields(authorization: &AuthorizationRequest, kind: Kind) -> String {
    let mut names = vec![
        "response_type",
        "client_id",
        "redirect_uri",
        "state",
        "scope",
        "expires_in",
    ];
    names.extend(CARRIED);
    if kind == Kind::Change {
        names.extend(["access_token", "password_change_required"]);
    }
    let mut out = String::new();
    for name in names {
        let Some(value) = authorization.form.get(name) else {
            continue;
        };
        // A redirect to the form escapes the scope once more than a browser undoes.
        let value = if name == "scope" && value.contains('%') {
            percent_encoding::percent_decode_str(value)
                .decode_utf8_lossy()
                .into_owned()
        } else {
            value.to_owned()
        };
        out.push_str(&format!(
            "<input type=\"hidden\" name=\"{name}\" value=\"{}\">\n",
            escaped(&value)
        ));
    }
    out
}

fn inputs(words: &Words, kind: Kind) -> String {
    let (user, password) = (words.user, words.password);
    match kind {
        Kind::Login => format!(
            "<label for=\"username\">{user}</label>\n\
             <input id=\"username\" name=\"username\" autocomplete=\"username\" autocapitalize=\"none\" \
             spellcheck=\"false\" required autofocus>\n\
             <label for=\"password\">{password}</label>\n\
             <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\" \
             required>\n"
        ),
        Kind::Change => format!(
            "<label for=\"password\">{password}</label>\n\
             <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"new-password\" \
             required autofocus>\n"
        ),
    }
}

/// Text that may stand in HTML, also between double quotes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
