//! A call of a plugin, and what it may use of the unit.

use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Fields that authenticate the client at this unit. They are for nobody else.
const CLIENT_SECRETS: [&str; 2] = ["client_secret", "client_assertion"];

/// The part of the unit that plugins use.
#[async_trait]
pub trait PluginHost: Send + Sync {
    /// Sends a request to a URL that the operator has chosen: any address is allowed. Redirects are not followed.
    ///
    /// # Errors
    /// An error if there is no response in 20 seconds, or its body has more than `max_bytes`.
    async fn send(
        &self,
        request: Request<Bytes>,
        max_bytes: usize,
    ) -> Result<Response<Bytes>, BoxError>;

    /// Milliseconds since 1970.
    fn now_ms(&self) -> i64;

    /// A time that never goes back.
    fn monotonic(&self) -> Instant;

    /// A new random text of 32 hexadecimal digits.
    fn new_id(&self) -> String;

    /// Fills all of `out` with random bytes.
    ///
    /// # Errors
    /// An error if the source of randomness fails.
    fn fill_random(&self, out: &mut [u8]) -> Result<(), BoxError>;
}

/// A token request as a plugin gets it.
pub struct PluginCall<'a> {
    /// The URL of the cell, with its final slash.
    pub cell_url: &'a str,
    /// The form fields in their order. A name can be there several times.
    pub fields: &'a [(String, String)],
    /// The part of the unit that the plugin may use.
    pub host: &'a dyn PluginHost,
}

impl PluginCall<'_> {
    /// The first value of a field; `None` if it is absent or empty.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// The fields that somebody outside the unit gets: those with these names, or all but those that authenticate the client.
    pub fn passed_fields<'a>(
        &'a self,
        names: Option<&'a [String]>,
    ) -> impl Iterator<Item = &'a (String, String)> {
        let is_passed = move |name: &str| match names {
            Some(names) => names.iter().any(|known| known == name),
            None => !CLIENT_SECRETS.contains(&name),
        };
        self.fields.iter().filter(move |(name, _)| is_passed(name))
    }
}
