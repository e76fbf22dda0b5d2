//! Builds a unit out of its settings.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use personium_folder::FolderStore;
use personium_model::auth::{PasswordRule, UnitKeys};
use personium_model::settings::{
    AuthRules, BarLimits, DavLimits, EventRules, LoginRateLimit, OdataLimits, OidcProvider,
    OutgoingProxy,
};
use personium_model::unit::Ports;
use personium_model::{Settings, Unit, UnitUrls};
use personium_sqlite::SqliteStore;
use personium_store::memory::MemoryCache;
use personium_store::{RecordStore, StoreError};
use personium_types::{Clock, Secret};

use crate::config::{Config, Loaded, RecordSync};
use crate::keys::{self, KeysError};

/// The folder of the records in the data folder.
pub const RECORDS: &str = "records";
/// The folder of the file bodies in the data folder, unless settings name another.
pub const FILES: &str = "files";

/// The folder in the data folder where archives lie while they are installed.
const ARCHIVES: &str = "archives";
/// The name that a unit has which nobody gave a name.
pub const LOCAL_HOST: &str = "localhost";

/// Why a unit could not be built.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The data folder cannot be made.
    #[error("cannot use the data folder {folder}")]
    Folder {
        /// Its name.
        folder: String,
        /// Why.
        source: std::io::Error,
    },
    /// A store cannot be opened.
    #[error("cannot open the store of {what}")]
    Store {
        /// Records or files.
        what: &'static str,
        /// Why.
        source: StoreError,
    },
    /// The keys of the unit cannot be used.
    #[error("cannot use the keys of the unit")]
    Keys(#[from] KeysError),
}

/// What a unit stands on.
pub struct Foundation {
    /// The settings.
    pub config: Config,
    /// Its URLs.
    pub urls: UnitUrls,
    /// What it signs and seals with.
    pub keys: Arc<UnitKeys>,
    /// Records.
    pub records: Arc<SqliteStore>,
    /// File bodies.
    pub files: Arc<FolderStore>,
    /// Short-lived state.
    pub cache: Arc<MemoryCache>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Whether the settings say nothing about how the unit is reached: then it is for this machine, without TLS.
#[must_use]
pub fn is_local(loaded: &Loaded) -> bool {
    const PUBLIC: [&str; 5] = [
        "unitScheme",
        "unitFqdn",
        "unitPort",
        "pathBasedCellUrl.enabled",
        "x509.crt",
    ];
    let public = |name: &str| {
        PUBLIC
            .iter()
            .any(|key| name.strip_prefix(crate::config::PREFIX) == Some(key))
    };
    !loaded.given.iter().any(|(name, _, _)| public(name))
}

/// The URLs of the unit. Its host is the common name of the configured certificate, else what is configured, else
/// `localhost`.
///
/// # Errors
/// If a certificate is configured and cannot be read.
pub fn urls(loaded: &Loaded) -> Result<UnitUrls, KeysError> {
    let unit = &loaded.config.unit;
    if is_local(loaded) {
        return Ok(UnitUrls::new(
            "http",
            LOCAL_HOST,
            Some(loaded.config.listen.address.port()),
            true,
        ));
    }
    let host = match keys::configured_host(&loaded.config)? {
        Some(host) => host,
        None => unit.host.clone().unwrap_or_else(|| LOCAL_HOST.to_owned()),
    };
    Ok(UnitUrls::new(
        unit.scheme.as_str(),
        &host,
        unit.port,
        unit.path_based,
    ))
}

impl Foundation {
    /// Makes what is missing in the data folder, reads the keys and opens the stores.
    ///
    /// # Errors
    /// If a folder, a key or a store cannot be used.
    pub fn lay(
        loaded: Loaded,
        open_files: usize,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, WiringError> {
        let urls = urls(&loaded)?;
        let config = loaded.config;
        let data = &config.store.data_dir;
        let folder_error = |source| WiringError::Folder {
            folder: data.display().to_string(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data)
            .map_err(folder_error)?;
        keys::make_missing(&config, urls.host(), clock.now_ms())?;
        let keys = keys::load(&config, clock.now_ms())?;
        let records = personium_sqlite::Settings {
            sync: match config.store.sync {
                RecordSync::Full => personium_sqlite::Sync::Full,
                RecordSync::Normal => personium_sqlite::Sync::Normal,
            },
            open_files,
            writers: config.store.writers,
            cache_kib: config.store.cache_kib,
            ..personium_sqlite::Settings::new(data.join(RECORDS))
        };
        let records = SqliteStore::open(records).map_err(|source| WiringError::Store {
            what: "records",
            source,
        })?;
        let files = personium_folder::Settings {
            folder: config
                .files
                .root
                .clone()
                .unwrap_or_else(|| data.join(FILES)),
            sync: if config.files.fsync {
                personium_folder::Sync::Full
            } else {
                personium_folder::Sync::None
            },
            alone: config.files.root.is_none(),
        };
        let files = FolderStore::open(&files).map_err(|source| WiringError::Store {
            what: "files",
            source,
        })?;
        let cache = Arc::new(MemoryCache::new(config.cache.max_bytes));
        let (records, files) = (Arc::new(records), Arc::new(files));
        Ok(Self {
            config,
            urls,
            keys: Arc::new(keys),
            records,
            files,
            cache,
            clock,
        })
    }

    /// A unit on this foundation, with the settings that `change` makes of the configured ones.
    #[must_use]
    pub fn unit(&self, change: impl FnOnce(&mut Settings)) -> Arc<Unit> {
        let mut settings = settings(&self.config);
        change(&mut settings);
        let ports = Ports {
            records: Arc::clone(&self.records) as Arc<dyn RecordStore>,
            blobs: Arc::clone(&self.files) as Arc<dyn personium_store::BlobStore>,
            cache: Arc::clone(&self.cache) as Arc<dyn personium_store::Cache>,
            clock: Arc::clone(&self.clock),
        };
        Arc::new(Unit::new(
            ports,
            self.urls.clone(),
            settings,
            Arc::clone(&self.keys),
        ))
    }
}

/// The limits and rules of a unit.
#[must_use]
pub fn settings(config: &Config) -> Settings {
    Settings {
        odata: odata(config),
        dav: DavLimits {
            children_max: config.dav.children_max,
            depth_max: config.dav.depth_max,
            file_max: config.dav.file_max,
            xml_max: config.dav.xml_max,
            inline_max: config.dav.inline_max,
            encrypt: config.security.encrypt_files,
            properties_max: config.dav.properties_max,
            uploads_max: config.dav.uploads_max,
            uploads_waiting_max: config.dav.uploads_waiting_max,
        },
        auth: auth(config),
        private_networks: config.outgoing.private_networks,
        bodies_max: config.listen.bodies_max,
        relay_html_url: config.cell.relay.clone(),
        authorization_html_url: config.cell.authorization.clone(),
        password_change_html_url: config.cell.password_change.clone(),
        outgoing_proxy: outgoing_proxy(config),
        proxies: config.listen.proxies.clone(),
        bar: BarLimits {
            file_megabytes: config.bar.file_megabytes,
            entry_megabytes: config.bar.entry_megabytes,
            bulk_size: usize::try_from(config.bar.bulk_size).unwrap_or(usize::MAX),
            links_step: usize::try_from(config.bar.links_output).unwrap_or(usize::MAX),
            folder: config
                .bar
                .tmp_dir
                .clone()
                .unwrap_or_else(|| config.store.data_dir.join(ARCHIVES)),
            installs_max: config.work.box_io,
            ..BarLimits::default()
        },
        events: EventRules {
            hops_max: config.events.hops,
        },
    }
}

fn outgoing_proxy(config: &Config) -> Option<OutgoingProxy> {
    let proxy = &config.proxy;
    let (host, port) = (proxy.host.clone()?, proxy.port?);
    let credentials = proxy
        .user
        .clone()
        .map(|user| (user, proxy.password.clone().unwrap_or_default()));
    Some(OutgoingProxy {
        host,
        port,
        credentials,
    })
}

fn odata(config: &Config) -> OdataLimits {
    let (odata, schema) = (&config.odata, &config.schema);
    OdataLimits {
        top_default: odata.top_default,
        top_max: odata.top_max,
        skip_max: odata.skip_max,
        expand_top_max: odata.expand_top_max,
        expand_list_properties: odata.expand_list_properties,
        expand_retrieve_properties: odata.expand_retrieve_properties,
        expand_list_max: odata.expand_list_max,
        expand_retrieve_max: odata.expand_retrieve_max,
        link_max: odata.link_max,
        batch_max: odata.batch_max,
        batch_timeout_ms: odata.batch_timeout_ms,
        window_max: config.elastic.window,
        entity_types_max: schema.entity_types_max,
        properties_max: schema.properties_max,
        simple_layers: schema.simple_layers.clone(),
        complex_layers: schema.complex_layers.clone(),
        body_max: odata.body_max,
        batch_body_max: odata.batch_body_max,
        entity_max: odata.entity_max,
        answer_max: odata.answer_max,
        query_timeout_ms: odata.query_timeout_ms,
    }
}

fn auth(config: &Config) -> AuthRules {
    let password = |password: &Option<Secret<String>>| password.clone().unwrap_or_default();
    AuthRules {
        lock_count: config.authentication.lock_count,
        lock_seconds: config.authentication.lock_seconds,
        interval_seconds: config.authentication.interval_seconds,
        login_rate_limit: LoginRateLimit {
            burst: config.authentication.address_burst,
            per_minute: config.authentication.address_per_minute,
        },
        scope_ropc: config.scopes.ropc.clone(),
        scope_assertion: config.scopes.assertion.clone(),
        scope_code: config.scopes.grant_code.clone(),
        unit_user_issuers: config.unit.issuers.clone(),
        master_token: config.unit.master_token.clone(),
        oidc: config
            .oidc
            .iter()
            .map(|provider| OidcProvider {
                config_url: provider.config_url.clone(),
                trusted_client_ids: provider.trusted_client_ids.clone(),
                account_type: provider.account_type.clone(),
                account_name_key: provider.account_name_key.clone(),
                grant_type: provider.grant_type.clone(),
            })
            .collect(),
        account_types: config
            .oidc
            .iter()
            .map(|provider| provider.account_type.clone())
            .collect(),
        introspect: config
            .introspect
            .username
            .clone()
            .map(|name| (name, password(&config.introspect.password))),
        password_rule: PasswordRule::Pattern(config.passwords.pattern.clone()),
        hash_threads: config.hashing.threads,
        revoke_with_account: config.scopes.revoke_with_account,
        rotate_refresh: config.scopes.rotate_refresh,
        single_use_codes: config.scopes.single_use_codes,
    }
}
