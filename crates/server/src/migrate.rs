//! `personium migrate`: takes over a unit of the original, with its documents, its file tree and its settings.
//!
//! The documents are collected first, in a store of their own, then each cell is taken over all at once. Repeated, the command takes
//! over what has changed since. The unit here does not start until a run with `--finish` has succeeded.

mod documents;
mod download;
mod elasticsearch;
mod report;
mod settings;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use personium_install::{CollectedCell, Documents, Migration};
use personium_model::unfinished_migration::UnfinishedMigration;
use personium_sqlite::{CommitSync, SpaceCreation, SqliteSettings, SqliteStore};
use personium_types::error::chain;
use personium_types::{Code, Error, Random};
use tokio::task::JoinSet;

use self::documents::{DocumentSource, RefusedLines};
use self::download::Download;
pub use self::elasticsearch::EngineAddress;
use self::elasticsearch::{Elasticsearch, EngineLimits};
use self::report::MigrationReport;
use self::settings::{OriginalSettings, WrittenSettings};
use crate::command_audit::AuditedCommand;
use crate::components::{self, Components};
use crate::config::{Config, ConfigSources, LoadedConfig, RecordStoreKind};
use crate::data_folder::StartedMigration;
use crate::progress::Progress;
use crate::{logging, record_engine, serve, system};

/// The number of cells that are taken over at the same time.
const CONCURRENT_CELLS: usize = 4;
/// The names of the working folder and of the report in the data folder.
const WORK_FOLDER: &str = "migration";
const REPORT_FILE: &str = "migration-report.jsonl";
/// The name of the store in the working folder.
const STORE_FOLDER: &str = "documents";

/// A result whose error is a text for the operator.
type MigrateResult<T = ()> = Result<T, String>;

/// The options of `personium migrate`.
#[derive(Debug, Clone)]
pub struct MigrateOptions {
    /// The settings file of the original.
    pub from: PathBuf,
    /// Where its documents are.
    pub documents: DocumentPlace,
    /// The folder with its folders `dav`, `eventlog` and `snapshot`, unless they are where its settings name them.
    pub tree: Option<PathBuf>,
    /// The working folder.
    pub work: Option<PathBuf>,
    /// The report.
    pub report: Option<PathBuf>,
    /// Whether the result is compared with the original.
    pub verify: bool,
    /// Whether the unit may start afterwards.
    pub finish: bool,
}

/// Where the documents of the original are.
#[derive(Debug, Clone)]
pub enum DocumentPlace {
    /// In an export.
    Export {
        /// The file.
        file: PathBuf,
        /// The list of its indexes.
        indices: Option<PathBuf>,
    },
    /// In the search engine.
    Engine {
        /// Where it is.
        address: EngineAddress,
        /// The number of documents that are read at once.
        page: u16,
    },
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrateOutcome {
    /// All was taken over that was not refused, and is equal as far as it was compared.
    Done,
    /// Cells could not be taken over, or differ.
    Incomplete,
}

/// The numbers of cells.
#[derive(Debug, Default)]
struct CellCounts {
    taken_over: u64,
    unchanged: u64,
    failed: u64,
    removed: u64,
    different: u64,
}

/// Runs the command. `target` has the settings of the unit that is filled; `data_dir` is its data folder if that has no settings file
/// yet.
///
/// # Errors
/// A text for the operator. The command can be repeated.
pub async fn run(
    options: &MigrateOptions,
    mut target: ConfigSources,
    data_dir: &Path,
    show: impl Fn(&str) -> io::Result<()>,
) -> MigrateResult<MigrateOutcome> {
    let original = OriginalSettings::read(&options.from, options.tree.as_deref())?;
    let mut notes = Vec::new();
    let (mut written, mut started) = (None, None);
    if target.file.is_none() {
        started = mark(data_dir, &original.place)?;
        let (file, skipped) = original.write_to(data_dir)?;
        notes = skipped;
        target.file = Some(file.path().to_owned());
        written = Some(file);
    }
    let loaded = LoadedConfig::load(&target).map_err(|error| error.to_string())?;
    logging::start(&loaded.config.log, system::clock()).map_err(|error| error.to_string())?;
    let data_dir = loaded.config.store.data_dir.clone();
    let report_file = options.report.clone();
    let report_file = report_file.unwrap_or_else(|| data_dir.join(REPORT_FILE));
    let work = options.work.clone();
    let work = work.unwrap_or_else(|| data_dir.join(WORK_FOLDER));
    let files_max = loaded.config.store.open_files_max;
    let (clock, random) = (system::clock(), system::random());
    if written.is_none() {
        started = mark(&data_dir, &original.place)?;
    }
    create_tables(&loaded.config, &random).await?;
    // Boxed, because the future is large.
    let components = Box::pin(Components::build(loaded, files_max, clock, random)).await;
    let components = components
        .map_err(|error| error.for_command("This command needs the unit to be stopped"))?;
    let done = Box::pin(run_on(
        &components,
        options,
        (original, notes, written, started),
        (&work, &report_file),
    ))
    .await;
    serve::close(&*components.records.port()).await;
    let (text, outcome) = done?;
    show(&text).map_err(|error| format!("the outcome could not be written: {error}"))?;
    Ok(outcome)
}

/// Makes the tables of the database, if there is one without them.
async fn create_tables(config: &Config, random: &Arc<dyn Random>) -> MigrateResult {
    if config.store.kind == RecordStoreKind::Sqlite {
        return Ok(());
    }
    let health = Arc::default();
    let opened = record_engine::open_or_create_database(config, &health, random).await;
    let store = opened.map_err(|error| chain(&error))?;
    serve::close(&*store).await;
    Ok(())
}

async fn run_on(
    components: &Components,
    options: &MigrateOptions,
    (original, notes, written, started): (
        OriginalSettings,
        Vec<String>,
        Option<WrittenSettings>,
        Option<StartedMigration>,
    ),
    (work, report_file): (&Path, &Path),
) -> MigrateResult<(String, MigrateOutcome)> {
    let (unit, authority) = components.unit(|_| {});
    begin(&unit.records(), &original.place, started).await?;
    // Before, the target may be a unit that these settings are not for, or would start as a new one with them.
    if let Some(written) = written {
        written.keep()?;
    }
    let store = open_store(work)?;
    let documents = Documents::open(Arc::clone(&store) as _)
        .await
        .map_err(failed)?;
    let progress = Progress::new("migrate", system::clock());
    let mut report = MigrationReport::create(report_file)?;
    for note in notes {
        report.add("", "setting", "", &note)?;
    }
    let prefix = &original.files.prefix;
    let collected = collect(options, &documents, prefix, &progress).await;
    let (count, refused) = collected?;
    for (place, reason) in &refused {
        report.add("", "document", place, reason)?;
    }
    let migration = Migration::new(
        (Arc::clone(&unit), authority),
        documents.clone(),
        original.files,
    );
    let migration = Arc::new(migration);
    let run = MigrationRun {
        migration: &migration,
        documents: &documents,
        progress: &progress,
    };
    let done = Box::pin(run.all(options, &mut report)).await;
    components::leave_unit(&unit).await;
    serve::close(&*store).await;
    drop(store);
    progress.end();
    let counts = done?;
    let audited = AuditedCommand {
        operation: "migrate",
        target: format!(
            "from {}: {} cells taken over, {} removed",
            original.place, counts.taken_over, counts.removed
        ),
    };
    let noted = audited.note(&unit.records(), unit.now_ms()).await;
    noted.map_err(failed)?;
    let is_whole = counts.failed == 0 && counts.different == 0;
    let mut text = format!(
        "{count} documents read. Cells: {} taken over, {} unchanged, {} removed, {} failed{}.\n",
        counts.taken_over,
        counts.unchanged,
        counts.removed,
        counts.failed,
        match options.verify {
            true => format!(", {} different", counts.different),
            false => String::new(),
        },
    );
    text.push_str(&report.finish()?);
    if options.finish && is_whole {
        let finished = UnfinishedMigration::finish(&unit.records()).await;
        finished.map_err(failed)?;
        let removed = remove_documents(work);
        removed.map_err(|error| format!("cannot remove {}: {error}", work.display()))?;
        text.push_str(
            "The unit is whole now and can be started. Do not start the original any more.\n",
        );
    } else {
        text.push_str(
            "The unit does not start yet: repeat the command, and give --finish when the original is stopped.\n",
        );
    }
    Ok((
        text,
        match is_whole {
            true => MigrateOutcome::Done,
            false => MigrateOutcome::Incomplete,
        },
    ))
}

/// Collects the documents. Returns their number, and what was refused.
async fn collect(
    options: &MigrateOptions,
    documents: &Documents,
    prefix: &str,
    progress: &Progress,
) -> MigrateResult<(u64, RefusedLines)> {
    let (address, page) = match &options.documents {
        DocumentPlace::Export { file, indices } => {
            progress.note("reading the documents");
            let (file, indices) = (file.clone(), indices.clone());
            let source = DocumentSource { file, indices };
            return source.collect(documents, prefix).await;
        }
        DocumentPlace::Engine { address, page } => (address, *page),
    };
    progress.note(&format!("reading the documents of {}", address.url()));
    let engine = Elasticsearch::connect(address, EngineLimits::default()).await?;
    let downloads = documents.downloads();
    let download = Download {
        engine: &engine,
        downloads: &downloads,
        progress,
        is_last: options.finish,
        page: page.into(),
    };
    let counts = Box::pin(download.run(prefix)).await?;
    progress.note(&format!(
        "indexes: {} read, {} unchanged",
        counts.read, counts.unchanged
    ));
    download::collect(&downloads, documents, prefix).await
}

/// Removes what the command has made in a working folder, which may have other content, and the folder if it has none.
fn remove_documents(work: &Path) -> io::Result<()> {
    std::fs::remove_dir_all(work.join(STORE_FOLDER))?;
    match std::fs::remove_dir(work) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        removed => removed,
    }
}

/// Begins the migration, or goes on with one of the same unit.
async fn begin(
    records: &personium_model::records::Records,
    from: &str,
    started: Option<StartedMigration>,
) -> MigrateResult {
    let found = UnfinishedMigration::find(records).await.map_err(failed)?;
    let begun = match found {
        Some(found) if found.from == from => Ok(()),
        Some(found) => Err(format!(
            "the target has an unfinished migration of {}",
            found.from
        )),
        None => {
            let begun = UnfinishedMigration {
                from: from.to_owned(),
            };
            match begun.begin(records).await {
                Ok(()) => Ok(()),
                Err(error) if error.code() == Code::Conflict => {
                    Err("the target is not empty: it is a unit with cells".to_owned())
                }
                Err(error) => return Err(failed(error)),
            }
        }
    };
    // From here on the records say it, or it is refused.
    let removed = started.map_or(Ok(()), StartedMigration::remove);
    removed.map_err(|error| format!("cannot remove the mark of the migration: {error}"))?;
    begun
}

/// Opens the store of documents, which is not worth more than a repetition of the command.
fn open_store(work: &Path) -> MigrateResult<Arc<SqliteStore>> {
    let settings = SqliteSettings {
        sync: CommitSync::Normal,
        spaces: SpaceCreation::Explicit,
        ..SqliteSettings::new(work.join(STORE_FOLDER))
    };
    let opened = SqliteStore::open(settings);
    opened.map(Arc::new).map_err(|error| {
        format!(
            "cannot use the working folder {}: {}",
            work.display(),
            chain(&error)
        )
    })
}

fn failed(error: Error) -> String {
    chain(&error)
}

/// Marks the data folder as one that a migration has begun to fill.
fn mark(data_dir: &Path, from: &str) -> MigrateResult<Option<StartedMigration>> {
    let marked = StartedMigration::mark(data_dir, from);
    marked.map_err(|error| format!("cannot write to {}: {error}", data_dir.display()))
}

/// A run of the command, after the documents are collected.
struct MigrationRun<'r> {
    migration: &'r Arc<Migration>,
    documents: &'r Documents,
    progress: &'r Progress,
}

impl MigrationRun<'_> {
    async fn all(
        &self,
        options: &MigrateOptions,
        report: &mut MigrationReport,
    ) -> MigrateResult<CellCounts> {
        let mut counts = CellCounts::default();
        let all = self.documents.count_cells().await.map_err(failed)?;
        let all = usize::try_from(all).unwrap_or(usize::MAX);
        self.progress.start("taken over", all);
        self.take_over(&mut counts, report).await?;
        counts.removed = self.migration.remove_others().await.map_err(failed)?;
        if options.verify {
            self.progress.start("compared", all);
            self.verify(&mut counts, report).await?;
        }
        Ok(counts)
    }

    /// Takes over all cells, some at the same time.
    async fn take_over(
        &self,
        counts: &mut CellCounts,
        report: &mut MigrationReport,
    ) -> MigrateResult {
        let mut running = JoinSet::new();
        let mut after: Option<String> = None;
        loop {
            let cells = self.documents.list_cells(after.as_deref()).await;
            let cells = cells.map_err(failed)?;
            let Some(last) = cells.last() else {
                break;
            };
            after = Some(last.id.clone());
            for cell in cells {
                while running.len() >= CONCURRENT_CELLS {
                    self.end_one(&mut running, counts, report).await?;
                }
                let migration = Arc::clone(self.migration);
                running.spawn(async move {
                    let id = cell.id.clone();
                    (id, Box::pin(migration.migrate(cell)).await)
                });
            }
        }
        while !running.is_empty() {
            self.end_one(&mut running, counts, report).await?;
        }
        Ok(())
    }

    async fn end_one(
        &self,
        running: &mut JoinSet<(
            String,
            personium_types::Result<personium_install::CellOutcome>,
        )>,
        counts: &mut CellCounts,
        report: &mut MigrationReport,
    ) -> MigrateResult {
        let Some(done) = running.join_next().await else {
            return Ok(());
        };
        let (id, done) =
            done.map_err(|error| format!("a cell could not be taken over: {error}"))?;
        self.progress.end_space();
        match done {
            Ok(outcome) => {
                match outcome.is_unchanged {
                    true => counts.unchanged += 1,
                    false => counts.taken_over += 1,
                }
                for (place, id, reason) in &outcome.refused {
                    report.add(&outcome.name, place, id, reason)?;
                }
                let more = outcome.refusals - outcome.refused.len() as u64;
                report.add_uncounted(&outcome.name, more)
            }
            Err(error) if personium_install::is_of_cell(&error) => {
                counts.failed += 1;
                report.add(
                    "",
                    "cell",
                    &id,
                    &personium_install::reason_of(&error, "Cell"),
                )
            }
            Err(error) => Err(format!("cell {id}: {}", chain(&error))),
        }
    }

    async fn verify(&self, counts: &mut CellCounts, report: &mut MigrationReport) -> MigrateResult {
        let mut after: Option<String> = None;
        loop {
            let cells = self.documents.list_cells(after.as_deref()).await;
            let cells: Vec<CollectedCell> = cells.map_err(failed)?;
            let Some(last) = cells.last() else {
                return Ok(());
            };
            after = Some(last.id.clone());
            for cell in cells {
                let id = cell.id.clone();
                let compared = Box::pin(self.migration.verify(cell)).await;
                let compared = compared.map_err(|error| format!("cell {id}: {}", chain(&error)))?;
                counts.different += u64::from(!compared.differences.is_empty());
                for difference in &compared.differences {
                    report.add(&compared.name, "difference", &id, difference)?;
                }
                report.add_compared(&compared);
                self.progress.end_space();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_content_of_a_working_folder_stays() {
        let place = tempfile::tempdir().unwrap();
        let work = place.path().join("work");
        let store = work.join(STORE_FOLDER);
        std::fs::create_dir_all(store.join("cells")).unwrap();
        std::fs::write(work.join("precious"), "x").unwrap();
        remove_documents(&work).unwrap();
        assert!(work.join("precious").exists() && !store.exists());
        std::fs::remove_file(work.join("precious")).unwrap();
        std::fs::create_dir(&store).unwrap();
        remove_documents(&work).unwrap();
        assert!(!work.exists());
        assert!(remove_documents(&work).is_err());
    }
}
