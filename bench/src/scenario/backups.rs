//! Back-ups, restores and `verify` of a unit with very many cells, beside reading the same files.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::BenchContext;
use super::archives::elapsed;
use super::read_by_key::reads;
use super::steady_reads::SteadyReads;
use crate::report::{Bound, Section};
use crate::unit::BenchUnit;
use crate::{BenchResult, baseline};

/// Objects of a cell: its box, a role, a collection, an entity type, and entities.
const OBJECTS: u64 = 20;
/// The entities among them.
const ENTITIES: u64 = 16;
/// One cell of so many is changed before the second back-up.
const CHANGED_ONE_IN: u64 = 100;
/// The connections over which cells are made.
const MAKERS: u64 = 8;
/// The limit of a back-up of all cells and its restore, in minutes.
const MAX_MINUTES: f64 = 15.0;

/// The unit, and the folders of this scenario.
struct BackupBench<'c> {
    context: &'c BenchContext,
    folder: PathBuf,
    unit: BenchUnit,
    cells: u64,
    section: Section,
}

pub(super) async fn run(context: &BenchContext) -> BenchResult<Section> {
    let folder = context.scratch.join("backups");
    let mut bench = BackupBench {
        unit: BenchUnit::start(&context.options.server, &folder.join("unit")).await?,
        context,
        cells: context.options.cells,
        section: Section::new("backup"),
        folder,
    };
    let measured = bench.run().await;
    let BackupBench {
        unit,
        folder,
        mut section,
        ..
    } = bench;
    drop(unit);
    let _ = std::fs::remove_dir_all(&folder);
    if let Err(error) = measured {
        // What was measured before is worth something.
        section.note(format!("the rest could not be measured: {error}"));
    }
    Ok(section)
}

impl BackupBench<'_> {
    async fn run(&mut self) -> BenchResult {
        let cells = self.cells;
        let mut makers = Vec::new();
        for first in 0..MAKERS {
            let mut unit = self.unit.another().await?;
            makers.push(async move {
                for number in (first..cells).step_by(usize::try_from(MAKERS).unwrap_or(1)) {
                    create_cell(&mut unit, number).await?;
                }
                Ok::<(), String>(())
            });
        }
        futures_util::future::try_join_all(makers).await?;
        let (places, settings) = (self.folder.join("backups"), self.settings());
        let backup = ["backup".into(), "--to".into(), text(&places)];
        let whole = self.command(&backup).await?;
        self.measured(
            &format!("back-up of {cells} cells of {OBJECTS} objects"),
            whole,
        );

        let before = files_below(&settings.data)?;
        for number in (0..cells).step_by(usize::try_from(CHANGED_ONE_IN).unwrap_or(1)) {
            let unit = &mut self.unit;
            unit.create_unassigned_role(&name(number), "new").await?;
        }
        let changed = changed_files(&before, &files_below(&settings.data)?);
        let from_disk = self.read(&changed, ReadFrom::Disk)?;
        let reading = self.read(&changed, ReadFrom::Memory)?;
        let copying = self.copy(&changed)?;
        let second = self.command(&backup).await?;
        self.measured("back-up with 1 of 100 cells changed", second);
        self.measured(
            "baseline: the changed files are read from the disk",
            from_disk,
        );
        self.measured("baseline: the changed files are read from memory", reading);
        self.measured(
            "baseline: the changed files are copied, each synced",
            copying,
        );
        self.section.require(
            "back-up with 1 of 100 cells changed over copying the changed files",
            second / copying,
            Bound::AtMost,
            2.0,
        );
        self.section.require(
            "back-up with 1 of 100 cells changed over reading the changed files from the disk",
            second / from_disk,
            Bound::AtMost,
            2.0,
        );

        let all = [settings.data];
        let forgotten = self.forget(&all)?;
        let verified = self.command(&["verify".into()]).await?;
        let from_disk = self.read(&all, ReadFrom::Disk)?;
        let reading = self.read(&all, ReadFrom::Memory)?;
        self.section.note(match forgotten.as_str() {
            "system" => "the system has forgotten all files before each measurement from the disk",
            _ => "the system could not be told to forget all files: before each measurement from the disk, it has forgotten the content of those of the unit, but not their folders",
        });
        self.measured("verify, from the disk", verified);
        self.measured("baseline: all files are read from the disk", from_disk);
        self.measured("baseline: all files are read from memory", reading);
        self.section.require(
            "verify over reading all files from the disk",
            verified / from_disk,
            Bound::AtMost,
            2.0,
        );
        let full: Vec<String> = [&backup[..], &["--full".to_owned()]].concat();
        self.reads_beside(&[
            ("a back-up of all cells", &full),
            ("verify", &["verify".into()]),
        ])
        .await?;

        let restored = self.folder.join("restored");
        let restore = [
            "restore".into(),
            "--from".into(),
            text(&places),
            "--to".into(),
            text(&restored),
        ];
        let restore = self.command(&restore).await?;
        self.measured("restore", restore);
        self.section.require(
            "minutes of a whole back-up and a restore",
            (whole + restore) / 60.0,
            Bound::AtMost,
            MAX_MINUTES,
        );
        Ok(())
    }

    fn measured(&mut self, name: &str, seconds: f64) {
        self.section.measured(name, elapsed(seconds));
    }

    fn settings(&self) -> UnitFiles {
        UnitFiles {
            config: self.unit.folder().join("unit.properties"),
            data: self.unit.folder().join("data"),
        }
    }

    /// Runs a command of the server program for this unit. Returns the seconds.
    async fn command(&self, arguments: &[String]) -> BenchResult<f64> {
        let UnitFiles { config, data } = self.settings();
        let mut command = tokio::process::Command::new(&self.context.options.server);
        command.args(arguments);
        if arguments.first().is_none_or(|name| name != "restore") {
            command.arg("--config").arg(config).arg("--data").arg(data);
        }
        let start = Instant::now();
        let output = command
            .output()
            .await
            .map_err(|error| format!("{arguments:?}: {error}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{arguments:?} failed: {stderr}"));
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// Reads files, or all files of folders. Returns the seconds.
    fn read(&self, paths: &[PathBuf], from: ReadFrom) -> BenchResult<f64> {
        let list = self.folder.join("list");
        let lines: Vec<String> = paths.iter().map(|path| text(path)).collect();
        std::fs::write(&list, lines.join("\n"))
            .map_err(|error| format!("cannot write {}: {error}", list.display()))?;
        let list = text(&list);
        let mut arguments = vec!["file-reads", "--list", &list];
        if from == ReadFrom::Disk {
            arguments.push("--from-disk");
        }
        let printed = baseline::run(&arguments)?;
        baseline::number(&printed, "seconds")
    }

    /// Lets the system forget what it has in memory of folders. Returns of what: the `system`, or these `files`.
    fn forget(&self, paths: &[PathBuf]) -> BenchResult<String> {
        let list = self.folder.join("list");
        let lines: Vec<String> = paths.iter().map(|path| text(path)).collect();
        std::fs::write(&list, lines.join("\n"))
            .map_err(|error| format!("cannot write {}: {error}", list.display()))?;
        let arguments = ["file-reads", "--list", &text(&list), "--only-forget"];
        let printed = baseline::run(&arguments)?;
        let of = printed.get("forgotten").and_then(|of| of.as_str());
        Ok(of.unwrap_or_default().to_owned())
    }

    /// Copies files to a new folder, each synced. Returns the seconds.
    fn copy(&self, paths: &[PathBuf]) -> BenchResult<f64> {
        let (list, copies) = (self.folder.join("list"), self.folder.join("copies"));
        let lines: Vec<String> = paths.iter().map(|path| text(path)).collect();
        std::fs::write(&list, lines.join("\n"))
            .and_then(|()| std::fs::create_dir_all(&copies))
            .map_err(|error| format!("cannot write {}: {error}", list.display()))?;
        let arguments = [
            "file-reads",
            "--list",
            &text(&list),
            "--copies",
            &text(&copies),
        ];
        baseline::number(&baseline::run(&arguments)?, "seconds")
    }

    /// Measures reads at a rate alone and while commands run.
    async fn reads_beside(&mut self, commands: &[(&str, &[String])]) -> BenchResult {
        let bearer = self.unit.log_in(&name(0), "me").await?;
        let generator = reads(&name(0), "rows", ENTITIES, bearer);
        let target = self.unit.target();
        let mut section = Section::new("backup");
        let steady = SteadyReads::measure(self.context, target, generator, &mut section).await?;
        for (what, command) in commands {
            let work = self.command(command);
            let seconds = steady.beside(what, &mut section, work).await?;
            section.measured(format!("{what} beside reads"), elapsed(seconds));
        }
        self.section.extend(section);
        Ok(())
    }
}

async fn create_cell(unit: &mut BenchUnit, number: u64) -> BenchResult {
    let cell = name(number);
    if number == 0 {
        // The reads beside a back-up need an account.
        unit.create_cell(&cell).await?;
    } else {
        unit.create_bare_cell(&cell).await?;
        unit.create_unassigned_role(&cell, "role").await?;
    }
    unit.create_collection(&cell, "rows").await?;
    unit.load_rows(&cell, "rows", ENTITIES).await
}

/// Where files are read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadFrom {
    /// The disk: the system has forgotten what it had in memory.
    Disk,
    Memory,
}

/// The files of a unit.
struct UnitFiles {
    config: PathBuf,
    data: PathBuf,
}

fn name(number: u64) -> String {
    format!("backup{number}")
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Files with their times of modification.
type FileTimes = HashSet<(PathBuf, SystemTime)>;

/// The files that differ, and the database files whose write-ahead logs do.
fn changed_files(before: &FileTimes, after: &FileTimes) -> Vec<PathBuf> {
    let mut changed = HashSet::new();
    for (path, _) in after.difference(before) {
        if let Some(database) = text(path).strip_suffix("-wal") {
            changed.insert(PathBuf::from(database));
        }
        changed.insert(path.clone());
    }
    changed.into_iter().collect()
}

/// The files below a folder, without indexes of write-ahead logs, which are made anew by whoever reads.
fn files_below(folder: &Path) -> BenchResult<FileTimes> {
    let mut found = HashSet::new();
    let mut waiting = vec![folder.to_owned()];
    let mut walk = || -> std::io::Result<()> {
        while let Some(folder) = waiting.pop() {
            for entry in std::fs::read_dir(folder)? {
                let entry = entry?;
                let metadata = entry.metadata()?;
                if metadata.is_dir() {
                    waiting.push(entry.path());
                } else if metadata.is_file() && !text(&entry.path()).ends_with("-shm") {
                    found.insert((entry.path(), metadata.modified()?));
                }
            }
        }
        Ok(())
    };
    walk().map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    Ok(found)
}
