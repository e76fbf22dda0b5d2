//! The check of what the data folder contains.

use std::sync::Arc;

use personium_model::administrator_cells;
use personium_model::records::Records;
use personium_postgres::PostgresStore;
use personium_sqlite::{SqliteSettings, SqliteStore};
use personium_store::{Space, StoreError};
use personium_types::error::chain;

use super::report::CheckReport;
use crate::components::{body_place, record_settings};
use crate::config::{Config, LoadedConfig, RecordStoreKind};
use crate::data_folder::{Condition, DataFolder, DataFolderError, records_error};
use crate::record_engine::{self, RecordEngine};
use crate::system;

/// The name of the check.
const CHECK: &str = "data";

/// Checks that the data folder, or the database with it, has a whole unit or none. Returns the recorded names of the cells with
/// administrators, if the records can be read.
pub(super) fn check(report: &mut CheckReport, loaded: &LoadedConfig) -> Option<Vec<String>> {
    let settings = record_settings(&loaded.config);
    let health = Arc::clone(&settings.health);
    let (clock, random) = (system::clock(), system::random());
    let bodies = match body_place(&loaded.config, &clock, &random, &health) {
        Ok(bodies) => bodies,
        Err(error) => {
            report.error(CHECK, chain(&error));
            return None;
        }
    };
    let folder = DataFolder::new(&loaded.config, bodies);
    if loaded.config.store.kind == RecordStoreKind::Postgres {
        return check_database(report, &folder, &loaded.config);
    }
    let found = match inspect(&folder, settings) {
        Ok(Some(found)) => found,
        Ok(None) => {
            report.ok(CHECK, "in use by a running unit, whose /ready tells more");
            return None;
        }
        Err(error) => {
            report.error(CHECK, chain(&error));
            return None;
        }
    };
    add_condition(report, found.condition);
    for (_, what) in health.damaged_spaces() {
        report.error("stored data", what);
    }
    found.administrators
}

/// The findings about the records.
struct Found {
    condition: Condition,
    /// The names of the cells with administrators, if they are recorded.
    administrators: Option<Vec<String>>,
}

impl Found {
    async fn read(
        folder: &DataFolder,
        records: Option<&RecordEngine>,
    ) -> Result<Self, DataFolderError> {
        let condition = folder.inspect(records).await?;
        let administrators = match records {
            None => None,
            Some(records) => {
                let unit = Records::new(records.port(), Space::Unit);
                let found = administrator_cells::find(&unit).await;
                found.map_err(DataFolderError::Records)?
            }
        };
        Ok(Self {
            condition,
            administrators,
        })
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
    config: &Config,
) -> Option<Vec<String>> {
    const DATABASE: &str = "database";
    let inspected = async {
        let settings = record_engine::database_settings(config, &Arc::default());
        let settings = settings.map_err(|error| chain(&error))?;
        let store =
            PostgresStore::new(&settings, system::random()).map_err(|error| chain(&error))?;
        let address = settings.address();
        let usable = store.check_schema().await;
        usable.map_err(|error| format!("{address}: {}", chain(&error)))?;
        let records = RecordEngine::Postgres(Arc::new(store));
        let found = Found::read(folder, Some(&records)).await;
        let closed = records.port().close().await;
        closed.map_err(|error| chain(&error))?;
        Ok((address, found.map_err(|error| chain(&error))?))
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
        Ok((address, found)) => {
            report.ok(DATABASE, format!("{address} answers"));
            add_condition(report, found.condition);
            found.administrators
        }
    }
}

/// Returns nothing if the data folder is in use.
fn inspect(
    folder: &DataFolder,
    settings: SqliteSettings,
) -> Result<Option<Found>, DataFolderError> {
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
    let found = runtime.block_on(Found::read(folder, records.as_ref()));
    found.map(Some)
}
