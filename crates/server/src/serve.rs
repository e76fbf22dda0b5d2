//! Starts and stops a unit.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use personium_api::ApiService;
use personium_model::Unit;
use personium_model::audit::{NotedPart, NotedState};
use personium_model::records::Records;
use personium_model::server_node::{JoinError, ServerNodeInfo};
use personium_model::unfinished_migration::UnfinishedMigration;
use personium_store::{RecordStore, Space};
use personium_trace::{TraceScope, within};
use personium_types::error::chain;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access_log::{AccessLog, LostLinesCollector};
use crate::admin::{self, AdminService};
use crate::administrator_file;
use crate::audit_metrics::AuditCollector;
use crate::background;
use crate::bus_metrics::BusCollector;
use crate::certificate_expiry::{self, ExpiryCollector};
use crate::components::{self, ComponentError, Components};
use crate::config::{Config, LoadedConfig};
use crate::feed_metrics::FeedCollector;
use crate::file_descriptors::DescriptorBudget;
use crate::first_start::{self, FirstStartError};
use crate::folders::{self, FolderError};
use crate::free_space::{FreeSpaceCollector, FreeSpaceWatch};
use crate::http_server::{self, ClientPorts, HttpLimits, RequestHandlers, TlsPort};
use crate::journal_age::JournalCollector;
use crate::layers::{self, LayerMissing};
use crate::local_api::Administrator;
use crate::logging;
use crate::metrics::Metrics;
use crate::node_metrics::NodeCollector;
use crate::outbox_metrics::OutboxCollector;
use crate::plugins::{self, PluginLoader};
use crate::port_tls::PortTls;
use crate::record_engine::RecordEngine;
use crate::record_socket::{self, RecordSocket};
use crate::running_settings::InitialSettings;
use crate::script_metrics::ScriptCollector;
use crate::stall_watchdog::{StallCollector, StallWatchdog, Stalls};
use crate::storage_watch::StorageWatch;
use crate::system;
use crate::telemetry::{CollectorError, Traces};
use crate::tls::TlsError;

/// A unit that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A layer outside of the process is missing.
    #[error(transparent)]
    Layer(#[from] LayerMissing),
    /// A component could not be built.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// A folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The administrator could not be created.
    #[error("cannot create the administrator of the unit")]
    FirstStart(#[from] FirstStartError),
    /// The key of the unit that encrypts signing keys and file bodies could not be decrypted.
    #[error(
        "security.secret16 is not the secret under which the keys and file bodies of this unit are encrypted; \
         set that secret as security.secret16.previous for one start"
    )]
    BodyKey(#[source] personium_types::Error),
    /// Cells of another unit are being taken over.
    #[error(
        "the migration from {from} is not finished; run `personium migrate` with --finish when the original is stopped"
    )]
    UnfinishedMigration {
        /// Where the cells come from.
        from: String,
    },
    /// The records of the unit cannot be read.
    #[error("cannot read the records of the unit")]
    Records(#[source] personium_types::Error),
    /// This node has another secret than the unit.
    #[error(
        "security.secret16 is not the secret of the unit whose records are in the database: all nodes need the same; \
         after a change of the secret, give the old one as security.secret16.previous"
    )]
    NodeSecret(#[source] personium_types::Error),
    /// This node must not run beside others that run, or on these records.
    #[error("this node cannot be one of the unit")]
    Join(#[from] JoinError),
    /// The certificate of the TLS port cannot be used.
    #[error("cannot use the certificate of the TLS port")]
    Tls(#[from] TlsError),
    /// The settings of the collector of traces cannot be used.
    #[error(transparent)]
    Traces(#[from] CollectorError),
    /// The file of the access log could not be opened.
    #[error("cannot write the access log (log.access.file)")]
    AccessLog(#[source] std::io::Error),
    /// The address is in use, or not an address of this machine.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
}

/// A running unit.
pub struct RunningUnit {
    /// The address on which it listens.
    pub address: SocketAddr,
    /// The address of the TLS port.
    pub tls_address: Option<SocketAddr>,
    /// The address of health, readiness and metrics.
    pub admin_address: SocketAddr,
    /// The unit.
    pub unit: Arc<Unit>,
    service: ApiService,
    access_log: Option<Arc<AccessLog>>,
    traces: Option<Arc<Traces>>,
    stop: watch::Sender<bool>,
    http_server: JoinHandle<()>,
    background: Vec<JoinHandle<()>>,
    watchdog: Option<StallWatchdog>,
    records: Arc<dyn RecordStore>,
}

/// Builds the unit and starts to serve. A new unit gets an administrator, unless the settings name one; its password is
/// passed to `show`.
///
/// # Errors
/// [`StartError`] if a step fails; nothing runs then.
pub async fn start(
    loaded: LoadedConfig,
    show: impl FnOnce(&Administrator) -> io::Result<()>,
) -> Result<RunningUnit, StartError> {
    let config = &loaded.config;
    // A port that is in use is an error at once. Nobody can connect before the unit listens.
    let bound = BoundPorts::bind(config)?;
    let wait = Duration::from_secs(config.listen.start_wait_secs);
    layers::wait_for(&layers::layers(config), wait, &*system::clock()).await?;
    folders::check(config)?;
    let (budget, warning) = DescriptorBudget::of(config).within_limit();
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
    let is_new = first_start::is_due(config);
    let initial_settings = InitialSettings::new(&loaded);
    let (clock, random) = (system::clock(), system::random());
    let files_max = budget.database_files_max;
    // Boxed, because the future is large.
    let components = Box::pin(Components::build(loaded, files_max, clock, random)).await?;
    check_no_migration(&components).await?;
    let has_administrators =
        !administrator_file::read(&components.config.store.data_dir).is_empty();
    if let Some(note) =
        first_start::administration_note(&components.config, is_new, has_administrators)
    {
        tracing::warn!("{note}");
    }
    if needs_administrator(&components.config) {
        Box::pin(first_start::create_administrator(&components, show)).await?;
    }
    let config = &components.config;
    let (unit, server) = components.unit(|_| {});
    check_secret(&components, &unit).await?;
    let admin_listener = listen_admin(config.listen.admin_address).await?;
    let digests = initial_settings.digests(&components.keys);
    let plugin_digests = plugins::digests(config, &components.keys);
    let digests = (digests, plugin_digests);
    let info = background::node_info(bound.plain.address, unit.now_ms(), digests);
    join(&unit, info).await?;

    let port_tls = PortTls::open(&components)?;
    let plugin_loader =
        plugins::folder(config).map(|folder| PluginLoader::start(folder, Arc::clone(&unit)));
    // The nodes of a shared store have one record of it, and each a folder of its own.
    if plugin_loader.is_none() && !unit.store().is_shared() {
        unit.note_state_later(NotedPart::Plugins, NotedState::new(), None);
    }
    let certificates = port_tls.as_ref().map(|p| Arc::clone(&p.tls.certificates));
    let settings = initial_settings.running(&components, &unit, certificates);
    let settings = Arc::new(settings);
    settings.note_start();
    let service = ApiService::new(Arc::clone(&unit), server).with_admin_hooks(settings);
    let stalls = Arc::<Stalls>::default();
    let free_space = FreeSpaceWatch::start(config, &unit, &components.health);
    let handlers = handlers(
        &components,
        &unit,
        service,
        (&stalls, &free_space, port_tls.as_ref()),
    )?;
    // The socket is there when a client can connect.
    let record_socket = bind_record_socket(&components);
    let listeners = Listeners {
        records: record_socket,
        clients: bound.plain.listen()?,
        tls: bound.tls.map(BoundPort::listen).transpose()?,
        redirect: bound.redirect.map(BoundPort::listen).transpose()?,
        admin: admin_listener,
    };
    let limits = http_limits(config, budget.connections_max);
    let mut running = spawn(
        &components,
        unit,
        (listeners, port_tls, free_space),
        handlers,
        limits,
    );
    let following = plugin_loader.map(|loader| tokio::spawn(loader.run()));
    running.background.extend(following);
    running.watchdog = start_watchdog(config, stalls);
    tracing::info!(
        unit.url = running.unit.urls().unit(),
        address = %running.address,
        tls.address = running.tls_address.map(tracing::field::display),
        admin.address = %running.admin_address,
        "unit started"
    );
    Ok(running)
}

/// Checks that no migration into the unit is unfinished.
async fn check_no_migration(components: &Components) -> Result<(), StartError> {
    let records = Records::new(components.records.port(), Space::Unit);
    match UnfinishedMigration::find(&records).await {
        Ok(None) => Ok(()),
        Ok(Some(UnfinishedMigration { from })) => Err(StartError::UnfinishedMigration { from }),
        Err(error) => Err(StartError::Records(error)),
    }
}

/// Makes this process a server node of the unit. If the store fails, that is tried again later.
async fn join(unit: &Unit, info: ServerNodeInfo) -> Result<(), StartError> {
    unit.set_node_info(info);
    match Box::pin(unit.join_nodes()).await {
        Ok(_) => {}
        Err(JoinError::Store(error)) => {
            tracing::warn!(error = %chain(&error), "failed to register the server node, will retry");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Checks that the secret is that of the unit. Nodes with different secrets would not accept the tokens of each other.
async fn check_secret(components: &Components, unit: &Unit) -> Result<(), StartError> {
    match &components.records {
        RecordEngine::Sqlite(_) => unit.check_body_key().await.map_err(StartError::BodyKey),
        RecordEngine::Postgres(_) => {
            let created = unit.create_body_key().await;
            created.map_err(StartError::NodeSecret)
        }
    }
}

/// Whether this start has to create an administrator: the unit is new, and the settings name none.
fn needs_administrator(config: &Config) -> bool {
    components::wants_administrator(config)
        && first_start::needs_administrator(&config.store.data_dir)
}

/// The largest number of connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1_024;

/// A port that is reserved for the unit, on which it does not listen yet: connections are refused.
struct BoundPort {
    socket: TcpSocket,
    address: SocketAddr,
}

impl BoundPort {
    fn bind(address: SocketAddr) -> Result<Self, StartError> {
        let failed = |source| StartError::Listen { address, source };
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4(),
            SocketAddr::V6(_) => TcpSocket::new_v6(),
        };
        let socket = socket.map_err(failed)?;
        // The port of a unit that has just ended can be used at once.
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    fn listen(self) -> Result<Listener, StartError> {
        let address = self.address;
        let listening = self.socket.listen(BACKLOG);
        let listener = listening.map_err(|source| StartError::Listen { address, source })?;
        Ok(Listener { listener, address })
    }
}

/// The ports that are reserved for clients.
struct BoundPorts {
    plain: BoundPort,
    tls: Option<BoundPort>,
    redirect: Option<BoundPort>,
}

impl BoundPorts {
    fn bind(config: &Config) -> Result<Self, StartError> {
        let tls = config.tls.listen.map(BoundPort::bind).transpose()?;
        let redirect = config.tls.redirect.filter(|_| tls.is_some());
        Ok(Self {
            plain: BoundPort::bind(config.listen.address)?,
            redirect: redirect.map(BoundPort::bind).transpose()?,
            tls,
        })
    }
}

async fn listen_admin(address: SocketAddr) -> Result<Listener, StartError> {
    let failed = |source| StartError::Listen { address, source };
    let listener = admin::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Listener { listener, address })
}

/// An open port and its address.
struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

/// The socket of the records and the open ports of a unit.
struct Listeners {
    records: Option<RecordSocket>,
    clients: Listener,
    tls: Option<Listener>,
    redirect: Option<Listener>,
    admin: Listener,
}

/// Spawns the tasks of the unit.
fn spawn(
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
    let removing = Arc::clone(&unit);
    background.push(tokio::spawn(async move {
        personium_model::message_queue::remove_when_expired(&removing).await;
    }));
    if let Some(socket) = listeners.records {
        let records = components.records.port();
        background.push(tokio::spawn(record_socket::serve(socket, records)));
    }
    background.extend(port_tls.map_or_else(Vec::new, |port_tls| {
        port_tls.spawn(listeners.redirect.map(|open| open.listener), components)
    }));
    if components.config.events.timer_threads > 0 {
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
        records,
    }
}

/// Spawns a task whose work is traced, if there are traces.
fn spawn_traced(
    scope: Option<&TraceScope>,
    task: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(within(scope.cloned(), task))
}

/// Starts the watchdog, unless the settings turn it off.
fn start_watchdog(config: &Config, stalls: Arc<Stalls>) -> Option<StallWatchdog> {
    let threshold = Duration::from_millis(config.log.stall_threshold_ms);
    if threshold.is_zero() {
        return None;
    }
    let started = StallWatchdog::start(threshold, stalls, system::clock());
    let failed = |error| tracing::warn!(%error, "stalls of the runtime will not be noticed");
    started.map_err(failed).ok()
}

/// Makes the socket that gives the records to commands of this unit, if they are in files. Others reach a database by themselves.
fn bind_record_socket(components: &Components) -> Option<RecordSocket> {
    components.records.sqlite()?;
    let bound = RecordSocket::bind(&components.config.store.data_dir);
    let failed = |error| {
        tracing::warn!(
            %error,
            "no socket for `personium verify` and `personium backup`: they need the unit to be stopped"
        );
    };
    bound.map_err(failed).ok()
}

/// Builds the parts that handle and record requests.
fn handlers(
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

/// Creates the administrator of a new unit, without serving.
///
/// # Errors
/// [`StartError`] if the unit cannot be built or the administrator cannot be created.
pub async fn init(
    loaded: LoadedConfig,
    show: impl FnOnce(&Administrator) -> io::Result<()>,
) -> Result<(), StartError> {
    folders::check(&loaded.config)?;
    let (budget, _) = DescriptorBudget::of(&loaded.config).within_limit();
    let (clock, random) = (system::clock(), system::random());
    let files_max = budget.database_files_max;
    // Boxed, because the future is large.
    let components = Box::pin(Components::build(loaded, files_max, clock, random)).await?;
    // With a database, the unit can exist although this node is new. A first start that was interrupted is repeated.
    let data_dir = &components.config.store.data_dir;
    let created = match components.is_new || first_start::needs_administrator(data_dir) {
        true => first_start::create_administrator(&components, show).await,
        false => Ok(()),
    };
    close(&*components.records.port()).await;
    Ok(created?)
}

fn http_limits(config: &Config, connections_max: usize) -> HttpLimits {
    let listen = &config.listen;
    HttpLimits {
        connections_max,
        header_max_bytes: listen.header_max_bytes,
        header_max_count: listen.header_max_count,
        header_timeout: Duration::from_secs(listen.header_timeout_secs),
        transfer_timeout: Duration::from_secs(listen.transfer_timeout_secs),
        shutdown_delay: Duration::from_secs(listen.shutdown_delay_secs),
        shutdown_timeout: Duration::from_secs(listen.shutdown_timeout_secs),
    }
}

/// Closes the record store.
pub(crate) async fn close(records: &dyn RecordStore) {
    if let Err(error) = records.close().await {
        tracing::error!(error = %chain(&error), "failed to close the record store");
    }
}

impl RunningUnit {
    /// Reads the settings, the certificates and the log filter again, and opens the file of the access log again. If
    /// something cannot be used, all of it stays as it is.
    pub fn reload(&self) {
        if let Err(error) = self.service.reload_settings() {
            tracing::error!(error = %chain(&error), "settings not reloaded, the old ones stay in use");
        }
        if let Some(access_log) = &self.access_log {
            access_log.reopen();
        }
    }

    /// Shuts down: stops accepting connections, lets requests in flight and their commits finish, leaves its work to other server
    /// nodes, closes the stores.
    pub async fn stop(self) {
        tracing::info!("unit stopping");
        drop(self.watchdog);
        self.stop.send_replace(true);
        if let Err(error) = self.http_server.await {
            tracing::error!(%error, "listener task failed");
        }
        for task in &self.background {
            task.abort();
        }
        for task in self.background {
            // Nothing of it goes on after the server node has left.
            let _ = task.await;
        }
        self.unit.finish_commits().await;
        if let Err(error) = self.unit.leave().await {
            tracing::warn!(error = %chain(&error), "failed to remove the record of the server node");
        }
        close(&*self.records).await;
        if let Some(traces) = &self.traces {
            traces.finish().await;
        }
        if let Some(access_log) = &self.access_log {
            access_log.flush();
        }
        logging::report_last_left_out_lines();
        tracing::info!("unit stopped");
    }
}

#[cfg(test)]
mod tests;
