//! Calls of the file system as a network file system needs them: repeated when it lost a handle, and checked when the answer to a
//! change may have been lost.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::UNFINISHED;

/// The number of times that a call is repeated whose handle the server does not know.
const STALE_RETRIES: u32 = 3;

/// The folder of a store.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) path: Arc<Path>,
    /// A file that is in the folder as long as it is mounted.
    witness: Arc<Path>,
}

impl Root {
    pub(crate) fn new(path: &Path, witness: Option<&str>) -> Self {
        Self {
            path: path.into(),
            witness: path.join(witness.unwrap_or(UNFINISHED)).into(),
        }
    }

    /// Checks that the folder is there. An empty one in its place is a mount point without its file system.
    ///
    /// # Errors
    /// If it is not.
    pub(crate) fn check(&self) -> io::Result<()> {
        match retry_stale(|| intercepted(Call::Stat, &self.witness, || fs::metadata(&self.witness)))
        {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::Error::new(
                io::ErrorKind::NotConnected,
                format!(
                    "{} is not there: the folder of file bodies is not mounted, or was removed",
                    self.witness.display()
                ),
            )),
            other => other.map(drop),
        }
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

/// Whether the server of a network file system does not know a handle any more.
pub(crate) fn is_stale(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StaleNetworkFileHandle
}

/// Repeats a call whose handle the server does not know: the path is looked up again.
///
/// # Errors
/// Those of the call.
pub(crate) fn retry_stale<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 0..STALE_RETRIES {
        match call() {
            Err(error) if is_stale(&error) => {}
            other => return other,
        }
    }
    call()
}

/// Opens a file for reading.
///
/// # Errors
/// If it cannot be opened.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    retry_stale(|| intercepted(Call::Open, path, || File::open(path)))
}

/// Runs a read of an open file. If the server does not know its handle, the file is opened again, and returned with the result.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read<T>(
    file: &File,
    path: &Path,
    call: impl Fn(&File) -> io::Result<T>,
) -> io::Result<(T, Option<File>)> {
    let mut opened = None;
    let read = retry_stale(|| {
        let used = opened.as_ref().unwrap_or(file);
        let done = intercepted(Call::Read, path, || call(used));
        if done.as_ref().is_err_and(is_stale) {
            opened = Some(open(path)?);
        }
        done
    })?;
    Ok((read, opened))
}

/// Gives a finished file its name, which nobody else writes. Succeeds if that happened although an error is reported: a network
/// file system can lose the answer, and repeat the request.
///
/// # Errors
/// If it cannot be renamed.
pub(crate) fn rename_new(file: &File, from: &Path, to: &Path) -> io::Result<()> {
    let renamed = intercepted(Call::Rename, to, || fs::rename(from, to));
    let Err(error) = renamed else {
        return Ok(());
    };
    let len = |path: &Path| retry_stale(|| fs::metadata(path)).map(|found| found.len());
    match (len(to), file.metadata()) {
        (Ok(found), Ok(own)) if found == own.len() => Ok(()),
        _ => Err(error),
    }
}

/// Removes a file. Succeeds if there is none.
///
/// # Errors
/// If it cannot be removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match retry_stale(|| intercepted(Call::Remove, path, || fs::remove_file(path))) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A call that a test can let fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Stat,
    Open,
    Read,
    Rename,
    Remove,
}

#[cfg(not(test))]
fn intercepted<T>(_: Call, _: &Path, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    call()
}

#[cfg(test)]
use tests::intercepted;

#[cfg(test)]
mod tests;
