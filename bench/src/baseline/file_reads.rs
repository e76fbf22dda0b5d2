//! The baseline of back-ups and of `verify`: the same files, read once.

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use crate::BenchResult;

/// Reads the files, and all files below the folders, whose paths are the lines of a list. Returns the seconds.
///
/// # Errors
/// A message if one cannot be read.
pub(super) fn seconds(list: &Path) -> BenchResult<f64> {
    let start = Instant::now();
    let paths = std::fs::read_to_string(list).map_err(|error| read_error(list, &error))?;
    for path in paths.lines() {
        let path = Path::new(path);
        read(path).map_err(|error| read_error(path, &error))?;
    }
    Ok(start.elapsed().as_secs_f64())
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
