//! Names of the claims that this unit adds to local tokens. They are part of issued tokens: never change one.

/// The id of the cell that issued the token.
pub const CELL: &str = "cell";
/// The entity id of the account.
pub const ACCOUNT: &str = "account";
/// The token generation of the account; see [`crate::cell_context::TOKEN_GENERATION`].
pub const TOKEN_GENERATION: &str = "epoch";
/// The login or the code that a token descends from (the token family).
pub const FAMILY: &str = "family";
/// The digest of the refresh token that a refresh token replaces.
pub const PARENT: &str = "parent";
/// The mark of the tokens of a client without a secret.
pub const PUBLIC_CLIENT: &str = "public";
/// The redirect URI that a code was sent to.
pub const REDIRECT_URI: &str = "redirect_uri";
/// The code challenge of the client that began the login (RFC 7636).
pub const CODE_CHALLENGE: &str = "code_challenge";
/// The value that the ID token repeats.
pub const NONCE: &str = "nonce";
