//! The options of `personium migrate`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::{DAMAGED_STATUS, print, runtime};
use crate::config::ConfigSources;
use crate::data_folder;
use crate::migrate::{self, MigrateOptions, MigrateOutcome};

#[derive(Debug, Args)]
pub(super) struct MigrateArguments {
    /// Settings file of the original. What has an effect here is written to the data folder, unless that has a settings file.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Export of the documents: a JSON object a line with _index, _id, _version and _source, also compressed by gzip.
    #[arg(long, value_name = "FILE")]
    documents: PathBuf,
    /// List of the indexes of the export, with their numbers of documents, which are compared.
    #[arg(long, value_name = "FILE")]
    indices: Option<PathBuf>,
    /// Folder with the folders dav, eventlog and snapshot of the original [default: those that its settings name].
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Folder for the documents until the migration is finished [default: migration in the data folder].
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// File for the report [default: migration-report.jsonl in the data folder].
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Compare the result with the original: numbers, passwords, values of entities, checksums of files.
    #[arg(long)]
    verify: bool,
    /// Let the unit start afterwards, if all cells could be taken over. The original must be stopped.
    #[arg(long)]
    finish: bool,
}

impl MigrateArguments {
    pub(super) fn run(self, sources: ConfigSources, data_dir: PathBuf) -> Result<ExitCode, String> {
        data_folder::restrict_new_files();
        let options = MigrateOptions {
            from: self.from,
            documents: self.documents,
            indices: self.indices,
            tree: self.tree,
            work: self.work,
            report: self.report,
            verify: self.verify,
            finish: self.finish,
        };
        let done =
            runtime(0)?.block_on(Box::pin(migrate::run(&options, sources, &data_dir, print)))?;
        Ok(match done {
            MigrateOutcome::Done => ExitCode::SUCCESS,
            MigrateOutcome::Incomplete => ExitCode::from(DAMAGED_STATUS),
        })
    }
}
