//! The baseline of back-ups and of `verify`: the same files, read once, or copied.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use crate::BenchResult;

/// Reads the files, and all files below the folders, whose paths are the lines of a list. With a folder of copies, the files are copied to it,
/// and each is synced. Returns the seconds.
///
/// # Errors
/// A message if one cannot be read or copied.
pub(super) fn seconds(list: &Path, copies: Option<&Path>) -> BenchResult<f64> {
    let start = Instant::now();
    let paths = std::fs::read_to_string(list).map_err(|error| read_error(list, &error))?;
    for (number, path) in paths.lines().enumerate() {
        let path = Path::new(path);
        let done = match copies {
            None => read(path),
            Some(copies) => copy(path, &copies.join(number.to_string())),
        };
        done.map_err(|error| read_error(path, &error))?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// The file by which the kernel is told to forget all files, folders and their inodes.
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// Lets the system forget what it has in memory of all files, as root; otherwise of the content of the files of a list, and of all files below
/// its folders. Returns which one: `system` or `files`.
///
/// # Errors
/// A message if one cannot be opened.
pub(super) fn forget_cached(list: &Path) -> BenchResult<&'static str> {
    rustix::fs::sync();
    if std::fs::write(DROP_CACHES, "3").is_ok() {
        return Ok("system");
    }
    let paths = std::fs::read_to_string(list).map_err(|error| read_error(list, &error))?;
    for path in paths.lines() {
        let path = Path::new(path);
        forget(path).map_err(|error| read_error(path, &error))?;
    }
    Ok("files")
}

fn forget(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            forget(&entry?.path())?;
        }
    } else if path.is_file() {
        let file = File::open(path)?;
        // What is not written yet is not forgotten.
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut to = File::create(to)?;
    std::io::copy(&mut File::open(from)?, &mut to)?;
    to.sync_all()
}

fn read(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            read(&entry?.path())?;
        }
    } else if path.is_file() {
        std::io::copy(&mut File::open(path)?, &mut std::io::sink())?;
    }
    Ok(())
}

fn read_error(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}
