//! Metrics of the publishing of events.

use std::fmt;
use std::sync::Arc;

use personium_model::Unit;
use personium_model::event_bus::EventBusCounts;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The numbers of events that were published or not, read for each scrape.
pub(crate) struct BusCollector(pub(crate) Arc<Unit>);

impl fmt::Debug for BusCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusCollector")
    }
}

impl Collector for BusCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let EventBusCounts {
            published,
            lost,
            set_aside,
            waiting,
        } = self.0.event_bus().counts();
        let mut counter = |name: &str, help: &str, value: u64| {
            let counter = ConstCounter::new(value);
            let metric_type = counter.metric_type();
            counter.encode(encoder.encode_descriptor(name, help, None, metric_type)?)
        };
        counter(
            "personium_event_bus_published",
            "Events that were published to other systems.",
            published,
        )?;
        counter(
            "personium_event_bus_lost",
            "Events that were not kept for publishing, because too many waited.",
            lost,
        )?;
        counter(
            "personium_event_bus_set_aside",
            "Events that were set aside, because the broker refused them.",
            set_aside,
        )?;
        let gauge = ConstGauge::new(i64::try_from(waiting).unwrap_or(i64::MAX));
        let metric = encoder.encode_descriptor(
            "personium_event_bus_waiting",
            "Events that wait to be published, of the cells whose events this node publishes.",
            None,
            gauge.metric_type(),
        )?;
        gauge.encode(metric)
    }
}
