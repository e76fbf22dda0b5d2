//! Settings of tokens.

use personium_model::settings::TokenReuse;

use super::section::section;
use super::value_parser::{Flag, OneOf, ScopeList};

/// The values of the keys about tokens for one use.
const TOKEN_REUSE: OneOf<TokenReuse> = OneOf(&[
    ("retries", TokenReuse::Retries),
    ("true", TokenReuse::Never),
    ("false", TokenReuse::Always),
]);

section! {
    /// Settings of tokens.
    TokenConfig "Tokens" {
        /// The scope of a token of the password grant, if the client requests none.
        default_scope_password: Vec<String> = "security.token.defaultScope.ropc", "root", ScopeList;
        /// The scope of a token of the assertion grant (a token of another cell), if the client requests none.
        default_scope_assertion: Vec<String> = "security.token.defaultScope.assertion", "root", ScopeList;
        /// The scope of a token of the authorization code grant, if the client requests none.
        default_scope_code: Vec<String> = "security.token.defaultScope.grant_code", "root", ScopeList;
        /// Whether changing the password of an account, and deactivating it, revokes the access tokens that it was issued
        /// before. By default they stay valid until they expire, one hour at most.
        revoke_access_with_account: bool = "security.token.revokeWithAccount", "false", Flag;
        /// Whether changing the password of an account, and deactivating it, revokes its refresh tokens, its authorization
        /// codes and its logins by cookie.
        revoke_refresh_with_account: bool = "security.token.revokeRefreshWithAccount", "true", Flag;
        /// Whether a refresh token can be used only once. With retries, a client that got no answer can repeat the request
        /// for 30 seconds, until the new refresh token is used. One use too many revokes all tokens of the same login. With
        /// false, a refresh token can be used until it expires.
        refresh_token_reuse: TokenReuse = "security.token.rotateRefresh", "retries", TOKEN_REUSE;
        /// Whether an authorization code can be used only once. With retries, a client that authenticates itself with a
        /// secret can exchange a code once for each p_target. One use too many revokes the tokens that were issued for the
        /// code. With false, a code can be used until it expires.
        code_reuse: TokenReuse = "security.token.singleUseCode", "retries", TOKEN_REUSE;
    }
}
