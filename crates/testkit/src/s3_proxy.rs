//! A proxy before an object store, or another server that is reached by HTTP, which disturbs chosen requests.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type ProxyBody = UnsyncBoxBody<Bytes, io::Error>;
type Answer = Result<Response<ProxyBody>, io::Error>;
type Choice = Box<dyn Fn(&Method, &Uri) -> bool + Send>;

/// The thing that happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// It is answered with a status and this code in the body, and does not reach the server.
    Status(u16, &'static str),
    /// The connection is closed before the server gets the request.
    CutRequest,
    /// The connection is closed when the server has answered.
    LoseResponse,
    /// The connection is closed after so many bytes of the body of the response.
    CutResponse(usize),
    /// The response ends after so many bytes, and its head says that this is its length.
    ShortenResponse(usize),
    /// This byte of the body of the response is changed.
    ChangeByte(usize),
    /// Nothing is answered for this time.
    Delay(Duration),
}

/// The rest of the requests that are disturbed.
struct Plan {
    choice: Choice,
    disturbance: Disturbance,
    left: usize,
}

/// A proxy on a free port. Dropping it closes its port.
pub struct S3Proxy {
    port: u16,
    plans: Arc<Mutex<Vec<Plan>>>,
    seen: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for S3Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl S3Proxy {
    /// Starts a proxy before the server with this address.
    pub async fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (plans, seen) = (Arc::default(), Arc::default());
        let forwarder = Forwarder {
            server: server.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            plans: Arc::clone(&plans),
            seen: Arc::clone(&seen),
        };
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let forwarder = forwarder.clone();
                tokio::spawn(async move {
                    let serve = service_fn(move |request| forwarder.clone().answer(request));
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), serve)
                        .await;
                });
            }
        });
        Self {
            port,
            plans,
            seen,
            task,
        }
    }

    /// The URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Disturbs the next `times` requests that `choice` chooses.
    pub fn disturb(
        &self,
        times: usize,
        disturbance: Disturbance,
        choice: impl Fn(&Method, &Uri) -> bool + Send + 'static,
    ) {
        self.plans.lock().unwrap().push(Plan {
            choice: Box::new(choice),
            disturbance,
            left: times,
        });
    }

    /// Ends all disturbances.
    pub fn calm(&self) {
        self.plans.lock().unwrap().clear();
    }

    /// Returns the requests since the last call, such as `PUT /bucket/name?partNumber=1`.
    #[must_use]
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

#[derive(Clone)]
struct Forwarder {
    server: String,
    client: Client<HttpConnector, Full<Bytes>>,
    plans: Arc<Mutex<Vec<Plan>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Forwarder {
    fn next_disturbance(&self, method: &Method, uri: &Uri) -> Option<Disturbance> {
        let mut plans = self.plans.lock().unwrap();
        let plan = plans
            .iter_mut()
            .find(|plan| plan.left > 0 && (plan.choice)(method, uri))?;
        plan.left -= 1;
        Some(plan.disturbance)
    }

    fn answer(self, request: Request<Incoming>) -> BoxFuture<'static, Answer> {
        Box::pin(async move { self.answer_disturbed(request).await })
    }

    async fn answer_disturbed(&self, request: Request<Incoming>) -> Answer {
        let (head, body) = request.into_parts();
        let shown = format!("{} {}", head.method, head.uri);
        self.seen.lock().unwrap().push(shown);
        let disturbance = self.next_disturbance(&head.method, &head.uri);
        match disturbance {
            Some(Disturbance::CutRequest) => return Err(io::Error::other("cut")),
            Some(Disturbance::Status(status, code)) => {
                collect(body).await?;
                return Ok(error_response(status, code));
            }
            _ => {}
        }
        let body = collect(body).await?;
        if let Some(Disturbance::Delay(delay)) = disturbance {
            tokio::time::sleep(delay).await;
        }
        let response = self.forward(head, body).await?;
        disturb(response, disturbance).await
    }

    /// The header `Host` stays that of the proxy, which the signature names.
    async fn forward(
        &self,
        head: http::request::Parts,
        body: Bytes,
    ) -> Result<Response<Incoming>, io::Error> {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder()
            .method(head.method)
            .uri(format!("http://{}{path}", self.server))
            .body(Full::new(body))
            .map_err(io::Error::other)?;
        *request.headers_mut() = head.headers;
        self.client.request(request).await.map_err(io::Error::other)
    }
}

async fn collect(body: Incoming) -> Result<Bytes, io::Error> {
    let collected = body.collect().await.map_err(io::Error::other)?;
    Ok(collected.to_bytes())
}

fn error_response(status: u16, code: &str) -> Response<ProxyBody> {
    let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
    let mut response = Response::new(whole(text.into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

fn whole(bytes: Bytes) -> ProxyBody {
    Full::new(bytes)
        .map_err(|never: Infallible| match never {})
        .boxed_unsync()
}

async fn disturb(
    response: Response<Incoming>,
    disturbance: Option<Disturbance>,
) -> Result<Response<ProxyBody>, io::Error> {
    let (mut head, body) = response.into_parts();
    let Some(disturbance) = disturbance else {
        return Ok(Response::from_parts(
            head,
            body.map_err(io::Error::other).boxed_unsync(),
        ));
    };
    if disturbance == Disturbance::LoseResponse {
        return Err(io::Error::other("lost"));
    }
    let bytes = collect(body).await?;
    let body = match disturbance {
        Disturbance::CutResponse(at) => {
            let begin = bytes.slice(..at.min(bytes.len()));
            let frames: [Result<Frame<Bytes>, io::Error>; 2] =
                [Ok(Frame::data(begin)), Err(io::Error::other("cut"))];
            let frames = futures_util::stream::iter(frames).then(|frame| async {
                // The head and the bytes before leave first.
                tokio::time::sleep(Duration::from_millis(20)).await;
                frame
            });
            StreamBody::new(frames).boxed_unsync()
        }
        Disturbance::ShortenResponse(at) => {
            let begin = bytes.slice(..at.min(bytes.len()));
            head.headers
                .insert(header::CONTENT_LENGTH, begin.len().into());
            whole(begin)
        }
        Disturbance::ChangeByte(at) => {
            let mut changed = bytes.to_vec();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 1;
            }
            whole(changed.into())
        }
        _ => whole(bytes),
    };
    Ok(Response::from_parts(head, body))
}
