//! Who somebody is: accounts and their passwords, what a token gives, roles of visitors, scopes.
//!
//! | Module | Answers |
//! |---|---|
//! | [`keys`] | with what does the unit seal, sign, hash and believe? |
//! | [`bearer`] | who asks with this token? |
//! | [`account`] | what does an account say about logging in? how does its password change? |
//! | [`bound`] | is this local token of this very cell? |
//! | [`login`] | is this the password, and may the account log in now? |
//! | [`history`] | when did the account last log in, and what failed since? |
//! | [`hashing`] | where passwords are hashed without starving other requests |
//! | [`issue`] | which tokens does a grant lead to? |
//! | [`client`] | which application asks? |
//! | [`cell_key`] | what does a cell sign with? |
//! | [`id_token`] | what is an application told about who logged in? |
//! | [`introspect`] | what does a token say? |
//! | [`visitor`] | which roles has somebody from another cell? |
//! | [`spent`] | was a token that is good for one use used before? |
//! | [`unit_user`] | is a token of another cell one of a unit user? |
//! | [`pkce`] | does a verifier fit the challenge of a code? |
//! | [`pace`] | did too many logins from this address fail lately? |
//! | [`proven`] | was this password right a moment ago? |
//! | [`scope`] | which of the wanted scopes are granted? |

pub mod account;
pub mod bearer;
pub mod cell_key;
pub mod cell_token;
pub mod client;
pub mod hashing;
pub mod id_token;
pub mod introspect;
pub mod ip_range;
pub mod issue;
pub mod login;
pub mod login_history;
pub mod login_rate_limiter;
pub mod one_time_tokens;
pub mod password_rule;
pub mod pkce;
pub mod scope;
pub mod unit_keys;
pub mod unit_user;
pub mod verified_passwords;
pub mod visitor;

pub use account::hash_password;
pub use password_rule::PasswordRule;
pub use unit_keys::UnitKeys;
