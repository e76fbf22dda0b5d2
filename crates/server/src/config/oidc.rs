//! Providers of OpenID Connect: a group of keys for each.

use std::collections::BTreeMap;

use super::Source;
use super::rule::{Rule, WebAddress};

/// What the keys of providers begin with: `<prefix><id>.<name>`.
const FAMILY: &str = "io.personium.plugin.oidc.";

/// A provider whose tokens are accepted for logging in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcProvider {
    /// The word that names it in the settings.
    pub id: String,
    /// Where its discovery document is.
    pub config_url: String,
    /// Clients whose tokens are accepted; `None` is any.
    pub trusted_client_ids: Option<Vec<String>>,
    /// The name to show.
    pub plugin_name: String,
    /// The `Type` of accounts that log in this way.
    pub account_type: String,
    /// The claim that holds the account's name.
    pub account_name_key: String,
    /// The value of `grant_type`.
    pub grant_type: String,
}

/// Reads the enabled providers; problems are noted in `source`.
pub(super) fn read(source: &mut Source) -> Option<Vec<OidcProvider>> {
    let mut groups: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut problems = Vec::new();
    for (rest, given) in source.take_family(FAMILY) {
        match rest.split_once('.') {
            Some((id, name)) if KEYS.contains(&name) => {
                groups
                    .entry(id.to_owned())
                    .or_default()
                    .insert(name.to_owned(), given.value.trim().to_owned());
            }
            _ => problems.push(format!(
                "{FAMILY}{rest} ({}) is not a key of a provider",
                given.origin
            )),
        }
    }
    let mut providers = Vec::new();
    for (id, keys) in groups {
        if keys
            .get("enabled")
            .is_some_and(|enabled| enabled.eq_ignore_ascii_case("true"))
        {
            match provider(&id, &keys) {
                Ok(provider) => providers.push(provider),
                Err((key, what)) => problems.push(format!("{FAMILY}{id}.{key}: {what}")),
            }
        }
    }
    // Two providers of one account type could speak for each other's users.
    for (at, provider) in providers.iter().enumerate() {
        let earlier = providers.iter().take(at);
        if earlier
            .clone()
            .any(|p| p.account_type == provider.account_type)
        {
            problems.push(format!(
                "{FAMILY}{}.accountType is another provider's",
                provider.id
            ));
        }
        if earlier.clone().any(|p| p.grant_type == provider.grant_type) {
            problems.push(format!(
                "{FAMILY}{}.grantType is another provider's",
                provider.id
            ));
        }
    }
    let sound = problems.is_empty();
    for problem in problems {
        source.note(problem);
    }
    sound.then_some(providers)
}

const KEYS: [&str; 7] = [
    "enabled",
    "configURL",
    "trustedClientIds",
    "pluginName",
    "accountType",
    "accountNameKey",
    "grantType",
];

fn provider(
    id: &str,
    keys: &BTreeMap<String, String>,
) -> Result<OidcProvider, (&'static str, String)> {
    let text = |key: &str, default: &str| {
        keys.get(key)
            .map_or_else(|| default.to_owned(), Clone::clone)
    };
    let url = text("configURL", "");
    let config_url = WebAddress.read(&url, std::path::Path::new(""));
    let config_url = config_url.filter(|url| url.starts_with("http"));
    let clients: Vec<String> = text("trustedClientIds", "")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    if clients.is_empty() {
        return Err(("trustedClientIds", "must name clients, or be *".into()));
    }
    Ok(OidcProvider {
        id: id.to_owned(),
        config_url: config_url.ok_or((
            "configURL",
            "must be the URL of a discovery document".to_owned(),
        ))?,
        trusted_client_ids: (!clients.iter().any(|client| client == "*")).then_some(clients),
        plugin_name: text("pluginName", "Generic OIDC Plugin"),
        account_type: text("accountType", "oidc:generic"),
        account_name_key: text("accountNameKey", "username"),
        grant_type: text("grantType", "urn:x-personium:oidc:generic"),
    })
}
