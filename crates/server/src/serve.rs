//! A running unit: what is started in which order, and how it stops.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use personium_api::ApiService;
use personium_model::Unit;
use personium_store::RecordStore;
use personium_types::SystemClock;
use personium_types::error::chain;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::admin::{self, Admin};
use crate::config::{Config, Loaded};
use crate::figures::Figures;
use crate::first_start::{self, Administrator, FirstStartError};
use crate::limits;
use crate::listen::{self, Bounds};
use crate::status::RunningSettings;
use crate::wiring::{Foundation, WiringError};

/// How often bodies are looked for that no file names.
const ORPHANS: Duration = Duration::from_secs(6 * 3600);

/// The pause between cells while they are looked for.
const ORPHANS_PAUSE: Duration = Duration::from_millis(50);

/// Why a unit did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It could not be built.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// It could not get its administrator.
    #[error("cannot make the administrator of the unit")]
    FirstStart(#[from] FirstStartError),
    /// The key of encrypted file bodies does not open.
    #[error(
        "security.secret16 is not the secret that the file bodies of this unit are encrypted under; \
         set that one as security.secret16.previous, for one start"
    )]
    BodyKey(#[source] personium_types::Error),
    /// The address is not free, or not of this machine.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A unit that runs.
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where health and figures are.
    pub admin_address: SocketAddr,
    /// The unit itself.
    pub unit: Arc<Unit>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    background: Vec<JoinHandle<()>>,
    records: Arc<dyn RecordStore>,
}

/// Whether this start has to make an administrator: the unit is new, and the settings name nobody who could.
fn wants_administrator(config: &Config) -> bool {
    let nobody = config.unit.master_token.is_none() && config.unit.issuers.is_empty();
    nobody && first_start::is_due(&config.store.data_dir)
}

/// Builds the unit, gives it an administrator if it is new and nobody else is named, and starts to serve. `tell`
/// hears the administrator's password.
///
/// # Errors
/// If anything of this cannot be done; then nothing runs.
pub async fn start(
    loaded: Loaded,
    tell: impl FnOnce(&Administrator),
) -> Result<Running, StartError> {
    let descriptors = limits::raise_descriptors();
    let config = &loaded.config;
    let (connections, files) = limits::share(
        descriptors,
        config.listen.connections_max,
        config.store.open_files,
    );
    let new = wants_administrator(config);
    let operator = Arc::new(RunningSettings::new(&loaded));
    let (address, admin_address) = (config.listen.address, config.listen.admin_address);
    let failed = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let foundation = Foundation::lay(loaded, files, Arc::new(SystemClock))?;
    if new {
        first_start::make_administrator(&foundation, tell).await?;
    }
    let config = &foundation.config;
    let unit = foundation.unit(|settings| issuers(settings, &config.store.data_dir));
    unit.check_body_key().await.map_err(StartError::BodyKey)?;
    let admin_failed = |source| StartError::Listen {
        address: admin_address,
        source,
    };
    let admin_listener = admin::bind(admin_address).await.map_err(admin_failed)?;
    let admin_address = admin_listener.local_addr().map_err(admin_failed)?;

    let figures = Arc::new(Figures::default());
    let (stop, stopping) = watch::channel(false);
    let records: Arc<dyn RecordStore> = Arc::clone(&foundation.records) as _;
    let admin = Admin {
        records: Arc::clone(&records),
        figures: Arc::clone(&figures),
        stop: stopping.clone(),
    };
    let service = ApiService::new(Arc::clone(&unit)).with_admin_hooks(operator);
    let sender = Arc::new(service.clone());
    let sending = personium_event::run(Arc::clone(&unit), sender, config.work.misc);
    let serving = tokio::spawn(listen::serve(
        listener,
        service,
        figures,
        bounds(config, connections),
        stopping,
    ));
    let background = vec![
        tokio::spawn(admin::serve(admin_listener, admin)),
        tokio::spawn(sweep(Arc::clone(&unit))),
        tokio::spawn(sending),
    ];
    tracing::info!(unit.url = unit.urls().unit(), %address, admin.address = %admin_address, "the unit runs");
    Ok(Running {
        address,
        admin_address,
        unit,
        stop,
        serving,
        background,
        records,
    })
}

/// Makes the administrator of a new unit without serving.
///
/// # Errors
/// If the unit cannot be built, or the administrator cannot be made.
pub async fn init(loaded: Loaded, tell: impl FnOnce(&Administrator)) -> Result<(), StartError> {
    let files = loaded.config.store.open_files;
    let foundation = Foundation::lay(loaded, files, Arc::new(SystemClock))?;
    let made = first_start::make_administrator(&foundation, tell).await;
    if let Err(error) = foundation.records.close().await {
        tracing::error!(%error, "the records could not be closed");
    }
    Ok(made?)
}

/// Without a setting, the administrator's cell makes unit users, if a first start has made it.
pub(crate) fn issuers(settings: &mut personium_model::Settings, data: &Path) {
    if settings.auth.unit_user_issuers.is_empty() {
        settings
            .auth
            .unit_user_issuers
            .extend(first_start::issuer(data));
    }
}

fn bounds(config: &Config, connections: usize) -> Bounds {
    Bounds {
        connections,
        header_bytes: config.listen.header_bytes_max,
        header_count: config.listen.header_count_max,
        header_time: Duration::from_secs(config.listen.header_seconds),
        body_time: Duration::from_secs(config.listen.body_seconds),
        stop_time: Duration::from_secs(config.listen.stop_seconds),
    }
}

/// Finishes what the last run left, and looks for bodies without a file now and then.
async fn sweep(unit: Arc<Unit>) {
    if let Err(error) = unit.resume_sweeps().await {
        tracing::warn!(error = %chain(&error), "what the last run left could not be swept");
    }
    loop {
        tokio::time::sleep(ORPHANS).await;
        if let Err(error) = unit.sweep_orphans(ORPHANS_PAUSE).await {
            tracing::warn!(error = %chain(&error), "bodies without a file could not be looked for");
        }
    }
}

impl Running {
    /// Stops: no new connections, requests in hand finish within their time, then commits on their way, then the stores close.
    pub async fn stop(self) {
        tracing::info!("the unit stops");
        self.stop.send_replace(true);
        if let Err(error) = self.serving.await {
            tracing::error!(%error, "the listener broke down");
        }
        for task in self.background {
            task.abort();
        }
        self.unit.finish_commits().await;
        if let Err(error) = self.records.close().await {
            tracing::error!(%error, "the records could not be closed");
        }
        tracing::info!("the unit has stopped");
    }
}

#[cfg(test)]
mod tests;
