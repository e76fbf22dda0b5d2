//! The options of `personium migrate`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::selftest_options::read_secret;
use super::{DAMAGED_STATUS, print, runtime};
use crate::config::ConfigSources;
use crate::data_folder;
use crate::low_priority;
use crate::migrate::{self, DocumentPlace, EngineAddress, MigrateOptions, MigrateOutcome};

#[derive(Debug, Args)]
pub(super) struct MigrateArguments {
    /// Settings file of the original. What has an effect here is written to the data folder, unless that has a settings file.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The documents: the URL of the search engine (Elasticsearch 7), or an export, a JSON object a line with _index, _id, _version
    /// and _source, also compressed by gzip.
    #[arg(long, value_name = "URL|FILE")]
    documents: String,
    /// User of the search engine. The password is read from the standard input, unless a file is given.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// File with the password.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// File with certificates (PEM) to trust besides those of this machine, for the search engine.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Number of documents that are read at once from the search engine.
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    page: u16,
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
        let documents = match self.documents.contains("://") {
            true if self.indices.is_some() => {
                return Err(
                    "--indices is for exports: a search engine lists its indexes".to_owned(),
                );
            }
            true => {
                let user = match self.user {
                    Some(name) => Some((name, read_secret(self.password_file)?)),
                    None => None,
                };
                let address = EngineAddress::new(&self.documents, user, self.ca)?;
                DocumentPlace::Engine {
                    address,
                    page: self.page,
                }
            }
            false if self.user.is_some() || self.ca.is_some() => {
                return Err(
                    "--user and --ca are for a search engine, and --documents is no URL".to_owned(),
                );
            }
            false => DocumentPlace::Export {
                file: PathBuf::from(self.documents),
                indices: self.indices,
            },
        };
        let options = MigrateOptions {
            from: self.from,
            documents,
            tree: self.tree,
            work: self.work,
            report: self.report,
            verify: self.verify,
            finish: self.finish,
        };
        low_priority::lower();
        let done =
            runtime(0)?.block_on(Box::pin(migrate::run(&options, sources, &data_dir, print)))?;
        Ok(match done {
            MigrateOutcome::Done => ExitCode::SUCCESS,
            MigrateOutcome::Incomplete => ExitCode::from(DAMAGED_STATUS),
        })
    }
}
