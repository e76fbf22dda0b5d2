//! The tasks of a unit.

use std::sync::Arc;
use std::time::Duration;

use personium_model::Unit;
use personium_store::RecordStore;
use personium_trace::{TraceScope, within};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::RunningUnit;
use super::ports::Listener;
use crate::admin::{self, AdminService};
use crate::background;
use crate::certificate_expiry;
use crate::components::Components;
use crate::free_space::FreeSpaceWatch;
use crate::http_server::{self, ClientPorts, HttpLimits, RequestHandlers, TlsPort};
use crate::layers;
use crate::logging;
use crate::port_tls::PortTls;
use crate::record_socket::{self, RecordSocket};
use crate::storage_watch::StorageWatch;

/// The socket of the records and the open ports of a unit.
pub(super) struct Listeners {
    pub(super) records: Option<RecordSocket>,
    pub(super) clients: Listener,
    pub(super) tls: Option<Listener>,
    pub(super) redirect: Option<Listener>,
    pub(super) admin: Listener,
}

/// Spawns the tasks of the unit.
pub(super) fn spawn(
    components: &Components,
    unit: Arc<Unit>,
    (listeners, port_tls, free_space): (Listeners, Option<PortTls>, Arc<FreeSpaceWatch>),
    handlers: RequestHandlers,
    limits: HttpLimits,
) -> RunningUnit {
    let tls_address = listeners.tls.as_ref().map(|listener| listener.address);
    let tls_port = listeners.tls.zip(port_tls.as_ref());
    let ports = ClientPorts {
        plain: listeners.clients.listener,
        tls: tls_port.map(|(listener, port_tls)| TlsPort {
            listener: listener.listener,
            acceptor: port_tls.tls.acceptor(),
        }),
    };
    let metrics = Arc::clone(&handlers.metrics);
    let access_log = handlers.access_log.clone();
    let traces = handlers.traces.clone();
    let (stop, stop_requested) = watch::channel(false);
    let records: Arc<dyn RecordStore> = components.records.port();
    let storage = Arc::new(StorageWatch {
        folder: components.folder.clone(),
        records: components.records.sqlite().cloned(),
        health: Arc::clone(&components.health),
        free_space,
        clock: Arc::clone(&components.clock),
    });
    let admin_service = AdminService {
        records: Arc::clone(&records),
        storage: Arc::clone(&storage),
        layers: layers::of_running(&components.config, &components.records).into(),
        metrics: Arc::clone(&metrics),
        stop: stop_requested.clone(),
    };
    let service = handlers.service.clone();
    let request_sender = Arc::new(service.clone());
    let tasks_max = components.config.background.tasks_max;
    let jobs = service.clone();
    let shutdown_timeout = limits.shutdown_timeout;
    let first_scan = Duration::from_secs(components.config.files.first_orphan_scan_secs);
    let http_server = tokio::spawn(http_server::serve(ports, handlers, limits, stop_requested));
    let scope = traces.as_ref().map(|traces| traces.scope());
    let mut background = vec![
        tokio::spawn(admin::serve(listeners.admin.listener, admin_service)),
        tokio::spawn(storage.run()),
        tokio::spawn(logging::report_left_out_lines()),
        tokio::spawn(background::maintain_node(Arc::clone(&unit))),
        spawn_traced(
            scope.as_ref(),
            background::collect_garbage(Arc::clone(&unit)),
        ),
        tokio::spawn(background::count_content(Arc::clone(&unit))),
        spawn_traced(
            scope.as_ref(),
            background::collect_orphans(Arc::clone(&unit), first_scan),
        ),
        spawn_traced(
            scope.as_ref(),
            background::remove_unfinished_installations(Arc::clone(&unit), service.clone()),
        ),
        spawn_traced(
            scope.as_ref(),
            background::keep_audit_log(Arc::clone(&unit), components.config.log.audit_retention()),
        ),
        tokio::spawn(certificate_expiry::warn_daily(
            Arc::clone(&components.keys),
            Arc::clone(&components.clock),
        )),
        spawn_traced(
            scope.as_ref(),
            personium_event::run(
                Arc::clone(&unit),
                request_sender,
                tasks_max,
                components.event_publisher.clone(),
            ),
        ),
    ];
    let following = Arc::clone(&unit);
    background.push(tokio::spawn(async move {
        personium_model::event::feed::follow(&following).await;
    }));
    let jobs = async move { jobs.run_jobs().await };
    background.push(spawn_traced(scope.as_ref(), jobs));
    let removing = Arc::clone(&unit);
    background.push(tokio::spawn(async move {
        personium_model::message_queue::remove_when_expired(&removing).await;
    }));
    if let Some(socket) = listeners.records {
        let of_unit = (components.records.port(), Arc::clone(&unit));
        background.push(tokio::spawn(record_socket::serve(socket, of_unit)));
    }
    background.extend(port_tls.map_or_else(Vec::new, |port_tls| {
        port_tls.spawn(listeners.redirect.map(|open| open.listener), components)
    }));
    if unit.settings().events.fires_timers {
        let unit = Arc::clone(&unit);
        background.push(tokio::spawn(async move {
            personium_event::fire_timers(&unit).await;
        }));
    }
    RunningUnit {
        address: listeners.clients.address,
        tls_address,
        admin_address: listeners.admin.address,
        unit,
        service,
        access_log,
        traces,
        stop,
        http_server,
        background,
        watchdog: None,
        background_runtime: None,
        records,
        shutdown_timeout,
    }
}

/// Spawns a task whose work is traced, if there are traces.
fn spawn_traced(
    scope: Option<&TraceScope>,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(within(scope.cloned(), task))
}
