//! The reasons of failed logins. A client never learns them; the log names each one.

use std::net::IpAddr;

use crate::CellContext;

/// The largest number of characters of an account name in the log: it is what the client sent.
const MAX_NAME_CHARS: usize = 64;

/// Where an attempt to log in comes from.
#[derive(Debug, Clone, Copy)]
pub struct LoginOrigin<'r> {
    /// The address of the client.
    pub client_address: Option<IpAddr>,
    /// The key of the request.
    pub request_key: &'r str,
}

/// The reason why a login is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginRefusal {
    /// There is no account of this name.
    NoAccount,
    /// The last failed login was too short a time ago.
    TooSoon,
    /// The account is locked after several failed logins.
    Locked,
    /// The password is wrong.
    WrongPassword,
    /// The account may not log in from this address.
    AddressNotAllowed,
    /// The account is deactivated.
    Deactivated,
    /// The account may not log in with a password, or not at this endpoint.
    TypeNotAllowed,
    /// The password must be changed first.
    PasswordChangeRequired,
    /// Too many logins from this address failed.
    TooManyFailures,
    /// The authentication plugin has refused the credentials, such as the token of an identity provider.
    PluginRefused,
    /// The authentication plugin has failed, or cannot reach what it asks.
    PluginFailed,
}

impl LoginRefusal {
    /// All reasons.
    pub const ALL: [Self; 11] = [
        Self::NoAccount,
        Self::TooSoon,
        Self::Locked,
        Self::WrongPassword,
        Self::AddressNotAllowed,
        Self::Deactivated,
        Self::TypeNotAllowed,
        Self::PasswordChangeRequired,
        Self::TooManyFailures,
        Self::PluginRefused,
        Self::PluginFailed,
    ];

    /// The code in the log. The first six are those of the original.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoAccount => "PL-AN-0001",
            Self::TooSoon => "PL-AN-0002",
            Self::Locked => "PL-AN-0003",
            Self::WrongPassword => "PL-AN-0004",
            Self::AddressNotAllowed => "PL-AN-0005",
            Self::Deactivated => "PL-AN-0006",
            Self::TypeNotAllowed => "PL-AN-0101",
            Self::PasswordChangeRequired => "PL-AN-0102",
            Self::TooManyFailures => "PL-AN-0103",
            Self::PluginRefused => "PL-AN-0104",
            Self::PluginFailed => "PL-AN-0105",
        }
    }

    /// The reason in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::NoAccount => "no such account",
            Self::TooSoon => "too soon after a failed login",
            Self::Locked => "the account is locked",
            Self::WrongPassword => "wrong password",
            Self::AddressNotAllowed => "address not allowed for the account",
            Self::Deactivated => "the account is deactivated",
            Self::TypeNotAllowed => "the account may not log in this way",
            Self::PasswordChangeRequired => "the password must be changed first",
            Self::TooManyFailures => "too many failed logins from the address",
            Self::PluginRefused => "refused by the authentication plugin",
            Self::PluginFailed => "the authentication plugin failed",
        }
    }

    /// Writes the line of a failed login. `account` is the name as the client sent it.
    pub fn log(self, context: &CellContext, account: &str, origin: LoginOrigin<'_>) {
        let client_address = origin.client_address.map(|address| address.to_string());
        tracing::warn!(
            cell = context.cell().name,
            account = %printable(account),
            client.address = client_address.as_deref().unwrap_or("-"),
            reason.code = self.code(),
            reason = self.text(),
            request.key = origin.request_key,
            "login failed"
        );
    }
}

/// A text of a client for a line of the log: bounded, with escapes for everything that could look like another line or
/// change how the line is shown.
fn printable(text: &str) -> String {
    let mut chars = text.chars();
    let mut out = String::new();
    for c in chars.by_ref().take(MAX_NAME_CHARS) {
        match c {
            '\\' | '"' => out.extend(['\\', c]),
            ' ' => out.push(c),
            _ if is_shown(c) => out.push(c),
            _ => out.extend(c.escape_unicode()),
        }
    }
    if chars.next().is_some() {
        out.push('…');
    }
    out
}

/// Whether a character is shown as one mark of its own: no control, no white space, no mark that changes the direction
/// of text.
fn is_shown(c: char) -> bool {
    let is_format = matches!(u32::from(c), 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0xFEFF | 0xFFF0..=0xFFFB);
    !c.is_control() && !c.is_whitespace() && !is_format
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clients_cannot_forge_lines() {
        for (name, expected) in [
            ("me", "me"),
            ("Ärger あ", "Ärger あ"),
            ("a\nlogin ok", "a\\u{a}login ok"),
            ("a\r\u{1b}[2J", "a\\u{d}\\u{1b}[2J"),
            ("a\u{202e}b\u{2028}c", "a\\u{202e}b\\u{2028}c"),
            ("a\" reason=\"x", "a\\\" reason=\\\"x"),
        ] {
            assert_eq!(printable(name), expected);
        }
        let long = printable(&"x".repeat(10_000));
        assert_eq!(long.chars().count(), MAX_NAME_CHARS + 1);
    }

    #[test]
    fn reason_codes_are_unique() {
        let codes: std::collections::BTreeSet<_> = LoginRefusal::ALL
            .iter()
            .map(|reason| reason.code())
            .collect();
        assert_eq!(codes.len(), LoginRefusal::ALL.len());
    }
}
