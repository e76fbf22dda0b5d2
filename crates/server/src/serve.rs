//! Starts and stops a unit.

mod ports;
mod request_handlers;
mod start_error;
mod tasks;

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
use personium_types::error::chain;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::ports::{BoundPort, BoundPorts, listen_admin};
use self::request_handlers::handlers;
pub use self::start_error::StartError;
use self::tasks::{Listeners, spawn};
use crate::access_log::AccessLog;
use crate::administrator_file;
use crate::background;
use crate::background_runtime::BackgroundRuntime;
use crate::components::{self, ComponentError, Components};
use crate::config::{Config, LoadedConfig};
use crate::data_folder::{self, DataFolderError};
use crate::file_descriptors::DescriptorBudget;
use crate::first_start;
use crate::folders;
use crate::free_space::FreeSpaceWatch;
use crate::http_server::HttpLimits;
use crate::layers;
use crate::local_api::Administrator;
use crate::logging;
use crate::plugins::{self, PluginLoader};
use crate::port_tls::PortTls;
use crate::record_engine::RecordEngine;
use crate::record_socket::RecordSocket;
use crate::running_settings::InitialSettings;
use crate::stall_watchdog::{StallWatchdog, Stalls};
use crate::system;
use crate::telemetry::Traces;

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
    /// The runtime of the work beside requests, if that is separate.
    background_runtime: Option<BackgroundRuntime>,
    records: Arc<dyn RecordStore>,
    /// The time for requests and jobs of services to end.
    shutdown_timeout: Duration,
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
    check_no_started_migration(config)?;
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
    let background_runtime = start_background_runtime(&components, &unit);
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
    running.background_runtime = background_runtime;
    tracing::info!(
        unit.url = running.unit.urls().unit(),
        address = %running.address,
        tls.address = running.tls_address.map(tracing::field::display),
        admin.address = %running.admin_address,
        "unit started"
    );
    Ok(running)
}

/// Checks that no migration to the data folder was interrupted before the records could say so: what is there is no unit, or an empty one.
fn check_no_started_migration(config: &Config) -> Result<(), StartError> {
    let folder = &config.store.data_dir;
    match data_folder::is_migration_started(folder) {
        Ok(false) => Ok(()),
        Ok(true) => Err(StartError::InterruptedMigration {
            folder: folder.clone(),
        }),
        Err(source) => Err(ComponentError::from(DataFolderError::File {
            path: folder.clone(),
            source,
        })
        .into()),
    }
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

/// Starts the runtime of the work that goes on beside requests, if the stores are files.
///
/// The clients of a database and of an object store spawn tasks that requests use too. Such a task belongs to the runtime of its first caller.
fn start_background_runtime(components: &Components, unit: &Unit) -> Option<BackgroundRuntime> {
    components.records.sqlite()?;
    if !components.folder.has_bodies_in_folder() {
        return None;
    }
    let started = BackgroundRuntime::start();
    let failed =
        |error| tracing::warn!(%error, "exports and imports will run on the threads of requests");
    let runtime = started.map_err(failed).ok()?;
    unit.background_work().run_on(runtime.handle()?.clone());
    Some(runtime)
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

    /// Shuts down: stops accepting connections, lets requests in flight, jobs of services and their commits finish, leaves its work
    /// to other server nodes, closes the stores.
    pub async fn stop(self) {
        tracing::info!("unit stopping");
        drop(self.watchdog);
        self.stop.send_replace(true);
        let jobs = self.service.close_jobs(self.shutdown_timeout);
        let (served, ()) = tokio::join!(self.http_server, jobs);
        if let Err(error) = served {
            tracing::error!(%error, "listener task failed");
        }
        for task in &self.background {
            task.abort();
        }
        for task in self.background {
            // Nothing of it goes on after the server node has left.
            let _ = task.await;
        }
        self.unit.background_work().end().await;
        self.unit.finish_commits().await;
        if let Some(runtime) = self.background_runtime {
            runtime.end().await;
        }
        components::leave_unit(&self.unit).await;
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
