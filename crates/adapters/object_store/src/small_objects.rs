//! Small objects with names of their own beside the bodies of a bucket.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, UpdateVersion};
use personium_store::{ErrorDetail, Result, StoreError};
use personium_types::Clock;

use crate::failure;
use crate::http_client::ServerTime;
use crate::settings::S3Settings;
use crate::store::connect;

/// The message of errors of writing.
const FAILED_TO_WRITE: &str = "failed to write an object";

/// The small objects of a bucket below the prefix of the settings.
pub struct SmallObjects {
    store: Arc<AmazonS3>,
    prefix: Path,
    server_time: Arc<ServerTime>,
}

impl fmt::Debug for SmallObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SmallObjects").field(&self.prefix).finish()
    }
}

/// The version of a small object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectVersion(Option<String>);

/// A small object.
#[derive(Debug, Clone)]
pub struct SmallObject {
    /// Its content.
    pub bytes: Bytes,
    /// Its version.
    pub version: ObjectVersion,
    /// The time since it was written, by the clock of the server, to the second; `None` if the server says no time.
    pub age: Option<Duration>,
}

impl SmallObjects {
    /// The objects below the prefix of these settings. Nothing is sent to the server yet.
    ///
    /// # Errors
    /// [`Unsupported`](StoreError::Unsupported) if the settings cannot be used.
    pub fn new(settings: &S3Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        let connection = connect(settings, &clock)?;
        Ok(Self {
            store: connection.store,
            prefix: Path::from(settings.prefix.as_str()),
            server_time: connection.server_time,
        })
    }

    /// The full name of an object; `name` may have slashes.
    fn path(&self, name: &str) -> Path {
        let segments = name.split('/');
        segments.fold(self.prefix.clone(), |path, segment| path.join(segment))
    }

    /// Returns an object of at most `max` bytes; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError`]; [`Corrupt`](StoreError::Corrupt) if it is larger.
    pub async fn find(&self, name: &str, max: u64) -> Result<Option<SmallObject>> {
        let path = self.path(name);
        let read = async {
            let found = self.store.get(&path).await?;
            let meta = found.meta.clone();
            match meta.size <= max {
                true => Ok((meta, Some(found.bytes().await?))),
                false => Ok((meta, None)),
            }
        };
        let Some((meta, bytes)) = failure::run("failed to read an object", read).await? else {
            return Ok(None);
        };
        let bytes = bytes.ok_or_else(|| {
            StoreError::Corrupt(ErrorDetail::new(format!("the object {path} is too large")))
        })?;
        let written_ms = meta.last_modified.timestamp_millis();
        let age = self.server_time.time_ms().map(|now| {
            let age = u64::try_from(now.saturating_sub(written_ms)).unwrap_or(0);
            Duration::from_millis(age)
        });
        Ok(Some(SmallObject {
            bytes,
            version: ObjectVersion(meta.e_tag),
            age,
        }))
    }

    /// Writes an object in place of one of its name.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        let path = self.path(name);
        let put = self.store.put(&path, PutPayload::from(bytes));
        failure::run_existing(FAILED_TO_WRITE, put).await.map(drop)
    }

    /// Writes an object if there is none of its name. Returns whether that was so; a lost answer can make a `false` of it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<bool> {
        self.put_if(name, bytes, PutMode::Create).await
    }

    /// Writes an object if the one of its name has this version. Returns whether that was so; a lost answer can make a `false` of
    /// it.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn replace(&self, name: &str, bytes: Bytes, version: &ObjectVersion) -> Result<bool> {
        let version = UpdateVersion {
            e_tag: version.0.clone(),
            version: None,
        };
        self.put_if(name, bytes, PutMode::Update(version)).await
    }

    async fn put_if(&self, name: &str, bytes: Bytes, mode: PutMode) -> Result<bool> {
        let path = self.path(name);
        let put = async {
            let payload = PutPayload::from(bytes);
            match self.store.put_opts(&path, payload, mode.into()).await {
                Ok(_) => Ok(true),
                Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        failure::run_existing(FAILED_TO_WRITE, put).await
    }

    /// Removes an object. Succeeds if there is none.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        let removed = self.store.delete(&path);
        let removed = failure::run("failed to remove an object", removed).await;
        removed.map(drop)
    }

    /// Lists the names of at most `limit` objects whose names begin with `folder` and a slash, or of all if it is empty, in their order.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn list(&self, folder: &str, limit: usize) -> Result<Vec<String>> {
        let folder = match folder {
            "" => self.prefix.clone(),
            folder => self.path(folder),
        };
        let mut objects = self.store.list(Some(&folder));
        let listed = async {
            let mut names = Vec::new();
            while names.len() < limit {
                let Some(object) = objects.try_next().await? else {
                    break;
                };
                let parts = object.location.prefix_match(&self.prefix);
                let name: Vec<_> = parts.into_iter().flatten().collect();
                let name: Vec<&str> = name.iter().map(AsRef::as_ref).collect();
                names.push(name.join("/"));
            }
            Ok(names)
        };
        let listed = failure::run_existing("failed to list a bucket", listed).await;
        listed.map(|mut names| {
            names.sort();
            names
        })
    }
}
