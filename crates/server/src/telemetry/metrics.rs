//! The metrics of traces.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::span_queue::{SpanLoss, SpanQueue};

/// The values of the label `reason`.
const REASONS: [(&str, SpanLoss); 3] = [
    ("queue_full", SpanLoss::QueueFull),
    ("unreachable", SpanLoss::Unreachable),
    ("refused", SpanLoss::Refused),
];

/// The numbers of spans that were sent and lost.
#[derive(Debug)]
pub(crate) struct TraceCollector(pub(super) Arc<SpanQueue>);

impl Collector for TraceCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let exported = ConstCounter::new(self.0.exported());
        let metric = encoder.encode_descriptor(
            "personium_trace_spans_exported",
            "Spans that the collector of traces has accepted",
            None,
            exported.metric_type(),
        )?;
        exported.encode(metric)?;
        let mut lost = encoder.encode_descriptor(
            "personium_trace_spans_lost",
            "Spans that were lost: the queue was full, or the collector of traces did not answer or has refused them",
            None,
            MetricType::Counter,
        )?;
        for (reason, loss) in REASONS {
            let counter = ConstCounter::new(self.0.lost(loss));
            counter.encode(lost.encode_family(&[("reason", reason)])?)?;
        }
        Ok(())
    }
}
