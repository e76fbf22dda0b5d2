//! The spelling of header names in responses: as they are registered (`ETag`, `WWW-Authenticate`), not in lower case.
//!
//! Names have no letter case (RFC 9110, section 5.1), but programs in the field compare them literally. hyper writes names in
//! lower case or with a capital letter after each hyphen. It has a map of other spellings too, which a proxy hands on from a
//! message that it received to the one that it sends; its type is private, and documented as an extension of the request
//! ([`preserve_header_case`](http1::Builder::preserve_header_case)). So a request with the names is received once, in memory,
//! and what came with it is added to each response. The alternatives were a fork of hyper, and changing the bytes of each
//! response head after hyper has written them.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::{Extensions, HeaderMap, HeaderName, Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

/// The names that have more capital letters than one after each hyphen, and that many responses have. The fewer they are, the
/// less is copied for each response.
const USUAL_NAMES: &[&str] = &["DataServiceVersion", "ETag", "X-Personium-RequestKey"];

/// The other ones. A response can have as many headers of a name as there are here; those that follow are written like names
/// that are not here.
const RARE_NAMES: &[&str] = &[
    "DAV",
    "MS-Author-Via",
    "WWW-Authenticate",
    "WWW-Authenticate",
    "WWW-Authenticate",
    "WWW-Authenticate",
];

/// The names of [`RARE_NAMES`] as the HTTP library has them.
static RARE: [HeaderName; 3] = [
    HeaderName::from_static("dav"),
    HeaderName::from_static("ms-author-via"),
    http::header::WWW_AUTHENTICATE,
];

/// The size of the buffer between both ends of the connection in memory.
const BUFFER_BYTES: usize = 4 << 10;

/// The spellings that are added to each response.
#[derive(Clone, Default)]
pub struct HeaderNames {
    usual: Extensions,
    /// Those of the usual and of the rare names.
    all: Extensions,
}

impl HeaderNames {
    /// Receives the names. If that fails, they are spelled with one capital letter after each hyphen.
    pub async fn receive() -> Self {
        Self {
            usual: receive(USUAL_NAMES).await,
            all: receive(&[USUAL_NAMES, RARE_NAMES].concat()).await,
        }
    }

    /// Adds the spellings of its headers to a response.
    pub fn add_to<B>(&self, response: &mut Response<B>) {
        let spellings = if has_rare_name(response.headers()) {
            &self.all
        } else {
            &self.usual
        };
        response.extensions_mut().extend(spellings.clone());
    }
}

fn has_rare_name(headers: &HeaderMap) -> bool {
    RARE.iter().any(|name| headers.contains_key(name))
}

/// The spellings of these names.
async fn receive(names: &[&str]) -> Extensions {
    let received = Arc::new(OnceLock::new());
    let (mut client, server) = tokio::io::duplex(BUFFER_BYTES);
    let lines: String = names.iter().map(|name| format!("{name}: x\r\n")).collect();
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n");
    let service = service_fn(|request: Request<Incoming>| {
        let _ = received.set(request.extensions().clone());
        async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
    });
    let connection = http1::Builder::new()
        .preserve_header_case(true)
        .serve_connection(TokioIo::new(server), service);
    let (sent, served) = tokio::join!(client.write_all(request.as_bytes()), connection);
    if sent.is_err() || served.is_err() || received.get().is_none() {
        tracing::warn!("failed to set the spelling of header names");
    }
    received.get().cloned().unwrap_or_default()
}
