//! Authentication and authorization: accounts, tokens, roles of visitors, scopes.
//!
//! | Module | Content |
//! |---|---|
//! | [`account`] | the login data of accounts; new passwords |
//! | [`login`] | logins with name and password |
//! | [`lockout`] | the delay and the lock after failed logins |
//! | [`failed_logins`] | the record of failed logins to one account |
//! | [`login_delay`] | the delay after a failed login |
//! | [`login_refusal`] | the reasons of failed logins, and their lines in the log |
//! | [`login_history`] | last login and failed attempts of an account |
//! | [`ip_range`] | client addresses from which an account may log in |
//! | [`bearer`] | from a bearer token to an [`Access`](crate::Access) |
//! | [`grant`] | the grant of a client, and the subject of its tokens |
//! | [`token_exchange`] | the OAuth2 grants that exchange a refresh token, an assertion or a code |
//! | [`token_issuer`] | issues the tokens of a grant |
//! | [`cell_token`] | seals and opens the local tokens of one cell |
//! | [`claims`] | names of claims in local tokens |
//! | [`one_time_tokens`] | replay detection of refresh tokens and codes |
//! | [`plugin_login`] | logins by authentication plugins |
//! | [`pkce`] | proof key for code exchange (RFC 7636) |
//! | [`scope`] | granted scopes |
//! | [`client`] | authentication of OAuth clients |
//! | [`introspect`] | token introspection (RFC 7662) |
//! | [`cell_key`] | the signing key of a cell |
//! | [`id_token`] | ID tokens (OpenID Connect) |
//! | [`visitor`] | roles of users of other cells |
//! | [`unit_user`] | unit users from tokens of other cells |

pub mod account;
pub mod bearer;
pub mod cell_key;
pub mod cell_token;
pub mod claims;
pub mod client;
pub mod failed_logins;
pub mod grant;
pub mod id_token;
pub mod introspect;
pub mod ip_range;
pub mod lockout;
pub mod login;
pub mod login_delay;
pub mod login_history;
pub mod login_refusal;
pub mod one_time_tokens;
pub mod pkce;
pub mod plugin_login;
pub mod request_signature;
pub mod scope;
pub mod token_exchange;
pub mod token_issuer;
pub mod unit_user;
pub mod visitor;
