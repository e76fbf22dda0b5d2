//! Files that commands write: new ones with a mode, and changed ones whose owner and mode stay.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// The mode of a file with a secret.
pub(crate) const PRIVATE_MODE: u32 = 0o600;

/// The mode of a file without secrets.
pub(crate) const PUBLIC_MODE: u32 = 0o644;

/// Writes a file that must not exist yet. After a crash there is all of it or none; a part may lie beside it, hidden (`.NAME.new`), which the
/// next attempt removes. Nobody else can read it before it has its mode.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`], or another error of the file or of one beside it.
pub(crate) fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let new = NewFile::hidden_beside(path)?;
    let written = new
        .file
        // The umask of the process does not decide who can read it.
        .set_permissions(fs::Permissions::from_mode(mode))
        .and_then(|()| (&new.file).write_all(text.as_bytes()));
    match written {
        Ok(()) => new.put_in_free_place(),
        Err(error) => Err(new.removed(error)),
    }
}

/// Replaces the content of a file; owner and mode stay. After a crash it has the old content or the new one.
///
/// # Errors
/// Those of the file and of one beside it.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let before = fs::metadata(&path)?;
    let mut new = NewFile::beside(&path)?;
    new.file.write_all(text.as_bytes())?;
    let now = new.file.metadata()?;
    if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
        fchown(&new.file, Some(before.uid()), Some(before.gid()))?;
    }
    new.file.set_permissions(before.permissions())?;
    new.put_in_place()
}

/// A file beside the one whose place it will take, for its owner only. Nobody else can have made it: a link that was there would lead
/// whoever writes to a file of somebody else, and a file that was there could be open.
pub(crate) struct NewFile<'p> {
    place: &'p Path,
    path: PathBuf,
    /// The file, in which nothing is yet.
    pub(crate) file: File,
}

impl<'p> NewFile<'p> {
    /// Makes the file. What an interrupted run has left is removed.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(crate) fn beside(place: &'p Path) -> io::Result<Self> {
        Self::with_begin(place, "")
    }

    /// As [`beside`](Self::beside), with a name that nobody gives to a file of his own.
    fn hidden_beside(place: &'p Path) -> io::Result<Self> {
        Self::with_begin(place, ".")
    }

    /// A file with the name of the place between a begin and `.new`.
    fn with_begin(place: &'p Path, begin: &str) -> io::Result<Self> {
        let mut name = OsString::from(begin);
        name.push(place.file_name().unwrap_or_default());
        name.push(".new");
        let path = place.with_file_name(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(PRIVATE_MODE)
            .open(&path)?;
        Ok(Self { place, path, file })
    }

    /// Puts the file in its place. All of it is on the disk when this returns.
    ///
    /// # Errors
    /// If it cannot be written, or renamed.
    pub(crate) fn put_in_place(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, self.place)?;
        sync_folder_of(self.place)
    }

    /// As [`put_in_place`](Self::put_in_place), if nothing is there yet.
    fn put_in_free_place(self) -> io::Result<()> {
        let placed = self
            .file
            .sync_all()
            .and_then(|()| self.rename_to_free_place());
        match placed {
            Ok(()) => sync_folder_of(self.place),
            Err(error) => Err(self.removed(error)),
        }
    }

    fn rename_to_free_place(&self) -> io::Result<()> {
        match renameat_with(CWD, &self.path, CWD, self.place, RenameFlags::NOREPLACE) {
            // NFS and others do not know this. A hard link never replaces a file either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                fs::hard_link(&self.path, self.place)?;
                fs::remove_file(&self.path)
            }
            renamed => Ok(renamed?),
        }
    }

    /// Removes the file, and returns the error for which it is not needed any more.
    fn removed(self, error: io::Error) -> io::Error {
        let _ = fs::remove_file(&self.path);
        error
    }
}

/// Writes the entry of a file in its folder to the disk.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_lies_beside_a_file_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (file, beside, foreign) = (path("a"), path("a.new"), path("foreign"));
        fs::write(&foreign, "precious").unwrap();
        write_new(&file, "old", 0o640).unwrap();
        symlink(&foreign, &beside).unwrap();
        replace(&file, "new").unwrap();
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "precious");
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);

        fs::write(&beside, "left").unwrap();
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o666)).unwrap();
        let new = NewFile::beside(&file).unwrap();
        assert_eq!(new.file.metadata().unwrap().mode() & 0o777, PRIVATE_MODE);
        new.put_in_place().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "");
    }

    #[test]
    fn new_file_is_whole_has_its_mode_and_replaces_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (file, part, foreign) = (path("a"), path(".a.new"), path("a.new"));
        fs::write(&part, "a part that an interrupted run has le").unwrap();
        fs::set_permissions(&part, fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(&foreign, "precious").unwrap();
        write_new(&file, "one", 0o640).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        let error = write_new(&file, "other", 0o640).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        let error = write_new(&path("no/a"), "other", 0o640).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(fs::read_to_string(&file).unwrap(), "one");
        assert!(!part.exists());
        // A file of somebody whose name ends so stays.
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "precious");
    }
}
