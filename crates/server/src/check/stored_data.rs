//! The check of what the data folder contains.

use std::collections::BTreeMap;
use std::sync::Arc;

use personium_model::keys::{ControlSet, SetKey};
use personium_model::records::Records;
use personium_model::server_node::ServerNodeInfo;
use personium_model::{administrator_cells, entity};
use personium_postgres::{PostgresStore, ServerFacts};
use personium_sqlite::{SqliteSettings, SqliteStore};
use personium_store::{RecordStore, Space, StoreError, StoreHealth};
use personium_types::error::chain;

use super::clock::OtherClock;
use super::items::ItemCounts;
use super::nodes::SeenNode;
use super::report::CheckReport;
use super::{clock, items, nodes};
use crate::components::{body_place, record_settings};
use crate::config::{LoadedConfig, RecordStoreKind};
use crate::data_folder::{Condition, DataFolder, DataFolderError, records_error};
use crate::key_files::{self, unit_secret};
use crate::plugins;
use crate::record_engine::{self, RecordEngine};
use crate::record_socket::RemoteRecords;
use crate::running_settings::InitialSettings;
use crate::system;
use crate::unit_url::unit_urls;

/// The name of the check.
const CHECK: &str = "data";

/// Checks that the data folder, or the database with it, has a whole unit or none. Returns the recorded names of the cells with
/// administrators, if the records can be read.
pub(super) fn check(report: &mut CheckReport, loaded: &LoadedConfig) -> Option<Vec<String>> {
    let settings = record_settings(&loaded.config);
    let (clock, random) = (system::clock(), system::random());
    let bodies = match body_place(&loaded.config, &clock, &random, &settings.health) {
        Ok(bodies) => bodies,
        Err(error) => {
            report.error(CHECK, chain(&error));
            return None;
        }
    };
    let folder = DataFolder::new(&loaded.config, bodies);
    if loaded.config.store.kind == RecordStoreKind::Postgres {
        return check_database(report, &folder, loaded);
    }
    let found = match inspect(&folder, settings, loaded) {
        Ok(Some(found)) => found,
        Ok(None) => {
            report.ok(CHECK, "in use by a running unit, whose /ready tells more");
            check_running(report, loaded);
            return None;
        }
        Err(error) => {
            report.error(CHECK, chain(&error));
            return None;
        }
    };
    add_condition(report, found.condition);
    add_secret(report, found.secret);
    add_missing_issuers(report, &found.missing_issuers);
    for what in found.damages {
        report.error("stored data", what);
    }
    if let Some(counts) = found.items {
        items::check(report, counts);
    }
    found.administrators
}

/// Checks the secret and counts the items of a unit that runs, whose records can be read over its socket.
fn check_running(report: &mut CheckReport, loaded: &LoadedConfig) {
    let counted = async {
        let records = RemoteRecords::connect(&loaded.config.store.data_dir).await;
        let records: Arc<dyn RecordStore> = Arc::new(records.map_err(|error| chain(&error))?);
        let unit = Records::new(Arc::clone(&records), Space::Unit);
        let secret = unit_secret::check(&loaded.config, &unit).await;
        let counts = ItemCounts::of(&records).await;
        Ok((secret, counts.map_err(|error| chain(&error))))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    if let Ok(runtime) = runtime {
        match runtime.block_on(counted) {
            Ok((secret, counts)) => {
                add_secret(report, secret);
                items::check(report, counts);
            }
            Err(error) => items::check(report, Err(error)),
        }
    }
}

/// The findings in a database.
struct FoundDatabase {
    address: String,
    found: Found,
    nodes: Vec<SeenNode>,
    facts: ServerFacts,
    clock: OtherClock,
}

/// The properties of a node with these settings. Without its keys, only the version.
fn own_info(loaded: &LoadedConfig) -> ServerNodeInfo {
    let (now_ms, random) = (system::clock().now_ms(), system::random());
    let prepared = unit_urls(loaded)
        .and_then(|urls| key_files::prepare(&loaded.config, urls.host(), now_ms, &random));
    let (settings, plugins) = match prepared {
        Ok(prepared) => (
            InitialSettings::new(loaded).digests(&prepared.keys),
            Some(plugins::digests(&loaded.config, &prepared.keys)),
        ),
        Err(_) => (BTreeMap::new(), None),
    };
    ServerNodeInfo {
        version: crate::VERSION.to_owned(),
        settings,
        plugins,
        ..ServerNodeInfo::default()
    }
}

/// The findings about the records.
struct Found {
    condition: Condition,
    /// The names of the cells with administrators, if they are recorded.
    administrators: Option<Vec<String>>,
    /// Whether the secret of the unit is the one of the records; otherwise a text.
    secret: Result<(), String>,
    /// The names of cells that the settings name as issuers, and that do not exist.
    missing_issuers: Vec<String>,
    /// The damage that was seen in the records of the unit.
    damages: Vec<String>,
    /// The number of items, if there are records.
    items: Option<Result<ItemCounts, String>>,
}

impl Found {
    async fn read(
        folder: &DataFolder,
        records: Option<&RecordEngine>,
        loaded: &LoadedConfig,
        health: &StoreHealth,
    ) -> Result<Self, DataFolderError> {
        let condition = folder.inspect(records).await?;
        let mut found = Self {
            condition,
            administrators: None,
            secret: Ok(()),
            missing_issuers: Vec::new(),
            damages: Vec::new(),
            items: None,
        };
        let Some(records) = records else {
            return Ok(found);
        };
        let unit = Records::new(records.port(), Space::Unit);
        let administrators = administrator_cells::find(&unit).await;
        found.administrators = administrators.map_err(DataFolderError::Records)?;
        found.secret = unit_secret::check(&loaded.config, &unit).await;
        let cells = SetKey::control(ControlSet::Cell);
        for name in own_issuers(loaded) {
            let cell = entity::find_unique(&unit, &cells, 0, &[Some(&name)]).await;
            if cell.map_err(DataFolderError::Records)?.is_none() {
                found.missing_issuers.push(name);
            }
        }
        // A unit starts with damaged cells, which the count may find: it comes afterwards.
        let damages = health.damaged_spaces().into_iter();
        found.damages = damages.map(|(_, what)| what).collect();
        let counts = ItemCounts::of(&records.port()).await;
        found.items = Some(counts.map_err(|error| chain(&error)));
        Ok(found)
    }
}

/// The names of the cells of this unit that the settings name as issuers of unit users.
fn own_issuers(loaded: &LoadedConfig) -> Vec<String> {
    let Ok(urls) = unit_urls(loaded) else {
        return Vec::new();
    };
    let issuers = loaded.config.unit.issuers.iter();
    issuers
        .filter_map(|issuer| Some(urls.split(&urls.resolve(issuer)?)?.0))
        .collect()
}

fn add_missing_issuers(report: &mut CheckReport, names: &[String]) {
    for name in names {
        report.warning(
            "unit user issuers",
            format!(
                "the cell {name} does not exist: whoever makes it can administrate the unit; make it, or remove it from \
                 unitUser.issuers"
            ),
        );
    }
}

fn add_secret(report: &mut CheckReport, secret: Result<(), String>) {
    if let Err(problem) = secret {
        report.error("keys", problem);
    }
}

fn add_condition(report: &mut CheckReport, condition: Condition) {
    match condition {
        Condition::New => report.ok(CHECK, "the unit is new"),
        Condition::Started(_) => report.ok(CHECK, "the first start was interrupted"),
        Condition::Unmarked => report.ok(CHECK, "the next start marks the parts of the unit"),
        Condition::Joining(mark) => {
            report.ok(
                CHECK,
                format!("the next start makes this node one of unit {mark}"),
            );
        }
        Condition::Whole(mark) => report.ok(CHECK, format!("unit {mark} has all its parts")),
    }
}

/// Checks that the database answers, has the tables of this version, and belongs to the folders.
fn check_database(
    report: &mut CheckReport,
    folder: &DataFolder,
    loaded: &LoadedConfig,
) -> Option<Vec<String>> {
    const DATABASE: &str = "database";
    let inspected = async {
        let settings = record_engine::database_settings(&loaded.config, &Arc::default());
        let settings = settings.map_err(|error| chain(&error))?;
        let store =
            PostgresStore::new(&settings, system::random()).map_err(|error| chain(&error))?;
        let address = settings.address();
        let usable = store.check_schema().await;
        usable.map_err(|error| format!("{address}: {}", chain(&error)))?;
        // The first question may take a connection.
        let facts = store.server_facts().await;
        let asked_ms = system::clock().now_ms();
        let again = store.server_facts().await;
        let answered_ms = system::clock().now_ms();
        let again = again.map_err(|error| chain(&error))?;
        let clock = OtherClock {
            asked_ms,
            answered_ms,
            shown_ms: again.time_ms,
            resolution_ms: 1,
        };
        let records = RecordEngine::Postgres(Arc::new(store));
        let found = Found::read(folder, Some(&records), loaded, &StoreHealth::default()).await;
        let nodes = nodes::watch(&Records::new(records.port(), Space::Unit)).await;
        let closed = records.port().close().await;
        closed.map_err(|error| chain(&error))?;
        Ok(FoundDatabase {
            address,
            found: found.map_err(|error| chain(&error))?,
            nodes: nodes.map_err(|error| chain(&error))?,
            facts: facts.map_err(|error| chain(&error))?,
            clock,
        })
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let found = match runtime {
        Ok(runtime) => runtime.block_on(inspected),
        Err(error) => Err(chain(&error)),
    };
    match found {
        Err(problem) => {
            report.error(DATABASE, problem);
            None
        }
        Ok(database) => {
            let (address, version) = (database.address, database.facts.version);
            report.ok(DATABASE, format!("{address} answers: PostgreSQL {version}"));
            clock::compare(report, "that of the database", &database.clock);
            add_condition(report, database.found.condition);
            add_secret(report, database.found.secret);
            add_missing_issuers(report, &database.found.missing_issuers);
            let own = own_info(loaded);
            nodes::check(report, &database.nodes, &own);
            if let Some(counts) = database.found.items {
                items::check(report, counts);
            }
            database.found.administrators
        }
    }
}

/// Returns nothing if the data folder is in use.
fn inspect(
    folder: &DataFolder,
    settings: SqliteSettings,
    loaded: &LoadedConfig,
) -> Result<Option<Found>, DataFolderError> {
    let health = Arc::clone(&settings.health);
    let records = match folder.unit_records().exists() {
        true => match SqliteStore::inspect(settings) {
            Ok(records) => Some(RecordEngine::Sqlite(Arc::new(records))),
            Err(StoreError::Busy(_)) => return Ok(None),
            Err(error) => return Err(records_error(error)),
        },
        false => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|source| DataFolderError::File {
        path: folder.unit_records(),
        source,
    })?;
    let found = runtime.block_on(Found::read(folder, records.as_ref(), loaded, &health));
    found.map(Some)
}
