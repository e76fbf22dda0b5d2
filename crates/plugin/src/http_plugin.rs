//! The plugin that asks a service of the operator: JSON over HTTPS, with a signed request and a signed answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use personium_operator_files::read_secret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::PluginCall;
use crate::identity::{AuthPlugin, PluginError, PluginIdentity};
use crate::manifest::{PluginKind, PluginSource};
use crate::oauth_error::{OAuthError, printable_description};
use crate::service_url::check_service_url;
use crate::signature::SigningKey;

/// The header with the signature of a request or of an answer.
const SIGNATURE_HEADER: &str = "x-personium-signature";
/// The version of the format of requests and answers.
const FORMAT_VERSION: u32 = 1;
/// The largest answer in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// The least length of the secret in bytes.
const MIN_SECRET_BYTES: usize = 32;
/// The default of the time for a call in milliseconds.
const TIMEOUT_MS_DEFAULT: u64 = 5_000;
/// The longest time for a call in milliseconds.
const TIMEOUT_MS_MAX: u64 = 20_000;

/// The kind of plugins that ask a service of the operator.
#[derive(Debug)]
pub struct HttpPluginKind;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpSettings {
    url: String,
    secret_file: PathBuf,
    timeout_ms: Option<u64>,
    fields: Option<Vec<String>>,
}

impl PluginKind for HttpPluginKind {
    fn name(&self) -> &'static str {
        "http"
    }

    fn load(&self, source: PluginSource<'_>) -> Result<Arc<dyn AuthPlugin>, String> {
        let settings: HttpSettings = source
            .settings
            .try_into()
            .map_err(|error| format!("{error}"))?;
        check_service_url(&settings.url)?;
        let secret = read_secret(&source.folder.join(&settings.secret_file))?;
        if secret.reveal().len() < MIN_SECRET_BYTES {
            return Err(format!(
                "the secret must have at least {MIN_SECRET_BYTES} bytes"
            ));
        }
        let timeout_ms = settings.timeout_ms.unwrap_or(TIMEOUT_MS_DEFAULT);
        if !(1..=TIMEOUT_MS_MAX).contains(&timeout_ms) {
            return Err(format!("timeout_ms must be from 1 to {TIMEOUT_MS_MAX}"));
        }
        Ok(Arc::new(HttpPlugin {
            url: settings.url,
            key: SigningKey::new(secret.reveal().as_bytes()),
            timeout: Duration::from_millis(timeout_ms),
            fields: settings.fields,
            name: source.declaration.name.clone(),
            grant_type: source.declaration.grant_type.clone(),
        }))
    }
}

/// A plugin that asks a service.
struct HttpPlugin {
    url: String,
    key: SigningKey,
    timeout: Duration,
    /// The fields that the service gets; `None` for all but those of the client.
    fields: Option<Vec<String>>,
    name: String,
    grant_type: String,
}

/// The body of a request.
#[derive(Serialize)]
struct Question<'a> {
    version: u32,
    id: &'a str,
    /// Seconds since 1970.
    time: i64,
    plugin: &'a str,
    grant_type: &'a str,
    cell: &'a str,
    /// The values of each field in their order, by name.
    fields: Map<String, Value>,
}

/// The body of an answer.
#[derive(Deserialize)]
struct Answer {
    id: String,
    account: Option<AnswerAccount>,
    error: Option<String>,
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct AnswerAccount {
    name: String,
    #[serde(rename = "type")]
    account_type: String,
}

#[async_trait]
impl AuthPlugin for HttpPlugin {
    async fn authenticate(
        &self,
        call: &PluginCall<'_>,
    ) -> Result<Option<PluginIdentity>, PluginError> {
        let id = call.host.new_id();
        let request = self.request(call, &id)?;
        let sending = call.host.send(request, MAX_ANSWER_BYTES);
        let response = tokio::time::timeout(self.timeout, sending).await;
        let response = response.map_err(PluginError::unavailable)?;
        self.read(&response.map_err(PluginError::Unavailable)?, &id)
    }
}

impl HttpPlugin {
    fn request(&self, call: &PluginCall<'_>, id: &str) -> Result<Request<Bytes>, PluginError> {
        let mut fields = Map::new();
        for (name, value) in call.passed_fields(self.fields.as_deref()) {
            let values = fields.entry(name.as_str());
            if let Value::Array(values) = values.or_insert_with(|| Value::Array(Vec::new())) {
                values.push(Value::String(value.clone()));
            }
        }
        let question = Question {
            version: FORMAT_VERSION,
            id,
            time: call.host.now_ms().div_euclid(1_000),
            plugin: &self.name,
            grant_type: &self.grant_type,
            cell: call.cell_url,
            fields,
        };
        let body = serde_json::to_vec(&question).map_err(PluginError::broken)?;
        Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json")
            .header(SIGNATURE_HEADER, self.key.sign_request(&body))
            .body(Bytes::from(body))
            .map_err(PluginError::broken)
    }

    /// Reads an answer to the request with this id.
    fn read(
        &self,
        response: &Response<Bytes>,
        id: &str,
    ) -> Result<Option<PluginIdentity>, PluginError> {
        let status = response.status();
        if status != StatusCode::OK {
            let text = format!("the service answered with status {}", status.as_u16());
            return Err(match status.is_server_error() {
                true => PluginError::unavailable(text),
                false => PluginError::broken(text),
            });
        }
        let signature = response.headers().get(SIGNATURE_HEADER);
        let signature = signature.and_then(|value| value.to_str().ok());
        if !self
            .key
            .verifies_answer(signature.unwrap_or_default(), response.body())
        {
            return Err(PluginError::broken(
                "the answer is not signed with the secret",
            ));
        }
        let answer: Answer =
            serde_json::from_slice(response.body()).map_err(PluginError::broken)?;
        if answer.id != id {
            return Err(PluginError::broken("the answer is to another request"));
        }
        match (answer.account, answer.error) {
            (Some(_), Some(_)) => Err(PluginError::broken(
                "the answer has an account and an error",
            )),
            (None, None) => Ok(None),
            (Some(account), None) => Ok(Some(PluginIdentity {
                name: account.name,
                account_type: account.account_type,
            })),
            (None, Some(error)) => {
                let Some(error) = OAuthError::parse(&error) else {
                    return Err(PluginError::broken("the answer has an unknown error"));
                };
                let description = answer.error_description.unwrap_or_default();
                Err(PluginError::refused(
                    error,
                    &printable_description(&description),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests;
