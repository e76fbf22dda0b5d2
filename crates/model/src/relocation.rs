//! MOVE: the record of a node gets another key; the records below it stay as they are.

use personium_store::{Batch, Expect};
use personium_types::name::MemberName;
use personium_types::{Code, ETag, Error, Operation, Result};

use crate::collection;
use crate::commit::Invalidation;
use crate::file::discard_body;
use crate::keys;
use crate::listing::Members;
use crate::locate::Target;
use crate::node::{FileBody, Node, NodeKind};
use crate::records;
use crate::resource::{add_member, member_name};
use crate::{Permit, Resource};

/// The destination and the conditions of a MOVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The decoded segments below the same box; at least one.
    pub segments: Vec<String>,
    /// Its URL, for messages.
    pub url: String,
    /// Whether an existing file may be replaced.
    pub overwrite: bool,
    /// Whether the URL names a collection, with a slash at its end. An existing collection is replaced only then, and only if
    /// it is a plain one without members, as by `rename(2)`: nothing in it can get lost.
    pub names_collection: bool,
}

/// The result of a MOVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveResult {
    /// Whether the destination did not exist before.
    pub created: bool,
    /// The unchanged ETag.
    pub etag: ETag,
}

/// Checks the source of a MOVE and returns the permit for moving it.
///
/// # Errors
/// The refusals of [`Target::permit`]; [`Code::NoSuchResource`] or [`Code::NoSuchPath`] if it does not exist,
/// [`Code::MoveBox`] for a box, [`Code::MoveServiceSource`] for the source collection of a service,
/// [`Code::MethodNotAllowed`] for other than WebDAV resources.
pub fn check_source(resource: &Resource, target: &Target) -> Result<Permit> {
    let kind = target.node().value().kind;
    if target.exists() && kind == NodeKind::Box {
        resource.permit(target, Operation::MoveImmovable)?;
        return Err(Code::MoveBox.into());
    }
    if target.exists() && target.is_service_source() {
        resource.permit(target, Operation::MoveImmovable)?;
        return Err(Code::MoveServiceSource.into());
    }
    if !target.exists() {
        match kind {
            NodeKind::Odata | NodeKind::Service | NodeKind::Stream => {
                return Err(Code::MethodNotAllowed.into());
            }
            NodeKind::File => return Err(Code::NoSuchPath.into()),
            NodeKind::Cell | NodeKind::Box | NodeKind::Collection => {}
        }
    }
    let permit = resource.permit(target, Operation::MoveSource)?;
    if target.exists() {
        Ok(permit)
    } else {
        Err(resource.not_found())
    }
}

/// Moves a file or collection within its box. Its id, ETag, properties and access control list stay.
///
/// # Errors
/// The refusals of [`check_source`] and of [`Target::permit`] for the destination, [`Code::DavTagMismatch`] if a condition for
/// the source is false, [`Code::NoParent`] if a collection of the destination is missing, [`Code::ResourceName`] for an invalid name of the
/// destination, [`Code::TooDeep`] if a collection would be nested too deeply, or another code where the destination cannot
/// take the source, [`Code::CollectionNotEmpty`] for a collection that would be replaced with its members.
pub async fn relocate(resource: &Resource, to: &Destination) -> Result<MoveResult> {
    let destination = resource.locate_in(&resource.context, &to.segments).await?;
    let _lock = if destination.exists() {
        None
    } else {
        resource.lock_if_nearly_full(&destination).await?
    };
    let change = |source: Target| async move {
        let source_permit = check_source(resource, &source)?;
        resource.check_conditions(&source)?;
        let destination = resource.locate_in(&source.context, &to.segments).await?;
        let destination_permit = check_destination(resource, &source, &destination, to)?;
        check_depth(resource, &source, &destination).await?;
        exchange(
            &source_permit,
            &destination_permit,
            resource,
            &source,
            &destination,
        )
        .await
    };
    let (moved, replaced) = resource.change(Invalidation::None, change).await?;
    if let Some(body) = replaced {
        discard_body(resource, &body).await;
    }
    Ok(moved)
}

fn check_destination(
    resource: &Resource,
    source: &Target,
    destination: &Target,
    to: &Destination,
) -> Result<Permit> {
    // First, because the other refusals reveal which resources exist.
    let permit = resource.permit(destination, Operation::MoveDestination)?;
    let moved = source.node().value();
    let found = destination.node().value();
    if destination.exists() {
        return permit.and(check_replaced(resource, source, destination, to)?);
    }
    match found.kind {
        NodeKind::File if destination.rest.len() == 1 => return Err(Code::MoveBelowFile.into()),
        NodeKind::Odata if destination.rest.len() == 1 => return Err(Code::MoveIntoOdata.into()),
        NodeKind::Service if destination.rest.len() == 1 => {
            return Err(Code::MoveIntoService.into());
        }
        NodeKind::Box | NodeKind::Collection if destination.rest.len() == 1 => {
            new_name(destination)?;
        }
        NodeKind::Stream | NodeKind::Cell if destination.rest.len() == 1 => {
            return Err(invalid(to));
        }
        _ => {
            let missing = destination.rest.first().cloned().unwrap_or_default();
            return Err(Error::new(Code::NoParent).with(missing));
        }
    }
    if destination.found().iter().any(|n| n.value().id == moved.id) {
        return Err(invalid(to));
    }
    if moved.kind != NodeKind::File
        && (destination.is_service_source() || destination.is_in_service_source())
    {
        return Err(Code::MoveCollectionIntoServiceSource.into());
    }
    Ok(permit)
}

/// The number of levels below the limit of MKCOL that MOVE may still use, as recorded.
const MOVE_LEVELS_BELOW_LIMIT: usize = 1;

/// Refuses a collection if it, or one of the collections in it, would be nested too deeply. It may stay as deep as it is.
async fn check_depth(resource: &Resource, source: &Target, destination: &Target) -> Result<()> {
    let moved = source.node().value();
    // The root of the box is among the found nodes, and has the level 0.
    let level = source.found().len().saturating_sub(1);
    let new_level = match destination.exists() {
        true => destination.found().len().saturating_sub(1),
        false => destination.found().len(),
    };
    if moved.kind == NodeKind::File || new_level <= level {
        return Ok(());
    }
    let max = resource.unit.settings().dav.depth_max + MOVE_LEVELS_BELOW_LIMIT;
    let levels_below = max.checked_sub(new_level).ok_or(Code::TooDeep)?;
    if moved.kind != NodeKind::Collection {
        return Ok(());
    }
    let mut unread = vec![(moved.id, levels_below)];
    while let Some((id, levels_below)) = unread.pop() {
        let mut members = Members::of_collection(source.context.records().clone(), &id);
        while !members.is_finished() {
            for member in members.next_page().await? {
                let (id, kind) = (member.node.id, member.node.kind);
                if kind == NodeKind::File {
                    continue;
                }
                let levels_below = levels_below.checked_sub(1).ok_or(Code::TooDeep)?;
                if kind == NodeKind::Collection {
                    unread.push((id, levels_below));
                }
            }
        }
    }
    Ok(())
}

fn check_replaced(
    resource: &Resource,
    source: &Target,
    destination: &Target,
    to: &Destination,
) -> Result<Permit> {
    let moved = source.node().value();
    let found = destination.node().value();
    if !to.overwrite {
        return Err(Code::DestinationExists.into());
    }
    if destination.is_service_source() {
        return Err(Code::MoveOntoServiceSource.into());
    }
    let replaces_collection =
        to.names_collection && found.kind == NodeKind::Collection && found.id != moved.id;
    if found.kind != NodeKind::File && !replaces_collection {
        return Err(Code::MoveOntoCollection.into());
    }
    if moved.kind != NodeKind::File && destination.is_in_service_source() {
        return Err(Code::MoveCollectionIntoServiceSource.into());
    }
    if found.id == moved.id {
        return Err(resource.not_found());
    }
    // What lies in the moved collection itself.
    if destination.found().iter().any(|n| n.value().id == moved.id) {
        return Err(invalid(to));
    }
    resource.permit(destination, Operation::MoveOverwrite)
}

/// The name that the destination gets; `None` if it exists.
fn new_name(destination: &Target) -> Result<Option<MemberName>> {
    destination
        .rest
        .first()
        .map(|segment| member_name(segment))
        .transpose()
}

fn invalid(to: &Destination) -> Error {
    Error::new(Code::HeaderInvalid)
        .with("Destination")
        .with(&to.url)
}

async fn exchange(
    source_permit: &Permit,
    destination_permit: &Permit,
    resource: &Resource,
    source: &Target,
    destination: &Target,
) -> Result<(Batch, (MoveResult, Option<FileBody>))> {
    source_permit.check(Operation::MoveSource, &source.permit_target())?;
    destination_permit.check(Operation::MoveDestination, &destination.permit_target())?;
    if destination.exists() {
        destination_permit.check(Operation::MoveOverwrite, &destination.permit_target())?;
    }
    let mut batch = Batch::new();
    let moved = source.node();
    let node: &Node = moved.value();
    source.assert_found(&mut batch);
    destination.assert_found(&mut batch);
    batch.delete(moved.key.clone());
    if let Some(parent) = &moved.parent {
        batch.add(keys::child_count(parent), -1);
    }
    let mut replaced = None;
    let key = match new_name(destination)? {
        None => {
            let old = destination.node();
            replaced.clone_from(&old.value().file);
            old.value().count_removal(&mut batch);
            if let Some(body) = &replaced {
                body.delete_record(&mut batch);
            } else {
                collection::remove_empty(destination, &mut batch).await?;
            }
            old.key.clone()
        }
        Some(name) => {
            let parent = destination.node().value().id;
            let key = keys::node(&parent, name.as_str());
            batch.assert(key.clone(), Expect::Absent);
            if moved.parent == Some(parent) {
                batch.add(keys::child_count(&parent), 1);
            } else {
                let max = resource.unit.settings().dav.children_max;
                add_member(destination, &parent, max, &mut batch).await?;
            }
            key
        }
    };
    records::put(&mut batch, key, node)?;
    let moved = MoveResult {
        created: !destination.exists(),
        etag: node.etag(),
    };
    Ok((batch, (moved, replaced)))
}
