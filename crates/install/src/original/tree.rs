//! Walks through folders. Symbolic links are not followed: they could lead out of the tree.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use personium_types::Result;
use tokio::fs::{self, ReadDir};

use crate::snapshot_package::invalid;

/// The largest depth of folders.
const MAX_DEPTH: usize = 200;
/// The largest file that is read as a whole.
const MAX_SMALL_BYTES: u64 = 16 << 20;

/// Walks through the folders below one, each after the one that it is in.
pub(crate) struct TreeWalk {
    root: Option<PathBuf>,
    /// The name of the top folder that gets another one, and that name.
    renamed: (String, &'static str),
    stack: Vec<(String, ReadDir)>,
    pending: Option<(String, PathBuf)>,
}

impl TreeWalk {
    /// Prepares to walk. The folder `renamed.0` at the top is given as `renamed.1`.
    pub fn new(root: Option<PathBuf>, renamed: (String, &'static str)) -> Self {
        Self {
            root,
            renamed,
            stack: Vec::new(),
            pending: None,
        }
    }

    /// The next folder: its path below the top, with `/` between names, and where it is; `None` after the last.
    ///
    /// # Errors
    /// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) for a folder that cannot be read, or a link; the next call
    /// goes on behind it.
    pub async fn next(&mut self) -> Result<Option<(String, PathBuf)>> {
        if let Some(root) = self.root.take() {
            let opened = fs::read_dir(&root).await;
            let opened = opened.map_err(|error| invalid("20_webdav", error))?;
            self.stack.push((String::new(), opened));
        }
        if let Some((path, folder)) = self.pending.take() {
            if self.stack.len() >= MAX_DEPTH {
                return Err(invalid(&path, "it is nested too deeply"));
            }
            let opened = fs::read_dir(&folder).await;
            let opened = opened.map_err(|error| invalid(&path, error))?;
            self.stack.push((path, opened));
        }
        loop {
            let Some((above, folder)) = self.stack.last_mut() else {
                return Ok(None);
            };
            let found = match folder.next_entry().await {
                Ok(Some(found)) => found,
                Ok(None) => {
                    self.stack.pop();
                    continue;
                }
                Err(error) => {
                    let error = invalid(above, error);
                    self.stack.pop();
                    return Err(error);
                }
            };
            let name = found.file_name();
            let Some(name) = name.to_str() else {
                return Err(invalid(
                    above,
                    format!("the name {name:?} in it is not UTF-8"),
                ));
            };
            let is_top = above.is_empty();
            let path = match is_top {
                true if name == self.renamed.0 => self.renamed.1.to_owned(),
                true => name.to_owned(),
                false => format!("{above}/{name}"),
            };
            let kind = found.file_type().await;
            let kind = kind.map_err(|error| invalid(&path, error))?;
            if kind.is_symlink() {
                return Err(invalid(&path, "it is a symbolic link"));
            }
            // Those at the top hold keys and histories.
            if !kind.is_dir() || is_top && name.starts_with('.') {
                continue;
            }
            self.pending = Some((path.clone(), found.path()));
            return Ok(Some((path, found.path())));
        }
    }
}

/// The folder below another one with these names; `None` if there is none.
///
/// # Errors
/// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if a name leads elsewhere, or one of them is a link.
pub(crate) async fn subfolder(root: &Path, names: &[&str]) -> Result<Option<PathBuf>> {
    let mut path = root.to_owned();
    for name in names {
        if name.is_empty() || matches!(*name, "." | "..") || name.contains(['/', '\0']) {
            return Err(invalid(name, "it is no name of a folder"));
        }
        path.push(name);
        match fs::symlink_metadata(&path).await {
            Ok(found) if found.is_dir() => {}
            Ok(found) if found.is_symlink() => {
                return Err(invalid(
                    &path.display().to_string(),
                    "it is a symbolic link",
                ));
            }
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(invalid(&path.display().to_string(), error)),
        }
    }
    Ok(Some(path))
}

/// Reads a file of at most 16 MiB; `None` if there is none. `path` is how messages call it.
///
/// # Errors
/// [`Code::SnapshotEntry`](personium_types::Code::SnapshotEntry) if it is larger, no file, or cannot be read.
pub(crate) async fn read_small(path: &str, file: &Path) -> Result<Option<Vec<u8>>> {
    let found = match fs::symlink_metadata(file).await {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(invalid(path, error)),
    };
    if !found.is_file() {
        return Err(invalid(path, "it is no file"));
    }
    if found.len() > MAX_SMALL_BYTES {
        return Err(invalid(path, "it is too large"));
    }
    let read = fs::read(file).await;
    read.map(Some).map_err(|error| invalid(path, error))
}
