//! The access log: one line for each request, written when the response has been sent.
//!
//! A request only hands its values over to a bounded queue; a thread of its own formats and writes the lines. If the
//! output is slower than the requests, lines are lost and counted, and no request waits.

mod body;
mod line;
mod writer;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, Uri, Version};
use personium_api::Body;
use personium_types::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

use crate::config::{AccessLogFormat, LogConfig};
use crate::logging;
use body::RecordedBody;
use line::AccessLine;
use writer::LineWriter;

/// The header with which every response names the key of its request.
const REQUEST_KEY_HEADER: &str = "x-personium-requestkey";

/// The format of lines in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LineFormat {
    /// The Common Log Format, followed by the seconds until the response was sent and the request key.
    Common,
    /// A JSON object.
    Json,
}

/// Writes a line for each request.
#[derive(Debug)]
pub struct AccessLog {
    clock: Arc<dyn Clock>,
    writer: LineWriter,
}

impl AccessLog {
    /// Starts the log; `None` if the settings turn it off.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn start(config: &LogConfig, clock: &Arc<dyn Clock>) -> io::Result<Option<Arc<Self>>> {
        let format = match config.access {
            AccessLogFormat::Off => return Ok(None),
            AccessLogFormat::Common => LineFormat::Common,
            AccessLogFormat::Json => LineFormat::Json,
            AccessLogFormat::Auto if logging::is_json(config) => LineFormat::Json,
            AccessLogFormat::Auto => LineFormat::Common,
        };
        let writer = LineWriter::start(format, config.access_file.clone())?;
        Ok(Some(Arc::new(Self {
            clock: Arc::clone(clock),
            writer,
        })))
    }

    /// Copies what the line says about a request.
    pub fn request<B>(self: &Arc<Self>, request: &Request<B>, client: IpAddr) -> AccessRecord {
        self.record(
            client,
            request.method().clone(),
            Some(request.uri().clone()),
            request.version(),
        )
    }

    /// Writes the line of a request whose head could not be read.
    pub fn unreadable_request(self: &Arc<Self>, client: IpAddr, status: StatusCode) {
        let mut record = self.record(client, Method::default(), None, Version::HTTP_11);
        record.line.status = status.as_u16();
        record.write(0);
    }

    fn record(
        self: &Arc<Self>,
        client: IpAddr,
        method: Method,
        uri: Option<Uri>,
        version: Version,
    ) -> AccessRecord {
        AccessRecord {
            line: AccessLine {
                client,
                time_ms: self.clock.now_ms(),
                method,
                uri,
                version,
                status: 0,
                bytes: 0,
                elapsed: Duration::ZERO,
                request_key: None,
            },
            start: self.clock.monotonic(),
            log: Arc::clone(self),
        }
    }

    /// Opens the file again, so that another program can have renamed it.
    pub fn reopen(&self) {
        self.writer.reopen();
    }

    /// The number of lines that were lost so far.
    #[must_use]
    pub fn lost_lines(&self) -> u64 {
        self.writer.lost_lines()
    }

    /// Waits until all lines so far are written, for a short time at most.
    pub fn flush(&self) {
        self.writer.flush();
    }
}

/// The metric with the number of lost lines.
#[derive(Debug)]
pub struct LostLinesCollector(pub Arc<AccessLog>);

impl Collector for LostLinesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let counter = ConstCounter::new(self.0.lost_lines());
        let metric = encoder.encode_descriptor(
            "personium_access_log_lost_lines",
            "Lines of the access log that were lost, because the output was too slow or failed",
            None,
            counter.metric_type(),
        )?;
        counter.encode(metric)
    }
}

/// The values of a line that are known before it is written.
#[derive(Debug)]
pub struct AccessRecord {
    log: Arc<AccessLog>,
    start: std::time::Instant,
    line: AccessLine,
}

impl AccessRecord {
    /// Adds what the line says about the response. The line is written when its body has been sent or dropped.
    #[must_use]
    pub fn attach(mut self, response: Response<Body>) -> Response<Body> {
        self.line.status = response.status().as_u16();
        self.line.request_key = response.headers().get(REQUEST_KEY_HEADER).cloned();
        if http_body::Body::is_end_stream(response.body()) {
            self.write(0);
            return response;
        }
        response.map(|body| RecordedBody::wrap(body, self))
    }

    fn write(mut self, bytes: u64) {
        self.line.bytes = bytes;
        let now = self.log.clock.monotonic();
        self.line.elapsed = now.saturating_duration_since(self.start);
        let Self { log, line, .. } = self;
        log.writer.send(line);
    }
}
