//! Metrics of the script engine.

use std::fmt;

use personium_api::ApiService;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// The numbers of scripts and workers, read for each scrape.
pub(crate) struct ScriptCollector(pub(crate) ApiService);

impl fmt::Debug for ScriptCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptCollector")
    }
}

impl Collector for ScriptCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let metrics = self.0.script_metrics();
        let mut gauge = |name: &str, help: &str, value: usize| -> fmt::Result {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)
        };
        gauge(
            "personium_scripts_running",
            "Scripts of services that run.",
            metrics.running,
        )?;
        gauge(
            "personium_scripts_stuck",
            "Scripts that do not end although their time is over.",
            metrics.stuck,
        )?;
        gauge(
            "personium_script_workers",
            "Worker processes of scripts.",
            metrics.workers,
        )?;
        let (running, waiting) = self.0.job_counts();
        gauge(
            "personium_jobs_running",
            "Jobs of services that this process runs.",
            running,
        )?;
        gauge(
            "personium_jobs_waiting",
            "Jobs of services that wait for this process to run them.",
            waiting,
        )?;
        let lost = ConstCounter::new(metrics.workers_lost);
        let metric = encoder.encode_descriptor(
            "personium_script_workers_lost",
            "Worker processes that died or were killed while they ran a script.",
            None,
            lost.metric_type(),
        )?;
        lost.encode(metric)
    }
}
