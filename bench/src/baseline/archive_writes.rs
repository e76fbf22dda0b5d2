//! The baseline of exports and imports of cells: files in a ZIP archive, and entities in SQLite.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::record_writes;
use crate::BenchResult;

/// The amount of work.
#[derive(Clone, Copy)]
pub(super) struct ArchiveLoad {
    /// Entities.
    pub(super) rows: u64,
    /// Entities per commit.
    pub(super) group: u64,
    /// Index entries per entity.
    pub(super) entries: u64,
}

/// Packs all files of a folder into an archive, which is synced, and writes entities to an SQLite file beside it. Returns the seconds.
///
/// # Errors
/// A message if a file cannot be read or written.
pub(super) fn seconds(files: &Path, scratch: &Path, load: ArchiveLoad) -> BenchResult<f64> {
    let start = Instant::now();
    pack(files, &scratch.join("files.zip")).map_err(|error| format!("cannot pack: {error}"))?;
    record_writes::write_count(
        &scratch.join("rows.db"),
        load.rows,
        load.group,
        load.entries,
    )?;
    Ok(start.elapsed().as_secs_f64())
}

fn pack(folder: &Path, archive: &Path) -> std::io::Result<()> {
    let mut writer = ZipWriter::new(File::create(archive)?);
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        writer.start_file(name, SimpleFileOptions::default())?;
        std::io::copy(&mut File::open(entry.path())?, &mut writer)?;
    }
    writer.finish()?.sync_all()
}
