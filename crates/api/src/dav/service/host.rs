//! The unit as scripts may use it: requests with an identity of the service, its sources, its log.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{self, HeaderName, HeaderValue};
use http::{Request, request};
use personium_model::auth::grant::{Grant, TokenSubject};
use personium_model::auth::token_issuer::TokenIssuer;
use personium_model::keys::JobKey;
use personium_model::locate::Target;
use personium_model::service_job;
use personium_model::{CellContext, Unit};
use personium_plugin::{ExtensionError, PluginSet};
use personium_script::{
    ExtensionCall, HostError, HostErrorKind, HostRequest, HostResponse, LogLevel, Mail,
    RequestBody, ScriptFailure, ScriptHost, TokenKind,
};
use personium_types::error::chain;
use personium_types::{Code, Error, ExtensionValue};

use super::script_log::ScriptLog;
use super::source::Sources;
use super::streams::{InputStream, request_body};
use crate::access;
use crate::body::{self, Body};
use crate::carried_chain::CarriedChain;
use crate::forwarded;
use crate::http_client::{FetchError, HttpClient};
use crate::mail_client;
use crate::plugin_host::RequestHost;
use crate::request_context::CellRequest;

/// The lifetime of a token of the service subject, in milliseconds.
const TOKEN_TTL_MS: i64 = 60 * 60 * 1000;
/// The scope of the tokens of service subjects.
const SUBJECT_SCOPE: &str = "root";
const REQUEST_KEY: &str = "x-personium-requestkey";
/// Where the token of the operator for Slack is sent to.
const SLACK_URL: &str = "https://slack.com/api/chat.postMessage";
/// The headers of requests that scripts cannot set.
const NOT_OF_SCRIPTS: &[HeaderName] = &[
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::PROXY_AUTHORIZATION,
];

/// The unit as the script of one request sees it.
pub(super) struct ServiceHost {
    unit: Arc<Unit>,
    context: Arc<CellContext>,
    http_client: HttpClient,
    sources: Sources,
    subject: Option<String>,
    box_schema: Option<String>,
    /// The header `Authorization` of the caller.
    caller: Option<String>,
    request_key: String,
    chain: CarriedChain,
    /// The job that the script runs for: then so long that the cell may have changed much.
    job: Option<JobKey>,
    log: ScriptLog,
    /// The plugins of the time when the request began.
    plugins: Arc<PluginSet>,
}

impl ServiceHost {
    pub(super) fn new(
        request: CellRequest,
        target: &Target,
        (sources, subject): (Sources, Option<String>),
        (log, plugins): (ScriptLog, Arc<PluginSet>),
    ) -> Self {
        Self {
            request_key: request.request_key.clone(),
            chain: CarriedChain::of(&request),
            unit: Arc::clone(&request.unit),
            context: Arc::clone(&request.context),
            caller: access::authorization(&request),
            sources,
            subject,
            box_schema: target.target_box.schema.clone(),
            job: request.job.as_ref().map(|run| run.job),
            log,
            plugins,
            http_client: request.request.http_client,
        }
    }

    /// The head of a request, with its identity.
    async fn head(&self, sent: &HostRequest, is_own: bool) -> Result<request::Parts, HostError> {
        let invalid = |_| HostError::new(HostErrorKind::Argument, "invalid request");
        let request = Request::builder()
            .method(sent.method.as_str())
            .uri(&sent.url);
        let (mut head, ()) = request
            .body(())
            .map_err(|_| HostError::new(HostErrorKind::Url, "invalid URL or method"))?
            .into_parts();
        for (name, value) in &sent.headers {
            let name: HeaderName = name.parse().map_err(|_| invalid(()))?;
            let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| invalid(()))?;
            let is_of_proxy = name.as_str().starts_with(forwarded::PREFIX);
            let is_token = name == header::AUTHORIZATION && sent.token != TokenKind::None;
            if !NOT_OF_SCRIPTS.contains(&name) && !is_of_proxy && !is_token {
                head.headers.append(name, value);
            }
        }
        self.chain.put_into(&mut head.headers, is_own);
        if is_own && !head.headers.contains_key(REQUEST_KEY) {
            let value = HeaderValue::from_str(&self.request_key).map_err(|_| invalid(()))?;
            head.headers.insert(REQUEST_KEY, value);
        }
        if let Some(authorization) = self.authorization(sent, is_own).await? {
            let value = HeaderValue::from_str(&authorization).map_err(|_| invalid(()))?;
            head.headers.insert(header::AUTHORIZATION, value);
        }
        Ok(head)
    }

    /// The header `Authorization` of a request. The token of the caller is for this unit only.
    async fn authorization(
        &self,
        sent: &HostRequest,
        is_own: bool,
    ) -> Result<Option<String>, HostError> {
        match &sent.token {
            TokenKind::None => Ok(None),
            TokenKind::Caller => Ok(self.caller.clone().filter(|_| is_own)),
            TokenKind::Given(token) => Ok(Some(format!("Bearer {token}"))),
            TokenKind::Slack => {
                let token = self.unit.settings().slack.token.as_ref();
                let token = token.filter(|_| sent.url == SLACK_URL);
                let absent =
                    || HostError::new(HostErrorKind::Absent, "there is no token for Slack");
                let token = token.ok_or_else(absent)?;
                Ok(Some(format!("Bearer {}", token.reveal())))
            }
            TokenKind::Service => {
                let token = self.token_for(&self.cell_of(&sent.url)).await?;
                Ok(Some(format!("Bearer {token}")))
            }
        }
    }

    /// The URL of the cell, or of the unit, that a URL belongs to.
    fn cell_of(&self, url: &str) -> String {
        let urls = self.unit.urls();
        if let Some((cell, _)) = urls.split(url) {
            return match cell.parse::<personium_types::name::CellName>() {
                Ok(_) => urls.cell(&cell),
                Err(_) => urls.unit(),
            };
        }
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let mut parts = rest.splitn(3, ['/', '?', '#']);
        let (authority, cell) = (parts.next().unwrap_or_default(), parts.next());
        match cell {
            Some(cell) if !cell.is_empty() => format!("{scheme}://{authority}/{cell}/"),
            _ => format!("{scheme}://{authority}/"),
        }
    }

    /// The cell as it is now for a job, else as the request has found it.
    async fn current_context(&self) -> personium_types::Result<Arc<CellContext>> {
        if self.job.is_none() {
            return Ok(Arc::clone(&self.context));
        }
        let found = self.unit.find_cell_by_id(&self.context.cell().id).await?;
        found.ok_or_else(|| Code::NoSuchCell.into())
    }

    async fn token_for(&self, cell_url: &str) -> Result<String, HostError> {
        let unknown = || HostError::new(HostErrorKind::Subject, "ServiceSubject undefined.");
        let name = self.subject.as_deref().ok_or_else(unknown)?;
        let context = self.current_context().await.map_err(|e| internal(&e))?;
        let account = context.find_account(name).await.map_err(|e| internal(&e))?;
        let account = account.filter(|account| !account.deactivated);
        let account = account.ok_or_else(|| {
            HostError::new(
                HostErrorKind::Subject,
                "The account of the service subject does not exist.",
            )
        })?;
        let grant = Grant {
            subject: TokenSubject::Resident {
                id: account.id.clone(),
                account: account.name.clone(),
                token_generation: account.token_generation.clone(),
            },
            schema: self.box_schema.clone(),
            scopes: vec![SUBJECT_SCOPE.to_owned()],
            lineage: None,
        };
        let issuer = TokenIssuer::new(&self.unit, &context);
        let own = self.unit.urls().cell(&self.context.cell().name);
        let token = match cell_url.trim_end_matches('/') == own.trim_end_matches('/') {
            true => issuer.access_token(&grant, TOKEN_TTL_MS).await,
            false => {
                issuer
                    .trans_cell_token(&grant, cell_url, TOKEN_TTL_MS)
                    .await
            }
        };
        token.map_err(|error| internal(&error))
    }
}

#[async_trait]
impl ScriptHost for ServiceHost {
    async fn send(&self, sent: HostRequest) -> Result<HostResponse, HostError> {
        let is_own = self.http_client.serves(&sent.url);
        let mut head = self.head(&sent, is_own).await?;
        let body: Body = match sent.body {
            RequestBody::Bytes(bytes) => {
                let has_length =
                    !bytes.is_empty() || matches!(head.method.as_str(), "POST" | "PUT");
                if has_length {
                    head.headers
                        .insert(header::CONTENT_LENGTH, bytes.len().into());
                }
                body::full(bytes)
            }
            RequestBody::Stream(stream) => {
                let chunked = HeaderValue::from_static("chunked");
                head.headers.insert(header::TRANSFER_ENCODING, chunked);
                request_body(stream)
            }
        };
        let depth_max = self.unit.settings().scripts.depth_max;
        let response = self
            .http_client
            .send_of_script(Request::from_parts(head, body), depth_max)
            .await
            .map_err(|error| fetch_error(&error))?;
        let (head, body) = response.into_parts();
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = head.headers.iter();
        Ok(HostResponse {
            status: head.status.as_u16(),
            headers: headers
                .map(|(name, value)| (name.as_str().to_owned(), text(value)))
                .collect(),
            body: Box::new(InputStream::new(body)),
        })
    }

    async fn read_source(&self, name: &str) -> Result<Option<String>, HostError> {
        let text = self.sources.read(&format!("{name}.js")).await;
        text.map_err(|error| internal(&error))
    }

    async fn service_token(&self, cell_url: &str) -> Result<String, HostError> {
        self.token_for(cell_url).await
    }

    async fn send_mail(&self, mail: Mail) -> Result<(), HostError> {
        let server = self.unit.settings().mail_server.as_ref();
        let absent = || HostError::new(HostErrorKind::Absent, "there is no mail server");
        let server = server.ok_or_else(absent)?;
        let id = self.uuid();
        mail_client::send(server, mail, (self.unit.now_ms(), &id)).await
    }

    async fn call_extension(&self, call: ExtensionCall) -> Result<ExtensionValue, HostError> {
        let found = self.plugins.find_extension(&call.extension);
        let absent = || HostError::new(HostErrorKind::Absent, "there is no such extension");
        let extension = found.ok_or_else(absent)?;
        let cell = self.context.cell();
        let host = RequestHost {
            unit: &self.unit,
            http_client: &self.http_client,
            chain: &self.chain,
        };
        let invoked = personium_plugin::ExtensionCall {
            cell_url: &self.unit.urls().cell(&cell.name),
            method: &call.method,
            created_with: &call.created_with,
            arguments: &call.arguments,
            host: &host,
        };
        let answer = extension.invoke(&invoked).await;
        answer.map_err(|error| {
            let code = match &error {
                ExtensionError::Refused(text) => {
                    return HostError::new(HostErrorKind::Extension, text);
                }
                ExtensionError::Unavailable(_) => Code::ExtensionUnavailable,
                ExtensionError::Broken(_) => Code::ExtensionBroken,
            };
            let (plugin, error) = (&extension.declaration().name, chain(&error));
            tracing::error!(cell.id = %cell.id, plugin.name = plugin, error, "a script extension failed");
            let shown = Error::new(code).with(call.extension);
            let text = format!("{}: {}", code.as_str(), shown.message());
            HostError::new(HostErrorKind::Extension, &text)
        })
    }

    fn log(&self, level: LogLevel, text: &str) {
        if self.log.add(level, text) {
            tracing::debug!(cell.id = %self.context.cell().id, "script: {text}");
        }
    }

    async fn begins(&self) -> Result<(), ScriptFailure> {
        let Some(job) = &self.job else {
            return Ok(());
        };
        match service_job::begin(&self.unit, job).await {
            Ok(true) => Ok(()),
            // It is over; who runs it finds that out.
            Ok(false) => Err(ScriptFailure::Busy),
            Err(error) => {
                let (cell, error) = (job.cell, chain(&error));
                tracing::warn!(cell.id = %cell, %error, "failed to note the begin of a job of a service, will retry");
                Err(ScriptFailure::Busy)
            }
        }
    }

    async fn ended(&self, failure: Option<&ScriptFailure>) {
        self.log.store(failure).await;
    }

    fn uuid(&self) -> String {
        self.unit.random().uuid().to_string()
    }
}

/// A failure of the unit, as a script sees it: the code, never its cause.
fn internal(error: &Error) -> HostError {
    tracing::warn!(error = %chain(error), "a request of a script failed");
    let kind = match error.code() {
        Code::TargetInvalid => HostErrorKind::Url,
        Code::AuthnFailed => HostErrorKind::Subject,
        _ => HostErrorKind::Internal,
    };
    HostError::new(kind, error.code().as_str())
}

fn fetch_error(error: &FetchError) -> HostError {
    let kind = match error {
        FetchError::Url => HostErrorKind::Url,
        FetchError::Address => HostErrorKind::Address,
        FetchError::Tls | FetchError::Connect(_) => HostErrorKind::Connect,
        FetchError::Response(_) => HostErrorKind::Response,
        FetchError::Timeout => HostErrorKind::Timeout,
        FetchError::LoopbackDepth => HostErrorKind::Depth,
    };
    HostError::new(kind, &error.to_string())
}
