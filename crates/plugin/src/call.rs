//! A call of a plugin, and what it may use of the unit.

use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

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
}
