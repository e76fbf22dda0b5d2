//! A plugin that knows one password. What is true of a person is decided in `authenticate`.

mod personium_plugin;

use personium_plugin::{value_of, Answer, Login, OauthError};

/// Compares in a time that does not depend on where the texts differ.
fn is_equal(a: &str, b: &str) -> bool {
    let differences = a.bytes().zip(b.bytes()).map(|(a, b)| a ^ b);
    a.len() == b.len() && differences.fold(0, |all, difference| all | difference) == 0
}

fn authenticate(login: &Login) -> Answer {
    let name = value_of(&login.fields, "sample_account");
    let password = value_of(&login.fields, "sample_password");
    let expected = value_of(&login.settings, "password");
    if name.is_empty() || password.is_empty() {
        return Answer::Refused {
            error: OauthError::InvalidRequest,
            description: "sample_account and sample_password are needed".to_owned(),
        };
    }
    if expected.is_empty() || !is_equal(password, expected) {
        return Answer::Nobody;
    }
    Answer::Account {
        name: name.to_owned(),
        account_type: login.account_types[0].clone(),
    }
}
