//! Installs applications: creates a box with everything that an archive describes.
//!
//! [`InstallAuthority::start`] creates the box before the request is answered, [`Installer::run`] installs its content in the
//! background. A failed step is not rolled back: [`status`] reports the progress and the error, and the box can be
//! removed like any other.
//!
//! | Module | Content |
//! |---|---|
//! | `authority` | starts an installation |
//! | `installer` | the state of an installation: box, progress, events |
//! | `run` | the sequence of steps |
//! | `control_objects` | relations, roles, external roles, rules and links |
//! | `collections` | collections with their properties |
//! | `files` | files, and the distribution of entries to collections |
//! | `odata_collection` | the entities of an OData collection |
//! | `odata_schema` | the schema of an OData collection |
//! | `package` | the archive |
//! | `progress` | the stored state of an installation |
//! | `error` | why an installation fails |

mod authority;
mod collections;
mod control_objects;
mod error;
mod files;
mod installer;
mod odata_collection;
mod odata_schema;
mod package;
mod progress;
mod run;

pub use authority::{InstallAuthority, InstallRequest};
pub use installer::Installer;
pub use package::Package;
pub use progress::{InstallationStatus, status};
