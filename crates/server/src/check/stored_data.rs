//! The check of what the data folder contains.

use std::sync::Arc;

use personium_postgres::PostgresStore;
use personium_sqlite::{SqliteSettings, SqliteStore};
use personium_store::StoreError;
use personium_types::error::chain;

use super::report::CheckReport;
use crate::components::{body_place, record_settings};
use crate::config::{Config, LoadedConfig, RecordStoreKind};
use crate::data_folder::{Condition, DataFolder, DataFolderError, records_error};
use crate::record_engine::{self, RecordEngine};
use crate::system;

/// The name of the check.
const CHECK: &str = "data";

/// Checks that the data folder, or the database with it, has a whole unit or none.
pub(super) fn check(report: &mut CheckReport, loaded: &LoadedConfig) {
    let settings = record_settings(&loaded.config);
    let health = Arc::clone(&settings.health);
    let (clock, random) = (system::clock(), system::random());
    let bodies = match body_place(&loaded.config, &clock, &random, &health) {
        Ok(bodies) => bodies,
        Err(error) => return report.error(CHECK, chain(&error)),
    };
    let folder = DataFolder::new(&loaded.config, bodies);
    if loaded.config.store.kind == RecordStoreKind::Postgres {
        return check_database(report, &folder, &loaded.config);
    }
    let condition = match inspect(&folder, settings) {
        Ok(Some(condition)) => condition,
        Ok(None) => {
            return report.ok(CHECK, "in use by a running unit, whose /ready tells more");
        }
        Err(error) => return report.error(CHECK, chain(&error)),
    };
    add_condition(report, condition);
    for (_, what) in health.damaged_spaces() {
        report.error("stored data", what);
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
fn check_database(report: &mut CheckReport, folder: &DataFolder, config: &Config) {
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
        let condition = folder.inspect(Some(&records)).await;
        let closed = records.port().close().await;
        closed.map_err(|error| chain(&error))?;
        Ok((address, condition.map_err(|error| chain(&error))?))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let found = match runtime {
        Ok(runtime) => runtime.block_on(inspected),
        Err(error) => Err(chain(&error)),
    };
    match found {
        Err(problem) => report.error(DATABASE, problem),
        Ok((address, condition)) => {
            report.ok(DATABASE, format!("{address} answers"));
            add_condition(report, condition);
        }
    }
}

/// Returns nothing if the data folder is in use.
fn inspect(
    folder: &DataFolder,
    settings: SqliteSettings,
) -> Result<Option<Condition>, DataFolderError> {
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
    let inspected = runtime.block_on(folder.inspect(records.as_ref()));
    inspected.map(Some)
}
