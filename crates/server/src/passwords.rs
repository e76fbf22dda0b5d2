//! Generated passwords.

use personium_types::{Random, Secret};
use regex::Regex;

use crate::key_files::{KeyFileError, random_text};

/// The numbers of random characters, and the texts after them, that are tried until the rule of the unit permits one.
const FORMS: &[(usize, &str)] = &[
    (16, ""),
    (16, "-A1"),
    (12, ""),
    (12, "-A1"),
    (24, "-A1"),
    (32, ""),
    (10, ""),
    (8, ""),
    (8, "-A1"),
];

/// Returns a random password that the rule permits.
///
/// # Errors
/// [`KeyFileError::Content`] if the rule permits none of the tried ones.
pub fn generate(rule: &Regex, random: &dyn Random) -> Result<Secret<String>, KeyFileError> {
    for (chars, end) in FORMS {
        let password = random_text(*chars, random)? + end;
        if rule.is_match(&password) {
            return Ok(Secret::new(password));
        }
    }
    Err(KeyFileError::Content {
        subject: "io.personium.core.security.auth.password.regex".to_owned(),
        reason: "the rule permits no generated password; make the administrator under another rule, or give a \
                 password with `personium admin password --stdin`"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system;

    #[test]
    fn generated_password_follows_the_rule() {
        for (rule, is_possible) in [
            ("^[a-zA-Z0-9\\-_!$*=^`{|}~.@]{6,32}$", true),
            ("^[a-z0-9]{10}$", true),
            ("[A-Z]", true),
            ("^.{20,}$", true),
            ("^[A-Z]+$", false),
        ] {
            let rule = Regex::new(rule).unwrap();
            let generated = generate(&rule, &system::random());
            assert_eq!(generated.is_ok(), is_possible, "{rule}");
            assert!(generated.is_err() || rule.is_match(generated.unwrap().reveal()));
        }
    }
}
