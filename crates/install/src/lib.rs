//! Installs applications: creates a box with everything that an archive describes; and exports boxes as archives.
//!
//! [`InstallAuthority::start`] creates the box before the request is answered, [`Installer::run`] installs its content in the
//! background. [`status`] reports the progress. If a step fails, everything that was made is removed, and [`find_failure`]
//! reports the error.
//!
//! | Module | Content |
//! |---|---|
//! | `authority` | starts an installation |
//! | `claim` | the claim of an installation by the server node that runs it |
//! | `installer` | the state of an installation: box, progress, events |
//! | `run` | the sequence of steps |
//! | `control_objects` | relations, roles, external roles, rules and links |
//! | `collections` | collections with their properties |
//! | `files` | files, and the distribution of entries to collections |
//! | `odata_collection` | the entities of an OData collection |
//! | `odata_schema` | the schema of an OData collection |
//! | `package` | the archive |
//! | `progress` | the stored state of an installation |
//! | `cell_export` | writes a cell into a snapshot, by [`CellExporter`] |
//! | `cell_filling` | fills a new cell with the content of a snapshot, or of a cell of the original |
//! | `cell_source` | the content that a cell is filled with |
//! | `original` | the documents and files of a unit of the original |
//! | `migration` | takes over the cells of a unit of the original, by [`Migration`] |
//! | `cell_import` | replaces the content of a cell by that of a snapshot, by [`CellImporter`] |
//! | `snapshot_package` | the snapshot that is imported |
//! | `cell_event` | the events of exports and imports of cells |
//! | `request_origin` | the request that started an installation, an export or an import |
//! | `export` | writes the archive of a box, by [`ExportedBox::write`] |
//! | `rollback` | removes what a failed installation has made |
//! | `error` | why an installation fails |

mod authority;
mod cell_event;
mod cell_export;
mod cell_filling;
mod cell_import;
mod cell_source;
mod claim;
mod collections;
mod control_objects;
mod error;
mod export;
mod files;
mod installer;
mod migration;
mod odata_collection;
mod odata_schema;
mod original;
mod own_task;
mod package;
mod progress;
mod request_origin;
mod rollback;
mod run;
mod snapshot_package;

pub use authority::{InstallAuthority, InstallRequest};
pub use cell_export::{CellExporter, ExportFormat};
pub use cell_import::{CellImporter, CellProperties};
pub use export::ExportedBox;
pub use installer::Installer;
pub use migration::{CellOutcome, ComparedCell, Migration, is_of_cell};
pub use original::{
    CollectedCell, DocumentCollector, DocumentCounts, Documents, DownloadedChunks, Downloads,
    IndexState, OriginalFiles,
};
pub use package::Package;
pub use progress::{FailedInstallation, InstallationStatus, find_failure, remove_failure, status};
pub use request_origin::RequestOrigin;
pub use snapshot_package::reason_of;
