//! Accounts and credentials.

use std::collections::BTreeMap;

use personium_token::password;
use personium_token::random::SystemRandom;
use personium_types::{Code, Error, Result};

use crate::{Cell, Unit};

/// The hidden values of an account for a new password.
///
/// # Errors
/// 400 if the password is empty or longer than 256 characters.
pub async fn hash_password(
    _unit: &Unit,
    _cell: &Cell,
    password: String,
) -> Result<BTreeMap<String, String>> {
    if password.is_empty() || password.chars().count() > 256 {
        return Err(Code::PasswordFormat.into());
    }
    let hash = move || password::hash(&password::Settings::default(), &password, &mut SystemRandom);
    let stored = tokio::task::spawn_blocking(hash)
        .await
        .map_err(Error::internal)?
        .map_err(Error::internal)?;
    let mut out = BTreeMap::from([("HashedCredential".to_owned(), stored.hashed)]);
    out.extend(stored.algorithm.map(|a| ("HashAlgorithm".to_owned(), a)));
    out.extend(stored.attributes.map(|a| ("HashAttributes".to_owned(), a)));
    Ok(out)
}
