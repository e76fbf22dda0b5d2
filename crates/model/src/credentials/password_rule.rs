//! The format of passwords.

use personium_types::{Code, Result};
use regex::Regex;

/// The largest length of a password, whatever the rule.
const MAX_CHARS: usize = 256;

/// The unit's rule for passwords.
#[derive(Debug, Clone, Default)]
pub enum PasswordRule {
    /// 6 to 32 of ``A-Z a-z 0-9 - _ ! $ * = ^ ` { | } ~ . @``.
    #[default]
    Default,
    /// A match of this pattern anywhere in the password.
    Pattern(Regex),
}

impl PasswordRule {
    /// Creates the rule of a configured pattern.
    ///
    /// # Errors
    /// [`regex::Error`] if the pattern is not valid.
    pub fn parse(pattern: &str) -> Result<Self, regex::Error> {
        Regex::new(pattern).map(Self::Pattern)
    }

    /// Checks a password.
    ///
    /// # Errors
    /// [`Code::PasswordFormat`] unless the password has 1 to 256 characters and follows the rule.
    pub fn check(&self, password: &str) -> Result<()> {
        let length = password.chars().count();
        let is_valid = (1..=MAX_CHARS).contains(&length)
            && match self {
                Self::Default => {
                    (6..=32).contains(&length)
                        && password
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b"-_!$*=^`{|}~.@".contains(&b))
                }
                Self::Pattern(pattern) => pattern.is_match(password),
            };
        if is_valid {
            Ok(())
        } else {
            Err(Code::PasswordFormat.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_password_rule_limits_length_and_characters() {
        let rule = PasswordRule::default();
        for valid in ["123456", "a-_!$*=^`{|}~.@", &"a".repeat(32)] {
            assert!(rule.check(valid).is_ok(), "{valid}");
        }
        for invalid in [
            "",
            "12345",
            "pass word",
            "pässword",
            "a\n23456",
            &"a".repeat(33),
        ] {
            assert!(rule.check(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn password_pattern_is_checked_and_length_is_limited_for_any_pattern() {
        let rule = PasswordRule::parse("^[a-zA-Z0-9-_!]{2,}$").unwrap();
        assert!(rule.check("a-").is_ok());
        assert!(rule.check("a").is_err());
        assert!(rule.check("a b").is_err());
        assert!(rule.check(&"a".repeat(256)).is_ok());
        assert!(rule.check(&"a".repeat(257)).is_err());
        assert!(PasswordRule::parse(".*").unwrap().check("").is_err());
        assert!(PasswordRule::parse("(").is_err());
    }
}
