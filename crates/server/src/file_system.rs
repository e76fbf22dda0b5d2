//! The file system of a folder.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The mounts of this process.
const MOUNTS: &str = "/proc/self/mounts";

/// The file systems that bring all their changed files to the disk with one call. Others may only pass them on.
const SYNCED_AT_ONCE: [&str; 12] = [
    "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "nfs", "nfs4", "overlay", "xfs",
    "zfs",
];

/// Whether [`SyncedFolder::sync`] brings all files of the file system of a folder, which need not exist yet, to the disk.
pub(crate) fn can_sync(folder: &Path) -> bool {
    let kind = folder.ancestors().find_map(kind_of);
    kind.is_some_and(|kind| SYNCED_AT_ONCE.contains(&kind.as_str()))
}

/// Forgets what the system keeps in memory of the files below a folder, so that they are read from the disk. What could not be written stays
/// in memory as if it was, until it is forgotten. A folder that does not exist has none.
///
/// # Errors
/// If the folder cannot be read.
pub(crate) fn forget_cached(folder: &Path) -> io::Result<()> {
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
            match entry? {
                kind if kind.is_dir() => waiting.push(path),
                kind if kind.is_file() => {
                    let advice = rustix::fs::Advice::DontNeed;
                    rustix::fs::fadvise(File::open(path)?, 0, None, advice)?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A folder whose file system is brought to the disk as a whole. It is kept open, because each failure to write is reported to those only
/// who had opened a file before.
#[derive(Debug, Clone)]
pub(crate) struct SyncedFolder {
    pub(crate) path: PathBuf,
    opened: Arc<File>,
}

impl SyncedFolder {
    /// Opens the folder, before anything is written there.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        let opened = Arc::new(File::open(&path)?);
        Ok(Self { path, opened })
    }

    /// Brings all changed files of the file system of the folder to the disk. Takes the time of a few syncs of files, and that of what other
    /// programs have written.
    ///
    /// # Errors
    /// If something could not be written since the folder was opened.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&*self.opened)?)
    }
}

/// The type of the file system of a folder, such as `ext4` or `nfs4`; `None` if the system does not say.
#[must_use]
pub fn kind_of(folder: &Path) -> Option<String> {
    let path = fs::canonicalize(folder).ok()?;
    kind_in(&fs::read_to_string(MOUNTS).ok()?, &path)
}

/// The type of the last mount of those with the longest path that the folder is in.
fn kind_in(mounts: &str, path: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = PathBuf::from(fields.next()?.replace("\\040", " "));
        let kind = fields.next()?;
        let depth = place.components().count();
        path.starts_with(&place).then_some((depth, kind))
    });
    let deepest = mounts.max_by_key(|(depth, _)| *depth);
    deepest.map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgotten_files_are_not_in_memory_and_can_be_read() {
        use rustix::io::{ReadWriteFlags, preadv2};
        // A file system in memory cannot forget any.
        let folder = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let inner = folder.path().join("ab");
        fs::create_dir(&inner).unwrap();
        let file = inner.join("file");
        fs::write(&file, [7; 10_000]).unwrap();
        SyncedFolder::open(folder.path().to_owned())
            .unwrap()
            .sync()
            .unwrap();
        let is_cached = || {
            let (file, mut byte) = (File::open(&file).unwrap(), [0]);
            let parts = &mut [io::IoSliceMut::new(&mut byte)];
            preadv2(file, parts, 5_000, ReadWriteFlags::NOWAIT).is_ok()
        };
        assert!(is_cached());
        forget_cached(folder.path()).unwrap();
        let kind = kind_of(folder.path()).unwrap();
        assert!(!is_cached() || kind == "tmpfs", "{kind}");
        assert_eq!(fs::read(&file).unwrap(), [7; 10_000]);
        forget_cached(&folder.path().join("missing")).unwrap();
    }

    #[test]
    fn deepest_and_last_mount_decides() {
        let mounts = "overlay / overlay rw 0 0\nsrv:/a /data nfs4 rw 0 0\nx /data/in\\040box tmpfs rw 0 0\n\
                      y /data/twice ext4 rw 0 0\nz /data/twice xfs rw 0 0\n";
        for (path, kind) in [
            ("/", "overlay"),
            ("/database", "overlay"),
            ("/data/b", "nfs4"),
            ("/data/in box/c", "tmpfs"),
            ("/data/twice", "xfs"),
        ] {
            assert_eq!(
                kind_in(mounts, Path::new(path)).as_deref(),
                Some(kind),
                "{path}"
            );
        }
        assert_eq!(kind_in("", Path::new("/")), None);
    }
}
