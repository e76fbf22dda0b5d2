//! Settings of providers of OpenID Connect: a group of keys for each provider.

use std::collections::BTreeMap;
use std::path::Path;

use super::config_reader::ConfigReader;
use super::value_parser::{Url, ValueParser};

/// The prefix of the keys of providers: `<prefix><id>.<name>`.
pub(crate) const PROVIDER_PREFIX: &str = "io.personium.plugin.oidc.";

/// The names of the keys of a provider.
const NAMES: [&str; 7] = [
    "enabled",
    "configURL",
    "trustedClientIds",
    "pluginName",
    "accountType",
    "accountNameKey",
    "grantType",
];

/// A provider whose ID tokens are accepted for logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcProviderConfig {
    /// The word that names the provider in the settings.
    pub id: String,
    /// The URL of its discovery document.
    pub config_url: String,
    /// The client ids whose tokens are accepted; `None` accepts any.
    pub trusted_client_ids: Option<Vec<String>>,
    /// The display name.
    pub plugin_name: String,
    /// The `Type` of accounts that log in with this provider.
    pub account_type: String,
    /// The claim that holds the name of the account.
    pub account_name_key: String,
    /// The value of `grant_type`.
    pub grant_type: String,
}

/// The values of one provider, by name.
type Group = BTreeMap<String, String>;

/// A problem of one key of a provider.
struct KeyProblem {
    name: &'static str,
    problem: &'static str,
}

/// Reads the enabled providers. Adds problems to `reader`; returns `None` if there is any.
pub(super) fn read(reader: &mut ConfigReader) -> Option<Vec<OidcProviderConfig>> {
    let mut problems = Vec::new();
    let mut providers = Vec::new();
    for (id, group) in read_groups(reader, &mut problems) {
        let enabled = group.get("enabled");
        if !enabled.is_some_and(|enabled| enabled.eq_ignore_ascii_case("true")) {
            continue;
        }
        match parse(&id, &group) {
            Ok(provider) => providers.push(provider),
            Err(KeyProblem { name, problem }) => {
                problems.push(format!("{PROVIDER_PREFIX}{id}.{name}: {problem}"));
            }
        }
    }
    problems.extend(duplicates(&providers));
    let is_valid = problems.is_empty();
    for problem in problems {
        reader.add_problem(problem);
    }
    is_valid.then_some(providers)
}

/// Returns the values by id of the provider.
fn read_groups(reader: &mut ConfigReader, problems: &mut Vec<String>) -> BTreeMap<String, Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for given in reader.read_group(PROVIDER_PREFIX) {
        match given.suffix.split_once('.') {
            Some((id, name)) if NAMES.contains(&name) => {
                let value = given.value.text.trim().to_owned();
                let group = groups.entry(id.to_owned()).or_default();
                group.insert(name.to_owned(), value);
            }
            _ => problems.push(format!(
                "{PROVIDER_PREFIX}{} ({}) is not a key of a provider",
                given.suffix, given.value.origin
            )),
        }
    }
    groups
}

fn parse(id: &str, group: &Group) -> Result<OidcProviderConfig, KeyProblem> {
    let text = |name: &str, default: &str| {
        group
            .get(name)
            .map_or_else(|| default.to_owned(), Clone::clone)
    };
    let client_ids: Vec<String> = text("trustedClientIds", "")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    if client_ids.is_empty() {
        return Err(KeyProblem {
            name: "trustedClientIds",
            problem: "must list client ids, or be *",
        });
    }
    let config_url = Url.parse(&text("configURL", ""), Path::new(""));
    let config_url = config_url
        .filter(|url| url.starts_with("http"))
        .ok_or(KeyProblem {
            name: "configURL",
            problem: "must be the URL of a discovery document",
        })?;
    let accepts_any = client_ids.iter().any(|client_id| client_id == "*");
    Ok(OidcProviderConfig {
        id: id.to_owned(),
        config_url,
        trusted_client_ids: (!accepts_any).then_some(client_ids),
        plugin_name: text("pluginName", "Generic OIDC Plugin"),
        account_type: text("accountType", "oidc:generic"),
        account_name_key: text("accountNameKey", "username"),
        grant_type: text("grantType", "urn:x-personium:oidc:generic"),
    })
}

/// Returns a problem for each account type and grant type that two providers share: with the same account type, one
/// provider could log in users of the other.
fn duplicates(providers: &[OidcProviderConfig]) -> Vec<String> {
    let mut problems = Vec::new();
    for (index, provider) in providers.iter().enumerate() {
        let earlier = || providers.iter().take(index);
        let id = &provider.id;
        if earlier().any(|other| other.account_type == provider.account_type) {
            problems.push(format!(
                "{PROVIDER_PREFIX}{id}.accountType is used by another provider"
            ));
        }
        if earlier().any(|other| other.grant_type == provider.grant_type) {
            problems.push(format!(
                "{PROVIDER_PREFIX}{id}.grantType is used by another provider"
            ));
        }
    }
    problems
}
