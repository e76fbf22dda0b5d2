//! Binds and searches of one login, on a connection of its own.

use std::sync::Arc;

use ldap3::{Ldap, LdapResult, Scope, SearchEntry, SearchOptions, ldap_escape};
use personium_plugin::PluginError;
use tokio::task::JoinSet;

use crate::settings::{LdapSettings, Lookup, Search};

/// The result codes (RFC 4511 appendix A) by which a directory refuses to bind as a user.
const REFUSALS: [u32; 7] = [
    19, // constraintViolation: the password is locked or has expired
    32, // noSuchObject
    34, // invalidDNSyntax
    48, // inappropriateAuthentication: the entry has no password
    49, // invalidCredentials
    50, // insufficientAccessRights
    53, // unwillingToPerform
];
/// The result codes after which a retry can help: timeLimitExceeded, busy, unavailable.
const TEMPORARY: [u32; 3] = [3, 51, 52];
/// The result code of a search that found more than it may return.
const SIZE_LIMIT_EXCEEDED: u32 = 4;
/// The largest number of entries that a search returns: one more than may match.
const SIZE_LIMIT: i32 = 2;
/// The problem of a directory or a filter by which one name stands for several users.
const SEVERAL_ENTRIES: &str = "the filter matches several entries for one user";

/// The name of the entry of a user, and that of the account, or why there is none.
type FoundUser = (String, Result<String, PluginError>);

/// The outcome of a search.
enum Found {
    Nobody,
    /// More than one entry, of which none is used.
    Several,
    User(FoundUser),
}

/// The outcome of a login.
pub(crate) enum Outcome {
    /// There is no such user, or the password is wrong.
    Refused,
    /// The password is right.
    Bound {
        /// The name of the account.
        name: String,
    },
}

/// Binds as a user, whose name and password are not empty.
///
/// # Errors
/// [`PluginError`]
pub(crate) async fn log_in(
    settings: &Arc<LdapSettings>,
    user: &str,
    password: &str,
) -> Result<Outcome, PluginError> {
    let (shared, user, password) = (Arc::clone(settings), user.to_owned(), password.to_owned());
    contained(settings, async move {
        let mut tasks = JoinSet::new();
        let mut ldap = connect(&shared, &mut tasks).await?;
        let (bind_name, name) = match &shared.lookup {
            // The directory does not distinguish cases, accounts do.
            Lookup::Name(template) => (template.with(&user), Ok(user.to_ascii_lowercase())),
            Lookup::Search(search) => match find(&mut ldap, search, &user).await? {
                Found::User(found) => found,
                Found::Nobody => return Ok(Outcome::Refused),
                Found::Several => {
                    // The client learns no more than about a user who does not exist.
                    tracing::warn!(user.name = user, base = search.base, "{SEVERAL_ENTRIES}");
                    return Ok(Outcome::Refused);
                }
            },
        };
        let bound = ldap.simple_bind(&bind_name, &password).await;
        let bound = bound.map_err(PluginError::unavailable)?;
        let _ = ldap.unbind().await;
        match bound.rc {
            // Only who knows the password learns that the entry cannot be used.
            0 => Ok(Outcome::Bound { name: name? }),
            code if REFUSALS.contains(&code) => Ok(Outcome::Refused),
            _ => Err(failed("bind of the user", &bound)),
        }
    })
    .await
}

/// Connects, and searches if users are searched for.
///
/// # Errors
/// [`PluginError`]
pub(crate) async fn probe(settings: &Arc<LdapSettings>) -> Result<(), PluginError> {
    let shared = Arc::clone(settings);
    contained(settings, async move {
        let mut tasks = JoinSet::new();
        let mut ldap = connect(&shared, &mut tasks).await?;
        if let Lookup::Search(search) = &shared.lookup {
            let found = find(&mut ldap, search, "personium-plugin-check").await?;
            if matches!(found, Found::Several) {
                return Err(PluginError::broken(SEVERAL_ENTRIES));
            }
        }
        let _ = ldap.unbind().await;
        Ok(())
    })
    .await
}

/// Runs a session in a task of its own, because the library panics when it reads some malformed messages.
async fn contained<T: Send + 'static>(
    settings: &LdapSettings,
    session: impl Future<Output = Result<T, PluginError>> + Send + 'static,
) -> Result<T, PluginError> {
    let mut tasks = JoinSet::new();
    tasks.spawn(session);
    let ended = tokio::time::timeout(settings.timeout, tasks.join_next()).await;
    match ended.map_err(PluginError::unavailable)? {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(PluginError::broken(error)),
        None => Err(PluginError::broken("no outcome")),
    }
}

async fn connect(settings: &LdapSettings, tasks: &mut JoinSet<()>) -> Result<Ldap, PluginError> {
    let connected = settings.server.connect(tasks).await;
    connected.map_err(PluginError::unavailable)
}

/// Searches for a user.
async fn find(ldap: &mut Ldap, search: &Search, user: &str) -> Result<Found, PluginError> {
    if let Some((name, password)) = &search.credentials {
        let bound = ldap.simple_bind(name, password.reveal()).await;
        let bound = bound.map_err(PluginError::unavailable)?;
        if bound.rc != 0 {
            return Err(failed("bind of search_dn", &bound));
        }
    }
    let filter = search.filter.with(user);
    let options = SearchOptions::new().sizelimit(SIZE_LIMIT);
    let attributes = [search.name_attribute.as_str()];
    let searching = ldap.with_search_options(options).search(
        &search.base,
        Scope::Subtree,
        &filter,
        &attributes,
    );
    let found = searching.await.map_err(PluginError::unavailable)?;
    let (entries, result) = (found.0, found.1);
    let entries: Vec<SearchEntry> = entries
        .into_iter()
        .filter(|entry| !entry.is_ref() && !entry.is_intermediate())
        .map(SearchEntry::construct)
        .collect();
    if result.rc == SIZE_LIMIT_EXCEEDED || entries.len() > 1 {
        return Ok(Found::Several);
    }
    if result.rc != 0 {
        return Err(failed("search", &result));
    }
    let Some(entry) = entries.into_iter().next() else {
        return Ok(Found::Nobody);
    };
    // A bind with an empty name is one of nobody, and succeeds.
    if entry.dn.is_empty() {
        return Err(PluginError::broken(
            "the directory returned an entry without a name",
        ));
    }
    let wanted = &search.name_attribute;
    let values = entry
        .attrs
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(wanted));
    let name = match values.map(|(_, values)| values.as_slice()) {
        Some([name]) => Ok(name.clone()),
        _ => Err(PluginError::broken(format!(
            "the entry {:?} has not one value of {wanted}",
            ldap_escape(entry.dn.as_str())
        ))),
    };
    Ok(Found::User((entry.dn, name)))
}

/// The error for a result of the directory. Its text can be of any length.
fn failed(what: &str, result: &LdapResult) -> PluginError {
    let text: String = result.text.chars().take(200).collect();
    let text = format!("{what}: result code {} {text:?}", result.rc);
    match TEMPORARY.contains(&result.rc) {
        true => PluginError::unavailable(text),
        false => PluginError::broken(text),
    }
}
