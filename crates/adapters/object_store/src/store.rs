//! The blob store.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::HttpClient;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{BackoffConfig, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig};
use parking_lot::Mutex;
use personium_store::{
    BlobReader, BlobStore, BlobWriter, ErrorDetail, Result, Space, StorageUsage, StoreError,
    StoreHealth,
};
use personium_types::error::chain;
use personium_types::{BlobId, Clock, Random};

use crate::credentials_file::CredentialsFile;
use crate::delayed_removal::DelayedRemoval;
use crate::failure;
use crate::http_client::{Connector, ServerTime};
use crate::live_writers::LiveWriters;
use crate::multipart_list::{self, UnfinishedUpload};
use crate::object_names::ObjectNames;
use crate::reader::{DamageReports, ObjectReader};
use crate::settings::{Addressing, S3Credentials, S3Settings};
use crate::stream::ObjectSource;
use crate::writer::{ObjectWriter, WriteProgress};

/// The age after which an unfinished upload is an orphan.
const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// The time between two searches for orphans.
const ORPHAN_SEARCH_INTERVAL: Duration = Duration::from_secs(3600);

/// The pauses between two attempts of a request: they grow from the first to the second.
const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// The largest number of lists of unfinished uploads, of 1000 each, that are removed at once.
const MAX_UPLOAD_LISTS: usize = 100;

/// The largest mark in bytes.
const MAX_MARK_BYTES: u64 = 1024;

/// A store of file bodies in a bucket.
pub struct S3BlobStore {
    store: Arc<AmazonS3>,
    client: HttpClient,
    names: ObjectNames,
    place: String,
    part_bytes: usize,
    server_time: Arc<ServerTime>,
    live: Arc<LiveWriters>,
    removal: Arc<DelayedRemoval>,
    last_orphan_search: Mutex<Option<Instant>>,
    health: Arc<StoreHealth>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

impl fmt::Debug for S3BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3BlobStore").field(&self.place).finish()
    }
}

impl S3BlobStore {
    /// A store with these settings. Nothing is sent to the server yet.
    ///
    /// # Errors
    /// [`Unsupported`](StoreError::Unsupported) if the settings cannot be used.
    pub fn new(
        settings: &S3Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        let Connection {
            store,
            client,
            server_time,
        } = connect(settings, &clock)?;
        let removal = DelayedRemoval::new(
            Arc::clone(&store),
            Arc::clone(&clock),
            settings.removal_delay,
        );
        let names = ObjectNames::new(&settings.prefix);
        Ok(Self {
            place: format!("bucket {}, prefix \"{}\"", settings.bucket, names.prefix()),
            store,
            client,
            names,
            part_bytes: settings.part_bytes,
            server_time,
            live: Arc::default(),
            removal: Arc::new(removal),
            last_orphan_search: Mutex::new(None),
            health: Arc::clone(&settings.health),
            clock,
            random,
        })
    }

    /// The name by which the server has called itself in its responses; `None` if it has not.
    #[must_use]
    pub fn server_name(&self) -> Option<String> {
        self.server_time.server_name()
    }

    /// The bucket and the prefix, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the mark of the unit whose bodies are here; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError`]; [`Corrupt`](StoreError::Corrupt) if it is not text.
    pub async fn find_mark(&self) -> Result<Option<String>> {
        const FAILED: &str = "failed to read the mark of the unit";
        let name = self.names.mark();
        let read = async {
            let found = self.store.get(&name).await?;
            match found.meta.size {
                0..=MAX_MARK_BYTES => Ok(Some(found.bytes().await?)),
                _ => Ok(None),
            }
        };
        let Some(found) = failure::run(FAILED, read).await? else {
            return Ok(None);
        };
        let text = found.and_then(|bytes| String::from_utf8(bytes.into()).ok());
        let corrupt = || StoreError::Corrupt(ErrorDetail::new("the mark of the unit is damaged"));
        text.map(Some).ok_or_else(corrupt)
    }

    /// Writes the mark of the unit, unless there is one.
    ///
    /// # Errors
    /// [`StoreError`]; [`Conflict`](StoreError::Conflict) if there is another mark.
    pub async fn put_mark(&self, mark: &str) -> Result<()> {
        const FAILED: &str = "failed to write the mark of the unit";
        let name = self.names.mark();
        if self.find_mark().await?.is_none() {
            let payload = PutPayload::from(mark.to_owned());
            let put = async {
                let put = self.store.put_opts(&name, payload, PutMode::Create.into());
                match put.await {
                    // If another unit was faster, its mark is found next.
                    Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            };
            failure::run_existing(FAILED, put).await?;
        }
        match self.find_mark().await? {
            Some(found) if found == mark => Ok(()),
            _ => Err(StoreError::Conflict),
        }
    }

    /// Writes the mark of the unit in place of another one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn replace_mark(&self, mark: &str) -> Result<()> {
        let name = self.names.mark();
        let put = self.store.put(&name, PutPayload::from(mark.to_owned()));
        let put = failure::run_existing("failed to write the mark of the unit", put);
        put.await.map(drop)
    }

    /// Whether there is any object.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_empty(&self) -> Result<bool> {
        let mut objects = self.store.list(Some(self.names.prefix()));
        let first = async { objects.next().await.transpose() };
        let first = failure::run_existing("failed to list a bucket", first).await?;
        Ok(first.is_none())
    }

    /// Aborts all unfinished uploads of bodies, if no process writes one. Returns their number. Servers that list them only by the whole
    /// name of an object (MinIO) name none; these remove them when they are old.
    ///
    /// # Errors
    /// [`StoreError`] also if the server does not list them.
    pub async fn abort_all_uploads(&self) -> Result<usize> {
        let mut all = 0;
        for _ in 0..MAX_UPLOAD_LISTS {
            match self
                .abort_uploads(self.names.prefix(), Duration::ZERO)
                .await?
            {
                0 => break,
                aborted => all += aborted,
            }
        }
        Ok(all)
    }

    /// Aborts the unfinished uploads of names that begin with `prefix` and that are at least `min_age` old.
    async fn abort_uploads(&self, prefix: &Path, min_age: Duration) -> Result<usize> {
        let uploads = multipart_list::list(&*self.store, &self.client, prefix).await?;
        let is_old = |upload: &UnfinishedUpload| {
            min_age.is_zero()
                || upload
                    .begun_ms
                    .is_some_and(|begun| self.is_old(begun, min_age))
        };
        let mut aborted = 0;
        for upload in uploads.iter().filter(|upload| is_old(upload)) {
            let name = Path::from(upload.name.as_str());
            let abort = self.store.abort_multipart(&name, &upload.upload);
            failure::run("failed to abort an upload", abort).await?;
            aborted += 1;
        }
        Ok(aborted)
    }

    /// Whether something of this time of the server is at least `min_age` old.
    fn is_old(&self, time_ms: i64, min_age: Duration) -> bool {
        let min_age = i64::try_from(min_age.as_millis()).unwrap_or(i64::MAX);
        let now = self.server_time.time_ms();
        now.is_some_and(|now| now.saturating_sub(time_ms) >= min_age)
    }

    /// Aborts uploads of processes that ended, from time to time.
    async fn search_orphans(&self) {
        {
            let mut last = self.last_orphan_search.lock();
            let now = self.clock.monotonic();
            let is_recent = |last| now.saturating_duration_since(last) < ORPHAN_SEARCH_INTERVAL;
            if last.is_some_and(is_recent) {
                return;
            }
            *last = Some(now);
        }
        match self.abort_uploads(self.names.prefix(), ORPHAN_AGE).await {
            Ok(0) => {}
            Ok(aborted) => tracing::info!(aborted, "aborted unfinished uploads of file bodies"),
            Err(error) => {
                tracing::debug!(error = %chain(&error), "failed to list unfinished uploads of file bodies");
            }
        }
    }
}

/// A connection to the server, which is opened by the first request.
pub(crate) struct Connection {
    pub(crate) store: Arc<AmazonS3>,
    pub(crate) client: HttpClient,
    pub(crate) server_time: Arc<ServerTime>,
}

/// A connection with these settings.
///
/// # Errors
/// [`Unsupported`](StoreError::Unsupported) if the settings cannot be used.
pub(crate) fn connect(settings: &S3Settings, clock: &Arc<dyn Clock>) -> Result<Connection> {
    let server_time = Arc::new(ServerTime::new(Arc::clone(clock)));
    let endpoint = settings.endpoint.as_deref();
    let connector = Connector {
        timeout: settings.timeout,
        server_time: Arc::clone(&server_time),
        needs_tls: endpoint.is_none_or(|endpoint| endpoint.starts_with("https:")),
        tls_roots: settings.tls_roots.clone(),
    };
    let unusable = |error| {
        let text = "the settings of the object store cannot be used";
        StoreError::Unsupported(ErrorDetail::new(text).with_source(error))
    };
    let client = connector.client().map_err(unusable)?;
    let store = Arc::new(build(settings, connector).map_err(unusable)?);
    Ok(Connection {
        store,
        client,
        server_time,
    })
}

fn build(settings: &S3Settings, connector: Connector) -> Result<AmazonS3, object_store::Error> {
    let (init_backoff, max_backoff) = RETRY_PAUSES;
    let mut builder = AmazonS3Builder::new()
        .with_region(&settings.region)
        .with_bucket_name(&settings.bucket)
        .with_allow_http(true)
        .with_virtual_hosted_style_request(settings.addressing == Addressing::VirtualHost)
        .with_retry(RetryConfig {
            backoff: BackoffConfig {
                init_backoff,
                max_backoff,
                base: 2.0,
            },
            max_retries: settings.retries,
            retry_timeout: settings.timeout.saturating_mul(2),
        })
        .with_http_connector(connector);
    if let Some(endpoint) = &settings.endpoint {
        let endpoint = match settings.addressing {
            Addressing::Path => endpoint.clone(),
            Addressing::VirtualHost => {
                endpoint.replacen("://", &format!("://{}.", settings.bucket), 1)
            }
        };
        builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
    }
    builder = match &settings.credentials {
        S3Credentials::Role => builder,
        S3Credentials::Keys {
            access_key,
            secret_key,
            session_token,
        } => {
            let builder = builder
                .with_access_key_id(access_key)
                .with_secret_access_key(secret_key.reveal());
            match session_token {
                Some(token) => builder.with_token(token.reveal()),
                None => builder,
            }
        }
        S3Credentials::File(path) => {
            let file = CredentialsFile::new(path.clone());
            // Says at the start what is wrong with it.
            file.read().map_err(|source| object_store::Error::Generic {
                store: "S3",
                source: format!("{}: {source}", path.display()).into(),
            })?;
            builder.with_credentials(Arc::new(file))
        }
    };
    builder.build()
}

#[async_trait]
impl BlobStore for S3BlobStore {
    async fn create(&self, space: &Space) -> Result<Box<dyn BlobWriter>> {
        let id = BlobId::random(&self.random);
        self.create_with_id(space, &id).await
    }

    async fn create_with_id(&self, space: &Space, id: &BlobId) -> Result<Box<dyn BlobWriter>> {
        Ok(Box::new(ObjectWriter {
            store: Arc::clone(&self.store),
            name: self.names.body(space, id),
            id: *id,
            part_bytes: self.part_bytes,
            live: self.live.enter(space),
            progress: WriteProgress::default(),
        }))
    }

    async fn open(&self, space: &Space, id: &BlobId) -> Result<Option<Box<dyn BlobReader>>> {
        let name = self.names.body(space, id);
        if self.removal.has(&name) {
            return Ok(None);
        }
        let reports = DamageReports {
            space: *space,
            health: Arc::clone(&self.health),
        };
        let source = ObjectSource::new(Arc::clone(&self.store), name);
        let opened = ObjectReader::open(source, reports).await?;
        Ok(opened.map(|reader| Box::new(reader) as Box<dyn BlobReader>))
    }

    async fn remove(&self, space: &Space, id: &BlobId) -> Result<()> {
        let name = self.names.body(space, id);
        if self.removal.take(&name) {
            let removed = self.store.delete(&name);
            failure::run("failed to remove a file body", removed).await?;
        }
        Ok(())
    }

    async fn list(
        &self,
        space: &Space,
        after: Option<&BlobId>,
        min_age: Duration,
        limit: usize,
    ) -> Result<Vec<BlobId>> {
        self.search_orphans().await;
        let prefix = self.names.space(space);
        let mut objects = match after {
            Some(after) => {
                let after = self.names.body(space, after);
                self.store.list_with_offset(Some(&prefix), &after)
            }
            None => self.store.list(Some(&prefix)),
        };
        let listed = async {
            let mut found = Vec::new();
            while found.len() < limit {
                let Some(object) = objects.try_next().await? else {
                    break;
                };
                let id = ObjectNames::id_of(&object.location);
                let id = id.filter(|id| after.is_none_or(|after| id > after));
                let time_ms = object.last_modified.timestamp_millis();
                let is_listed = (min_age.is_zero() || self.is_old(time_ms, min_age))
                    && !self.removal.has(&object.location);
                found.extend(id.filter(|_| is_listed));
            }
            Ok(found)
        };
        failure::run_existing("failed to list file bodies", listed).await
    }

    async fn drop_space(&self, space: &Space) -> Result<()> {
        const FAILED: &str = "failed to remove the file bodies of a space";
        self.live.drop_space(space);
        let prefix = self.names.space(space);
        if let Err(error) = self.abort_uploads(&prefix, Duration::ZERO).await {
            tracing::debug!(error = %chain(&error), "failed to list the unfinished uploads of a space");
        }
        let names = self
            .store
            .list(Some(&prefix))
            .map_ok(|object| object.location);
        let removed = self.store.delete_stream(names.boxed());
        let all = removed.try_for_each(|_| async { Ok(()) });
        failure::run(FAILED, all).await.map(drop)
    }

    async fn check(&self) -> Result<()> {
        const FAILED: &str = "failed to write a test object";
        let name = self.names.trial(&BlobId::random(&self.random));
        let put = self.store.put(&name, PutPayload::from_static(b"check"));
        failure::run_existing(FAILED, put).await?;
        failure::run(FAILED, self.store.delete(&name))
            .await
            .map(drop)
    }

    async fn usage(&self) -> Result<Option<StorageUsage>> {
        Ok(None)
    }
}
