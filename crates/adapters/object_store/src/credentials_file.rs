//! Credentials in a file in the format of the tools of AWS. It is read again when it has changed: credentials with a session token
//! end after some hours, and whoever gets new ones replaces the file.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use parking_lot::Mutex;

/// The largest file that is read.
const MAX_BYTES: u64 = 64 << 10;

/// A file with credentials.
pub(crate) struct CredentialsFile {
    path: PathBuf,
    last: Mutex<LastRead>,
}

/// The credentials that were read last.
#[derive(Default)]
struct LastRead {
    found: Option<(FileState, Arc<AwsCredential>)>,
    /// Why the file could not be read since then, as the log has it.
    problem: Option<String>,
}

impl fmt::Debug for CredentialsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CredentialsFile").field(&self.path).finish()
    }
}

/// The properties that change when a file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileState {
    length: u64,
    inode: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl FileState {
    fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl CredentialsFile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            last: Mutex::default(),
        }
    }

    /// The credentials in the file. While it cannot be read, the last ones, and the log says so once for each reason.
    ///
    /// # Errors
    /// If it has no credentials, or cannot be read and never could.
    pub(crate) fn read(&self) -> io::Result<Arc<AwsCredential>> {
        let mut last = self.last.lock();
        let known = last.found.clone();
        match (self.read_if_changed(known.as_ref().map(|k| k.0)), known) {
            (Ok(Some((state, found))), _) => {
                let found = Arc::new(found);
                *last = LastRead {
                    found: Some((state, Arc::clone(&found))),
                    problem: None,
                };
                Ok(found)
            }
            (Ok(None), Some((_, known))) => {
                last.problem = None;
                Ok(known)
            }
            (Err(error), Some((_, known))) => {
                let problem = Some(error.to_string());
                if last.problem != problem {
                    let file = self.path.display().to_string();
                    tracing::warn!(file, error = %error, "credentials cannot be read, the last ones are used");
                    last.problem = problem;
                }
                Ok(known)
            }
            (Err(error), None) => Err(error),
            (Ok(None), None) => Err(io::Error::other("the file was not read")),
        }
    }

    fn read_if_changed(
        &self,
        known: Option<FileState>,
    ) -> io::Result<Option<(FileState, AwsCredential)>> {
        let state = FileState::of(&fs::metadata(&self.path)?);
        if known == Some(state) {
            return Ok(None);
        }
        if state.length > MAX_BYTES {
            return Err(io::Error::other("the file is too large"));
        }
        let text = fs::read_to_string(&self.path)?;
        let found = parse(&text).ok_or_else(|| {
            io::Error::other("there is no aws_access_key_id with aws_secret_access_key")
        })?;
        Ok(Some((state, found)))
    }
}

#[async_trait]
impl CredentialProvider for CredentialsFile {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.read().map_err(|source| object_store::Error::Generic {
            store: "S3",
            source: format!("failed to read {}: {source}", self.path.display()).into(),
        })
    }
}

/// The credentials of the profile `default`, or those before the first profile.
fn parse(text: &str) -> Option<AwsCredential> {
    let (mut key_id, mut secret_key, mut token) = (None, None, None);
    let mut is_wanted = true;
    for line in text.lines().map(str::trim) {
        if let Some(profile) = line.strip_prefix('[') {
            is_wanted = profile.trim_end_matches(']').trim() == "default";
            continue;
        }
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        let value = Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        match name.trim() {
            _ if !is_wanted => {}
            "aws_access_key_id" => key_id = value,
            "aws_secret_access_key" => secret_key = value,
            "aws_session_token" => token = value,
            _ => {}
        }
    }
    Some(AwsCredential {
        key_id: key_id?,
        secret_key: secret_key?,
        token,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &str = "# c\n[other]\naws_access_key_id=no\n[default]\n aws_access_key_id = a\n\
         aws_secret_access_key = s/+=\naws_session_token=t=\nregion = x\n";

    fn texts(found: &AwsCredential) -> (&str, &str, Option<&str>) {
        (&found.key_id, &found.secret_key, found.token.as_deref())
    }

    #[test]
    fn default_profile_is_parsed_and_half_credentials_are_none() {
        let found = parse(COMPLETE).unwrap();
        assert_eq!(texts(&found), ("a", "s/+=", Some("t=")));
        let plain = parse("aws_access_key_id=a\naws_secret_access_key=b\n").unwrap();
        assert_eq!(texts(&plain), ("a", "b", None));
        for text in [
            "",
            "[default]",
            "aws_access_key_id=a",
            "[x]\naws_access_key_id=a\naws_secret_access_key=b",
            "aws_access_key_id=\naws_secret_access_key=b",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn replaced_file_is_read_again_and_an_unusable_one_leaves_the_last_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        let file = CredentialsFile::new(path.clone());
        assert!(file.read().is_err());
        fs::write(&path, "aws_access_key_id=a\naws_secret_access_key=b\n").unwrap();
        assert_eq!(texts(&file.read().unwrap()), ("a", "b", None));
        fs::write(&path, COMPLETE).unwrap();
        assert_eq!(texts(&file.read().unwrap()), ("a", "s/+=", Some("t=")));
        fs::write(&path, "nothing").unwrap();
        assert_eq!(file.read().unwrap().key_id, "a");
        fs::remove_file(&path).unwrap();
        assert_eq!(file.read().unwrap().key_id, "a");
        fs::write(&path, "aws_access_key_id=c\naws_secret_access_key=d\n").unwrap();
        assert_eq!(file.read().unwrap().key_id, "c");
    }
}
