//! The authentication plugin that binds to a directory: LDAP version 3 (RFC 4511), and so Active Directory.
//!
//! | Module | Content |
//! |---|---|
//! | `settings` | the table `[ldap]` of the file that describes a plugin |
//! | `template` | filters and names with the name of the user in them |
//! | `connection` | a connection, over TLS unless the server is this machine |
//! | `message_guard` | bounds on what a server may send |
//! | `session` | binds and searches of one login |

mod connection;
mod message_guard;
mod session;
mod settings;
mod template;

use std::sync::Arc;

use async_trait::async_trait;
use personium_plugin::{
    AuthPlugin, OAuthError, PluginCall, PluginError, PluginIdentity, PluginKind, PluginSource,
};

use crate::session::Outcome;
use crate::settings::LdapSettings;

/// The largest length of the name of a user in bytes.
const MAX_USER_BYTES: usize = 128;
/// The largest length of a password in bytes.
const MAX_PASSWORD_BYTES: usize = 1_024;

/// The kind of plugins that bind to a directory.
#[derive(Debug)]
pub struct LdapPluginKind;

impl PluginKind for LdapPluginKind {
    fn name(&self) -> &'static str {
        "ldap"
    }

    fn load(&self, source: PluginSource<'_>) -> Result<Arc<dyn AuthPlugin>, String> {
        let [account_type] = source.declaration.account_types.as_slice() else {
            return Err(
                "account_types must name one type: that of all accounts of the directory"
                    .to_owned(),
            );
        };
        Ok(Arc::new(LdapPlugin {
            settings: Arc::new(LdapSettings::read(source.settings, source.folder)?),
            account_type: account_type.clone(),
        }))
    }
}

/// A plugin that binds to a directory.
struct LdapPlugin {
    settings: Arc<LdapSettings>,
    account_type: String,
}

#[async_trait]
impl AuthPlugin for LdapPlugin {
    async fn authenticate(
        &self,
        call: &PluginCall<'_>,
    ) -> Result<Option<PluginIdentity>, PluginError> {
        let missing = |field: &str| {
            let text = format!("{field} is missing");
            PluginError::refused(OAuthError::InvalidRequest, &text)
        };
        let settings = &self.settings;
        let user = call.field(&settings.username_field);
        let user = user.ok_or_else(|| missing(&settings.username_field))?;
        // A directory answers a bind with a name and without a password as one without both: with success (RFC 4513 section 5.1.2).
        let password = call.field(&settings.password_field);
        let password = password.ok_or_else(|| missing(&settings.password_field))?;
        // A directory finds a name in other spellings too, which are no names of accounts.
        let is_name = user.len() <= MAX_USER_BYTES && user.bytes().all(|b| b.is_ascii_graphic());
        if !is_name || password.len() > MAX_PASSWORD_BYTES || password.contains('\0') {
            return Ok(None);
        }
        let found = session::log_in(settings, user, password).await?;
        Ok(match found {
            Outcome::Refused => None,
            Outcome::Bound { name } => Some(PluginIdentity {
                name,
                account_type: self.account_type.clone(),
            }),
        })
    }

    async fn probe(&self, _: &PluginCall<'_>) -> Result<(), PluginError> {
        session::probe(&self.settings).await
    }
}
