//! The account at the authority, in a file that only its owner may read.

use http::Uri;
use instant_acme::{Account, AccountCredentials, Key, NewAccount};
use serde_json::Value;

use super::authority_client::AuthorityClient;
use super::{AcmeError, AcmeSettings, files};
use crate::tls::{TlsError, read_file};

/// The name of the file of the account at an authority.
pub(super) fn file_name(directory: &str) -> String {
    let uri: Option<Uri> = directory.parse().ok();
    let authority = uri.as_ref().and_then(|uri| Some(uri.authority()?.as_str()));
    let is_permitted = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let name: String = authority
        .unwrap_or_default()
        .chars()
        .map(|c| if is_permitted(c) { c } else { '_' })
        .collect();
    format!("account-{name}.json")
}

/// The account in the file, or a new one, which is written there.
///
/// # Errors
/// [`AcmeError`] if the file is that of another authority, or the authority gives no account.
pub(super) async fn open(
    settings: &AcmeSettings,
    client: &AuthorityClient,
) -> Result<Account, AcmeError> {
    let builder = Account::builder_with_http(client.boxed());
    if let Some(credentials) = read(settings)? {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact = settings
        .contact
        .as_ref()
        .map(|mail| format!("mailto:{mail}"));
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let directory = settings.directory.clone();
    let (account, credentials) = builder.create(&wanted, directory, None).await?;
    write(settings, &credentials)?;
    Ok(account)
}

/// The account with the key in the file, which the authority has forgotten: made there again.
///
/// # Errors
/// [`AcmeError`].
pub(super) async fn recreate(
    settings: &AcmeSettings,
    client: &AuthorityClient,
) -> Result<Account, AcmeError> {
    let Some(stored) = read(settings)? else {
        return open(settings, client).await;
    };
    let key = stored.private_key().clone_key();
    let pair = (Key::from_pkcs8_der(key.clone_key())?, key.into());
    let builder = Account::builder_with_http(client.boxed());
    let directory = settings.directory.clone();
    let (account, credentials) = builder.create_from_key(pair, directory).await?;
    write(settings, &credentials)?;
    Ok(account)
}

fn read(settings: &AcmeSettings) -> Result<Option<AccountCredentials>, AcmeError> {
    let path = &settings.account;
    let exists = path.try_exists().map_err(|source| TlsError::File {
        path: path.clone(),
        source,
    })?;
    if !exists {
        return Ok(None);
    }
    let refused = |reason: String| TlsError::Content {
        subject: path.display().to_string(),
        reason,
    };
    let bytes = read_file(path)?;
    let unreadable = |error: serde_json::Error| refused(format!("no account: {error}"));
    let value: Value = serde_json::from_slice(&bytes).map_err(unreadable)?;
    let directory = value.get("directory").and_then(Value::as_str);
    if directory != Some(settings.directory.as_str()) {
        let other = directory.unwrap_or("an unknown one");
        return Err(refused(format!(
            "the account is at {other}; give another file as tls.acme.accountKey"
        ))
        .into());
    }
    let credentials = serde_json::from_slice(&bytes).map_err(unreadable)?;
    Ok(Some(credentials))
}

fn write(settings: &AcmeSettings, credentials: &AccountCredentials) -> Result<(), AcmeError> {
    let text = serde_json::to_vec(credentials).map_err(|error| TlsError::Content {
        subject: "the account".to_owned(),
        reason: error.to_string(),
    })?;
    Ok(files::write_private(&settings.account, &text)?)
}
