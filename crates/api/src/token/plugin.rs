//! The grants of authentication plugins, built-in OpenID Connect included.

use personium_model::auth::plugin_login::{PluginLogin, PluginLoginOutcome, plugin_login};
use personium_plugin::{LoadedPlugin, PluginCall};
use personium_types::Result;

use super::request::TokenRequest;
use super::response::{self, TokenExtras};
use crate::carried_chain::CarriedChain;
use crate::plugin_host::RequestHost;
use crate::request_context::CellRequest;
use crate::response::Response;

/// Issues tokens for the account that a plugin names.
///
/// # Errors
/// As [`plugin_login`].
pub(super) async fn handle(
    request: &CellRequest,
    token_request: &TokenRequest,
    plugin: &LoadedPlugin,
) -> Result<Response> {
    let host = RequestHost {
        unit: &request.unit,
        http_client: &request.http_client,
        chain: &CarriedChain::of(request),
    };
    let login = PluginLogin {
        plugin,
        call: PluginCall {
            cell_url: &request.cell_url(),
            fields: token_request.form.fields(),
            host: &host,
        },
        origin: request.login_origin(),
    };
    match plugin_login(&request.unit, &request.context, &login).await? {
        PluginLoginOutcome::PasswordChangeRequired(account) => {
            let grant = token_request.account_grant(account, token_request.scopes());
            response::password_change(request, token_request, &grant, None)
        }
        PluginLoginOutcome::Authenticated(account) => {
            let scopes = token_request.ropc_scopes(request).await?;
            let grant = token_request.account_grant(account, scopes);
            response::tokens(request, token_request, &grant, TokenExtras::default()).await
        }
    }
}
