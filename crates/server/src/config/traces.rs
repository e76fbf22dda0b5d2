//! Settings of traces.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use personium_trace::TraceTarget;

use super::ConfigReader;
use super::section::section;
use super::value_parser::{
    FilePath, Fraction, Number, OneOf, Optional, Text, TraceTargetList, Url,
};

/// The clients whose requests may belong to traces of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceParents {
    /// None.
    None,
    /// Trusted proxies.
    TrustedProxies,
    /// All.
    All,
}

/// The path at a collector that receives spans, unless the URL has one.
const TRACES_PATH: &str = "/v1/traces";

section! {
    /// Settings of traces. They have an effect if an endpoint is given.
    TraceConfig "Traces" {
        /// The URL of an OpenTelemetry collector, such as http://127.0.0.1:4318, which receives the spans of requests and of
        /// background work by OTLP over HTTP (Protocol Buffers). Without a path, it is /v1/traces. By default there are no traces.
        endpoint: Option<String> = "telemetry.traces.endpoint", "", Optional(Url);
        /// A file with headers that the collector wants, such as Authorization: one in a line, as name: value. Only the operator
        /// may read it. It is read again for each message.
        headers_file: Option<PathBuf> = "telemetry.traces.headersFile", "", Optional(FilePath);
        /// The certificates of the issuers that are trusted to name the collector, in a PEM file; by default, those of the system.
        roots: Option<PathBuf> = "telemetry.traces.caFile", "", Optional(FilePath);
        /// The share of traces that are recorded, from 0 to 1. If a client that may do so has begun the trace, its decision counts.
        ratio: f64 = "telemetry.traces.ratio", "1", Fraction;
        /// The number of seconds in which the collector must answer.
        timeout_secs: u64 = "telemetry.traces.timeoutInSec", "10", Number(1..=60);
        /// The name of the service in traces.
        service_name: String = "telemetry.traces.serviceName", "personium", Text;
        /// The clients whose headers traceparent and tracestate (W3C Trace Context) make requests a part of their traces: none,
        /// trustedProxies (server.trustedProxies; these must replace or remove what their clients send), or all.
        parents: TraceParents = "telemetry.traces.parents", "none",
            OneOf(&[
                ("none", TraceParents::None),
                ("trustedProxies", TraceParents::TrustedProxies),
                ("all", TraceParents::All),
            ]);
        /// The host names of the servers that are told of the trace of a request to them, by traceparent and tracestate, separated
        /// by spaces: unit.example, *.example.org for all below, or * for all. Other servers are not told.
        propagate_to: Vec<TraceTarget> = "telemetry.traces.propagateTo", "", TraceTargetList;
    }
}

impl TraceConfig {
    /// The URL that receives spans; `None` if traces are off.
    pub(crate) fn target(&self) -> Option<String> {
        let endpoint = self.endpoint.as_deref()?;
        let uri: Uri = endpoint.parse().ok()?;
        match uri.path() {
            "" | "/" => Some(format!("{}{TRACES_PATH}", endpoint.trim_end_matches('/'))),
            _ => Some(endpoint.to_owned()),
        }
    }

    /// The time in which the collector must answer.
    pub(crate) const fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_secs)
    }

    /// Checks conditions on several keys.
    pub(super) fn check(&self, reader: &mut ConfigReader) {
        const KEY: &str = "telemetry.traces.endpoint";
        let Some(endpoint) = &self.endpoint else {
            if self.headers_file.is_some() || self.roots.is_some() {
                reader.add_key_warning(
                    "telemetry.traces.headersFile",
                    "has no effect without telemetry.traces.endpoint, nor has telemetry.traces.caFile",
                );
            }
            return;
        };
        let uri = endpoint.parse::<Uri>().ok();
        let authority = uri.as_ref().and_then(Uri::authority);
        match (&uri, authority) {
            // It would be shown with the settings.
            (_, Some(authority)) if authority.as_str().contains('@') => reader.add_key_problem(
                KEY,
                "must have no user and password; put a header Authorization into the file telemetry.traces.headersFile",
            ),
            (Some(uri), Some(_))
                if matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none() => {}
            _ => reader.add_key_problem(
                KEY,
                "must be a URL with http or https, a host, and no query",
            ),
        }
    }
}
