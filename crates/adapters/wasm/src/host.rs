//! The part of the unit that the code of a plugin sees.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use percent_encoding::percent_decode_str;
use tokio::sync::{mpsc, oneshot};
use url::Url;

use crate::bindings::authentication::personium::authentication::{
    clock, http as guest_http, log, random,
};
use crate::memory_budget::CallLimits;

/// The largest number of requests over HTTP of a call.
const MAX_REQUESTS: usize = 16;
/// The largest number of headers of a request, and of a response as the plugin gets it.
const MAX_HEADERS: usize = 64;
/// The largest number of random bytes that are returned at once.
const MAX_RANDOM_BYTES: u32 = 1_024;
/// The largest number of entries that a call writes into the log.
const MAX_LOG_ENTRIES: usize = 20;
/// The largest length of an entry in characters.
const MAX_LOG_CHARS: usize = 1_000;
/// Methods that open a tunnel, or send the headers back.
const REFUSED_METHODS: [Method; 2] = [Method::CONNECT, Method::TRACE];
/// Headers that belong to the connection.
const REFUSED_HEADERS: [HeaderName; 8] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A question of the code of a plugin that is answered where the call began.
pub(crate) enum HostCall {
    /// A request over HTTP. The error is a text for the plugin.
    Send(
        Box<Request<Bytes>>,
        oneshot::Sender<Result<Response<Bytes>, String>>,
    ),
    /// Milliseconds since 1970.
    Now(oneshot::Sender<i64>),
    /// So many random bytes. The error is one of the source of randomness.
    Random(usize, oneshot::Sender<Result<Vec<u8>, String>>),
}

/// The state of a call, which its code changes by what it imports.
pub(crate) struct GuestState {
    /// The limits of its memory.
    pub(crate) limits: CallLimits,
    /// How often the code was interrupted.
    pub(crate) ticks: u32,
    plugin: String,
    /// The beginnings of URLs that it may send requests to.
    urls: Vec<Url>,
    host: mpsc::Sender<HostCall>,
    requests: usize,
    log_entries: usize,
}

impl GuestState {
    /// The state of a call of the plugin with this name that begins.
    pub(crate) fn new(
        plugin: &str,
        urls: &[Url],
        limits: CallLimits,
        host: mpsc::Sender<HostCall>,
    ) -> Self {
        Self {
            limits,
            ticks: 0,
            plugin: plugin.to_owned(),
            urls: urls.to_vec(),
            host,
            requests: 0,
            log_entries: 0,
        }
    }

    async fn ask<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> HostCall,
    ) -> wasmtime::Result<T> {
        let (sender, receiver) = oneshot::channel();
        let ended = || wasmtime::Error::msg("the call has ended");
        let sent = self.host.send(question(sender)).await;
        sent.map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())
    }

    /// The request that is sent; the error is a text for the plugin.
    fn request(&self, asked: guest_http::Request) -> Result<Request<Bytes>, String> {
        let url = Url::parse(&asked.url).map_err(|error| format!("url: {error}"))?;
        if !self.urls.iter().any(|granted| is_below(&url, granted)) {
            tracing::warn!(
                plugin.name = self.plugin,
                url.host = url.host_str().unwrap_or_default(),
                "a plugin asked for a URL that is not granted"
            );
            return Err("the operator has not granted this URL".to_owned());
        }
        let method = Method::from_bytes(asked.method.as_bytes())
            .ok()
            .filter(|method| !REFUSED_METHODS.contains(method))
            .ok_or("this method is not allowed")?;
        if asked.headers.len() > MAX_HEADERS {
            return Err(format!("more than {MAX_HEADERS} headers"));
        }
        let mut request = Request::new(Bytes::from(asked.body));
        *request.method_mut() = method;
        *request.uri_mut() = url
            .as_str()
            .parse()
            .map_err(|error| format!("url: {error}"))?;
        for header in asked.headers {
            let name = HeaderName::from_bytes(header.name.as_bytes())
                .ok()
                .filter(|name| !REFUSED_HEADERS.contains(name))
                .filter(|name| !name.as_str().starts_with("proxy-"))
                .ok_or_else(|| format!("the header {:?} is not allowed", header.name))?;
            let value = HeaderValue::from_str(&header.value)
                .map_err(|_| format!("the value of the header {name} is not allowed"))?;
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }
}

/// Whether a server may read a part of a path as the folder above: `..`, also percent-encoded, with encoded slashes, or with parameters
/// behind it. What is not encoded is resolved already.
fn leads_upwards(path: &str) -> bool {
    let mut text = path.to_owned();
    // Some servers decode twice.
    for _ in 0..2 {
        text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
        let mut segments = text.split(['/', '\\']);
        if segments.any(|segment| segment.split(';').next() == Some("..")) {
            return true;
        }
    }
    false
}

/// Whether a URL is a granted one, or below it.
fn is_below(url: &Url, granted: &Url) -> bool {
    let is_plain =
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    // Both are normalized: no dot segments, no default port, host in lower case.
    let is_same_server = url.scheme() == granted.scheme()
        && url.host() == granted.host()
        && url.port_or_known_default() == granted.port_or_known_default();
    let is_path = match url.path().strip_prefix(granted.path()) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || granted.path().ends_with('/'),
        None => false,
    };
    is_plain && is_same_server && is_path && !leads_upwards(url.path())
}

fn response(sent: Response<Bytes>) -> guest_http::Response {
    let headers = sent.headers().iter().take(MAX_HEADERS);
    guest_http::Response {
        status: sent.status().as_u16(),
        headers: headers
            .map(|(name, value)| guest_http::Header {
                name: name.as_str().to_owned(),
                value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            })
            .collect(),
        body: sent.into_body().to_vec(),
    }
}

impl guest_http::Host for GuestState {
    async fn send(
        &mut self,
        request: guest_http::Request,
    ) -> wasmtime::Result<Result<guest_http::Response, String>> {
        self.requests += 1;
        if self.requests > MAX_REQUESTS {
            return Ok(Err(format!("more than {MAX_REQUESTS} requests")));
        }
        let request = match self.request(request) {
            Ok(request) => request,
            Err(text) => return Ok(Err(text)),
        };
        let sent = self
            .ask(|reply| HostCall::Send(Box::new(request), reply))
            .await?;
        Ok(sent.map(response))
    }
}

impl clock::Host for GuestState {
    async fn now(&mut self) -> wasmtime::Result<u64> {
        let now = self.ask(HostCall::Now).await?;
        Ok(u64::try_from(now).unwrap_or_default())
    }
}

impl random::Host for GuestState {
    async fn bytes(&mut self, length: u32) -> wasmtime::Result<Vec<u8>> {
        let length = length.min(MAX_RANDOM_BYTES) as usize;
        let bytes = self.ask(|reply| HostCall::Random(length, reply)).await?;
        bytes.map_err(wasmtime::Error::msg)
    }
}

impl log::Host for GuestState {
    async fn write(&mut self, level: log::Level, text: String) -> wasmtime::Result<()> {
        self.log_entries += 1;
        if self.log_entries > MAX_LOG_ENTRIES {
            return Ok(());
        }
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let text: String = text.chars().take(MAX_LOG_CHARS).map(shown).collect();
        let plugin = &self.plugin;
        match level {
            log::Level::Debug => tracing::debug!(plugin.name = plugin, text, "plugin"),
            log::Level::Info => tracing::info!(plugin.name = plugin, text, "plugin"),
            log::Level::Warn => tracing::warn!(plugin.name = plugin, text, "plugin"),
            log::Level::Error => tracing::error!(plugin.name = plugin, text, "plugin"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_granted_by_server_and_whole_segments_of_the_path() {
        let granted = |granted: &str, url: &str| {
            is_below(&Url::parse(url).unwrap(), &Url::parse(granted).unwrap())
        };
        for url in [
            "https://a.example/login",
            "https://A.example:443/login/x?y=z",
            "https://a.example/x/../login",
            "https://a.example/login/a%2fb/..c/%25",
        ] {
            assert!(granted("https://a.example/login", url), "{url}");
        }
        for url in [
            "http://a.example/login",
            "https://a.example:444/login",
            "https://a.example/loginx",
            "https://a.example/login/../admin",
            "https://a.example/login/%2e%2e/admin",
            "https://a.example/login/..%2fadmin",
            "https://a.example/login/%2e%2e%2fadmin",
            "https://a.example/login/x%2f..%2f..%2fadmin",
            "https://a.example/login/..%5cadmin",
            "https://a.example/login/..;/admin",
            "https://a.example/login/%252e%252e/admin",
            "https://a.example/",
            "https://a.example.evil.example/login",
            "https://u@a.example/login",
            "https://a.example@evil.example/login",
            "https://a.example/login#x",
            "https://evil.example\\@a.example/login",
        ] {
            assert!(!granted("https://a.example/login", url), "{url}");
        }
        assert!(granted("https://a.example", "https://a.example/any/path"));
        assert!(granted("https://a.example/b/", "https://a.example/b/c"));
        assert!(!granted("https://a.example/b/", "https://a.example/b"));
    }
}
