//! Calls of the file system as a network file system needs them: repeated when it lost a handle, and checked when the answer to a
//! change may have been lost.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::UNFINISHED;

/// The number of times that a call is repeated whose handle the server does not know.
const STALE_RETRIES: u32 = 3;

/// The folder of a store.
#[derive(Debug, Clone)]
pub(crate) struct Root {
    pub(crate) path: Arc<Path>,
    /// A file that is in the folder as long as it is mounted.
    witness: Arc<Path>,
    /// The witness that was found first.
    known: Arc<Mutex<Option<Witness>>>,
}

/// A witness, by which a folder is told from another one that is mounted in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Witness {
    device: u64,
    inode: u64,
    /// Its content, unless it is a folder.
    content: Option<Vec<u8>>,
}

/// The largest part of a witness that is compared.
const MAX_WITNESS_BYTES: u64 = 4_096;

impl Root {
    pub(crate) fn new(path: &Path, witness: Option<&str>) -> Self {
        Self {
            path: path.into(),
            witness: path.join(witness.unwrap_or(UNFINISHED)).into(),
            known: Arc::default(),
        }
    }

    /// Checks that the folder is there, and the same as when it was checked first. An empty one in its place is a mount point without its
    /// file system, one with another witness is another file system.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotConnected`] if it is not.
    pub(crate) fn check(&self) -> io::Result<()> {
        let path = &self.witness;
        let not_there = |what: &str| {
            let text = format!("{} {what}", path.display());
            io::Error::new(io::ErrorKind::NotConnected, text)
        };
        let found = match retry_stale(|| intercepted(Call::Stat, path, || fs::metadata(path))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(not_there(
                    "is not there: the folder of file bodies is not mounted, or was removed",
                ));
            }
            other => other?,
        };
        let mut known = self.known.lock();
        let is_same = |known: &Witness| known.device == found.dev() && known.inode == found.ino();
        if known.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        let content = match found.is_dir() {
            true => None,
            false => Some(retry_stale(|| read_start(path))?),
        };
        // A file system that is mounted anew can have another number.
        if known.as_ref().is_some_and(|known| known.content != content) {
            return Err(not_there(
                "is another one: another file system is mounted at the folder of file bodies",
            ));
        }
        *known = Some(Witness {
            device: found.dev(),
            inode: found.ino(),
            content,
        });
        Ok(())
    }

    pub(crate) fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }
}

fn read_start(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(MAX_WITNESS_BYTES)
        .read_to_end(&mut content)?;
    Ok(content)
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
