//! Logins by authentication plugins. Delay, lock, history and address range of the account are not involved: the plugin decides
//! alone whether the credentials are right. Failures count towards the rate limit of the client address.

use personium_odata::constraint::Format;
use personium_plugin::{LoadedPlugin, OAuthError, PluginCall, PluginError, PluginIdentity};
use personium_types::error::chain;
use personium_types::{Code, Error, Result};

use super::account::{self, Account, AccountStatus};
use super::login_refusal::{LoginOrigin, LoginRefusal};
use crate::{CellContext, Unit};

/// A login by a plugin.
pub struct PluginLogin<'a> {
    /// The plugin.
    pub plugin: &'a LoadedPlugin,
    /// The fields of the request.
    pub call: PluginCall<'a>,
    /// Where it comes from.
    pub origin: LoginOrigin<'a>,
}

/// The result of a login by a plugin.
#[derive(Debug)]
pub enum PluginLoginOutcome {
    /// The account is authenticated.
    Authenticated(Account),
    /// The account must get a new password first.
    PasswordChangeRequired(Account),
}

/// Logs the account in that a plugin names.
///
/// # Errors
/// [`Code::LoginsTooMany`] if too many logins from this address failed lately; [`Code::PluginRefused`],
/// [`Code::PluginDenied`], [`Code::PluginFailed`] or [`Code::PluginUnavailable`] with the error of the plugin;
/// [`Code::PluginBroken`] if it breaks its contract; [`Code::AuthnFailed`] if it names nobody, or no account that may log in by
/// it; failures of the store.
pub async fn plugin_login(
    unit: &Unit,
    context: &CellContext,
    login: &PluginLogin<'_>,
) -> Result<PluginLoginOutcome> {
    let log = |reason: LoginRefusal, name: &str| reason.log(context, name, login.origin);
    let attempt = unit
        .credentials()
        .login_rate_limiter
        .begin(login.origin.client_address, unit.monotonic())
        .inspect_err(|_| log(LoginRefusal::TooManyFailures, ""))?;
    let answer = login.plugin.authenticate(&login.call).await;
    let identity = match answer {
        Ok(Some(identity)) => identity,
        Ok(None) => {
            log(LoginRefusal::PluginRefused, "");
            return Err(Code::AuthnFailed.into());
        }
        Err(failure) => {
            let (is_refusal, error) = plugin_error(failure, &login.plugin.declaration().name);
            match is_refusal {
                true => log(LoginRefusal::PluginRefused, ""),
                false => {
                    log(LoginRefusal::PluginFailed, "");
                    // Whoever logs in cannot help it.
                    attempt.succeed();
                }
            }
            return Err(error);
        }
    };
    match find_account(context, &identity).await? {
        Ok(account) => {
            attempt.succeed();
            Ok(match account.status {
                AccountStatus::PasswordChangeRequired => {
                    PluginLoginOutcome::PasswordChangeRequired(account)
                }
                _ => PluginLoginOutcome::Authenticated(account),
            })
        }
        Err(reason) => {
            log(reason, &identity.name);
            Err(Code::AuthnFailed.into())
        }
    }
}

/// The account that a plugin has named; the inner error is the reason why it may not log in.
async fn find_account(
    context: &CellContext,
    identity: &PluginIdentity,
) -> Result<Result<Account, LoginRefusal>> {
    if Format::AccountName.check(&identity.name, &[]).is_err() {
        return Ok(Err(LoginRefusal::NoAccount));
    }
    let Some(account) = account::find(context, &identity.name).await? else {
        return Ok(Err(LoginRefusal::NoAccount));
    };
    Ok(if !account.has_type(&identity.account_type) {
        Err(LoginRefusal::TypeNotAllowed)
    } else if account.status == AccountStatus::Deactivated {
        Err(LoginRefusal::Deactivated)
    } else {
        Ok(account)
    })
}

/// The error for that of a plugin, and whether the plugin has refused the credentials. A failure is logged with the name of the
/// plugin and its cause, which the client does not learn.
fn plugin_error(failure: PluginError, plugin: &str) -> (bool, Error) {
    let is_failure = match &failure {
        PluginError::Refused { error, .. } => matches!(
            error,
            OAuthError::ServerError | OAuthError::TemporarilyUnavailable
        ),
        PluginError::Unavailable(_) | PluginError::Broken(_) => true,
    };
    if is_failure {
        tracing::warn!(plugin.name = plugin, error = %chain(&failure), "authentication plugin failed");
    }
    let error = match &failure {
        PluginError::Unavailable(_) => Error::new(Code::PluginUnavailable),
        PluginError::Broken(_) => Error::new(Code::PluginBroken),
        PluginError::Refused {
            error, description, ..
        } => {
            let code = match error {
                OAuthError::UnauthorizedClient | OAuthError::AccessDenied => Code::PluginDenied,
                OAuthError::ServerError => Code::PluginFailed,
                OAuthError::TemporarilyUnavailable => Code::PluginUnavailable,
                _ => Code::PluginRefused,
            };
            let description = match description.is_empty() {
                true => "refused by the plugin",
                false => description.as_str(),
            };
            Error::new(code).with(description).with(error.as_str())
        }
    };
    (!is_failure, error.with_source(failure))
}
