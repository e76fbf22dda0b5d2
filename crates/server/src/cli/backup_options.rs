//! The options of `personium backup` and `personium restore`.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use personium_types::time::parse_iso_time;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::options::environment;
use super::{load_settings, print, runtime};
use crate::backup::place::{BackupPlace, PlaceName};
use crate::backup::scope::{BackupScope, owner_of};
use crate::backup::{self, BackupOptions};
use crate::config::{Config, ConfigSources};
use crate::restore::one_cell::{self, CellOptions};
use crate::restore::owner_cells::{self, OwnerOptions};
use crate::restore::{self, RestoreOptions};
use crate::{copy, data_folder, low_priority};

#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// Folder of back-ups, or s3://BUCKET/PREFIX, which is empty or has those of this unit.
    #[arg(long, value_name = "PLACE")]
    to: PlaceName,
    #[command(flatten)]
    bucket: BucketArguments,
    /// Back up only the cells of this owner, as `personium admin list` shows it. They have a place of their own.
    #[arg(long, value_name = "OWNER", conflicts_with_all = ["journal", "follow", "forget"])]
    owner: Option<String>,
    /// Back up only the cell with this name. It has a place of its own.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["owner", "journal", "follow", "forget"])]
    cell: Option<String>,
    /// Remove all generations but the last N.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep: Option<u32>,
    /// File with a secret of at least 32 characters, by which the back-ups are encrypted.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Leave out the secret, the private key and the certificate of the unit, without which it cannot be restored.
    #[arg(long)]
    without_keys: bool,
    /// Read every cell, also those without a change since the last generation.
    #[arg(long)]
    full: bool,
    /// Only copy what the journal of the unit has since the last time (store.journalInHours), so that the unit and each cell can be restored
    /// to any time. No generation is made.
    #[arg(long, conflicts_with_all = ["keep", "without_keys", "full", "forget"])]
    journal: bool,
    /// As --journal, again and again while the unit runs, with a pause of this number of seconds.
    #[arg(long, value_name = "SECONDS", conflicts_with_all = ["keep", "without_keys", "full", "forget"], value_parser = clap::value_parser!(u32).range(1..=86_400))]
    follow: Option<u32>,
    /// Remove this cell, which the unit does not have any more, from all generations, by its name or id. No generation is made.
    #[arg(long, value_name = "CELL", conflicts_with_all = ["keep", "without_keys", "full"])]
    forget: Option<String>,
}

#[derive(Debug, Args)]
struct BucketArguments {
    /// Settings file of the object store of the back-ups, with the keys blobStore.s3.*, but for bucket and prefix. What it does not have
    /// is taken from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_ENDPOINT_URL and AWS_REGION.
    #[arg(long, value_name = "FILE")]
    s3: Option<PathBuf>,
}

impl BucketArguments {
    /// The place with this name.
    fn place(&self, name: PlaceName) -> Result<BackupPlace, String> {
        BackupPlace::new(name, self.s3.as_deref(), &environment())
    }
}

impl BackupArguments {
    pub(super) fn run(self, sources: &ConfigSources) -> Result<ExitCode, String> {
        let loaded = load_settings(sources)?;
        let scope = match (&self.owner, self.cell) {
            (Some(owner), _) => BackupScope::Owner(owner_of(&loaded, owner)?),
            (None, Some(cell)) => BackupScope::Cell(cell),
            (None, None) => BackupScope::Unit,
        };
        let config = loaded.config;
        data_folder::restrict_new_files();
        low_priority::lower();
        let to = self.bucket.place(self.to)?;
        if let Some(cell) = self.forget {
            let forgotten = backup::forget(&config, &to, self.key.as_deref(), &cell);
            let done = runtime(0)?.block_on(Box::pin(forgotten));
            return finish(done.map(|text| (text, true)));
        }
        if let Some(seconds) = self.follow {
            let interval = Duration::from_secs(seconds.into());
            let say = |text: &str| {
                // Nobody may read it any more.
                let _ = print(text);
            };
            let place = (&to, self.key.as_deref());
            let followed = follow(&config, place, interval, say);
            runtime(0)?.block_on(Box::pin(followed))?;
            return Ok(ExitCode::SUCCESS);
        }
        if self.journal {
            let copied = backup::copy_journal(&config, &to, self.key.as_deref());
            return finish(runtime(0)?.block_on(Box::pin(copied)));
        }
        let options = BackupOptions {
            to,
            scope,
            keep: self.keep.and_then(|keep| usize::try_from(keep).ok()),
            key_file: self.key,
            without_keys: self.without_keys,
            full: self.full,
        };
        let done = runtime(0)?.block_on(Box::pin(backup::run(&config, &options)));
        finish(done)
    }
}

/// Copies the journals until SIGTERM or SIGINT, after which the pass in hand ends. A second one interrupts it.
async fn follow(
    config: &Config,
    place: (&BackupPlace, Option<&Path>),
    interval: Duration,
    say: impl Fn(&str),
) -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| error.to_string());
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let (ask, asked) = oneshot::channel();
    let signals = async {
        let mut ask = Some(ask);
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            match ask.take() {
                Some(ask) => drop(ask.send(())),
                None => return,
            }
        }
    };
    let end = async {
        // Without a sender there are no more signals.
        let _ = asked.await;
    };
    let followed = backup::follow_journal(config, place, interval, (say, end));
    tokio::select! {
        done = Box::pin(followed) => done,
        () = signals => Err("the pass was interrupted; the next one goes on from before it".to_owned()),
    }
}

#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// Folder of back-ups, or s3://BUCKET/PREFIX.
    #[arg(long, value_name = "PLACE")]
    from: PlaceName,
    #[command(flatten)]
    bucket: BucketArguments,
    /// Name of the generation, such as 20261129T160000000Z [default: the last one].
    #[arg(long, value_name = "NAME")]
    generation: Option<String>,
    /// Time to go back to, such as 2026-11-30T02:15:00Z: a generation from before, and the journals of the unit since.
    #[arg(long, value_name = "TIME", value_parser = parse_time, conflicts_with_all = ["generation", "list"])]
    at: Option<i64>,
    /// File with the secret by which the back-ups are encrypted.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Name of a cell that alone is restored, into the unit that --to names, or with --dry-run checked.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["list", "drill"])]
    cell: Option<String>,
    /// Other name that the restored cell gets.
    #[arg(long = "as", value_name = "NAME", requires = "cell")]
    new_name: Option<String>,
    /// Owner whose cells alone are restored, as `personium admin list` shows it, into the unit that --to names.
    #[arg(long, value_name = "OWNER", requires = "to", conflicts_with = "cell")]
    owner: Option<String>,
    /// Put the restored cells in the place of the living ones, which are removed.
    #[arg(long)]
    replace: bool,
    /// Restore the cell also if it was removed from the unit for good.
    #[arg(long, requires = "cell")]
    erased: bool,
    #[command(flatten)]
    action: RestoreAction,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct RestoreAction {
    /// Settings file, or data folder, of the restored unit, which must not have a unit yet; with --cell, of the unit. A folder that is
    /// missing is made.
    #[arg(long, value_name = "SETTINGS")]
    to: Option<PathBuf>,
    /// Only print the generations.
    #[arg(long)]
    list: bool,
    /// Only compare all checksums of the generation.
    #[arg(long)]
    dry_run: bool,
    /// Restore the generation to a new folder in this one, verify the unit there, and remove it again.
    #[arg(long, value_name = "FOLDER")]
    drill: Option<PathBuf>,
}

impl RestoreArguments {
    pub(super) fn run(self, is_plain: bool) -> Result<ExitCode, String> {
        if !is_plain {
            let text = "restore takes all settings from the file that --to names; leave --config, --data, --port and -c out";
            return Err(text.to_owned());
        }
        if self.replace && self.cell.is_none() && self.owner.is_none() {
            return Err("--replace is for --cell or --owner".to_owned());
        }
        if self.owner.is_some() && self.action.to.is_none() {
            return Err("--owner is for --to; the checksums of all cells are compared by --dry-run without it".to_owned());
        }
        data_folder::restrict_new_files();
        let options = RestoreOptions {
            from: self.bucket.place(self.from)?,
            generation: self.generation,
            at_ms: self.at,
            key_file: self.key,
        };
        let cell = self.cell.map(|name| CellOptions {
            name,
            new_name: self.new_name,
            replace: self.replace,
            erased: self.erased,
        });
        low_priority::lower();
        let runtime = runtime(0)?;
        let RestoreAction {
            to,
            list,
            dry_run,
            drill,
        } = self.action;
        if let (Some(owner), Some(to)) = (self.owner, &to) {
            let cells = OwnerOptions {
                owner,
                replace: self.replace,
            };
            let restored = owner_cells::run(&options, &cells, to);
            let done = runtime.block_on(Box::pin(restored));
            return finish(done.map(|text| (text, true)));
        }
        if let Some(cell) = cell {
            let done = match to {
                Some(to) => runtime.block_on(Box::pin(one_cell::run(&options, &cell, &to))),
                None => runtime.block_on(Box::pin(one_cell::check(&options, &cell))),
            };
            return finish(done.map(|text| (text, true)));
        }
        let done = match (to, list, dry_run, drill) {
            (_, true, _, _) => {
                let listed = runtime.block_on(Box::pin(restore::list(&options)));
                listed.map(|text| (text, true))
            }
            (_, _, true, _) => runtime.block_on(Box::pin(restore::check(&options))),
            (Some(to), ..) => {
                make_data_folder(&to)?;
                let to = copy::load(&to)?;
                runtime.block_on(Box::pin(restore::run(&options, &to)))
            }
            (_, _, _, Some(folder)) => {
                runtime.block_on(Box::pin(restore::drill(&options, &folder)))
            }
            (None, false, false, None) => Err("give --to, --list, --dry-run or --drill".to_owned()),
        };
        finish(done)
    }
}

/// The milliseconds of a time.
fn parse_time(text: &str) -> Result<i64, String> {
    parse_iso_time(text).ok_or_else(|| "it is no time such as 2026-11-30T02:15:00Z".to_owned())
}

/// Makes the data folder of the restored unit. A path with an extension is that of a settings file.
fn make_data_folder(path: &Path) -> Result<(), String> {
    if path.exists() || path.extension().is_some() {
        return Ok(());
    }
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| format!("cannot make the folder {}: {error}", path.display()))
}

/// Prints the outcome. The status says whether all is well.
fn finish(done: Result<(String, bool), String>) -> Result<ExitCode, String> {
    let (text, is_well) = done?;
    print(&text).map_err(|error| format!("the outcome could not be written: {error}"))?;
    Ok(match is_well {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
