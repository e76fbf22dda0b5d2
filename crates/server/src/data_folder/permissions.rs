//! The permissions of others on the files of a unit.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The permissions of the group and of others.
const OTHERS: u32 = 0o077;

/// Lets files and folders that this process creates be accessible to their owner only.
pub fn restrict_new_files() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(OTHERS));
}

/// Takes the permissions of the group and of others from a folder and from everything in it, if they have any on the folder.
/// What cannot be changed is logged.
pub(super) fn tighten(folder: &Path) {
    if !is_open(folder) {
        return;
    }
    match tighten_all(folder) {
        Ok(()) => tracing::warn!(
            folder = %folder.display(),
            "other users had access to the data folder; their permissions were removed"
        ),
        Err(error) => tracing::warn!(
            folder = %folder.display(),
            %error,
            "other users have access to the data folder, and their permissions cannot be removed"
        ),
    }
}

/// Logs that the group or others have permissions on a folder.
pub(super) fn warn_if_open(folder: &Path) {
    if is_open(folder) {
        tracing::warn!(
            folder = %folder.display(),
            "other users have access to the folder of file bodies"
        );
    }
}

fn is_open(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.permissions().mode() & OTHERS != 0)
}

/// The folder itself comes last, so that an interruption is repeated.
fn tighten_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            tighten_all(&entry.path())?;
        } else if kind.is_file() {
            // A settings file may belong to another user.
            if let Err(error) = tighten_one(&entry.path()) {
                tracing::debug!(file = %entry.path().display(), %error, "permissions stay");
            }
        }
    }
    tighten_one(folder)
}

fn tighten_one(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777 & !OTHERS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_of_others_are_removed_from_a_folder_and_all_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        let file = inner.join("file");
        fs::create_dir(&inner).unwrap();
        fs::write(&file, "").unwrap();
        let open = [(folder.path(), 0o755), (&inner, 0o750), (&file, 0o644)];
        for (path, mode) in open {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        }
        tighten(folder.path());
        for (path, mode) in open {
            let found = fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(found, mode & 0o700, "{}", path.display());
        }
    }
}
