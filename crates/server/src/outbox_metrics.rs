//! Metrics of the requests of rules and of the messages that wait, and of the requests that were given up.

use std::fmt;
use std::sync::Arc;

use personium_model::Unit;
use personium_model::outbox_totals::OutboxCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The numbers of the outboxes that this node works on, read for each scrape.
pub(crate) struct OutboxCollector(pub(crate) Arc<Unit>);

impl fmt::Debug for OutboxCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutboxCollector")
    }
}

impl Collector for OutboxCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let OutboxCounts {
            waiting_requests,
            waiting_deliveries,
            failed_requests,
            skipped_requests,
        } = self.0.outbox().totals().counts();
        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric_type = gauge.metric_type();
            gauge.encode(encoder.encode_descriptor(name, help, None, metric_type)?)
        };
        gauge(
            "personium_rule_requests_waiting",
            "Requests of rules that wait to be sent, of the cells whose requests this node sends.",
            waiting_requests,
        )?;
        gauge(
            "personium_messages_waiting",
            "Deliveries of messages that wait, of the cells whose messages this node delivers.",
            waiting_deliveries,
        )?;
        let mut counter = |name: &str, help: &str, value: u64| {
            let counter = ConstCounter::new(value);
            let metric_type = counter.metric_type();
            counter.encode(encoder.encode_descriptor(name, help, None, metric_type)?)
        };
        counter(
            "personium_rule_requests_failed",
            "Requests of rules that were given up.",
            failed_requests,
        )?;
        counter(
            "personium_rule_requests_skipped",
            "Requests of rules that the full outbox of their cell had no room for.",
            skipped_requests,
        )
    }
}
