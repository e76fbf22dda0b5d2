//! The check of what the data folder contains.

use std::sync::Arc;

use personium_sqlite::{SqliteSettings, SqliteStore};
use personium_store::StoreError;
use personium_types::error::chain;

use super::report::CheckReport;
use crate::components::record_settings;
use crate::config::LoadedConfig;
use crate::data_folder::{Condition, DataFolder, DataFolderError, records_error};

/// Checks that the data folder has a whole unit or none.
pub(super) fn check(report: &mut CheckReport, loaded: &LoadedConfig) {
    const CHECK: &str = "data";
    let folder = DataFolder::of(&loaded.config);
    let settings = record_settings(&loaded.config);
    let health = Arc::clone(&settings.health);
    let condition = match inspect(&folder, settings) {
        Ok(Some(condition)) => condition,
        Ok(None) => {
            return report.ok(CHECK, "in use by a running unit, whose /ready tells more");
        }
        Err(error) => return report.error(CHECK, chain(&error)),
    };
    match condition {
        Condition::New => report.ok(CHECK, "the unit is new"),
        Condition::Started(_) => report.ok(CHECK, "the first start was interrupted"),
        Condition::Unmarked => report.ok(CHECK, "the next start marks the parts of the unit"),
        Condition::Whole(mark) => report.ok(CHECK, format!("unit {mark} has all its parts")),
    }
    for (_, what) in health.damaged_spaces() {
        report.error("stored data", what);
    }
}

/// Returns nothing if the data folder is in use.
fn inspect(
    folder: &DataFolder,
    settings: SqliteSettings,
) -> Result<Option<Condition>, DataFolderError> {
    let records = match folder.unit_records().exists() {
        true => match SqliteStore::inspect(settings) {
            Ok(records) => Some(Arc::new(records)),
            Err(StoreError::Busy(_)) => return Ok(None),
            Err(error) => return Err(records_error(error)),
        },
        false => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|source| DataFolderError::File {
        path: folder.unit_records(),
        source,
    })?;
    let inspected = runtime.block_on(folder.inspect(records.as_ref()));
    inspected.map(Some)
}
