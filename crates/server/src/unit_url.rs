//! The URLs of the unit, as the settings determine them.

use personium_model::UnitUrls;

use crate::config::{LoadedConfig, PREFIX};
use crate::key_files::{self, KeyFileError};

/// The host name of a unit whose settings name none.
pub const DEFAULT_HOST: &str = "localhost";

/// Keys (without prefix) that determine the URL of the unit.
const URL_KEYS: [&str; 5] = [
    "unitScheme",
    "unitFqdn",
    "unitPort",
    "pathBasedCellUrl.enabled",
    "x509.crt",
];

/// Whether no setting determines the URL of the unit. It is `http://localhost:<port>/` then.
#[must_use]
pub fn is_local(loaded: &LoadedConfig) -> bool {
    let is_url_key = |name: &str| {
        name.strip_prefix(PREFIX)
            .is_some_and(|key| URL_KEYS.contains(&key))
    };
    !loaded.given.iter().any(|setting| is_url_key(&setting.name))
}

/// The form in which an owner is stored that is given as `personium admin list` shows it.
///
/// # Errors
/// A text for the operator if it is no URL of an account.
pub(crate) fn stored_owner(urls: &UnitUrls, owner: &str) -> Result<String, String> {
    let resolved = urls.resolve(owner).filter(|url| url.contains('#'));
    let resolved = resolved.ok_or_else(|| {
        format!("{owner} is no owner: give it as `personium admin list` shows it")
    })?;
    Ok(urls.localize(&resolved).unwrap_or(resolved))
}

/// Returns the URLs of the unit. Its host is the configured host name, else the common name of the configured certificate,
/// else [`DEFAULT_HOST`].
///
/// # Errors
/// [`KeyFileError`] if a certificate is configured and cannot be read.
pub fn unit_urls(loaded: &LoadedConfig) -> Result<UnitUrls, KeyFileError> {
    let unit = &loaded.config.unit;
    if is_local(loaded) {
        let port = loaded.config.listen.address.port();
        return Ok(UnitUrls::new("http", DEFAULT_HOST, Some(port), true));
    }
    let host = match &unit.host {
        Some(host) => host.clone(),
        None => {
            key_files::configured_host(&loaded.config)?.unwrap_or_else(|| DEFAULT_HOST.to_owned())
        }
    };
    Ok(UnitUrls::new(
        unit.scheme.as_str(),
        &host,
        unit.port,
        unit.path_based,
    ))
}
