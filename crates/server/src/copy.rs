//! `personium copy`: moves a whole unit to other stores.
//!
//! The spaces are copied some at a time, those of the cells in the order of their ids, that of the unit last; the target remembers the
//! last cell that was copied with all before it, once they are on the disk. Then each space is compared with its source, and what differs is copied again, until
//! a comparison finds nothing. Only then the target becomes a whole unit. Bodies come before the records that name them.

pub(crate) mod bodies;
pub(crate) mod key_copy;
mod records;
mod source;
mod target;

use std::path::Path;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use personium_model::records::Records;
use personium_store::Space;
use personium_types::error::chain;

use self::bodies::BodyCheck;
use self::key_copy::KeySet;
pub(crate) use self::source::Source;
use self::target::Target;
use crate::command_audit::AuditedCommand;
use crate::config::{Config, ConfigSources, LoadedConfig};
use crate::progress::Progress;
use crate::system;

/// The settings file in a data folder.
const SETTINGS_FILE: &str = "personium-unit-config.properties";

/// The number of spaces that are copied at the same time.
pub(crate) const SPACES_AT_ONCE: usize = 4;

/// The number of cells after which the target remembers how far it is.
const CELLS_PER_STEP: usize = 500;

/// The number of comparisons of a space of which the last one must find nothing.
const COMPARISONS_MAX: u32 = 3;

/// A result whose error is a text for the operator.
type CopyResult<T = ()> = Result<T, String>;

/// The content of spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct CopyCounts {
    /// The number of records.
    records: u64,
    /// The sum of the checksums of their keys and values.
    checksum: u64,
    /// The number of file bodies outside of the records.
    bodies: u64,
    /// The sum of their lengths.
    body_bytes: u64,
    /// The number of records and bodies that were different in the target.
    changed: u64,
}

impl CopyCounts {
    fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.checksum = self.checksum.wrapping_add(other.checksum);
        self.bodies += other.bodies;
        self.body_bytes += other.body_bytes;
        self.changed += other.changed;
    }
}

/// The settings of one side: those of a settings file, or of a data folder with one in it. The environment does not count, since it
/// would apply to both sides.
fn sources(path: &Path) -> ConfigSources {
    let mut sources = ConfigSources::default();
    if path.is_dir() {
        let file = path.join(SETTINGS_FILE);
        sources.file = file.exists().then_some(file);
        let folder = path.display().to_string();
        sources.options.push(("data.dir".to_owned(), folder));
    } else {
        sources.file = Some(path.to_owned());
    }
    sources
}

/// Loads the settings of one side: see [`sources`].
///
/// # Errors
/// A text for the operator.
pub(crate) fn load(path: &Path) -> CopyResult<Config> {
    Ok(load_settings(path)?.config)
}

/// As [`load`], with what is known about where the settings are from.
///
/// # Errors
/// A text for the operator.
pub(crate) fn load_settings(path: &Path) -> CopyResult<LoadedConfig> {
    let loaded = LoadedConfig::load(&sources(path));
    loaded.map_err(|error| format!("{}: {error}", path.display()))
}

/// Runs the command. Returns the text that is shown at its end.
///
/// # Errors
/// A text for the operator. Whatever it is, the source is as before, and the command can be repeated.
pub fn run_command(
    from: &Path,
    to: &Path,
    runtime: &tokio::runtime::Runtime,
) -> CopyResult<String> {
    let (from, to) = (load(from)?, load(to)?);
    let progress = Progress::new("copy", system::clock());
    runtime.block_on(Box::pin(run((&from, &to), &progress)))
}

async fn run((from, to): (&Config, &Config), progress: &Progress) -> CopyResult<String> {
    let real = |config: &Config| {
        let path = &config.store.data_dir;
        path.canonicalize().unwrap_or_else(|_| path.clone())
    };
    if real(from) == real(to) {
        return Err("source and target have the same data.dir; give the target its own".to_owned());
    }
    progress.note("opening the source");
    let source = Box::pin(Source::open(from, progress)).await?;
    let put_keys = |to: &Config| KeySet::read(from)?.write(to);
    let text = copy_from(source, to, put_keys, progress).await?;
    Ok(text + "The copy is a whole unit now. Do not start the source any more.\n")
}

/// Copies a unit to the stores of these settings, and closes it. `put_keys` gives the target its keys.
///
/// # Errors
/// A text for the operator.
pub(crate) async fn copy_from(
    source: Source,
    to: &Config,
    put_keys: impl FnOnce(&Config) -> CopyResult<Vec<String>>,
    progress: &Progress,
) -> CopyResult<String> {
    progress.note("opening the target");
    let opened = Box::pin(Target::open(to, &source)).await;
    let copied = match opened {
        Ok(mut target) => {
            let copied = match put_keys(to) {
                Ok(notes) => {
                    let sides = (&source, &mut target);
                    Box::pin(copy_unit(sides, notes, progress)).await
                }
                Err(error) => Err(error),
            };
            let closed = target.close().await;
            copied.and_then(|text| closed.map(|()| text))
        }
        Err(error) => Err(error),
    };
    source.close().await;
    copied
}

async fn copy_unit(
    (source, target): (&Source, &mut Target),
    notes: Vec<String>,
    progress: &Progress,
) -> CopyResult<String> {
    target.drop_others(&source.cells).await?;
    let cells = source.cells.iter().map(|cell| Space::Cell(*cell));
    let cells: Vec<Space> = cells.collect();
    progress.start("copied", cells.len() + 1);
    for part in cells.chunks(CELLS_PER_STEP) {
        let shared = &*target;
        let before = part.iter().filter(|space| shared.has_copied(space));
        before.for_each(|_| progress.end_space());
        let pending = part.iter().filter(|space| !shared.has_copied(space));
        let copies = pending.map(async |space| {
            let copied = copy_space((source, shared), space, BodyCheck::Length, progress).await;
            copied.map_err(|error| format!("{}: {error}", name(space)))
        });
        let mut copies = Box::pin(stream::iter(copies).buffer_unordered(SPACES_AT_ONCE));
        let mut is_new = false;
        while copies.try_next().await?.is_some() {
            is_new = true;
            progress.end_space();
        }
        drop(copies);
        if let (Some(last), true) = (part.last(), is_new) {
            target.set_copied(last).await?;
        }
    }
    let copied = copy_space((source, target), &Space::Unit, BodyCheck::Length, progress).await;
    copied.map_err(|error| format!("{}: {error}", name(&Space::Unit)))?;
    progress.end_space();
    let total = compare((source, target), &cells, progress).await?;
    source.check_unchanged().await?;
    let audited = AuditedCommand {
        operation: source.operation,
        target: format!("from {}", source.place),
    };
    let records = Records::new(Arc::clone(&target.records), Space::Unit);
    let noted = audited.note(&records, system::clock().now_ms()).await;
    noted.map_err(|error| format!("the target: {}", chain(&error)))?;
    target.finish().await?;
    progress.end();
    Ok(outcome(source.cells.len(), &total, &notes))
}

/// Compares all spaces with their source, and copies what differs. Returns the counts of comparisons that found nothing.
async fn compare(
    sides: (&Source, &Target),
    cells: &[Space],
    progress: &Progress,
) -> CopyResult<CopyCounts> {
    progress.start("compared", cells.len() + 1);
    let comparisons = cells.iter().chain([&Space::Unit]).map(async |space| {
        let compared = compare_space(sides, space, progress).await;
        compared.map_err(|error| format!("{}: {error}", name(space)))
    });
    let mut comparisons = Box::pin(stream::iter(comparisons).buffer_unordered(SPACES_AT_ONCE));
    let mut total = CopyCounts::default();
    while let Some(counts) = comparisons.try_next().await? {
        total.add(&counts);
        progress.end_space();
    }
    Ok(total)
}

/// The name of a space in messages.
pub(crate) fn name(space: &Space) -> String {
    match space {
        Space::Unit => "the unit".to_owned(),
        Space::Cell(id) => format!("cell {id}"),
    }
}

/// Makes a space of the target that of the source.
async fn copy_space(
    (source, target): (&Source, &Target),
    space: &Space,
    check: BodyCheck,
    progress: &Progress,
) -> CopyResult<CopyCounts> {
    target.create_space(space).await?;
    let bodies = (&*source.bodies, &*target.bodies);
    let is_incomplete = matches!(space, Space::Cell(id) if source.incomplete.contains(id));
    let wanted = (check, is_incomplete);
    let mut counts = bodies::copy(&*source.records, bodies, space, wanted, progress).await?;
    let records = (&*source.records, &*target.records);
    counts.add(&records::copy(records, space, progress).await?);
    Ok(counts)
}

/// Compares a space with its source, and copies what differs. Returns the counts of a comparison that found nothing.
async fn compare_space(
    sides: (&Source, &Target),
    space: &Space,
    progress: &Progress,
) -> CopyResult<CopyCounts> {
    for _ in 0..COMPARISONS_MAX {
        let counts = copy_space(sides, space, BodyCheck::Content, progress).await?;
        if counts.changed == 0 {
            return Ok(counts);
        }
    }
    Err("it changes while it is copied".to_owned())
}

fn outcome(cells: usize, counts: &CopyCounts, notes: &[String]) -> String {
    let CopyCounts {
        records,
        checksum,
        bodies,
        body_bytes,
        ..
    } = counts;
    let mut text = format!(
        "Copied and compared: {cells} cells, {records} records (checksum {checksum:016x}), {bodies} file bodies ({body_bytes} bytes).\n"
    );
    for note in notes {
        text.push_str(note);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn side_is_a_settings_file_or_a_data_folder_with_or_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let data = ("data.dir".to_owned(), folder.path().display().to_string());
        let without = sources(folder.path());
        assert_eq!((without.file, without.options), (None, vec![data.clone()]));
        let file = folder.path().join(SETTINGS_FILE);
        std::fs::write(&file, "").unwrap();
        let with = sources(folder.path());
        assert_eq!((with.file, with.options), (Some(file.clone()), vec![data]));
        let named = sources(&file);
        assert_eq!((named.file, named.options), (Some(file), Vec::new()));
    }
}
