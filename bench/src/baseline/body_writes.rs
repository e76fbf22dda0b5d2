//! The baseline of storing files: write, sync and rename with the same concurrency; and copying a large file.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::BenchResult;

/// The size of one append of [`syncs_per_second`].
const APPEND_BYTES: usize = 4096;

/// Writes files of `size` bytes in several threads. Returns the number of files per second.
///
/// # Errors
/// A message if the file system reports an error.
pub(crate) fn run(
    folder: &Path,
    threads: u64,
    size: usize,
    duration: Duration,
) -> BenchResult<f64> {
    let start = Instant::now();
    let threads: Vec<_> = (0..threads)
        .map(|writer| {
            let folder = folder.join(writer.to_string());
            std::thread::spawn(move || write(&folder, size, duration))
        })
        .collect();
    let mut written = 0;
    for thread in threads {
        written += thread
            .join()
            .map_err(|_| "a writer panicked".to_owned())?
            .map_err(write_error)?;
    }
    Ok(written as f64 / start.elapsed().as_secs_f64())
}

fn write(folder: &Path, size: usize, duration: Duration) -> std::io::Result<u64> {
    std::fs::create_dir_all(folder)?;
    let body = vec![b'x'; size];
    let deadline = Instant::now() + duration;
    let mut written = 0;
    while Instant::now() < deadline {
        let temp_path = folder.join("new");
        let mut file = File::create(&temp_path)?;
        file.write_all(&body)?;
        file.sync_data()?;
        std::fs::rename(&temp_path, folder.join(written.to_string()))?;
        written += 1;
    }
    Ok(written)
}

/// Copies a file, syncs the copy and computes its digest, with the programs of the system. Returns the seconds.
///
/// # Errors
/// A message if a program fails.
pub(crate) fn copy(from: &Path, to: &Path) -> BenchResult<f64> {
    let start = Instant::now();
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{command:?}: {}", output.status)),
        Err(error) => Err(format!("{command:?}: {error}")),
    };
    run(Command::new("cp").arg(from).arg(to))?;
    run(Command::new("sync").arg(to))?;
    run(Command::new("sha256sum").arg(to))?;
    Ok(start.elapsed().as_secs_f64())
}

/// Appends 4 KiB and syncs, one after the other. Returns the syncs per second, which describe the machine.
///
/// # Errors
/// A message if the file system reports an error.
pub(crate) fn syncs_per_second(folder: &Path, duration: Duration) -> BenchResult<f64> {
    let mut file = File::create(folder.join("syncs")).map_err(write_error)?;
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < duration {
        file.write_all(&[7; APPEND_BYTES]).map_err(write_error)?;
        file.sync_data().map_err(write_error)?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

fn write_error(error: std::io::Error) -> String {
    format!("cannot write: {error}")
}
