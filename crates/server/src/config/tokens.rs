//! Settings of tokens.

use super::section::section;
use super::value_parser::{Flag, ScopeList};

section! {
    /// Settings of tokens.
    TokenConfig "Tokens" {
        /// The scope of a token of the password grant, if the client requests none.
        default_scope_password: Vec<String> = "security.token.defaultScope.ropc", "root", ScopeList;
        /// The scope of a token of the assertion grant (a token of another cell), if the client requests none.
        default_scope_assertion: Vec<String> = "security.token.defaultScope.assertion", "root", ScopeList;
        /// The scope of a token of the authorization code grant, if the client requests none.
        default_scope_code: Vec<String> = "security.token.defaultScope.grant_code", "root", ScopeList;
        /// Whether changing the password of an account, and deactivating it, revokes the tokens that it was issued before.
        revoke_with_account: bool = "security.token.revokeWithAccount", "false", Flag;
        /// Whether a refresh token can be used only once. A second use revokes all tokens of the same login.
        rotate_refresh: bool = "security.token.rotateRefresh", "false", Flag;
        /// Whether an authorization code can be used only once.
        single_use_codes: bool = "security.token.singleUseCode", "false", Flag;
    }
}
