//! The first start of a unit, which creates its administrator.
//!
//! The administrator is an account in a cell of its own. It is created through the API, with a master token that exists
//! in this process only and only for this purpose.

use std::path::{Path, PathBuf};
use std::{fs, io};

use personium_model::administrator_cells;

use crate::command_audit::AuditedCommand;
use crate::components::{self, Components};
use crate::config::{Config, RecordStoreKind};
use crate::data_folder;
use crate::data_folder::{
    ADMINISTRATOR_FILE as COMPLETED_FILE, ADMINISTRATOR_STARTED_FILE as STARTED_FILE, RECORDS_DIR,
    UNIT_RECORDS_FILE,
};
use crate::key_files::{self, KeyFileError};
use crate::local_api::{Administrator, LocalApi, RefusedRequest};
use crate::passwords;

/// The name of the administrator's cell and account.
pub const ADMIN_NAME: &str = "unitadmin";

/// An administrator that could not be created.
#[derive(Debug, thiserror::Error)]
pub enum FirstStartError {
    /// The state of the first start could not be written to the data folder.
    #[error("cannot write the state of the first start")]
    WriteState(#[from] KeyFileError),
    /// The state of the first start could not be changed to completed.
    #[error("cannot complete the first start")]
    Complete(#[source] std::io::Error),
    /// The cell of the administrator could not be recorded.
    #[error("cannot record the cell of the administrator")]
    Record(#[source] personium_types::Error),
    /// No password could be generated.
    #[error("cannot generate the password of the administrator")]
    Password(#[source] KeyFileError),
    /// The password could not be written to the standard output.
    #[error(
        "the password of the administrator could not be written, so none was made; the next start tries again"
    )]
    Show(#[source] io::Error),
    /// The API refused a request.
    #[error(transparent)]
    Refused(#[from] RefusedRequest),
}

/// Whether the data folder contains no unit, or one whose first start was interrupted. If the records are in a database: whether
/// this node is not known as one of a unit.
#[must_use]
pub fn is_due(config: &Config) -> bool {
    let data_dir = &config.store.data_dir;
    let unit = match config.store.kind {
        RecordStoreKind::Sqlite => data_dir.join(RECORDS_DIR).join(UNIT_RECORDS_FILE),
        RecordStoreKind::Postgres => data_folder::mark_beside(data_dir),
    };
    // A unit whose file cannot be accessed is not a new one.
    needs_administrator(data_dir) || matches!(unit.try_exists(), Ok(false))
}

/// Whether the administrator of the unit is yet to be created. Known once the data folder is claimed.
#[must_use]
pub fn needs_administrator(data_dir: &Path) -> bool {
    data_dir.join(STARTED_FILE).exists()
}

/// Returns the cells whose tokens authenticate unit users: the configured ones, else those with administrators.
#[must_use]
pub fn issuers(config: &Config, administrator_cells: &[String]) -> Vec<String> {
    if !config.unit.issuers.is_empty() {
        return config.unit.issuers.clone();
    }
    let cells = administrator_cells.iter();
    cells
        .map(|cell| format!("personium-localunit:{cell}:/"))
        .collect()
}

/// Returns what an operator should know if nobody, or only the master token, can administrate the unit. `is_new` says that
/// this is the first start, `has_cells` that there are cells with administrators.
#[must_use]
pub fn administration_note(config: &Config, is_new: bool, has_cells: bool) -> Option<String> {
    let reason = match (&config.unit.master_token, config.unit.issuers.is_empty()) {
        _ if has_cells => return None,
        (None, true) if is_new => return None,
        (None, true) => {
            "nobody can administrate this unit: it has no administrator and no master token"
        }
        (Some(_), true) => {
            "this unit has no administrator, because masterToken is set: only the master token administrates it"
        }
        (_, false) if is_new => {
            "no administrator is made, because unitUser.issuers is set: the cells that it names, and their administrators, are yours to make"
        }
        (_, false) => return None,
    };
    let data_dir = config.store.data_dir.display();
    Some(format!(
        "{reason}; `personium admin create --data {data_dir}` makes an administrator while the unit is stopped"
    ))
}

/// Records the cell of the administrator, and in the audit log that it was made.
async fn record(api: &LocalApi) -> personium_types::Result<()> {
    administrator_cells::add(&api.unit.records(), ADMIN_NAME).await?;
    let audited = AuditedCommand {
        operation: "admin.create",
        target: format!("{ADMIN_NAME}#{ADMIN_NAME}, at the first start"),
    };
    audited.note(&api.unit.records(), api.unit.now_ms()).await
}

/// Creates the administrator's cell, account and roles. Passes the password to `show` before the first start counts as
/// completed.
///
/// # Errors
/// [`FirstStartError`] if a step fails. The next start deletes the cell and repeats all steps.
pub async fn create_administrator(
    components: &Components,
    show: impl FnOnce(&Administrator) -> io::Result<()>,
) -> Result<(), FirstStartError> {
    let config = &components.config;
    let path = |name: &str| -> PathBuf { config.store.data_dir.join(name) };
    let was_interrupted = path(STARTED_FILE).exists();
    key_files::write_private(&path(STARTED_FILE), ADMIN_NAME.as_bytes())?;
    let password = passwords::generate(&config.passwords.pattern, &components.random)
        .map_err(FirstStartError::Password)?;
    let api = LocalApi::new(components)?;
    let administrator = Administrator {
        unit: api.unit.urls().unit(),
        account: ADMIN_NAME.to_owned(),
        password,
        cell: api.unit.urls().cell(ADMIN_NAME),
    };
    let created = make_administrator(&api, &administrator, was_interrupted, show).await;
    let recorded = match &created {
        Ok(()) => record(&api).await,
        Err(_) => Ok(()),
    };
    components::leave_unit(&api.unit).await;
    created?;
    recorded.map_err(FirstStartError::Record)?;
    fs::rename(path(STARTED_FILE), path(COMPLETED_FILE)).map_err(FirstStartError::Complete)
}

async fn make_administrator(
    api: &LocalApi,
    administrator: &Administrator,
    was_interrupted: bool,
    show: impl FnOnce(&Administrator) -> io::Result<()>,
) -> Result<(), FirstStartError> {
    if was_interrupted {
        api.delete_cell_if_exists(&administrator.cell).await?;
    }
    api.create_administrator(ADMIN_NAME, administrator).await?;
    if let Err(error) = show(administrator) {
        api.delete_cell_if_exists(&administrator.cell).await?;
        return Err(FirstStartError::Show(error));
    }
    Ok(())
}
