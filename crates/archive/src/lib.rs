//! Bar files: the zip archives that contain an application; and snapshots of cells.
//!
//! Reading is synchronous, from any type that implements [`Read`](std::io::Read) and [`Seek`](std::io::Seek). This crate
//! knows neither HTTP nor the store. Archives come from clients, so [`Bar::open`] validates the whole archive before an entry
//! is read. [`json`] parses and prints the JSON files. [`ArchiveWriter`] writes an archive. [`snapshot`] has the format of
//! snapshots of cells.

mod bar;
mod central_directory;
mod checked_zip;
mod entries;
mod error;
mod first_file;
pub mod json;
mod manifest;
mod name;
pub mod paths;
pub mod snapshot;
mod version;
mod writer;
#[cfg(test)]
mod zip_builder;

pub use bar::Bar;
pub use checked_zip::ArchiveLimits;
pub use entries::BarEntry;
pub use error::{BarError, BoxedError, EntryError, ReadError};
pub use first_file::first_file;
pub use manifest::Manifest;
pub use version::BarVersion;
pub use writer::ArchiveWriter;
