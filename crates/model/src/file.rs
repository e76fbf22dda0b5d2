//! Files: receiving, replacing, reading and removing bodies.

mod at_rest;

use bytes::{Bytes, BytesMut};
use personium_dav::headers::allows_change;
use personium_dav::name::is_resource_name;
use personium_store::{Batch, BlobReader, BlobWriter, Expect, Space};
use personium_types::{BlobId, CellId, Code, ETag, Error, NodeId, Operation, Result};

pub(crate) use at_rest::UnitBodyKey;
use at_rest::{SealedReader, SealedWriter};

use crate::concurrency_limiter::LimiterPermit;
use crate::keys;
use crate::locate::Target;
use crate::node::{FileBody, Kind, Node};
use crate::records::{put_checked, store_error};
use crate::resource::add_member;
use crate::unit::Invalidation;
use crate::{Permit, Resource, Unit};

/// How often a body that vanished between its record and its opening is looked for again.
const OPEN_ATTEMPTS: usize = 20;

/// A body on its way in. Dropping it leaves nothing behind.
///
/// Small bodies are collected in memory; a larger one goes to the blob store piece by piece, as soon as there is a
/// place for one more upload.
pub struct Upload<'u> {
    unit: &'u Unit,
    space: Space,
    small: BytesMut,
    large: Option<(Box<dyn BlobWriter>, Option<LimiterPermit>)>,
    /// The cell among whose uploads it counts; `None` if it needs no place.
    counts_for: Option<CellId>,
    /// The salt of a large body that is encrypted.
    salt: Option<String>,
    length: u64,
}

/// A body that was received whole.
pub struct Received {
    body: FileBody,
    content: Option<Bytes>,
}

impl<'u> Upload<'u> {
    /// Starts an upload into a cell.
    #[must_use]
    pub fn new(unit: &'u Unit, resource: &Resource) -> Self {
        Self {
            counts_for: Some(resource.context.cell().id),
            ..Self::of_installation(unit, resource)
        }
    }

    /// Starts an upload of what is here already, as a part of an installation, which has a place of its own.
    pub(crate) fn of_installation(unit: &'u Unit, resource: &Resource) -> Self {
        Self {
            unit,
            counts_for: None,
            space: Space::Cell(resource.context.cell().id),
            small: BytesMut::new(),
            large: None,
            salt: None,
            length: 0,
        }
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// 413 beyond the largest size of a file, 503 if too many upload already, in all or into this cell.
    pub async fn write(&mut self, piece: Bytes) -> Result<()> {
        let limits = &self.unit.settings().dav;
        self.length = self.length.saturating_add(piece.len() as u64);
        if let Some(max) = limits.file_max.filter(|max| self.length > *max) {
            return Err(Error::new(Code::BodyTooLarge).with(max.to_string()));
        }
        if self.large.is_none() {
            if self.length <= limits.inline_max as u64 {
                self.small.extend_from_slice(&piece);
                return Ok(());
            }
            let place = match &self.counts_for {
                Some(cell) => Some(self.unit.uploads().enter(cell).await?),
                None => None,
            };
            let mut writer = self
                .unit
                .blobs()
                .create(&self.space)
                .await
                .map_err(store_error)?;
            if let Some((salt, cipher)) = self.unit.new_cipher(&self.space).await? {
                writer = Box::new(SealedWriter::new(writer, cipher));
                self.salt = Some(salt);
            }
            let begin = std::mem::take(&mut self.small).freeze();
            if !begin.is_empty() {
                writer.write(begin).await.map_err(store_error)?;
            }
            self.large = Some((writer, place));
        }
        match &mut self.large {
            Some((writer, _)) => writer.write(piece).await.map_err(store_error),
            None => Ok(()),
        }
    }

    /// Ends the upload. The body is durable, but no file names it yet.
    pub async fn finish(self, media_type: Option<String>) -> Result<Received> {
        let length = self.length;
        let (blob, salt, content) = match self.large {
            Some((writer, _place)) => {
                let blob = writer.finish().await.map_err(store_error)?;
                (blob, self.salt, None)
            }
            None => {
                let content = self.small.freeze();
                let (salt, content) = match self.unit.new_cipher(&self.space).await? {
                    Some((salt, cipher)) => {
                        let sealed = cipher.seal(&content).map_err(Error::internal)?;
                        (Some(salt), sealed.into())
                    }
                    None => (None, content),
                };
                (BlobId::random(self.unit.random()), salt, Some(content))
            }
        };
        let body = FileBody {
            blob,
            inline: content.is_some(),
            salt,
            length,
            media_type,
        };
        Ok(Received { body, content })
    }
}

/// What a PUT did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Whether the file is new.
    pub created: bool,
    /// The entity tag.
    pub etag: ETag,
}

/// What becomes of a PUT.
enum Plan {
    Create { parent: NodeId, name: String },
    Replace,
}

/// A PUT that may go on, as far as that is known before its body is received.
#[derive(Debug)]
pub struct Checked {
    /// The collection that gets a new member and is nearly full.
    nearly_full: Option<NodeId>,
}

/// Whether a PUT may go on, to be asked before its body is received.
///
/// # Errors
/// What [`put`] would refuse with.
pub async fn check_put(
    resource: &Resource,
    target: &Target,
    if_match: Option<&str>,
) -> Result<Checked> {
    let (_permit, plan) = plan(resource, target, if_match)?;
    let nearly_full = match plan {
        Plan::Create { parent, .. } => {
            let max = resource.unit.settings().dav.children_max;
            let exact = add_member(target, &parent, max, &mut Batch::new()).await?;
            exact.then_some(parent)
        }
        Plan::Replace => None,
    };
    Ok(Checked { nearly_full })
}

/// Creates a file or replaces the body of one; properties and access control stay.
///
/// # Errors
/// 403 for a bad name or a lacking privilege, 409 if the collection is missing, 412 if `if_match` does not match,
/// 400 if the collection is full. Nothing of the body is kept then.
pub async fn put(
    resource: &Resource,
    checked: Checked,
    received: Received,
    if_match: Option<&str>,
) -> Result<Stored> {
    let _turn = match checked.nearly_full {
        Some(parent) => resource.unit.node_locks().wait(&parent).await,
        None => None,
    };
    let received = &received;
    let change = |target: Target| async move {
        let (permit, plan) = plan(resource, &target, if_match)?;
        write(permit, resource, &target, plan, received).await
    };
    let outcome = resource.change(Invalidation::None, change).await;
    match outcome {
        Ok((stored, old)) => {
            if let Some(old) = old {
                discard(resource, &old).await;
            }
            Ok(stored)
        }
        // After a failure of the store the batch may be there all the same once it is opened again. A body that no file
        // names is found by the sweeper.
        Err(failure) if failure.code() == Code::StoreDown => Err(failure),
        Err(refusal) => {
            discard(resource, &received.body).await;
            Err(refusal)
        }
    }
}

fn plan(resource: &Resource, target: &Target, if_match: Option<&str>) -> Result<(Permit, Plan)> {
    let kind = target.node().value().kind;
    let Some(name) = target.rest.last() else {
        if kind != Kind::File {
            return Err(Code::MethodNotAllowed.into());
        }
        let permit = resource.permit(target, Operation::WriteFile)?;
        check_tag(target.node().value(), if_match)?;
        return Ok((permit, Plan::Replace));
    };
    if !matches!(kind, Kind::Box | Kind::Collection) {
        return Err(Code::NoSuchPath.into());
    }
    let permit = resource.permit(target, Operation::CreateFile)?;
    if !is_resource_name(name) {
        return Err(Code::ResourceName.into());
    }
    if target.rest.len() > 1 {
        return Err(resource.no_parent(target));
    }
    let plan = Plan::Create {
        parent: target.node().value().id,
        name: name.clone(),
    };
    Ok((permit, plan))
}

async fn write(
    permit: Permit,
    resource: &Resource,
    target: &Target,
    plan: Plan,
    received: &Received,
) -> Result<(Batch, (Stored, Option<FileBody>))> {
    let operation = match plan {
        Plan::Create { .. } => Operation::CreateFile,
        Plan::Replace => Operation::WriteFile,
    };
    permit.check(operation, &target.permit_target())?;
    let mut batch = Batch::new();
    let now = resource.unit.now_ms();
    match &received.content {
        Some(bytes) => batch.put(keys::inline_body(&received.body.blob), bytes.clone()),
        None => batch.put(keys::blob_reference(&received.body.blob), Bytes::new()),
    }
    let (created, node, old) = match plan {
        Plan::Create { parent, name } => {
            let max = resource.unit.settings().dav.children_max;
            target.assert_found(&mut batch);
            add_member(target, &parent, max, &mut batch).await?;
            let mut node = Node::new(NodeId::random(resource.unit.random()), Kind::File, now);
            node.file = Some(received.body.clone());
            put_checked(&mut batch, keys::node(&parent, &name), None, &node)?;
            (true, node, None)
        }
        Plan::Replace => {
            target.assert_ancestors(&mut batch);
            let found = target.node();
            let mut node = found.value().clone();
            node.version += 1;
            node.updated = now;
            let old = node.file.replace(received.body.clone());
            if let Some(old) = &old {
                forget_body(&mut batch, old);
            }
            put_checked(&mut batch, found.key.clone(), found.stamp(), &node)?;
            (false, node, old)
        }
    };
    let etag = node.etag();
    Ok((batch, (Stored { created, etag }, old)))
}

/// Refuses unless the tag of the node passes an `If-Match` header.
///
/// # Errors
/// 412.
pub fn check_tag(node: &Node, if_match: Option<&str>) -> Result<()> {
    if allows_change(if_match, node.etag()) {
        Ok(())
    } else {
        Err(Code::DavTagMismatch.into())
    }
}

/// Removes a file.
///
/// # Errors
/// 401 or 403 without the privilege, 404 if there is none, 412 if `if_match` does not match.
pub async fn remove(resource: &Resource, if_match: Option<&str>) -> Result<()> {
    let change = |target: Target| async move {
        let permit = resource.permit(&target, Operation::Remove)?;
        let found = target.node();
        if !target.exists() || found.value().kind != Kind::File {
            return Err(resource.not_found());
        }
        check_tag(found.value(), if_match)?;
        let mut batch = Batch::new();
        target.assert_ancestors(&mut batch);
        unlink(&permit, &mut batch, &target)?;
        if let Some(body) = &found.value().file {
            forget_body(&mut batch, body);
        }
        Ok((batch, found.value().file.clone()))
    };
    if let Some(old) = resource.change(Invalidation::None, change).await? {
        discard(resource, &old).await;
    }
    Ok(())
}

/// Adds to a batch that the deepest node is no member of its collection any more.
///
/// # Errors
/// An internal error if the permit is not for that.
pub(crate) fn unlink(permit: &Permit, batch: &mut Batch, target: &Target) -> Result<()> {
    permit.check(Operation::Remove, &target.permit_target())?;
    let found = target.node();
    let expect = found.stamp().map_or(Expect::Absent, Expect::Version);
    batch.assert(found.key.clone(), expect);
    batch.delete(found.key.clone());
    if let Some(parent) = &found.parent {
        batch.add(keys::child_count(parent), -1);
    }
    Ok(())
}

/// Adds to a batch that no record names this body any more.
pub(crate) fn forget_body(batch: &mut Batch, body: &FileBody) {
    batch.delete(if body.inline {
        keys::inline_body(&body.blob)
    } else {
        keys::blob_reference(&body.blob)
    });
}

/// Removes a body that no record names. If that fails, the sweeper finds it later.
pub(crate) async fn discard(resource: &Resource, body: &FileBody) {
    if !body.inline {
        let space = Space::Cell(resource.context.cell().id);
        if let Err(error) = resource.unit.blobs().remove(&space, &body.blob).await {
            tracing::warn!("a body that is not used any more could not be removed: {error}");
        }
    }
}

/// A body to send.
pub enum Content {
    /// It is there as a whole.
    Whole(Bytes),
    /// It is read piece by piece, undisturbed by later changes of the file.
    Pieces(Box<dyn BlobReader>),
}

/// A file that was opened.
pub struct Opened {
    /// The file.
    pub node: Node,
    /// Its body.
    pub content: Content,
}

/// Opens a file that was found for reading.
///
/// # Errors
/// 404 if it is gone meanwhile, 500 if the stored body is not as long as it should be, 503 if it changes too fast.
pub async fn open(resource: &Resource, found: &Target) -> Result<Opened> {
    let mut target = found.clone();
    for _ in 0..OPEN_ATTEMPTS {
        let node = target.node().value().clone();
        let Some(body) = node.file.as_ref().filter(|_| target.exists()) else {
            return Err(resource.not_found());
        };
        if let Some(content) = content(resource, body).await? {
            let length = match &content {
                Content::Whole(bytes) => bytes.len() as u64,
                Content::Pieces(reader) => reader.len(),
            };
            if length != body.length {
                return Err(Code::DavContent.into());
            }
            return Ok(Opened { node, content });
        }
        target = resource.locate().await?;
    }
    Err(Code::DavVanished.into())
}

async fn content(resource: &Resource, body: &FileBody) -> Result<Option<Content>> {
    let space = Space::Cell(resource.context.cell().id);
    let broken = || Error::from(Code::DavContent);
    let cipher = match &body.salt {
        Some(salt) => Some(resource.unit.body_cipher(&space, salt).await?),
        None => None,
    };
    if body.inline {
        let key = keys::inline_body(&body.blob);
        let Some(stored) = resource.context.records().find_bytes(&key).await? else {
            return Ok(None);
        };
        let bytes = match cipher {
            Some(cipher) => {
                let opened = cipher.open(stored.into());
                opened.map_err(|e| broken().with_source(e))?.into()
            }
            None => stored,
        };
        return Ok(Some(Content::Whole(bytes)));
    }
    let reader = resource.unit.blobs().open(&space, &body.blob).await;
    let Some(reader) = reader.map_err(store_error)? else {
        return Ok(None);
    };
    let reader = match cipher {
        Some(cipher) => {
            let sealed = SealedReader::new(reader, cipher, body.length);
            Box::new(sealed.ok_or_else(broken)?)
        }
        None => reader,
    };
    Ok(Some(Content::Pieces(reader)))
}
