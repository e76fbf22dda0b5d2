//! The parts of a unit that handle and record requests.

use std::sync::Arc;

use personium_api::ApiService;
use personium_model::Unit;

use super::StartError;
use crate::access_log::{AccessLog, LostLinesCollector};
use crate::audit_metrics::AuditCollector;
use crate::bus_metrics::BusCollector;
use crate::certificate_expiry::ExpiryCollector;
use crate::components::Components;
use crate::feed_metrics::FeedCollector;
use crate::free_space::{FreeSpaceCollector, FreeSpaceWatch};
use crate::http_server::RequestHandlers;
use crate::journal_age::JournalCollector;
use crate::metrics::Metrics;
use crate::node_metrics::NodeCollector;
use crate::outbox_metrics::OutboxCollector;
use crate::port_tls::PortTls;
use crate::script_metrics::ScriptCollector;
use crate::stall_watchdog::{StallCollector, Stalls};
use crate::telemetry::Traces;

/// Builds the parts that handle and record requests.
pub(super) fn handlers(
    components: &Components,
    unit: &Arc<Unit>,
    service: ApiService,
    (stalls, free_space, port_tls): (&Arc<Stalls>, &Arc<FreeSpaceWatch>, Option<&PortTls>),
) -> Result<RequestHandlers, StartError> {
    let answer_memory = unit.limits().answer_memory.clone();
    let log = &components.config.log;
    let access_log = AccessLog::start(log, &components.clock).map_err(StartError::AccessLog)?;
    let traces = &components.config.traces;
    let traces = Traces::start(traces, &components.clock, &components.random)?;
    let mut metrics = Metrics::new(Arc::clone(&components.clock))
        .with_storage(
            Arc::clone(&components.health),
            components.config.store.data_dir.clone(),
        )
        .with_answer_memory(answer_memory.clone())
        .with_collector(Box::new(FreeSpaceCollector(Arc::clone(free_space))))
        .with_collector(Box::new(ExpiryCollector(Arc::clone(&components.keys))))
        .with_collector(Box::new(ScriptCollector(service.clone())))
        .with_collector(Box::new(FeedCollector(service.clone())))
        .with_collector(Box::new(NodeCollector(Arc::clone(unit))))
        .with_collector(Box::new(OutboxCollector(Arc::clone(unit))))
        .with_collector(Box::new(AuditCollector(Arc::clone(unit))))
        .with_collector(Box::new(StallCollector(Arc::clone(stalls))));
    if let Some(port_tls) = port_tls {
        metrics = metrics.with_collector(Box::new(port_tls.collector()));
    }
    if components.config.store.journal_time().is_some() {
        let folder = components.config.store.data_dir.clone();
        metrics = metrics.with_collector(Box::new(JournalCollector(folder)));
    }
    if let Some(servers) = components.cache.collector() {
        metrics = metrics.with_collector(servers);
    }
    if components.event_publisher.is_some() {
        metrics = metrics.with_collector(Box::new(BusCollector(Arc::clone(unit))));
    }
    if let Some(broker) = &components.broker {
        metrics = metrics.with_collector(broker.collector());
    }
    if let Some(access_log) = &access_log {
        let lost = LostLinesCollector(Arc::clone(access_log));
        metrics = metrics.with_collector(Box::new(lost));
    }
    if let Some(traces) = &traces {
        metrics = metrics.with_collector(Box::new(traces.collector()));
    }
    Ok(RequestHandlers {
        service,
        metrics: Arc::new(metrics),
        access_log,
        traces,
        answer_memory,
    })
}
