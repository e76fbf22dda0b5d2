//! Exports of cells into snapshots.
//!
//! The archive is written to a temporary file in pages, then stored among the snapshots of the cell. Requests do not change the
//! cell meanwhile; those that began before may still do so, which the archive is consistent enough for.

mod documents;
mod lines;
mod meta;
mod open_data;
mod stored_names;
mod tree;
mod user_data;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use personium_archive::snapshot::{self, SnapshotManifest};
use personium_model::file::{self, FileHeaders, Upload};
use personium_model::locate::Prefetch;
use personium_model::records::{Records, store_error};
use personium_model::temp_file::TempFile;
use personium_model::transfer::{self, RunningTransfer, TransferFailure, TransferKind};
use personium_model::{
    Access, AnswerReservation, BlobReader, CellContext, Identity, Permit, Resource,
    ServerAuthority, Unit, keys,
};
use personium_types::error::chain;
use personium_types::{Code, Error, NodeId, Preconditions, Result};
use serde_json::json;

pub(crate) use self::documents::is_of_schema;
pub(crate) use self::meta::KINDS;
use self::stored_names::StoredNames;
use crate::export::{ArchiveOutput, EntryLimit};
use crate::request_origin::RequestOrigin;
use crate::{cell_event, own_task, progress};

/// The largest number of entries of a snapshot: each file has three.
pub(crate) const MAX_SNAPSHOT_ENTRIES: usize = 300_000;
/// The end of the names of snapshots.
pub(crate) const SNAPSHOT_SUFFIX: &str = ".zip";
/// The media type of snapshots.
const ZIP: &str = "application/zip";
/// The size of the chunks of files.
const CHUNK_BYTES: usize = 256 << 10;
/// The steps that the progress is counted by: the tree, each file of documents, and storing the archive.
const STEPS: u64 = snapshot::DOCUMENTS.len() as u64 + 2;

/// An export that was begun.
pub struct CellExporter {
    transfer: RunningTransfer,
    authority: ServerAuthority,
    context: Arc<CellContext>,
    origin: RequestOrigin,
    format: ExportFormat,
}

/// The form of what is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportFormat {
    /// A snapshot, which can be imported.
    #[default]
    Snapshot,
    /// Files and JSON for people and other programs; see [`open_data`].
    OpenData,
}

/// An OData collection of a cell.
pub(crate) struct ODataPlace {
    /// The id of its box.
    pub box_id: String,
    /// Its own id.
    pub id: NodeId,
}

/// A snapshot that is being written.
struct CellExport<'e> {
    exporter: &'e CellExporter,
    context: Arc<CellContext>,
    /// The records of the cell. A change of its structure does not end the export.
    records: Records,
    out: ArchiveOutput,
    /// The memory of what is read.
    memory: AnswerReservation,
    collections: Vec<ODataPlace>,
    /// The names of properties in the documents of each collection.
    names: HashMap<NodeId, StoredNames>,
    /// The number of steps that are done.
    done: u64,
}

impl CellExporter {
    /// Begins the export of a cell into a snapshot with this name. [`Self::run`] writes it.
    ///
    /// # Errors
    /// [`Code::SnapshotExists`] if there is a snapshot with this name; [`Code::CellBusyWithJob`] if the cell is exported or imported;
    /// [`Code::CellBusy`] while a box of it is installed; an internal error if the permit is not for it; failures of the
    /// store.
    pub async fn begin(
        unit: &Arc<Unit>,
        context: &Arc<CellContext>,
        authority: &crate::InstallAuthority,
        (permit, name, origin): (&Permit, &str, RequestOrigin),
    ) -> Result<Self> {
        let file = format!("{name}{SNAPSHOT_SUFFIX}");
        let key = keys::node(&keys::SNAPSHOT_FOLDER, &file);
        if context.records().find_version(&key).await?.is_some() {
            return Err(Error::new(Code::SnapshotExists).with(file));
        }
        progress::check_not_installing(unit, context).await?;
        let kind = TransferKind::Export;
        Ok(Self {
            transfer: transfer::begin(unit, context, permit, (kind, name)).await?,
            authority: authority.0.clone(),
            context: Arc::clone(context),
            origin,
            format: ExportFormat::Snapshot,
        })
    }

    /// The same export in a form.
    #[must_use]
    pub fn in_format(self, format: ExportFormat) -> Self {
        Self { format, ..self }
    }

    /// Writes the snapshot. If that fails, a file beside it tells why.
    pub async fn run(self) {
        let exporter = Arc::new(self);
        let running = Arc::clone(&exporter);
        let written = own_task::run(async move { Box::pin(running.export()).await }).await;
        if let Some(exporter) = Arc::into_inner(exporter) {
            exporter.finish(written).await;
        }
    }

    async fn finish(self, written: Result<()>) {
        let unit = Arc::clone(self.transfer.unit());
        let cell = self.context.cell().id;
        if let Err(error) = written {
            tracing::warn!(cell.id = %cell, error = %chain(&error), "failed to export a cell");
            if let Err(error) = self.store_failure(&TransferFailure::of(&error)).await {
                tracing::warn!(cell.id = %cell, error = %chain(&error), "failed to store why an export failed");
            }
        }
        if let Err(error) = self.transfer.end(None).await {
            tracing::warn!(cell.id = %cell, error = %chain(&error), "failed to end an export");
        }
        cell_event::post(
            &unit,
            &self.authority,
            &cell,
            ("cell.export", "__export"),
            &self.origin,
        )
        .await;
    }

    async fn store_failure(&self, failure: &TransferFailure) -> Result<()> {
        let text = json!({
            "code": failure.code,
            "message": {"lang": "en", "value": failure.text},
        });
        let name = format!("{}.error", self.transfer.name());
        let content = Bytes::from(text.to_string());
        let mut resource = self.resource(&name);
        // A quota may be why it failed.
        resource.context = resource.context.without_limit();
        let mut upload = Upload::without_permit(self.transfer.unit(), &resource);
        upload.write(content).await?;
        self.put(resource, upload, "application/json").await
    }

    /// A file among the snapshots, with all rights.
    fn resource(&self, name: &str) -> Resource {
        Resource {
            unit: Arc::clone(self.transfer.unit()),
            context: Arc::clone(&self.context),
            access: Access::of(Identity::UnitMaster),
            box_name: String::new(),
            box_id: Some(keys::SNAPSHOT_FOLDER),
            segments: vec![name.to_owned()],
            url: name.to_owned(),
            conditions: Preconditions::default(),
            prefetch: Prefetch::Nothing,
            events: None,
        }
    }

    async fn put(&self, resource: Resource, upload: Upload<'_>, media_type: &str) -> Result<()> {
        let headers = FileHeaders {
            media_type: Some(media_type.to_owned()),
            content_encoding: None,
        };
        let received = upload.finish(headers).await?;
        let checked = file::check_put(&resource, resource.locate().await?).await?;
        file::put(&resource, checked, received).await.map(drop)
    }

    async fn export(&self) -> Result<()> {
        let mut archive = Box::pin(self.write()).await?;
        let name = format!("{}{SNAPSHOT_SUFFIX}", self.transfer.name());
        let resource = self.resource(&name);
        let mut upload = Upload::without_permit(self.transfer.unit(), &resource);
        let (mut at, length) = (0, archive.length());
        while at < length {
            let chunk = archive
                .read_at(at, CHUNK_BYTES)
                .await
                .map_err(store_error)?;
            if chunk.is_empty() {
                return Err(Error::internal("a temporary file has become shorter"));
            }
            at += chunk.len() as u64;
            upload.write(chunk).await?;
        }
        if !self.transfer.is_own().await? {
            return Err(Code::Conflict.into());
        }
        self.put(resource, upload, ZIP).await
    }

    /// Writes the archive to a temporary file.
    async fn write(&self) -> Result<TempFile> {
        let unit = self.transfer.unit();
        let cell = self.context.cell();
        // Read anew: the cached one is from before the last changes.
        let context = unit.find_cell_by_id(&cell.id).await?;
        let share = unit.answer_share(Some(cell.id));
        let folder = &unit.settings().archives.temp_dir;
        let limit = EntryLimit {
            max: MAX_SNAPSHOT_ENTRIES,
            code: Code::CellTooLarge,
            name: cell.name.clone(),
        };
        let mut export = CellExport {
            exporter: self,
            context: context.ok_or(Code::NoSuchCell)?,
            records: unit.cell_records(&cell.id),
            out: ArchiveOutput::create(folder, share.reservation(), limit).await?,
            memory: share.reservation(),
            collections: Vec::new(),
            names: HashMap::new(),
            done: 0,
        };
        match self.format {
            ExportFormat::Snapshot => {
                export.write_manifest().await?;
                Box::pin(export.write_tree()).await?;
                export.end_step().await;
                Box::pin(export.write_documents()).await?;
            }
            ExportFormat::OpenData => Box::pin(export.write_open_data()).await?,
        }
        Box::pin(export.out.finish()).await
    }
}

impl CellExport<'_> {
    fn unit(&self) -> &Arc<Unit> {
        self.exporter.transfer.unit()
    }

    async fn write_manifest(&mut self) -> Result<()> {
        let manifest = SnapshotManifest {
            export_version: snapshot::VERSION.into(),
            unit_url: Some(self.unit().urls().unit()),
            create_date: Some(self.unit().now_ms()),
        };
        self.out.folder(snapshot::DOCUMENT_FOLDER).await?;
        self.out.folder(snapshot::TREE).await?;
        let text = serde_json::to_string(&manifest).map_err(Error::internal)?;
        self.out.file(snapshot::MANIFEST, text.into()).await
    }

    async fn end_step(&mut self) {
        self.done += 1;
        self.exporter.transfer.set_progress(self.done, STEPS).await;
    }
}
