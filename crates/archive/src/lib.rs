//! Bar files: the zip archives in which an app comes into a cell.
//!
//! Reading is synchronous, from anything that reads and seeks. Nothing here does HTTP, knows the store or writes to a
//! disk. [`Bar::open`] judges the whole archive before one entry is read out, because archives come from clients; the
//! files inside are given as bytes, and [`json`] reads those whose form is fixed.

mod bar;
mod central_directory;
mod entries;
mod error;
#[cfg(test)]
mod hand;
pub mod json;
mod manifest;
mod name;
pub mod paths;

pub use bar::{ArchiveLimits, Bar};
pub use entries::BarEntry;
pub use error::{BarError, BoxedError, EntryError, ReadError};
pub use manifest::{BarVersion, Manifest};
