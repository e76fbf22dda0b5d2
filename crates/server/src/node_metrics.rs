//! Metrics of the nodes of the unit, as this one saw them last.

use std::fmt;
use std::sync::Arc;

use personium_model::Unit;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;

/// Counts the nodes of a unit.
pub struct NodeCollector(pub Arc<Unit>);

impl fmt::Debug for NodeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeCollector")
    }
}

fn gauge(count: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
}

impl Collector for NodeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let counts = self.0.node_counts();
        let mut family = encoder.encode_descriptor(
            "personium_server_nodes",
            "Nodes of the unit that run, by the version of their program.",
            None,
            gauge(0).metric_type(),
        )?;
        for (version, count) in counts.versions {
            gauge(count).encode(family.encode_family(&[("version", version)])?)?;
        }
        let others = gauge(counts.with_other_settings);
        let encoder = encoder.encode_descriptor(
            "personium_server_nodes_with_other_settings",
            "Nodes of the unit that run with other settings than this one.",
            None,
            others.metric_type(),
        )?;
        others.encode(encoder)
    }
}
