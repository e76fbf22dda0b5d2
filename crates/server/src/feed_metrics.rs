//! Metrics of the feeds of events.

use std::fmt;

use personium_api::ApiService;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

/// The number of listeners, read for each scrape.
pub(crate) struct FeedCollector(pub(crate) ApiService);

impl fmt::Debug for FeedCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FeedCollector")
    }
}

impl Collector for FeedCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let listeners = self.0.event_listeners();
        let gauge = ConstGauge::new(i64::try_from(listeners).unwrap_or(i64::MAX));
        let metric = encoder.encode_descriptor(
            "personium_event_listeners",
            "Clients that listen to the events of a cell.",
            None,
            gauge.metric_type(),
        )?;
        gauge.encode(metric)
    }
}
