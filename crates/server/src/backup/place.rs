//! The place of back-ups: a folder, or a bucket of an object store.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use personium_object_store::{S3BlobStore, S3Settings, SmallObjects};
use personium_types::error::chain;

use super::BackupResult;
use crate::components::object_store_settings;
use crate::config::{BlobStoreKind, Config, ConfigSources, LoadedConfig, PREFIX};
use crate::data_folder::BodyPlace;
use crate::system;

/// The beginning of the name of a bucket.
const SCHEME: &str = "s3://";
/// The folder of the bodies, in the place.
pub(super) const FILES_DIR: &str = "files";
/// The beginning of the keys that a file of settings of a bucket can have, without the prefix of all keys.
const KEYS: &str = "blobStore.s3.";
/// Keys that are taken from the environment if the file has none, with the variables that the tools of AWS know.
const VARIABLES: [(&str, &str); 2] = [("AWS_ENDPOINT_URL", "endpoint"), ("AWS_REGION", "region")];
/// The same for credentials, which belong together.
const CREDENTIALS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "accessKey"),
    ("AWS_SECRET_ACCESS_KEY", "secretKey"),
    ("AWS_SESSION_TOKEN", "sessionToken"),
];
/// The keys of which one means that the file has credentials.
const CREDENTIAL_KEYS: [&str; 5] = [
    "accessKey",
    "secretKey",
    "secretKeyFile",
    "sessionToken",
    "credentialsFile",
];

/// Where back-ups are, as it is given to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceName {
    /// A folder.
    Folder(PathBuf),
    /// The objects of a bucket whose names begin with a prefix, which may be empty.
    Bucket {
        /// The name of the bucket.
        bucket: String,
        /// The prefix, without a slash at its ends.
        prefix: String,
    },
}

impl FromStr for PlaceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(name) = text.strip_prefix(SCHEME) else {
            return match text.is_empty() {
                true => Err("it must not be empty".to_owned()),
                false => Ok(Self::Folder(PathBuf::from(text))),
            };
        };
        let (bucket, prefix) = name.split_once('/').unwrap_or((name, ""));
        let is_permitted = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if bucket.is_empty() || !bucket.chars().all(is_permitted) {
            let text = "the name of a bucket has letters, digits, dots, hyphens and underscores: s3://BUCKET/PREFIX. \
                        Credentials and the address of the server are in the file that --s3 names";
            return Err(text.to_owned());
        }
        let prefix = prefix.trim_matches('/');
        let is_segment = |part: &str| !part.is_empty() && part.chars().all(is_permitted);
        if !prefix.is_empty() && !prefix.split('/').all(is_segment) {
            let text =
                "a prefix has letters, digits, dots, hyphens, underscores and single slashes";
            return Err(text.to_owned());
        }
        Ok(Self::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        })
    }
}

/// Where back-ups are, with all that is needed to reach them.
#[derive(Debug, Clone)]
pub enum BackupPlace {
    /// A folder.
    Folder(PathBuf),
    /// Objects of a bucket.
    Bucket(Box<BucketPlace>),
}

/// The objects of a bucket whose names begin with a prefix.
#[derive(Debug, Clone)]
pub struct BucketPlace {
    settings: S3Settings,
}

impl fmt::Display for BackupPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Bucket(place) => {
                let S3Settings { bucket, prefix, .. } = &place.settings;
                match prefix.is_empty() {
                    true => write!(f, "{SCHEME}{bucket}"),
                    false => write!(f, "{SCHEME}{bucket}/{prefix}"),
                }
            }
        }
    }
}

impl BackupPlace {
    /// Refuses a folder in the data folder of the unit, or in its folder of file bodies: what happens to these happens to the back-ups.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn expect_outside_of(&self, config: &Config) -> BackupResult {
        let Self::Folder(to) = self else {
            return Ok(());
        };
        let mut folders = vec![config.store.data_dir.clone()];
        if config.files.kind == BlobStoreKind::Folder
            && let BodyPlace::Folder { path, .. } = BodyPlace::folder(config)
        {
            folders.push(path);
        }
        let place = real_path(to);
        match folders
            .iter()
            .find(|folder| place.starts_with(real_path(folder)))
        {
            None => Ok(()),
            Some(folder) => Err(format!(
                "{} is in {}, which belongs to the unit: back-ups there are lost with it; name a folder outside, best on another disk",
                to.display(),
                folder.display()
            )),
        }
    }

    /// The place of this name. `file` has the settings of the object store, under the keys of that of file bodies; what it does not have is
    /// taken from the variables of the environment that the tools of AWS know, and at last from the machine.
    ///
    /// # Errors
    /// A text for the operator, which has no secret.
    pub fn new(
        name: PlaceName,
        file: Option<&Path>,
        environment: &[(String, String)],
    ) -> BackupResult<Self> {
        match (name, file) {
            (PlaceName::Folder(_), Some(_)) => {
                Err("--s3 has settings of a bucket; name one, as s3://BUCKET/PREFIX".to_owned())
            }
            (PlaceName::Folder(path), None) => Ok(Self::Folder(path)),
            (PlaceName::Bucket { bucket, prefix }, file) => {
                let settings = bucket_settings((bucket, prefix), file, environment)?;
                Ok(Self::Bucket(Box::new(BucketPlace { settings })))
            }
        }
    }
}

impl BucketPlace {
    /// The store of the bodies.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn bodies(&self) -> BackupResult<S3BlobStore> {
        let prefix = match self.settings.prefix.as_str() {
            "" => FILES_DIR.to_owned(),
            prefix => format!("{prefix}/{FILES_DIR}"),
        };
        let settings = S3Settings {
            prefix,
            ..self.settings.clone()
        };
        let store = S3BlobStore::new(&settings, system::clock(), system::random());
        store.map_err(|error| chain(&error))
    }

    /// The other objects.
    ///
    /// # Errors
    /// A text for the operator.
    pub(super) fn small_objects(&self) -> BackupResult<Arc<SmallObjects>> {
        let objects = SmallObjects::new(&self.settings, system::clock());
        objects.map(Arc::new).map_err(|error| chain(&error))
    }
}

fn bucket_settings(
    (bucket, prefix): (String, String),
    file: Option<&Path>,
    environment: &[(String, String)],
) -> BackupResult<S3Settings> {
    let load = |options: Vec<(String, String)>| {
        let sources = ConfigSources {
            file: file.map(Path::to_owned),
            environment: Vec::new(),
            options,
        };
        LoadedConfig::load(&sources).map_err(|error| match file {
            Some(file) => format!("{}: {error}", file.display()),
            None => error.to_string(),
        })
    };
    let in_file = load(Vec::new())?;
    let whole = |key: &str| format!("{PREFIX}{KEYS}{key}");
    let known = format!("{PREFIX}{KEYS}");
    for name in in_file.values.keys() {
        if !name.starts_with(&known) || [whole("bucket"), whole("prefix")].contains(name) {
            let file = file.map(|file| file.display().to_string());
            return Err(format!(
                "{}: {name} is no setting of the object store of back-ups; it has those that begin with {known}, without bucket and prefix",
                file.unwrap_or_default()
            ));
        }
    }
    if let Some(warning) = in_file.warnings.iter().find(|text| text.contains(KEYS)) {
        return Err(warning.clone());
    }
    let has = |key: &str| in_file.values.contains_key(&whole(key));
    let variable = |name: &str| {
        let found = environment.iter().find(|(known, _)| known == name);
        let value = found.map(|(_, value)| value.clone());
        value.filter(|value| !value.is_empty())
    };
    let mut options = vec![
        ("blobStore.type".to_owned(), "s3".to_owned()),
        (format!("{KEYS}bucket"), bucket),
        (format!("{KEYS}prefix"), prefix),
    ];
    let mut wanted: Vec<_> = VARIABLES.iter().filter(|(_, key)| !has(key)).collect();
    if !CREDENTIAL_KEYS.iter().any(|key| has(key)) {
        wanted.extend(&CREDENTIALS);
    }
    for (name, key) in wanted {
        if let Some(value) = variable(name) {
            options.push((format!("{KEYS}{key}"), value));
        }
    }
    let loaded = load(options)?;
    let settings = object_store_settings(&loaded.config, &Arc::default());
    let settings = settings.map_err(|error| chain(&error))?;
    Ok(S3Settings {
        // Nothing else reads what is removed.
        removal_delay: Duration::ZERO,
        ..settings
    })
}

/// The path without links and relative parts, as far as it exists.
fn real_path(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let known = path
        .ancestors()
        .find_map(|known| Some((known, known.canonicalize().ok()?)));
    match known {
        Some((known, real)) => match path.strip_prefix(known) {
            Ok(rest) if !rest.as_os_str().is_empty() => real.join(rest),
            _ => real,
        },
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use personium_object_store::S3Credentials;

    use super::*;

    fn bucket(bucket: &str, prefix: &str) -> PlaceName {
        PlaceName::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        }
    }

    #[test]
    fn folders_and_buckets_are_told_apart_and_credentials_in_the_name_are_refused() {
        let parse = |text: &str| text.parse::<PlaceName>();
        assert_eq!(parse("s3://b").unwrap(), bucket("b", ""));
        assert_eq!(parse("s3://b-1/a/b.c/").unwrap(), bucket("b-1", "a/b.c"));
        for path in ["/var/backups", "s3", "s3:x", "./s3://x"] {
            assert_eq!(parse(path).unwrap(), PlaceName::Folder(path.into()));
        }
        for wrong in [
            "",
            "s3://",
            "s3:///a",
            "s3://key:secret@b/a",
            "s3://b/a//c",
            "s3://b/ä",
        ] {
            let refused = parse(wrong).unwrap_err();
            assert!(!refused.contains("secret@"), "{wrong}: {refused}");
        }
    }

    fn place(lines: &str, environment: &[(&str, &str)]) -> BackupResult<S3Settings> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s3.properties");
        std::fs::write(&file, lines).unwrap();
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        match BackupPlace::new(bucket("b", "p"), Some(&file), &environment)? {
            BackupPlace::Bucket(place) => Ok(place.settings),
            BackupPlace::Folder(_) => panic!("a folder"),
        }
    }

    #[test]
    fn settings_are_those_of_the_file_then_of_the_environment_and_secrets_are_not_shown() {
        const FILE: &str = "io.personium.core.blobStore.s3.endpoint=https://s3.example\n\
            io.personium.core.blobStore.s3.accessKey=file-key\nio.personium.core.blobStore.s3.secretKey=file-secret\n";
        let environment = [
            ("AWS_ACCESS_KEY_ID", "env-key"),
            ("AWS_SECRET_ACCESS_KEY", "env-secret"),
            ("AWS_REGION", "eu-1"),
            ("AWS_ENDPOINT_URL", "https://other.example"),
        ];
        let found = place(FILE, &environment).unwrap();
        assert_eq!(found.endpoint.as_deref(), Some("https://s3.example"));
        assert_eq!(
            (found.region.as_str(), found.bucket.as_str()),
            ("eu-1", "b")
        );
        assert!(found.removal_delay.is_zero());
        let key = |settings: &S3Settings| match &settings.credentials {
            S3Credentials::Keys { access_key, .. } => access_key.clone(),
            _ => String::new(),
        };
        assert_eq!(key(&found), "file-key");
        let shown = format!("{found:?}");
        assert!(
            !shown.contains("file-secret") && !shown.contains("env-secret"),
            "{shown}"
        );
        let found = place("", &environment).unwrap();
        assert_eq!(found.endpoint.as_deref(), Some("https://other.example"));
        assert_eq!(key(&found), "env-key");
        assert!(matches!(
            place("", &[]).unwrap().credentials,
            S3Credentials::Role
        ));
    }

    #[test]
    fn file_with_other_settings_is_refused_without_its_secrets() {
        let key = |name: &str| format!("io.personium.core.{name}\n");
        for (lines, named) in [
            (key("blobStore.s3.bucket=x"), "bucket"),
            (key("unitPort=80"), "unitPort"),
            (key("blobStore.s3.acessKey=abc-secret"), "acessKey"),
            (key("blobStore.s3.secretKey=abc-secret"), "accessKey"),
            (key("blobStore.s3.endpoint=http://a"), "https"),
        ] {
            let refused = place(&lines, &[]).unwrap_err();
            assert!(refused.contains(named), "{refused}");
            assert!(!refused.contains("abc-secret"), "{refused}");
        }
        let folder = PlaceName::Folder("x".into());
        assert!(BackupPlace::new(folder, Some(Path::new("f")), &[]).is_err());
    }
}
