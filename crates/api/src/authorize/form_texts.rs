//! The texts of the forms in `templates/authorize.html`.

use super::notice::Language;

/// A form of `__authz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormKind {
    /// The login with name and password.
    Login,
    /// The change of a password.
    PasswordChange,
}

/// The texts of a form in one language.
pub struct FormTexts {
    /// The language tag.
    pub language: &'static str,
    /// The title of the page.
    pub title: &'static str,
    /// The label of the application.
    pub application: &'static str,
    /// The label of the user name.
    pub user_name: &'static str,
    /// The label of the password.
    pub password: &'static str,
    /// The button that sends the form.
    pub submit: &'static str,
    /// The button that ends the login.
    pub cancel: &'static str,
}

const LOGIN_ENGLISH: FormTexts = FormTexts {
    language: "en",
    title: "Log in",
    application: "Application",
    user_name: "User name",
    password: "Password",
    submit: "Log in",
    cancel: "Cancel",
};

const LOGIN_JAPANESE: FormTexts = FormTexts {
    language: "ja",
    title: "ログイン",
    application: "アプリ",
    user_name: "ユーザー名",
    password: "パスワード",
    submit: "ログイン",
    cancel: "キャンセル",
};

const PASSWORD_CHANGE_ENGLISH: FormTexts = FormTexts {
    title: "Change password",
    password: "New password",
    submit: "Change password",
    ..LOGIN_ENGLISH
};

const PASSWORD_CHANGE_JAPANESE: FormTexts = FormTexts {
    title: "パスワード変更",
    password: "新しいパスワード",
    submit: "変更する",
    ..LOGIN_JAPANESE
};

impl FormTexts {
    /// The texts of a form.
    pub fn of(kind: FormKind, language: Language) -> &'static Self {
        match (kind, language) {
            (FormKind::Login, Language::English) => &LOGIN_ENGLISH,
            (FormKind::Login, Language::Japanese) => &LOGIN_JAPANESE,
            (FormKind::PasswordChange, Language::English) => &PASSWORD_CHANGE_ENGLISH,
            (FormKind::PasswordChange, Language::Japanese) => &PASSWORD_CHANGE_JAPANESE,
        }
    }
}
