//! The file system of a folder.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The mounts of this process.
const MOUNTS: &str = "/proc/self/mounts";

/// The file systems that bring all their changed files to the disk with one call. Others may only pass them on.
const SYNCED_AT_ONCE: [&str; 12] = [
    "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "nfs", "nfs4", "overlay", "xfs",
    "zfs",
];

/// Whether [`sync`] brings all files of the file system of a folder, which need not exist yet, to the disk.
pub(crate) fn can_sync(folder: &Path) -> bool {
    let kind = folder.ancestors().find_map(kind_of);
    kind.is_some_and(|kind| SYNCED_AT_ONCE.contains(&kind.as_str()))
}

/// Brings all changed files of the file system of a folder to the disk. Takes the time of a few syncs of files, and that of what other
/// programs have written.
///
/// # Errors
/// If something could not be written.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(folder)?)?)
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
