//! The collector of traces.

use super::report::CheckReport;
use crate::config::LoadedConfig;
use crate::telemetry;

/// Sends an empty message to the collector, if the settings name one. A unit runs without it too.
pub(super) fn check(report: &mut CheckReport, loaded: &LoadedConfig) {
    const CHECK: &str = "traces";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let checked = match runtime {
        Ok(runtime) => runtime.block_on(telemetry::check(&loaded.config.traces)),
        Err(error) => Err(error.to_string()),
    };
    match checked {
        Ok(None) => {}
        Ok(Some(url)) => report.ok(CHECK, format!("the collector at {url} accepts spans")),
        Err(reason) => report.warning(
            CHECK,
            format!("the collector cannot be used, spans would be lost: {reason}"),
        ),
    }
}
