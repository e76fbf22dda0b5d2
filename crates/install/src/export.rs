//! Exports a box as an archive, which [`crate::Package`] can open again.
//!
//! The archive is written to a temporary file, so that its length is known and a failure has a code. Everything is read in pages:
//! the box may change meanwhile. What the archive says is consistent enough to be installed: a file is described only if its
//! content was read, a link is written only if both of its entities were, and a collection whose schema changes is read again.

mod control_objects;
mod member_pages;
mod odata_collection;
mod output;
mod tree;

use std::sync::Arc;

use bytes::Bytes;
use personium_archive::{Manifest, paths};
use personium_model::keys::{self, ControlSet, SetKey};
use personium_model::records::Records;
use personium_model::roles::RoleNames;
use personium_model::temp_file::TempFile;
use personium_model::{Access, AnswerReservation, BoxInfo, CellContext, Unit};
use personium_types::{Code, Error, Result};

pub(crate) use self::member_pages::MemberPages;
pub(crate) use self::output::{ArchiveOutput, EntryLimit};
pub(crate) use self::tree::open_current;
use crate::package::MAX_ENTRIES;
use crate::progress::{self, InstallationStatus};

/// The number of times that an export is begun again because the schema of a collection has changed.
const MAX_ATTEMPTS: usize = 3;

/// A box that is to be exported for a request that may read it.
pub struct ExportedBox {
    /// The unit.
    pub unit: Arc<Unit>,
    /// The cell.
    pub context: Arc<CellContext>,
    /// The box.
    pub info: Arc<BoxInfo>,
    /// The caller, who must also meet the required authentication of applications of everything in the box.
    pub access: Access,
}

/// An export that is being written.
struct Export<'e> {
    subject: &'e ExportedBox,
    /// The records of the cell. A change of its structure does not end the export.
    records: Records,
    /// The names of the roles relative to the box.
    roles: RoleNames,
    /// The base URL of the roles in access control lists.
    role_base: String,
    out: ArchiveOutput,
    /// The memory of what is read.
    memory: AnswerReservation,
}

impl ExportedBox {
    /// Writes the archive to a temporary file.
    ///
    /// # Errors
    /// [`Code::NoSuchEntity`] for the main box; [`Code::BarBoxIncomplete`] if its installation runs or has failed; the refusal of
    /// the access check for something in the box; [`Code::BarBoxTooLarge`] if it has more files and entities than an archive can
    /// have; [`Code::NoSuchBox`] if it was removed meanwhile; [`Code::Conflict`] if its schemas change too often;
    /// [`Code::ServerBusy`] if there is no memory; [`Code::StorageFull`]; failures of the store.
    pub async fn write(&self) -> Result<TempFile> {
        if self.info.is_main() {
            return Err(Code::NoSuchEntity.into());
        }
        match progress::status(&self.unit, &self.context, &self.info).await? {
            InstallationStatus::Ready { .. } => {}
            InstallationStatus::Running { .. } | InstallationStatus::Failed { .. } => {
                return Err(Error::new(Code::BarBoxIncomplete).with(&self.info.name));
            }
        }
        let mut attempt = 1;
        loop {
            match Box::pin(self.try_write()).await {
                Err(error) if error.code() == Code::Conflict && attempt < MAX_ATTEMPTS => {
                    attempt += 1;
                }
                written => return written,
            }
        }
    }

    async fn try_write(&self) -> Result<TempFile> {
        let records = self.unit.cell_records(&self.context.cell().id);
        let share = self.unit.answer_share(Some(self.context.cell().id));
        let folder = &self.unit.settings().archives.temp_dir;
        let limit = EntryLimit {
            max: MAX_ENTRIES,
            code: Code::BarBoxTooLarge,
            name: self.info.name.clone(),
        };
        let mut export = Export {
            subject: self,
            roles: RoleNames::relative_to(&self.context, Some(&self.info)).await?,
            role_base: self.role_base(),
            out: ArchiveOutput::create(folder, share.reservation(), limit).await?,
            memory: share.reservation(),
            records,
        };
        export.memory.hold_anyway(export.roles.memory_bytes());
        export.write_manifest().await?;
        Box::pin(export.write_control_objects()).await?;
        Box::pin(export.write_tree()).await?;
        let set = SetKey::control(ControlSet::Box);
        let key = keys::entity(&set, &self.info.id.to_string());
        if export.records.find_version(&key).await?.is_none() {
            return Err(Error::new(Code::NoSuchBox).with(&self.info.name));
        }
        Box::pin(export.out.finish()).await
    }

    /// The schema, as a URL if it is that of a cell.
    fn schema(&self) -> Option<String> {
        let schema = self.info.schema.as_deref()?;
        let resolved = self.unit.urls().resolve(schema);
        Some(resolved.unwrap_or_else(|| schema.to_owned()))
    }

    fn role_base(&self) -> String {
        match self.schema() {
            Some(schema) => format!("{schema}__role/__/"),
            None => {
                let cell = self.unit.urls().cell(&self.context.cell().name);
                format!("{cell}__role/{}/", self.info.name)
            }
        }
    }
}

impl Export<'_> {
    async fn write_manifest(&mut self) -> Result<()> {
        let manifest = Manifest {
            schema: self.subject.schema(),
            box_version: Some("1".to_owned()),
            default_path: Some(self.subject.info.name.clone()),
        };
        self.out.folder(paths::META).await?;
        self.out.folder(paths::CONTENTS).await?;
        let bytes = Bytes::from(manifest.print());
        self.out.file(paths::MANIFEST, bytes).await
    }
}
