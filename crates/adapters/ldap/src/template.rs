//! Filters and names with the name of the user in them.

use ldap3::{dn_escape, ldap_escape};

/// The text that stands for the name of the user.
const PLACEHOLDER: &str = "{username}";

/// A search filter (RFC 4515) with the name of the user in it.
#[derive(Debug)]
pub(crate) struct FilterTemplate(String);

impl FilterTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn new(text: String) -> Result<Self, String> {
        let template = Self(text);
        if !template.0.contains(PLACEHOLDER) {
            return Err(format!("filter must contain {PLACEHOLDER}"));
        }
        match ldap3::parse_filter(template.with("x")) {
            Ok(_) => Ok(template),
            Err(()) => Err("filter is not a search filter (RFC 4515)".to_owned()),
        }
    }

    /// The filter for a user. No character of the name has a meaning in it.
    pub(crate) fn with(&self, user: &str) -> String {
        self.0.replace(PLACEHOLDER, &ldap_escape(user))
    }
}

/// A name to bind as, with the name of the user in it: a distinguished name (RFC 4514), or what else a directory accepts.
#[derive(Debug)]
pub(crate) struct BindNameTemplate(String);

impl BindNameTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn new(text: String) -> Result<Self, String> {
        match text.contains(PLACEHOLDER) {
            true => Ok(Self(text)),
            false => Err(format!("bind_dn must contain {PLACEHOLDER}")),
        }
    }

    /// The name for a user. No character of the name has a meaning in it.
    pub(crate) fn with(&self, user: &str) -> String {
        self.0.replace(PLACEHOLDER, &dn_escape(user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_of_the_user_has_no_meaning_in_a_filter() {
        let template =
            FilterTemplate::new("(&(objectClass=person)(uid={username}))".to_owned()).unwrap();
        assert_eq!(template.with("alice"), "(&(objectClass=person)(uid=alice))");
        assert_eq!(
            template.with(r"*)(uid=*))(|(uid=*"),
            r"(&(objectClass=person)(uid=\2a\29\28uid=\2a\29\29\28|\28uid=\2a))"
        );
        assert_eq!(
            template.with("a\\2a\0"),
            r"(&(objectClass=person)(uid=a\5c2a\00))"
        );
        // The name is not replaced again.
        assert_eq!(
            template.with("{username}"),
            "(&(objectClass=person)(uid={username}))"
        );
        for bad in [
            "",
            "(uid=alice)",
            "uid={username})",
            "(uid={username}",
            "{username}",
            "((uid={username}))",
        ] {
            assert!(FilterTemplate::new(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn name_of_the_user_has_no_meaning_in_a_distinguished_name() {
        let template = BindNameTemplate::new("uid={username},ou=people".to_owned()).unwrap();
        assert_eq!(template.with("alice"), "uid=alice,ou=people");
        assert_eq!(
            template.with("a,ou=admins"),
            r"uid=a\2cou\3dadmins,ou=people"
        );
        assert_eq!(template.with("#a+b\\"), r"uid=\23a\2bb\5c,ou=people");
        assert!(BindNameTemplate::new("uid=admin,ou=people".to_owned()).is_err());
    }
}
