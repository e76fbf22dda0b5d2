//! What a password must look like.

use personium_types::{Code, Result};
use regex::Regex;

/// Most characters of a password, whatever the rule.
const MAX_CHARS: usize = 256;

/// The unit's rule for passwords.
#[derive(Debug, Clone, Default)]
pub enum PasswordRule {
    /// 6 to 32 of ``A-Z a-z 0-9 - _ ! $ * = ^ ` { | } ~ . @``.
    #[default]
    Default,
    /// What this pattern finds something in.
    Pattern(Regex),
}

impl PasswordRule {
    /// The rule of a configured pattern.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn parse(pattern: &str) -> Result<Self, regex::Error> {
        Regex::new(pattern).map(Self::Pattern)
    }

    /// # Errors
    /// 400 unless the password has 1 to 256 characters and meets the rule.
    pub fn check(&self, password: &str) -> Result<()> {
        let length = password.chars().count();
        let good = (1..=MAX_CHARS).contains(&length)
            && match self {
                Self::Default => {
                    (6..=32).contains(&length)
                        && password
                            .bytes()
                            .all(|b| b.is_ascii_alphanumeric() || b"-_!$*=^`{|}~.@".contains(&b))
                }
                Self::Pattern(pattern) => pattern.is_match(password),
            };
        if good {
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
    fn the_usual_rule() {
        let rule = PasswordRule::default();
        for good in ["123456", "a-_!$*=^`{|}~.@", &"a".repeat(32)] {
            assert!(rule.check(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "12345",
            "pass word",
            "pässword",
            "a\n23456",
            &"a".repeat(33),
        ] {
            assert!(rule.check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_and_the_length_that_holds_for_all() {
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
