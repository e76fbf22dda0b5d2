//! The file with the names of the cells with administrators, as this node knew them last.
//!
//! A record of the unit decides ([`personium_model::administrator_cells`]). The file is for a look at the unit while its records
//! are in use, and says that the first start is completed.

use std::fs;
use std::path::Path;

use personium_model::administrator_cells;
use personium_model::records::Records;
use personium_types::{Error, Result};

use crate::data_folder::ADMINISTRATOR_FILE;
use crate::key_files;

/// Returns the names in the file.
#[must_use]
pub fn read(data_dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(data_dir.join(ADMINISTRATOR_FILE)).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Writes the recorded names into the file. Those of an earlier version, which had no record, are recorded first.
///
/// # Errors
/// A failure of the store, or of the file.
pub async fn synchronize(data_dir: &Path, unit: &Records) -> Result<()> {
    let known = read(data_dir);
    let recorded = administrator_cells::adopt(unit, &known).await?;
    if recorded == known {
        return Ok(());
    }
    let path = data_dir.join(ADMINISTRATOR_FILE);
    let written = key_files::write_private(&path, recorded.join("\n").as_bytes());
    written.map_err(Error::internal)
}
