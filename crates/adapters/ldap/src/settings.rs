//! The table `[ldap]` of the file that describes a plugin.

use std::path::{Path, PathBuf};
use std::time::Duration;

use personium_operator_files::read_secret;
use personium_types::Secret;
use serde::Deserialize;
use toml::Table;

use crate::connection::Server;
use crate::template::{BindNameTemplate, FilterTemplate};

/// The default of the time for a login in milliseconds.
const TIMEOUT_MS_DEFAULT: u64 = 5_000;
/// The longest time for a login in milliseconds.
const TIMEOUT_MS_MAX: u64 = 20_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LdapTable {
    url: String,
    start_tls: Option<bool>,
    ca_file: Option<PathBuf>,
    bind_dn: Option<String>,
    base: Option<String>,
    filter: Option<String>,
    name_attribute: Option<String>,
    search_dn: Option<String>,
    search_password_file: Option<PathBuf>,
    username_field: Option<String>,
    password_field: Option<String>,
    timeout_ms: Option<u64>,
}

/// The settings of a plugin.
#[derive(Debug)]
pub(crate) struct LdapSettings {
    /// The server.
    pub(crate) server: Server,
    /// How the entry of a user is found.
    pub(crate) lookup: Lookup,
    /// The form field with the name of the user.
    pub(crate) username_field: String,
    /// The form field with the password.
    pub(crate) password_field: String,
    /// The time for a login.
    pub(crate) timeout: Duration,
}

/// How the entry of a user is found.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Its name is made from that of the user.
    Name(BindNameTemplate),
    /// It is searched for.
    Search(Search),
}

/// A search for the entry of a user.
#[derive(Debug)]
pub(crate) struct Search {
    /// Name and password of the entry that searches; `None` to search without a login.
    pub(crate) credentials: Option<(String, Secret<String>)>,
    /// The entry below which is searched.
    pub(crate) base: String,
    /// The filter.
    pub(crate) filter: FilterTemplate,
    /// The attribute with the name of the account.
    pub(crate) name_attribute: String,
}

impl LdapSettings {
    /// Reads the table. Relative paths begin in the folder.
    ///
    /// # Errors
    /// A text for the operator.
    pub(crate) fn read(table: Table, folder: &Path) -> Result<Self, String> {
        let table: LdapTable = table.try_into().map_err(|error| format!("{error}"))?;
        let ca_file = table.ca_file.as_ref().map(|path| folder.join(path));
        let server = Server::new(&table.url, table.start_tls, ca_file.as_deref())?;
        let timeout_ms = table.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT);
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            return Err(format!("timeout_ms must be from 1 to {TIMEOUT_MS_MAX}"));
        }
        let field = |name: &Option<String>, default: &str| {
            let name = name.as_deref().filter(|name| !name.is_empty());
            name.unwrap_or(default).to_owned()
        };
        Ok(Self {
            username_field: field(&table.username_field, "username"),
            password_field: field(&table.password_field, "password"),
            lookup: lookup(table, folder)?,
            server,
            timeout: Duration::from_millis(timeout_ms),
        })
    }
}

fn lookup(table: LdapTable, folder: &Path) -> Result<Lookup, String> {
    let credentials = match (table.search_dn, table.search_password_file) {
        (None, None) => None,
        (Some(name), Some(file)) if !name.is_empty() => {
            Some((name, read_secret(&folder.join(file))?))
        }
        _ => return Err("search_dn and search_password_file must be given together".to_owned()),
    };
    match (
        table.bind_dn,
        table.base,
        table.filter,
        table.name_attribute,
    ) {
        (Some(template), None, None, None) if credentials.is_none() => {
            Ok(Lookup::Name(BindNameTemplate::new(template)?))
        }
        (None, Some(base), Some(filter), Some(name_attribute)) if !name_attribute.is_empty() => {
            Ok(Lookup::Search(Search {
                credentials,
                base,
                filter: FilterTemplate::new(filter)?,
                name_attribute,
            }))
        }
        _ => Err("either bind_dn must be given, or base, filter and name_attribute".to_owned()),
    }
}

#[cfg(test)]
mod tests;
