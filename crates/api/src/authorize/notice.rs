//! The notices of the login form.

/// A message to the user. It is also a part of the URL of the form, for forms that a cell provides.
#[derive(Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its code.
    pub code: &'static str,
    /// The OAuth2 error code.
    pub error: &'static str,
    /// The text in English.
    pub english: &'static str,
    /// The text in Japanese.
    pub japanese: &'static str,
}

/// The token or cookie is invalid. Also the first notice of the login form.
pub const LOG_IN: Notice = Notice {
    code: "PS-AU-0002",
    error: "unauthorized_client",
    english: "Please log in.",
    japanese: "ログインしてください。",
};
/// The name or the password is missing.
pub const INCOMPLETE: Notice = Notice {
    code: "PS-AU-0003",
    error: "invalid_request",
    english: "Please enter your user name and password.",
    japanese: "ユーザー名とパスワードを入力してください。",
};
/// The name and the password are not those of an account, or logins are not possible now.
pub const REFUSED: Notice = Notice {
    code: "PS-AU-0004",
    error: "invalid_grant",
    english: "The user name or password is not correct, or logging in is not possible now.",
    japanese: "ユーザー名またはパスワードが正しくないか、現在ログインできません。",
};
/// The cookie or the token has expired.
pub const EXPIRED: Notice = Notice {
    code: "PS-AU-0005",
    error: "unauthorized_client",
    english: "Your login has expired. Please log in again.",
    japanese: "ログインの有効期限が切れました。もう一度ログインしてください。",
};
/// The password must be changed. Also the first notice of the form for that.
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
/// The new password does not meet the rules.
pub const BAD_NEW_PASSWORD: Notice = Notice {
    code: "PS-AU-0008",
    error: "invalid_request",
    english: "This password is not permitted. Please choose another one.",
    japanese: "このパスワードは使用できません。別のパスワードを入力してください。",
};

const ALL: [&Notice; 7] = [
    &LOG_IN,
    &INCOMPLETE,
    &REFUSED,
    &EXPIRED,
    &MUST_CHANGE,
    &NO_NEW_PASSWORD,
    &BAD_NEW_PASSWORD,
];

impl Notice {
    /// The notice with this code.
    pub fn find(code: &str) -> Option<&'static Self> {
        ALL.into_iter().find(|notice| notice.code == code)
    }

    /// The text in a language.
    pub fn text(&self, language: Language) -> &'static str {
        match language {
            Language::English => self.english,
            Language::Japanese => self.japanese,
        }
    }
}

/// A language of the forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English
    English,
    /// Japanese
    Japanese,
}

impl Language {
    /// The first supported language of an `Accept-Language` header; English without one.
    pub fn of_header(header: &str) -> Self {
        let languages = header.split(',').map(|l| l.trim().to_ascii_lowercase());
        let mut supported = languages.filter_map(|l| match l.get(..2) {
            Some("en") => Some(Self::English),
            Some("ja") => Some(Self::Japanese),
            _ => None,
        });
        supported.next().unwrap_or(Self::English)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_supported_language_wins() {
        for (header, language) in [
            ("", Language::English),
            ("fr", Language::English),
            ("fr, ja;q=0.9, en;q=0.8", Language::Japanese),
            ("en-US,ja", Language::English),
            (" JA-jp", Language::Japanese),
        ] {
            assert_eq!(Language::of_header(header), language, "{header}");
        }
    }
}
