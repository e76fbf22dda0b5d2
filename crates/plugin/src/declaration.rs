//! The declaration of a plugin.

/// The largest length of a grant type and of an account type in bytes.
const MAX_TYPE_BYTES: usize = 200;
/// The largest number of account types of a plugin.
const MAX_ACCOUNT_TYPES: usize = 16;
/// The type of accounts that log in with a password of the cell.
const BASIC: &str = "basic";

/// The grant type and the account types of a plugin, and its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// The name of the plugin, that of its file.
    pub name: String,
    /// Its kind, such as `http`.
    pub kind: &'static str,
    /// A text for people.
    pub label: String,
    /// The value of `grant_type` in token requests: an absolute URI.
    pub grant_type: String,
    /// The values of `Type` of accounts that the plugin authenticates.
    pub account_types: Vec<String>,
}

impl Declaration {
    /// Checks the types.
    ///
    /// # Errors
    /// A text for the operator.
    pub fn check(&self) -> Result<(), String> {
        if !is_grant_type(&self.grant_type) {
            return Err(format!(
                "grant_type must be an absolute URI of at most {MAX_TYPE_BYTES} characters"
            ));
        }
        let types = &self.account_types;
        if types.is_empty() || types.len() > MAX_ACCOUNT_TYPES {
            return Err(format!(
                "account_types must name 1 to {MAX_ACCOUNT_TYPES} types"
            ));
        }
        match types.iter().find(|name| !is_account_type(name)) {
            Some(name) => Err(format!(
                "account_types: {name:?} is not allowed; a type has letters, digits and :._-/, and is not {BASIC}"
            )),
            None => Ok(()),
        }
    }
}

fn is_grant_type(text: &str) -> bool {
    // The grant types of RFC 7522 and RFC 7523, which the unit may have itself.
    let is_standard = text.starts_with("urn:ietf:params:oauth:");
    text.len() <= MAX_TYPE_BYTES
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && url::Url::parse(text).is_ok()
        && !is_standard
}

fn is_account_type(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b":._-/".contains(&byte);
    !text.is_empty()
        && text.len() <= MAX_TYPE_BYTES
        && text.bytes().all(is_allowed)
        && text != BASIC
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(grant_type: &str, account_types: &[&str]) -> Result<(), String> {
        let declaration = Declaration {
            name: "p".to_owned(),
            kind: "test",
            label: String::new(),
            grant_type: grant_type.to_owned(),
            account_types: account_types
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
        };
        declaration.check()
    }

    #[test]
    fn types_that_could_be_mistaken_for_others_are_refused() {
        let good = "urn:x-personium:auth:sample";
        assert_eq!(check(good, &["auth:sample", "a"]), Ok(()));
        assert_eq!(check("https://auth.example/grant", &["a"]), Ok(()));
        for grant_type in [
            "",
            "password",
            "refresh_token",
            "authorization_code",
            "urn:ietf:params:oauth:grant-type:saml2-bearer",
            "urn:x y",
            "urn:\u{e9}",
        ] {
            assert!(check(grant_type, &["a"]).is_err(), "{grant_type}");
        }
        for account_type in ["", "basic", "a b", "a\n", "\u{e9}", "a\"", &"a".repeat(201)] {
            assert!(check(good, &[account_type]).is_err(), "{account_type}");
        }
        assert!(check(good, &[]).is_err());
        assert!(check(good, &["a"; 17]).is_err());
    }
}
