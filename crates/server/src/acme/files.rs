//! The folder of certificate, account and state.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::tls::{ServerCertificate, TlsError, read_file};
use crate::written_file::NewFile;

/// The file of the certificate, the certificates of intermediate authorities, and the key: one file, so that they always belong
/// together.
const CERTIFICATE_FILE: &str = "server.pem";
/// The file of the state.
const STATE_FILE: &str = "state.json";
/// The file whose lock is held by the process that gets certificates.
const LOCK_FILE: &str = "lock";
/// The file that asks a running unit for an attempt at once.
const REQUEST_FILE: &str = "renew";

/// The largest length of a remembered error.
const MAX_ERROR_CHARS: usize = 1000;

/// The last attempt, and the time of the next one. Times are in milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AcmeState {
    /// The settings of the last attempt.
    pub(crate) fingerprint: String,
    /// The attempts since the last success.
    pub(crate) failures: u32,
    /// The time of the last attempt.
    pub(crate) last_attempt_ms: i64,
    /// Whether it is under way, or was when the process died.
    pub(crate) is_running: bool,
    /// The time before which there is no further attempt.
    pub(crate) next_attempt_ms: i64,
    /// The time of the last success.
    pub(crate) last_success_ms: i64,
    /// Why the last attempt failed.
    pub(crate) last_error: Option<String>,
    /// The authority and the names of the certificate.
    pub(crate) issued_for: String,
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct AcmeFolder(PathBuf);

/// A text of at most 1000 characters without control characters.
pub(super) fn bounded(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_ERROR_CHARS)
        .collect()
}

fn error(path: &Path, source: io::Error) -> TlsError {
    TlsError::File {
        path: path.to_owned(),
        source,
    }
}

impl AcmeFolder {
    /// The folder at a path, which need not exist yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Makes the folder, for its owner only, if it does not exist.
    ///
    /// # Errors
    /// [`TlsError::File`].
    pub(crate) fn create(&self) -> Result<(), TlsError> {
        if self.0.is_dir() {
            return Ok(());
        }
        let mut builder = DirBuilder::new();
        let created = builder.recursive(true).mode(0o700).create(&self.0);
        created.map_err(|source| error(&self.0, source))?;
        let own = open_without_links(File::options().read(true), &self.0)
            .and_then(|folder| give_to_owner_of_folder(&folder, &self.0));
        own.map_err(|source| error(&self.0, source))
    }

    /// Takes the lock of the folder; `None` if another process has it.
    ///
    /// # Errors
    /// [`TlsError::File`].
    pub(crate) fn try_lock(&self) -> Result<Option<File>, TlsError> {
        let path = self.0.join(LOCK_FILE);
        let mut options = File::options();
        options.write(true).create(true).truncate(false).mode(0o600);
        let file = open_without_links(&mut options, &path).and_then(|file| {
            give_to_owner_of_folder(&file, &path)?;
            Ok(file)
        });
        let file = file.map_err(|source| error(&path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(source)) => Err(error(&path, source)),
        }
    }

    /// The path of the certificate.
    pub(crate) fn certificate_path(&self) -> PathBuf {
        self.0.join(CERTIFICATE_FILE)
    }

    /// The certificate; `None` if there is none.
    ///
    /// # Errors
    /// [`TlsError`] if it cannot be read.
    pub(crate) fn certificate(&self) -> Result<Option<ServerCertificate>, TlsError> {
        let path = self.certificate_path();
        if !path.try_exists().map_err(|source| error(&path, source))? {
            return Ok(None);
        }
        let bytes = read_file(&path)?;
        ServerCertificate::read(&bytes, &bytes, &path.display().to_string()).map(Some)
    }

    /// Replaces the certificate, which is for its owner only: it has the key.
    ///
    /// # Errors
    /// [`TlsError::File`].
    pub(super) fn write_certificate(&self, pem: &str) -> Result<(), TlsError> {
        write_private(&self.certificate_path(), pem.as_bytes())
    }

    /// The state. One that cannot be read is that of a folder in which nothing was tried.
    pub(crate) fn state(&self) -> AcmeState {
        let bytes = read_file(&self.0.join(STATE_FILE)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Replaces the state.
    ///
    /// # Errors
    /// [`TlsError::File`].
    pub(super) fn write_state(&self, state: &AcmeState) -> Result<(), TlsError> {
        let path = self.0.join(STATE_FILE);
        let text = serde_json::to_vec_pretty(state)
            .map_err(|source| error(&path, io::Error::other(source)))?;
        write_private(&path, &text)
    }

    /// Asks the process that has the lock for an attempt at once.
    ///
    /// # Errors
    /// [`TlsError::File`].
    pub(super) fn request(&self) -> Result<(), TlsError> {
        write_private(&self.0.join(REQUEST_FILE), b"")
    }

    /// Whether an attempt at once was asked for; then it is not any more.
    pub(super) fn take_request(&self) -> bool {
        fs::remove_file(self.0.join(REQUEST_FILE)).is_ok()
    }
}

/// Writes a file that only the owner of its folder may read. After a crash it has the old content or the new one.
///
/// # Errors
/// [`TlsError::File`].
pub(super) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    let write = || -> io::Result<()> {
        let mut new = NewFile::beside(path)?;
        new.file.write_all(bytes)?;
        give_to_owner_of_folder(&new.file, path)?;
        new.put_in_place()
    };
    write().map_err(|source| error(path, source))
}

/// Opens a file or a folder that is no link.
fn open_without_links(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let no_links = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    options.custom_flags(no_links).open(path)
}

/// Gives a file with this path to the owner of its folder: the command may be run by another user than the unit. The owner of the folder
/// may replace the path by a link to a file of somebody else at any time, so the opened file counts.
fn give_to_owner_of_folder(file: &File, path: &Path) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::metadata(folder.unwrap_or(Path::new(".")))?;
    let own = file.metadata()?;
    // It has another name elsewhere.
    let is_shared = own.is_file() && own.nlink() > 1;
    if is_shared || own.uid() == folder.uid() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    fchown(file, Some(folder.uid()), Some(folder.gid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn lock_that_leads_elsewhere_is_refused_and_not_given_away() {
        let folder = tempfile::tempdir().unwrap();
        let foreign = folder.path().join("foreign");
        fs::write(&foreign, "precious").unwrap();
        let acme = AcmeFolder::new(&folder.path().join("acme"));
        acme.create().unwrap();
        symlink(&foreign, acme.0.join(LOCK_FILE)).unwrap();
        acme.try_lock().unwrap_err();
        fs::remove_file(acme.0.join(LOCK_FILE)).unwrap();
        assert!(acme.try_lock().unwrap().is_some());

        symlink(&foreign, acme.0.join("state.json.new")).unwrap();
        acme.write_state(&AcmeState::default()).unwrap();
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "precious");
    }
}
