//! Metrics of the audit log.

use std::fmt;
use std::sync::Arc;

use personium_model::Unit;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;

/// The number of entries that could not be stored, read for each scrape.
pub(crate) struct AuditCollector(pub(crate) Arc<Unit>);

impl fmt::Debug for AuditCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditCollector")
    }
}

impl Collector for AuditCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let lost = ConstCounter::new(self.0.audit_log().lost_entries());
        let metric = encoder.encode_descriptor(
            "personium_audit_lost_entries",
            "Entries of the audit log that could not be stored.",
            None,
            lost.metric_type(),
        )?;
        lost.encode(metric)
    }
}
