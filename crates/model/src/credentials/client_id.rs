//! Ids of OAuth clients in tokens.
//!
//! The schema of a token is the id of the client that it was issued to. For a confidential client, one that keeps a
//! secret, it ends with `#c`.

/// The suffix of the schema of a confidential client.
const CONFIDENTIAL_SUFFIX: &str = "#c";

/// The id of the client in a schema, without the suffix of confidential clients.
#[must_use]
pub fn of_schema(schema: &str) -> &str {
    schema.strip_suffix(CONFIDENTIAL_SUFFIX).unwrap_or(schema)
}

/// The schema of tokens for a confidential client.
#[must_use]
pub fn confidential_schema(client_id: &str) -> String {
    format!("{client_id}{CONFIDENTIAL_SUFFIX}")
}

/// Whether a token was issued to a confidential client.
#[must_use]
pub fn is_confidential(schema: &str) -> bool {
    schema.ends_with(CONFIDENTIAL_SUFFIX)
}

/// Whether a client may introspect tokens of some schema: its own ones, and as a confidential client also those
/// issued to its id without proof. The reverse is refused: tokens of the confidential client are not shown to a
/// client that only claims the same id.
///
/// `own` is the schema of the client that asks.
#[must_use]
pub fn may_introspect(own: &str, schema: &str) -> bool {
    own == schema || (is_confidential(own) && of_schema(own) == schema)
}
