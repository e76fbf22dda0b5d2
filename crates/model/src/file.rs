//! Files: creating, replacing, reading and removing them.

pub mod encryption;
mod upload;

use bytes::Bytes;
use personium_store::{Batch, BlobReader, Expect, Key, Space};
use personium_types::error::chain;
use personium_types::name::MemberName;
use personium_types::{Code, ETag, Error, NodeId, Operation, Result};

use self::encryption::SealedReader;
pub use self::upload::{FileHeaders, ReceivedBody, Upload};
use crate::commit::Invalidation;
use crate::keys;
use crate::locate::Target;
use crate::node::{FileBody, Node, NodeKind};
use crate::quota::SumAge;
use crate::records::{Records, put_checked, store_error};
use crate::resource::{self, add_member};
use crate::{Permit, PostCommit, PostedEvent, Resource, Unit};

/// The number of attempts to open a body that was replaced between reading the node and opening the body.
const MAX_OPEN_ATTEMPTS: usize = 20;

/// The largest chunk of a stored body that is read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// The result of a PUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutResult {
    /// Whether the file is new.
    pub created: bool,
    /// The entity tag.
    pub etag: ETag,
}

/// The change that a PUT makes.
enum PutPlan {
    Create { parent: NodeId, name: MemberName },
    Replace,
}

/// A PUT that was checked before its body is received.
pub struct CheckedPut {
    /// The collection that gets a new member, if it is nearly full.
    nearly_full: Option<NodeId>,
    /// The target, if it was just located.
    located: Option<Target>,
    /// The length of the body that is replaced.
    replaced_bytes: u64,
}

impl CheckedPut {
    /// The length that the body may have by the quotas, in bytes: what is left of them, and what the replaced body takes. `None`: they do
    /// not limit it. They are judged again when it is stored. `announced` is the length that the client has announced; 0 if it has not.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn quota_left(&self, resource: &Resource, announced: u64) -> Result<Option<u64>> {
        let (unit, context) = (&resource.unit, &resource.context);
        let with_replaced = |left: u64| left.saturating_add(self.replaced_bytes);
        let left = unit.storage_left(context, SumAge::Any).await?;
        match left.map(with_replaced) {
            // Nothing is refused by an old sum.
            Some(left) if announced == 0 || announced > left => {
                let left = unit.storage_left(context, SumAge::Fresh).await?;
                Ok(left.map(with_replaced))
            }
            left => Ok(left),
        }
    }

    /// Forgets what was located. To be called when the client must be waited for: so nothing is kept meanwhile, and the target is
    /// located again.
    pub fn forget_located(&mut self) {
        self.located = None;
    }
}

/// Checks a PUT before its body is received.
///
/// # Errors
/// The refusals of [`put`].
pub async fn check_put(resource: &Resource, target: Target) -> Result<CheckedPut> {
    let (_permit, plan) = plan(resource, &target)?;
    let replaced_bytes = match &plan {
        PutPlan::Replace => {
            let replaced = target.node().value().file.as_ref();
            replaced.map_or(0, |body| body.length)
        }
        PutPlan::Create { .. } => 0,
    };
    let nearly_full = match plan {
        PutPlan::Create { parent, .. } => {
            let max = resource.unit.settings().dav.children_max;
            let exact = add_member(&target, &parent, max, &mut Batch::new()).await?;
            exact.then_some(parent)
        }
        PutPlan::Replace => None,
    };
    Ok(CheckedPut {
        // Others that wait for the same lock change the collection first.
        located: nearly_full.is_none().then_some(target),
        nearly_full,
        replaced_bytes,
    })
}

/// Creates a file or replaces the body of one; its properties and its access control list stay.
///
/// # Errors
/// The refusals of [`Target::permit`]; [`Code::ResourceName`] for an invalid name, [`Code::NoParent`] if the collection is
/// missing, [`Code::NoSuchPath`] or [`Code::MethodNotAllowed`] where no file can be, [`Code::DavTagMismatch`] if a
/// condition of the request is false, [`Code::TooManyChildren`] if the collection is full. The body is removed then.
pub async fn put(
    resource: &Resource,
    checked: CheckedPut,
    received: ReceivedBody,
) -> Result<PutResult> {
    let _lock = match checked.nearly_full {
        Some(parent) => resource.unit.limits().node_locks.lock(&parent).await,
        None => None,
    };
    let received = &received;
    let change = |target: Target| async move {
        let (permit, plan) = plan(resource, &target)?;
        let (batch, out) = write(permit, resource, &target, plan, received).await?;
        Ok((
            batch,
            PostCommit::none().posting(put_event(resource, &target)),
            out,
        ))
    };
    let outcome = resource
        .change_from(checked.located, Invalidation::None, change)
        .await;
    match outcome {
        Ok((stored, old)) => {
            if let Some(old) = old {
                discard_body(resource, &old).await;
            }
            Ok(stored)
        }
        // The batch may have been committed although the store failed. The garbage collection removes orphaned blobs.
        Err(failure) if failure.code() == Code::StoreDown => Err(failure),
        Err(refusal) => {
            discard_body(resource, &received.body).await;
            Err(refusal)
        }
    }
}

/// The event of a PUT to a target as it was before.
fn put_event(resource: &Resource, target: &Target) -> Option<PostedEvent> {
    if target.is_service_source() || target.is_in_service_source() {
        return None;
    }
    let (action, status) = match target.exists() {
        true => ("update", 204),
        false => ("create", 201),
    };
    resource.event(NodeKind::File, action, status)
}

fn plan(resource: &Resource, target: &Target) -> Result<(Permit, PutPlan)> {
    let kind = target.node().value().kind;
    let Some(name) = target.rest.last() else {
        if kind != NodeKind::File {
            return Err(Code::MethodNotAllowed.into());
        }
        let permit = resource.permit(target, Operation::WriteFile)?;
        resource.check_conditions(target)?;
        return Ok((permit, PutPlan::Replace));
    };
    if !matches!(kind, NodeKind::Box | NodeKind::Collection) {
        return Err(Code::NoSuchPath.into());
    }
    let permit = resource.permit(target, Operation::CreateFile)?;
    let name = resource::member_name(name)?;
    if target.rest.len() > 1 {
        return Err(resource.no_parent(target));
    }
    resource.check_conditions(target)?;
    let plan = PutPlan::Create {
        parent: target.node().value().id,
        name,
    };
    Ok((permit, plan))
}

async fn write(
    permit: Permit,
    resource: &Resource,
    target: &Target,
    plan: PutPlan,
    received: &ReceivedBody,
) -> Result<(Batch, (PutResult, Option<FileBody>))> {
    let operation = match plan {
        PutPlan::Create { .. } => Operation::CreateFile,
        PutPlan::Replace => Operation::WriteFile,
    };
    permit.check(operation, &target.permit_target())?;
    let mut batch = Batch::new();
    let now = resource.unit.now_ms();
    received.put_record(&mut batch);
    let (created, node, old) = match plan {
        PutPlan::Create { parent, name } => {
            let max = resource.unit.settings().dav.children_max;
            target.assert_found(&mut batch);
            add_member(target, &parent, max, &mut batch).await?;
            let mut node = Node::new(NodeId::random(resource.unit.random()), NodeKind::File, now);
            node.file = Some(received.body.clone());
            let key = keys::node(&parent, name.as_str());
            remember_body(target, &key, &received.body);
            put_checked(&mut batch, key, None, &node)?;
            (true, node, None)
        }
        PutPlan::Replace => {
            target.assert_ancestors(&mut batch);
            let found = target.node();
            let mut node = found.value().clone();
            node.version += 1;
            node.updated = now;
            let old = node.file.replace(received.body.clone());
            if let Some(old) = &old {
                old.delete_record(&mut batch);
            }
            remember_body(target, &found.key, &received.body);
            put_checked(&mut batch, found.key.clone(), found.record_version(), &node)?;
            (false, node, old)
        }
    };
    let etag = node.etag();
    Ok((batch, (PutResult { created, etag }, old)))
}

/// Takes note of where a small body is, so that the next reader finds it together with the file.
fn remember_body(target: &Target, file: &Key, body: &FileBody) {
    if body.inline {
        target.context.body_hints().remember(file, body.blob);
    }
}

/// Removes a file.
///
/// # Errors
/// The refusals of [`Target::permit`]; [`Code::NoSuchResource`] if there is none, [`Code::DavTagMismatch`] if a condition
/// of the request is false.
pub async fn remove(resource: &Resource) -> Result<()> {
    let change = |target: Target| async move {
        let permit = resource.permit(&target, Operation::Remove)?;
        let found = target.node();
        if !target.exists() || found.value().kind != NodeKind::File {
            return Err(resource.not_found());
        }
        resource.check_conditions(&target)?;
        let mut batch = Batch::new();
        target.assert_ancestors(&mut batch);
        unlink(&permit, &mut batch, &target)?;
        if let Some(body) = &found.value().file {
            body.delete_record(&mut batch);
        }
        let event = resource.event_about(&target, "delete", 204);
        let old = found.value().file.clone();
        Ok((batch, PostCommit::none().posting(event), old))
    };
    if let Some(old) = resource.change_with(Invalidation::None, change).await? {
        discard_body(resource, &old).await;
    }
    Ok(())
}

/// Adds to a batch that the deepest node is removed from its collection.
///
/// # Errors
/// An internal error if the permit is not for that.
pub(crate) fn unlink(permit: &Permit, batch: &mut Batch, target: &Target) -> Result<()> {
    permit.check(Operation::Remove, &target.permit_target())?;
    let found = target.node();
    let expect = found
        .record_version()
        .map_or(Expect::Absent, Expect::Version);
    batch.assert(found.key.clone(), expect);
    found.value().count_removal(batch);
    batch.delete(found.key.clone());
    if let Some(parent) = &found.parent {
        batch.add(keys::child_count(parent), -1);
    }
    Ok(())
}

/// Removes a body that no record names. If that fails, the garbage collection removes it later.
pub(crate) async fn discard_body(resource: &Resource, body: &FileBody) {
    if !body.inline {
        let space = Space::Cell(resource.context.cell().id);
        if let Err(error) = resource.unit.blobs().remove(&space, &body.blob).await {
            tracing::warn!(
                cell.id = %resource.context.cell().id,
                error = %chain(&error),
                "failed to remove an unused file body, garbage collection will retry"
            );
        }
    }
}

/// The body of an opened file.
pub enum FileContent {
    /// All bytes.
    Whole(Bytes),
    /// A reader of chunks, not affected by later changes of the file.
    Chunks(Box<dyn BlobReader>),
}

impl FileContent {
    /// The length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Self::Whole(bytes) => bytes.len() as u64,
            Self::Chunks(reader) => reader.len(),
        }
    }

    /// The bytes from an offset on: all of a body that is in memory, else 256 KiB at most. `None` at the end.
    ///
    /// # Errors
    /// [`Code::DavContent`] if the body ends early; a failure of the store.
    pub async fn chunk_at(&mut self, offset: u64) -> Result<Option<Bytes>> {
        if offset >= self.length() {
            return Ok(None);
        }
        let chunk = match self {
            Self::Whole(bytes) => bytes.slice(usize::try_from(offset).unwrap_or(bytes.len())..),
            Self::Chunks(reader) => reader
                .read_at(offset, CHUNK_BYTES)
                .await
                .map_err(store_error)?,
        };
        match chunk.is_empty() {
            true => Err(Code::DavContent.into()),
            false => Ok(Some(chunk)),
        }
    }
}

/// A file that was opened.
pub struct OpenedFile {
    /// The file.
    pub node: Node,
    /// Its body.
    pub content: FileContent,
}

/// Opens a file that was found for reading.
///
/// # Errors
/// [`Code::NoSuchResource`] if it was removed meanwhile, [`Code::DavContent`] if the stored body is missing, has another length
/// than the file or cannot be decrypted, [`Code::DavVanished`] if it changes too fast.
pub async fn open(resource: &Resource, found: &Target) -> Result<OpenedFile> {
    let mut target = found.clone();
    let mut missing = None;
    for _ in 0..MAX_OPEN_ATTEMPTS {
        let node = target.node().value().clone();
        let Some(body) = node.file.as_ref().filter(|_| target.exists()) else {
            return Err(resource.not_found());
        };
        if let Some(content) = open_found(resource, &target, body).await? {
            if content.length() != body.length {
                return Err(Code::DavContent.into());
            }
            return Ok(OpenedFile { node, content });
        }
        if missing.replace(body.blob) == Some(body.blob) {
            let text = "the body that the file names does not exist";
            return Err(Error::new(Code::DavContent).with_source(text));
        }
        target = resource.locate().await?;
    }
    Err(Code::DavVanished.into())
}

/// As [`open_body`], for a file that was found: its body may have been read together with it.
async fn open_found(
    resource: &Resource,
    target: &Target,
    body: &FileBody,
) -> Result<Option<FileContent>> {
    let (unit, records) = (&resource.unit, resource.context.records());
    let found = match body.inline {
        true => target.prefetched(&keys::inline_body(&body.blob)).flatten(),
        false => None,
    };
    let content = match found {
        Some(record) => Some(open_inline(unit, records, body, record.value.clone()).await?),
        None => open_body(unit, records, body).await?,
    };
    if content.is_some() {
        remember_body(target, &target.node().key, body);
    }
    Ok(content)
}

/// Opens the body that a node of a cell names. `None` if it does not exist, because the file was changed meanwhile.
///
/// # Errors
/// [`Code::DavContent`] if it cannot be decrypted; a failure of the store.
pub async fn open_body(
    unit: &Unit,
    records: &Records,
    body: &FileBody,
) -> Result<Option<FileContent>> {
    if body.inline {
        let stored = records.find_bytes(&keys::inline_body(&body.blob)).await?;
        return match stored {
            Some(stored) => open_inline(unit, records, body, stored).await.map(Some),
            None => Ok(None),
        };
    }
    let space = records.space();
    let cipher = match &body.salt {
        Some(salt) => Some(unit.body_cipher(space, salt).await?),
        None => None,
    };
    let reader = unit.blobs().open(space, &body.blob).await;
    let Some(reader) = reader.map_err(store_error)? else {
        return Ok(None);
    };
    let reader = match cipher {
        Some(cipher) => {
            let sealed = SealedReader::new(reader, cipher, body.length);
            Box::new(sealed.ok_or(Code::DavContent)?)
        }
        None => reader,
    };
    Ok(Some(FileContent::Chunks(reader)))
}

/// Decrypts a body that is stored in a record, if it is encrypted.
async fn open_inline(
    unit: &Unit,
    records: &Records,
    body: &FileBody,
    stored: Bytes,
) -> Result<FileContent> {
    let bytes = match &body.salt {
        Some(salt) => {
            let cipher = unit.body_cipher(records.space(), salt).await?;
            let opened = cipher.open(stored.into());
            opened
                .map_err(|e| Error::from(Code::DavContent).with_source(e))?
                .into()
        }
        None => stored,
    };
    Ok(FileContent::Whole(bytes))
}
